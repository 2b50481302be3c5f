"""Bytes into characters: what is UTF-8 in spite of damage, what is Latin-1, and which way round UTF-16 is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.wire import encodings

UNNAMED: dict[str, tuple[bytes, str]] = {
    "utf-8": ("ủng hộ".encode(), "ủng hộ"),
    "latin-1": (b"VNN \xe9", "VNN é"),
    "latin-1 with more": (b"\xe9t\xe9 \xa7", "été §"),
    "a whole character and a broken byte": (b"\xc3\xa9 \xe9", "é \udce9"),
    "cut in a character": (b"5 \xf0\x9f\x98", "5 \udcf0\udc9f\udc98"),
    "the rest of one": (b"\x98\x80 \xc3\xa9", "\udc98\udc80 é"),
    "halves": (b"\xed\xa0\xbd\xed\xb8\x80", "\N{GRINNING FACE}"),
    "the second half alone": (b"\xed\xb8\x80", "\ude00"),
    "halves the wrong way round": (b"\xed\xb8\x80\xed\xa0\xbd", "\ude00\ud83d"),
    "the NUL of Java": (b"a\xc0\x80", "a\0"),
    "overlong is nothing": (b"\xc0\xae", "\udcc0\udcae"),
    "utf-16": (b"\0V\0N\0N", "VNN"),
    "utf-16, the other way": (b"V\0N\0N\0", "VNN"),
    "utf-16 with a mark": (b"\xff\xfeV\0", "V"),
    "odd": (b"\0V\0", "\0V\0"),
    "NUL on both sides": (b"\0\0\0V", "\0\0\0V"),
    "a NUL between letters": (b"VN\0N", "VN\0N"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize("label", UNNAMED)
def test_a_text_without_an_encoding_is_read_as_it_can_only_be_meant(label: str) -> None:
    raw, meant = UNNAMED[label]
    assert encodings.decode_unnamed(raw) == meant


@given(st.binary(max_size=40))
def test_damaged_utf_8_loses_no_byte_and_always_decodes(raw: bytes) -> None:
    text = encodings.decode_utf8(raw)
    encodings.decode_unnamed(raw)
    if not encodings._HALVES.search(raw.decode("utf-8", "surrogateescape")):
        assert text.encode("utf-8", "surrogateescape") == raw


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_is_sound_is_read_as_it_is(text: str) -> None:
    assert encodings.decode_utf8(text.encode()) == text
    assert encodings.joined(text) == text
    for codec, mark in (("utf-16-be", b"\xfe\xff"), ("utf-16-le", b"\xff\xfe")):
        other = "utf-16-le" if codec == "utf-16-be" else "utf-16-be"
        assert encodings.decode_utf16(mark + text.encode(codec), other) == text
