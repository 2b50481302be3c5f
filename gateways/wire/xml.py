"""XML from strangers: no document types, no entities, bounded; and the one repair that hubs make necessary.

Some hubs put a donor's text into their template without escaping it, so that `A&B` arrives as XML that is
not well-formed, or with characters that XML cannot hold: the escape of a GSM-7 extension, an emoji as two
references, half of one. Others set blanks before the declaration, or name an encoding that is not theirs.
"""

import codecs
import re
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateways.wire import encodings
from gateways.wire.fields import NESTING_MAX, malformed

ELEMENTS_MAX = 200

_AROUND = " \t\r\n\0\ufeff"
"""What may stand before the declaration and behind the root, and means nothing."""
_DECLARED = re.compile(rb"""^[\s\x00\xef\xbb\xbf]*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
# Of the encodings that Python knows, those of one byte a character; others than UTF-8 and UTF-16 are not read.
_ONE_BYTE = re.compile(r"iso8859-\d{1,2}|cp125\d")

_SECTION, _SECTION_END = "<![CDATA[", "]]>"
_TO_REPAIR = re.compile(
    r"&#(?:([0-9]{1,7})|x([0-9A-Fa-f]{1,6}));"
    r"|&(?!(?:amp|lt|gt|quot|apos);)"
    r"|<(?!/?[A-Za-z_][^<>]*>|\?|!--)"
)

# XML can hold neither control characters nor halves of characters. While it is parsed they are private
# characters of plane 16, which no phone writes; then they are themselves again, for the fields to judge.
_CONTROLS = {code: 0x10FE00 + code for code in range(0x20) if chr(code) not in "\t\r\n"}
_HALVES = {code: 0x10F000 + code - 0xD800 for code in range(0xD800, 0xE000)}
_HIDDEN = _CONTROLS | _HALVES | {0xFFFE: 0x10F000, 0xFFFF: 0x10F000}
_SHOWN = {hidden: code for code, hidden in (_CONTROLS | _HALVES).items()}
_BROKEN = "\ud800"
"""What stands for a reference to no character at all."""


def require_xml(body: bytes) -> tuple[Element, bool]:
    """The root element, and whether the document had to be repaired to be read.

    Strictly first. If that fails, once: what is around the document is dropped, a wrong name of an encoding is
    not believed, every bare `&` and every `<` that opens nothing is escaped, and characters that XML forbids
    are read all the same: a pair of halves as its character, others as the control character or the lone
    surrogate that they are, which is U+FFFD in a text and refused in an id. Raises MalformedCallback.
    """
    root = None if _is_misnamed(body) else _parsed(body)
    is_repaired = root is None
    if root is None:
        root = _parsed(_repaired(_decoded(body)))
    if root is None:
        malformed("body", "is not well-formed XML")
    _require_bounded(root)
    if is_repaired:
        for element in root.iter():
            if element.text:
                element.text = element.text.translate(_SHOWN)
    return root, is_repaired


def local_name(element: Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def only_child(path: str, parent: Element, name: str) -> Element | None:
    """The one child of that name; None where there is none. Raises MalformedCallback where there are several.

    Whoever took one of two would lose the gift in the other.
    """
    found = [child for child in parent if local_name(child) == name]
    if len(found) > 1:
        malformed(path, "is given twice")
    return found[0] if found else None


def _decoded(body: bytes) -> str:
    """The characters of a document: in UTF-16 or the one-byte encoding it names if it is that, else UTF-8."""
    start = body.lstrip(b"\r\n\t ")
    if start.startswith((b"\xff\xfe", b"<\0")):
        return encodings.decode_utf16(start, encodings.UTF16_LE)
    if start.startswith((b"\xfe\xff", b"\0<")):
        return encodings.decode_utf16(start, encodings.UTF16_BE)
    codec = _one_byte_codec(body)
    return encodings.decode_or_latin(body) if codec is None or _is_misnamed(body) else body.decode(codec, "replace")


def _one_byte_codec(body: bytes) -> str | None:
    """The encoding of one byte a character that a document names; None where it names another, or none."""
    named = _DECLARED.match(body)
    try:
        codec = codecs.lookup(named[1].decode()).name if named else ""
    except LookupError:
        return None
    return codec if _ONE_BYTE.fullmatch(codec) else None


def _is_misnamed(body: bytes) -> bool:
    """Whether a document names an encoding of one byte a character, and is whole UTF-8: no such text is by chance."""
    return not body.isascii() and _one_byte_codec(body) is not None and encodings.is_utf8(body)


def _repaired(text: str) -> str:
    first, *others = text.strip(_AROUND).split(_SECTION)
    repaired = [_TO_REPAIR.sub(_escaped, first)]
    for each in others:
        # What stands in a section of characters is no markup and is left as it is.
        inside, end, outside = each.partition(_SECTION_END)
        repaired += (_SECTION, inside, end, _TO_REPAIR.sub(_escaped, outside))
    return encodings.joined("".join(repaired)).translate(_HIDDEN)


def _escaped(found: re.Match[str]) -> str:
    decimal, hexadecimal = found.groups()
    if decimal is None and hexadecimal is None:
        return "&amp;" if found[0] == "&" else "&lt;"
    code = int(decimal) if decimal else int(hexadecimal, 16)
    if code in _HIDDEN:
        return chr(code)
    return found[0] if code <= 0x10FFFF else _BROKEN


def _parsed(body: bytes | str) -> Element | None:
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        malformed("body", "holds a document type or an entity")
    except (ParseError, ValueError, LookupError):
        # ValueError and LookupError: an encoding that the declaration names and Python cannot read.
        return None
    return root


def _require_bounded(root: Element) -> None:
    level, elements = [root], 0
    for _ in range(NESTING_MAX):
        elements += len(level)
        if elements > ELEMENTS_MAX:
            malformed("body", f"holds more than {ELEMENTS_MAX} elements")
        level = [child for element in level for child in element]
        if not level:
            return
    malformed("body", f"is nested deeper than {NESTING_MAX}")
