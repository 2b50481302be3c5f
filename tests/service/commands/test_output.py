"""What a command says when nobody can hear it, or when what it is given is beyond all measure: never a traceback."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from service.cli import main
from tests.support.processes import ROOT, SERVICE

BOOK = Path(__file__).parents[2] / "campaigns" / "book" / "book.toml"
Capture = pytest.CaptureFixture[str]
READ = [*SERVICE, "read", "--book", str(BOOK)]


def test_a_closed_pipe_is_no_error_to_tell() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*READ, "1408", "VNN 5"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(sys.platform != "linux", reason="has /dev/full")
def test_an_output_without_room_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*READ, "1408", "VNN 5"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("portal1400: the output cannot be written (No space left on device)")
    assert done.stderr.count("\n") == 1


def test_a_line_nested_beyond_all_measure_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("[" * 100_000))
    assert main(["read", "--book", str(BOOK), "--stdin"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("portal1400: standard input, line 1: not JSON, or too deeply nested")
    assert said.count("\n") == 1


def test_a_data_folder_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("PORTAL1400_DATABASE_URL", raising=False)
    # As Python reads a variable that is not UTF-8.
    monkeypatch.setenv("PORTAL1400_DATA_DIR", os.fsdecode(b"da\xffta"))
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", "x" * 32)
    assert main(["check"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("portal1400: PORTAL1400_DATA_DIR: is not text in UTF-8")


def test_a_refusal_that_goes_to_the_journal_is_an_error_there(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as said:
        found = os.fstat(said.fileno())
        environ = os.environ | {
            "PORTAL1400_DATA_DIR": "",
            "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
        }
        done = subprocess.run([*SERVICE, "check"], cwd=ROOT, env=environ, stderr=said, timeout=60, check=False)
        said.seek(0)
        lines = said.read().splitlines()
    assert done.returncode == 1
    assert lines
    assert all(line.startswith("<3>portal1400: ") for line in lines)
