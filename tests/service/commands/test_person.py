"""What people type on the command line and is kept for ever: no number of anybody is in it."""

import argparse

import pytest

from service.commands.person import name, reason

FULL_WIDTH = "".join(map("０１２３４５６７８９".__getitem__, (0, 9, 1, 2, 3, 4, 5, 6, 7, 8)))
WRITTEN = ("0912345678", "0912/345/678", "0912_345_678", "0912,345,678", "912345678", "o912345678", FULL_WIDTH)


@pytest.mark.parametrize("written", WRITTEN)
def test_a_reason_is_kept_without_a_number_and_a_name_with_one_is_refused(written: str) -> None:
    assert reason(f" theo yêu cầu của {written}, 17/2026 ") == "theo yêu cầu của [redacted], 17/2026"
    with pytest.raises(argparse.ArgumentTypeError, match="no phone number") as refused:
        name(f"Lan {written}")
    assert written not in str(refused.value)
    assert name(" Lan Anh ") == "Lan Anh"


@pytest.mark.parametrize("unfit", ["", "  ", "a\nb", "a\u202eb", "x" * 501])
def test_what_is_no_line_is_no_reason_and_no_name(unfit: str) -> None:
    for taken in (name, reason):
        with pytest.raises(argparse.ArgumentTypeError, match="of 1 to"):
            taken(unfit)
