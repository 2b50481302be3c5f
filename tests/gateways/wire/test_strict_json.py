"""Strict JSON: what is refused, and that the fast reader reads nothing otherwise than the strict one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.gateway import MalformedCallback
from gateways.wire import strict_json

NOT_STRICT: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not JSON"),
    "a comma too many": (b"[1,]", "is not JSON"),
    "two values": (b"1 2", "is not JSON"),
    "two marks of byte order": (b"\xef\xbb\xbf\xef\xbb\xbf{}", "is not JSON"),
    "a mark behind": (b"{}\xef\xbb\xbf", "is not JSON"),
    "a line break outside a string": (b'{"a"\x0b:1}', "is not JSON"),
    "half an escape": (b'"\\ud8"', "is not JSON"),
    "a broken byte outside a string": (b"[1,\xe9]", "is not UTF-8"),
    "single quotes": (b"{'a':1}", "is not JSON"),
    "utf-16": ('"a"'.encode("utf-16"), "is not UTF-8"),
    "not a number": (b'{"a":NaN}', "holds NaN or an infinity"),
    "infinity": (b"[-Infinity]", "holds NaN or an infinity"),
    "a million digits and a comma": (b"9" * 1_000_000 + b",", "is not JSON"),
    "seventeen deep": (b"[" * 17 + b"]" * 17, "is nested deeper than 16"),
    "seventeen objects deep": (b'{"a":' * 17 + b"1" + b"}" * 17, "is nested deeper than 16"),
    "endlessly deep": (b"[" * 1_000_000, "is nested deeper than 16"),
}


@pytest.mark.parametrize("label", NOT_STRICT)
def test_json_is_read_without_leniency(label: str) -> None:
    body, reason = NOT_STRICT[label]
    with pytest.raises(MalformedCallback) as caught:
        strict_json.require_json(body)
    assert str(caught.value) == f"body: {reason}"


TWICE, BEYOND = strict_json.TWICE, strict_json.BEYOND
FORGIVEN: dict[str, tuple[bytes, object]] = {
    "a mark of byte order": (b"\xef\xbb\xbf{}", {}),
    "NUL behind": (b"[1] \0\0\n", [1]),
    "a bare line break": (b'"a\nb"', "a\nb"),
    "a bare NUL": (b'"a\0b"', "a\0b"),
    "latin-1": (b'"\xe9"', "\udce9"),
    "overlong": (b'"\xc0\xaf"', "\udcc0\udcaf"),
    "an emoji as two halves": (b'"\xed\xa0\xbd\xed\xb8\x80"', "\N{GRINNING FACE}"),
    "a high surrogate alone": (b'"\\ud83d"', "\ud83d"),
    "a low surrogate alone": (b'"\\uDE00x"', "\ude00x"),
    "a surrogate in a key": (b'{"\\ud83d":1}', {"\ud83d": 1}),
    "one key twice": (b'{"a":1,"a":1,"b":2}', {"a": TWICE, "b": 2}),
    "one key three times": (b'{"a":1,"a":{},"a":null}', {"a": TWICE}),
    "one key twice, written otherwise": (b'{"a":1,"\\u0061":2}', {"a": TWICE}),
    "one key twice, deep": (b'[{"x":{"a":1,"b":2,"a":3}}]', [{"x": {"a": TWICE, "b": 2}}]),
    "2^63": (b"[9223372036854775808]", [BEYOND]),
    "below": (b"[-9223372036854775809]", [BEYOND]),
    "a googol": (b"1" + b"0" * 100, BEYOND),
    "a million digits": (b"9" * 1_000_000, BEYOND),
}


@pytest.mark.parametrize("label", FORGIVEN)
def test_what_need_not_cost_a_gift_is_left_to_the_field_that_holds_it(label: str) -> None:
    body, value = FORGIVEN[label]
    assert strict_json.require_json(body) == value


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
    assert strict_json.require_json(body) == json.loads(body)


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
    value = strict_json._plain_json(body)
    if value is not None:
        strict = strict_json._strict_json(body)
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
    assert strict_json._plain_json(body) == json.loads(body)
