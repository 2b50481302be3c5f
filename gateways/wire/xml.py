"""XML from strangers: no document types, no entities, bounded; and the one repair that hubs make necessary.

Some hubs put a donor's text into their template without escaping it, so that `A&B` arrives as XML that is
not well-formed.
"""

import re
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateways.wire.fields import NESTING_MAX, malformed

ELEMENTS_MAX = 200

_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_STRAY_LESS_THAN = re.compile(rb"<(?!/?[A-Za-z_][^<>]*>|\?|!--|!\[CDATA\[)")


def require_xml(body: bytes) -> tuple[Element, bool]:
    """The root element, and whether the text had to be repaired to be read.

    Strictly first; if that fails, every bare `&` and every `<` that opens nothing is escaped, once. Raises
    MalformedCallback.
    """
    root = _parsed(body)
    is_repaired = root is None
    if root is None:
        # Ampersands first: the other repair brings new ones.
        root = _parsed(_STRAY_LESS_THAN.sub(b"&lt;", _BARE_AMPERSAND.sub(b"&amp;", body)))
    if root is None:
        malformed("body", "is not well-formed XML")
    _require_bounded(root)
    return root, is_repaired


def local_name(element: Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _parsed(body: bytes) -> Element | None:
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
