"""Numbers, codes, times, texts, digests and strict JSON: tables of what is read and what is refused."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.gateway import MalformedCallback
from gateways.wire import fields

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1408", "1408"),
        ("+1408", "1408"),
        ("tel:1408", "1408"),
        ("TEL:+841408", "1408"),
        ("841408", "1408"),
        ("+841408", "1408"),
        ("8408", "8408"),
        ("8484", "8484"),
        ("848408", "8408"),
        ("84123", "123"),
        ("123", "123"),
        ("123456", "123456"),
        ("84123456", "123456"),
    ],
)
def test_a_short_code_is_its_digits(written: str, meant: str) -> None:
    assert fields.require_short_code("to", written) == meant


@pytest.mark.parametrize(
    "written", ["", "12", "1234567", "84", "tel:", "14 08", "١٤٠٨", "1408\n", "0x1408", "++1408"]
)
def test_anything_else_is_no_short_code(written: str) -> None:
    with pytest.raises(MalformedCallback) as caught:
        fields.require_short_code("to", written)
    assert str(caught.value) == "to: is not a short code of 3 to 6 digits"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-21T15:30:00+07:00", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("2026-11-21T08:30:00Z", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("2026-11-21t08:30:00z", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("2026-11-21 15:30:00", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("2026-11-21T15:30:00.5", datetime(2026, 11, 21, 8, 30, 0, 500000, tzinfo=UTC)),
        ("2026-11-21T08:30:00.123456789Z", datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC)),
        ("2000-01-01T00:00:00", datetime(1999, 12, 31, 17, tzinfo=UTC)),
        ("2100-12-31T23:59:59Z", datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-21T23:59:59", datetime(2026, 11, 21, 16, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_aware_and_vietnamese_without_a_zone(written: str, meant: datetime) -> None:
    assert fields.require_time("at", written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2026-11-21",
        "15:30",
        "20261121T153000Z",
        "2026-W47-6T00:00:00",
        "2026-11-21T15:30Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T15:30:60Z",
        "2026-02-29T00:00:00Z",
        "2026-11-21T15:30:00+0700",
        "2026-11-21T15:30:00 Z",
        "2026-11-21T15:30:00+24:00",
        "٢٠٢٦-11-21T15:30:00Z",
        "1999-12-31T23:59:59Z",
        "2101-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-21T15:30:00Z\n",
        "1795249800",
    ],
)
def test_anything_else_is_no_time(written: str) -> None:
    with pytest.raises(MalformedCallback):
        fields.require_time("at", written)


@given(at=st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30)), minutes=st.integers(-840, 840))  # noqa: DTZ001 -- zone below
def test_every_written_time_is_read_back(at: datetime, minutes: int) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert fields.require_time("at", aware.isoformat()) == aware


TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "as it is": ("VNN 5\t\r\n", "VNN 5\t\r\n", ()),
    "a thousand": ("x" * 1000, "x" * 1000, ()),
    "a thousand and one": ("x" * 1001, "x" * 1000, ("text_cut",)),
    "nul": ("a\x00b", "a\ufffdb", ("text_repaired",)),
    "half a character": ("a\ud83d", "a\ufffd", ("text_repaired",)),
    "both": ("\x00" * 1001, "\ufffd" * 1000, ("text_cut", "text_repaired")),
    "whole emoji": ("😀", "😀", ()),
}


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_is_made_storable_and_says_so(label: str) -> None:
    written, kept, flags = TEXTS[label]
    assert fields.storable_text(written) == (kept, flags)


@given(st.text(max_size=30) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=5))
def test_whatever_was_texted_can_be_stored(text: str) -> None:
    kept, _ = fields.storable_text(text)
    assert "\x00" not in kept.encode().decode()


@pytest.mark.parametrize("value", ["", "x" * 201, "a\nb", "a\x00", "\x9f", "\ud800", "\x7f"])
def test_a_short_field_that_cannot_be_stored_is_refused(value: str) -> None:
    with pytest.raises(MalformedCallback):
        fields.require_short_field("id", value)


def test_a_short_field_is_kept_as_it_is() -> None:
    for value in (" a ", "x" * 200, "ủ" * 200, "\u2028", "😀"):
        assert fields.require_short_field("id", value) == value


@given(st.lists(st.text(max_size=5) | st.none() | st.integers(), max_size=4), st.data())
def test_two_lists_of_fields_never_share_a_digest(first: list[str | int | None], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.text(max_size=5) | st.none() | st.integers(), max_size=4))
    # A number and its digits stand for the same content; fields have one type each.
    plain = [[value if value is None else str(value) for value in values] for values in (first, second)]
    same = fields.keyed_digest(KEY, "x", *first) == fields.keyed_digest(KEY, "x", *second)
    assert same == (plain[0] == plain[1])


def test_a_digest_tells_fields_apart() -> None:
    rows: list[tuple[str | int | None, ...]] = [
        ("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("abc", None), (None, "abc"), ("", "abc"),
        ("1:a", "b"), ("1", "a,1:b"), ("-", "abc"), ("a,1:b",),
    ]  # fmt: skip
    digests = [fields.keyed_digest(KEY, "m", *row) for row in rows]
    digests += [fields.keyed_digest(KEY, "other", "abc"), fields.keyed_digest(b"x" * 32, "m", "abc")]
    assert len(set(digests)) == len(digests)


def test_a_digest_never_changes() -> None:
    # What was stored years ago must still be recognised.
    at = datetime(2026, 11, 21, 15, 30, tzinfo=fields.VIETNAM)
    digest = fields.keyed_digest(KEY, "message", "84950000001", "VNN 5", None, 7, at)
    assert digest == fields.keyed_digest(KEY, "message", "84950000001", "VNN 5", None, 7, at.astimezone(UTC))
    assert digest.hex() == "341d457a5473db28214a9c57179d1b9b7e8dc040ecda33cff67ced304add44fd"


NOT_STRICT: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not JSON"),
    "a comma too many": (b"[1,]", "is not JSON"),
    "two values": (b"1 2", "is not JSON"),
    "a mark of byte order": (b"\xef\xbb\xbf{}", "is not JSON"),
    "a bare line break": (b'"a\nb"', "is not JSON"),
    "single quotes": (b"{'a':1}", "is not JSON"),
    "latin-1": (b'"\xe9"', "is not UTF-8"),
    "utf-16": ('"a"'.encode("utf-16"), "is not UTF-8"),
    "overlong": (b'"\xc0\xaf"', "is not UTF-8"),
    "a surrogate in utf-8": (b'"\xed\xa0\x80"', "is not UTF-8"),
    "a high surrogate alone": (b'"\\ud83d"', "is not JSON"),
    "a low surrogate alone": (b'"\\uDE00x"', "is not JSON"),
    "a surrogate in a key": (b'{"\\ud83d":1}', "is not JSON"),
    "one key twice": (b'{"a":1,"a":1}', "gives one key twice"),
    "one key twice, written otherwise": (b'{"a":1,"\\u0061":2}', "gives one key twice"),
    "one key twice, deep": (b'[{"x":{"a":1,"b":2,"a":3}}]', "gives one key twice"),
    "not a number": (b'{"a":NaN}', "holds NaN or an infinity"),
    "infinity": (b"[-Infinity]", "holds NaN or an infinity"),
    "2^63": (b"[9223372036854775808]", "holds an integer beyond 64 bits"),
    "below": (b"[-9223372036854775809]", "holds an integer beyond 64 bits"),
    "a googol": (b"1" + b"0" * 100, "holds an integer beyond 64 bits"),
    "a million digits": (b"9" * 1_000_000, "holds an integer beyond 64 bits"),
    "seventeen deep": (b"[" * 17 + b"]" * 17, "is nested deeper than 16"),
    "seventeen objects deep": (b'{"a":' * 17 + b"1" + b"}" * 17, "is nested deeper than 16"),
    "endlessly deep": (b"[" * 1_000_000, "is nested deeper than 16"),
}


@pytest.mark.parametrize("label", NOT_STRICT)
def test_json_is_read_without_leniency(label: str) -> None:
    body, reason = NOT_STRICT[label]
    with pytest.raises(MalformedCallback) as caught:
        fields.require_json(body)
    assert str(caught.value) == f"body: {reason}"


@pytest.mark.parametrize(
    "body",
    [
        b" {} ",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"1.5e3",
        b'"\\ud83d\\ude00"',
        b'"\\\\ud83d"',
        b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}',
        b"[" * 16 + b"]" * 16,
        '{"ủ":"hộ"}'.encode(),
    ],
)
def test_json_that_is_right_is_read_as_everybody_reads_it(body: bytes) -> None:
    assert fields.require_json(body) == json.loads(body)


def written(value: object) -> str:
    """JSON text of what `documents` makes, where an object is a list of pairs, so that a key can come twice."""
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{written(key)} :{written(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(member) for member in value) + "]"
    return json.dumps(value, ensure_ascii=isinstance(value, str) and len(value) % 2 == 0)


WORDS = st.text(st.sampled_from('ab":\\\n\u1ee7'), max_size=3)
NUMBERS = st.sampled_from([0, -1, 1.5, -0.0, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1])
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(WORDS, inner), max_size=3).map(tuple)),
)


@given(DOCUMENTS)
def test_the_fast_reader_takes_nothing_that_the_strict_one_reads_otherwise(document: object) -> None:
    body = written(document).encode()
    value = fields._plain_json(body)
    if value is not None:
        strict = fields._strict_json(body)
        # repr, for 1 and 1.0 and True are equal.
        assert repr(value) == repr(strict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"message.received","data":{"text":"VNN 5","parts":2,"carrier":null}}',
        b'{"type":"batch","data":[{"a" : 1},{"a" : 2}]}',
        '{"text":"ủng hộ: \\"VNN\\"\\n5"}'.encode(),
    ],
)
def test_what_senders_usually_write_takes_the_fast_reader(body: bytes) -> None:
    assert fields._plain_json(body) == json.loads(body)
