"""The keyed digest: it tells contents apart, and never changes."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateways.wire.digest import keyed_digest
from gateways.wire.fields import VIETNAM

KEY = b"k" * 32


@given(st.lists(st.text(max_size=5) | st.none() | st.integers(), max_size=4), st.data())
def test_two_lists_of_fields_never_share_a_digest(first: list[str | int | None], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.text(max_size=5) | st.none() | st.integers(), max_size=4))
    # A number and its digits stand for the same content; fields have one type each.
    plain = [[value if value is None else str(value) for value in values] for values in (first, second)]
    same = keyed_digest(KEY, "x", *first) == keyed_digest(KEY, "x", *second)
    assert same == (plain[0] == plain[1])


def test_a_digest_tells_fields_apart() -> None:
    rows: list[tuple[str | int | None, ...]] = [
        ("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("abc", None), (None, "abc"), ("", "abc"),
        ("1:a", "b"), ("1", "a,1:b"), ("-", "abc"), ("a,1:b",),
    ]  # fmt: skip
    digests = [keyed_digest(KEY, "m", *row) for row in rows]
    digests += [keyed_digest(KEY, "other", "abc"), keyed_digest(b"x" * 32, "m", "abc")]
    assert len(set(digests)) == len(digests)


def test_a_digest_never_changes() -> None:
    # What was stored years ago must still be recognised.
    at = datetime(2026, 11, 21, 15, 30, tzinfo=VIETNAM)
    digest = keyed_digest(KEY, "message", "84950000001", "VNN 5", None, 7, at)
    assert digest == keyed_digest(KEY, "message", "84950000001", "VNN 5", None, 7, at.astimezone(UTC))
    assert digest.hex() == "341d457a5473db28214a9c57179d1b9b7e8dc040ecda33cff67ced304add44fd"
