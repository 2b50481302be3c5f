"""Form data: what stands under a name, once, and what of it is nobody's."""

import pytest

from gateways.gateway import MalformedCallback
from gateways.wire.form import Form, query_bytes


def test_a_plus_is_a_blank_before_anything_is_decoded() -> None:
    form = Form.of_query("a=1+%2B+2&b=%zz&c=&&d")
    assert {name: form.raw(name) for name in "abcd"} == {"a": b"1 + 2", "b": b"%zz", "c": b"", "d": b""}
    assert form.raw("e") == b""


def test_a_body_is_read_like_a_query() -> None:
    assert Form.of_body(b"a=%E1%BB%A7&b=2\r\n").values == {"a": "ủ".encode(), "b": b"2"}


def test_bytes_that_are_not_utf_8_stay_what_they_were() -> None:
    assert query_bytes("a=\udcff") == b"a=\xff"
    assert query_bytes("ủ") == "ủ".encode()
    assert query_bytes("\ud800") == b"\xed\xa0\x80"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("b=1", "is missing"),
        ("a=", "is missing"),
        ("a=++", "is missing"),
        ("a=1&a=1", "is given twice"),
        ("a=%FF", "is not UTF-8"),
        ("a=%09", "holds a control character or half of a character"),
        ("a=" + "x" * 201, "must have 1 to 200 characters"),
    ],
)
def test_a_required_field_is_there_once_and_readable(query: str, reason: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        Form.of_query(query).required("a")
    assert [(error.path, error.reason) for error in caught.value.errors] == [("query.a", reason)]


def test_an_optional_field_that_cannot_be_read_is_left_out() -> None:
    for query, flagged in {"a=1": 0, "b=1": 0, "a=": 0, "a=%FF": 1, "a=1&a=2": 1}.items():
        flags: list[str] = []
        found = Form.of_query(query).optional("a", flags)
        assert (found, len(flags)) == ("1" if query == "a=1" else None, flagged), query


def test_a_text_may_be_empty_but_not_absent_or_twice() -> None:
    assert Form.of_query("a=").text("a") == b""
    for query in ("b=1", "a=1&a=1"):
        with pytest.raises(MalformedCallback):
            Form.of_query(query).text("a")
