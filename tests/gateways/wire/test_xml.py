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
    "an encoding nobody has": (b'<?xml version="1.0" encoding="klingon"?><a/>', "is not well-formed XML"),
    "a codec of another kind": (b'<?xml version="1.0" encoding="zip"?><a/>', "is not well-formed XML"),
    "latin-1 that claims nothing": (b"<a>\xe9</a>", "is not well-formed XML"),
    "a control character": (b"<a>&#0;</a>", "is not well-formed XML"),
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
}


@pytest.mark.parametrize("label", READ)
def test_a_text_is_read_and_a_repair_is_told(label: str) -> None:
    body, text, is_repaired = READ[label]
    root, repaired = require_xml(body)
    assert (root.text, repaired) == (text, is_repaired)


def test_bounds_are_inclusive() -> None:
    require_xml(b"<a>" * 16 + b"</a>" * 16)
    require_xml(b"<a>" + b"<b/>" * 199 + b"</a>")


def test_a_local_name_is_without_namespace() -> None:
    root, _ = require_xml(b'<p:a xmlns:p="urn:x"><b/></p:a>')
    assert [local_name(root), local_name(root[0])] == ["a", "b"]
