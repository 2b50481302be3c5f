"""Numbers, codes, times and texts: tables of what is read and what is refused."""

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
    "nul": ("a\x00b", "ab", ("text_repaired",)),
    "half a character": ("a\ud83d", "a\ufffd", ("text_repaired",)),
    "nothing but nul": ("\x00" * 1001, "", ("text_repaired",)),
    "five behind a thousand nul": ("VNN" + "\x00" * 1000 + " 5", "VNN 5", ("text_repaired",)),
    "both": ("\ud83d" * 1001, "\ufffd" * 1000, ("text_cut", "text_repaired")),
    "other controls": ("\x1bVNN\x07", "\x1bVNN\x07", ()),
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
