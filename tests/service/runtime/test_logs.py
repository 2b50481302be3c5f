"""A log call raises nothing, whatever it is given; its line is redacted and readable in both formats."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest
import structlog

from service.runtime import logs


class Hostile:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("0912345678")


@pytest.fixture
def log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the log goes; everything about logging is put back afterwards."""
    for name in ("sys.unraisablehook", "threading.excepthook"):
        owner, attribute = name.split(".")
        module = __import__(owner)
        monkeypatch.setattr(module, attribute, getattr(module, attribute))
    yield tmp_path / "log"
    logs.close()
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"value": Hostile()},
        {"value": "half a character \ud83c"},
        {"value": 2**80},
        {"value": float("nan")},
        {"value": b"\xff"},
        {"value": {1: {2: object()}}},
        {"exc_info": True},
    ],
    ids=lambda fields: next(iter(fields)) + "-" + type(next(iter(fields.values()))).__name__,
)
def test_whatever_is_logged_raises_nothing_and_leaves_a_line(
    log_format: Literal["json", "console"], fields: dict[str, Any], log_file: Path
) -> None:
    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure(log_format, stream)
        structlog.get_logger("any").warning("happened", **fields)
        logs.close()
    written = log_file.read_bytes()
    assert b"happened" in written
    assert b"0912345678" not in written
    if log_format == "json":
        assert orjson.loads(written)["level"] in {"warning", "error"}


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("is_journal", [True, False])
def test_every_line_for_the_journal_begins_with_its_priority(
    log_format: Literal["json", "console"], is_journal: bool, log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log_file.open("w", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino if is_journal else 0}")
        logs.configure(log_format, stream)
        log = structlog.get_logger("any")
        for level, event in (("info", "one"), ("warning", "two\nlines"), ("error", "three"), ("critical", "four")):
            getattr(log, level)(event)
        logs.close()
    lines = log_file.read_text(encoding="utf-8").splitlines()
    expected = ["<6>", "<4>", *(["<4>"] if log_format == "console" else []), "<3>", "<2>"]
    assert [line[:3] if line.startswith("<") else "" for line in lines] == (
        expected if is_journal else [""] * len(expected)
    )


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_id_of_our_own_stands_in_a_line_whatever_its_digits(
    log_format: Literal["json", "console"], log_file: Path
) -> None:
    like_a_number = UUID("01890a5d-ac96-774b-bcce-a0912345678b")
    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure(log_format, stream)
        structlog.get_logger("any").warning(
            "happened", request=like_a_number, said=f"x{like_a_number}", told="a0912345678b"
        )
        logs.close()
    written = log_file.read_text(encoding="utf-8")
    assert str(like_a_number) in written
    assert written.count("0912345678") == 2, "also where it stands in a text"
    assert "a[redacted]b" in written, "the same digits in any other word are redacted"


def test_what_python_itself_would_print_is_a_line_without_its_message(log_file: Path) -> None:
    class Failing:
        def __del__(self) -> None:
            raise RuntimeError("quotes 0912345678")

    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure("json", stream)
        Failing()
        logs.close()
    (line,) = map(orjson.loads, log_file.read_bytes().splitlines())
    assert (line["event"], line["error"]) == ("library_complained", "RuntimeError")
    assert b"0912345678" not in log_file.read_bytes()


def test_a_process_without_standard_error_logs_into_nothing(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not log_file.exists()
    monkeypatch.setattr("sys.stderr", None)
    logs.configure("json")
    structlog.get_logger("any").warning("happened")
    assert logs.lines_lost() == 0
