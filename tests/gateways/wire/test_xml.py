"""XML from strangers: bounds, bombs, and the one repair."""

import pytest

from gateways.gateway import MalformedCallback
from gateways.wire.xml import local_name, require_xml

BOMB = b'<!DOCTYPE b [<!ENTITY a "x"><!ENTITY c "&a;&a;&a;">]><b>&c;</b>'
OUTSIDE = b'<!DOCTYPE b [<!ENTITY a SYSTEM "file:///dev/null">]><b>&a;</b>'

REFUSED: dict[str, tuple[bytes, str]] = {
    "a bomb": (BOMB, "holds a document type or an entity"),
    "a file": (OUTSIDE, "holds a document type or an entity"),
    "a bare document type": (b"<!DOCTYPE a><a/>", "holds a document type or an entity"),
    "a bomb behind a repair": (BOMB.replace(b"&c;", b"& &c;"), "holds a document type or an entity"),
    "seventeen deep": (b"<a>" * 17 + b"</a>" * 17, "is nested deeper than 16"),
    "two hundred and one": (b"<a>" + b"<b/>" * 200 + b"</a>", "holds more than 200 elements"),
    "sixty thousand deep": (b"<a>" * 20_000 + b"</a>" * 20_000, "is nested deeper than 16"),
    "nothing": (b"", "is not well-formed XML"),
    "text": (b"VNN 5", "is not well-formed XML"),
    "crossed": (b"<a><b></a></b>", "is not well-formed XML"),
    "a name nobody declared": (b"<x:a/>", "is not well-formed XML"),
    "a control character in a name": (b"<a\x1b>x</a\x1b>", "is not well-formed XML"),
    "a reference in a name": (b"<a&#97;>x</a&#97;>", "is not well-formed XML"),
    "a bomb behind blanks": (b'\n<?xml version="1.0"?>' + BOMB, "is not well-formed XML"),
    "a bomb in the wrong encoding": (b'<?xml version="1.0" encoding="utf-16"?>' + BOMB, "is not well-formed XML"),
    "a bomb behind a NUL": (b"\0" + BOMB, "is not well-formed XML"),
    "seventeen deep behind a repair": (b"<a>" * 17 + b"\x1b" + b"</a>" * 17, "is nested deeper than 16"),
    "a section without end": (b"<a><![CDATA[x</a>", "is not well-formed XML"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_is_not_sound_is_refused_with_a_fixed_reason(label: str) -> None:
    body, reason = REFUSED[label]
    with pytest.raises(MalformedCallback) as caught:
        require_xml(body)
    assert str(caught.value) == f"body: {reason}"


READ: dict[str, tuple[bytes, str, bool]] = {
    "plain": (b"<a>VNN 5</a>", "VNN 5", False),
    "escaped": (b"<a>A&amp;B&#38;&#x26;&apos;</a>", "A&B&&'", False),
    "bare": (b"<a>A&B</a>", "A&B", True),
    "bare at the end": (b"<a>A&</a>", "A&", True),
    "unknown entity": (b"<a>A&copy;</a>", "A&copy;", True),
    "too long a reference": (b"<a>&#12345678;</a>", "&#12345678;", True),
    "heart": (b"<a>I <3 1408</a>", "I <3 1408", True),
    "arrow": (b"<a><- 5</a>", "<- 5", True),
    "both": (b"<a>A&B <3 &lt;</a>", "A&B <3 <", True),
    "latin-1 that says so": (b'<?xml version="1.0" encoding="iso-8859-1"?><a>\xe9</a>', "é", False),
    "utf-16": ('<?xml version="1.0" encoding="utf-16"?><a>ủ</a>'.encode("utf-16"), "ủ", False),
    "a mark of byte order": (b"\xef\xbb\xbf<a>x</a>", "x", False),
    "an emoji as two references": (b"<a>VNN &#55357;&#56832;</a>", "VNN \N{GRINNING FACE}", True),
    "in hexadecimal": (b"<a>&#xD83D;&#xde00;</a>", "\N{GRINNING FACE}", True),
    "half of it": (b"<a>VNN &#55357;</a>", "VNN \ud83d", True),
    "an emoji as two halves in utf-8": (b"<a>\xed\xa0\xbd\xed\xb8\x80</a>", "\N{GRINNING FACE}", True),
    "an escape": (b"<a>VNN\x1b 5</a>", "VNN\x1b 5", True),
    "an escape by reference": (b"<a>VNN&#x1b; 5&#11;</a>", "VNN\x1b 5\x0b", True),
    "NUL": (b"<a>V\0NN&#0;</a>", "V\0NN\0", True),
    "beyond the last character": (b"<a>x&#1114112;</a>", "x\ud800", True),
    "no character": (b"<a>x\xef\xbf\xbf&#xFFFE;</a>", "x\ud800\ud800", True),
    "latin-1 that claims nothing": (b"<a>\xe9</a>", "é", True),
    "latin-1 that claims utf-8": (b'<?xml version="1.0" encoding="utf-8"?><a>\xe9</a>', "é", True),
    "one broken byte": ("<a>ủng hộ ".encode() + b"\xe9</a>", "ủng hộ \udce9", True),
    "a line before the declaration": (b'\r\n <?xml version="1.0"?><a>x</a>', "x", True),
    "two marks": (b'\xef\xbb\xbf\xef\xbb\xbf<?xml version="1.0"?><a>x</a>', "x", True),
    "NUL at the end": (b"<a>x</a>\0", "x", True),
    "utf-8 that says utf-16": ('<?xml version="1.0" encoding="utf-16"?><a>ủ</a>'.encode(), "ủ", True),
    "utf-8 that says iso-8859-1": ('<?xml version="1.0" encoding="ISO-8859-1"?><a>gửi</a>'.encode(), "gửi", True),
    "utf-8 that says windows-1258": ('<?xml version="1.0" encoding="windows-1258"?><a>ủ&</a>'.encode(), "ủ&", True),
    "latin-1 that looks like a part of utf-8": (
        b'<?xml version="1.0" encoding="latin1"?><a>l\xe0\xa05</a>',
        "là\xa05",
        False,
    ),
    "an encoding nobody has": ('<?xml version="1.0" encoding="klingon"?><a>ủ</a>'.encode(), "ủ", True),
    "a codec of another kind": (b'<?xml version="1.0" encoding="zip"?><a>x</a>', "x", True),
    "utf-7 is not read": (b'<?xml version="1.0" encoding="utf-7"?><a>+ADw-b+AD4-</a>', "+ADw-b+AD4-", True),
    "windows-1258 with an ampersand": (b'<?xml version="1.0" encoding="windows-1258"?><a>&\xd0</a>', "&\u0110", True),
    "utf-16 with an escape": ("\ufeff<a>ủ\x1b</a>".encode("utf-16-le"), "ủ\x1b", True),
    "utf-16 without a mark, with an ampersand": ("<a>&ủ</a>".encode("utf-16-be"), "&ủ", True),
    "a section beside a repair": (b"<a><![CDATA[A&B &#27; <3]]>&</a>", "A&B &#27; <3&", True),
}


@pytest.mark.parametrize("label", READ)
def test_a_text_is_read_and_a_repair_is_told(label: str) -> None:
    body, text, is_repaired = READ[label]
    root, repaired = require_xml(body)
    assert (root.text, repaired) == (text, is_repaired)


def test_bounds_are_inclusive() -> None:
    deepest, _ = require_xml(b"<a>" * 16 + b"</a>" * 16)
    assert len(list(deepest.iter())) == 16
    most, _ = require_xml(b"<a>" + b"<b/>" * 199 + b"</a>")
    assert len(most) == 199


def test_a_local_name_is_without_namespace() -> None:
    root, _ = require_xml(b'<p:a xmlns:p="urn:x"><b/></p:a>')
    assert [local_name(root), local_name(root[0])] == ["a", "b"]
