"""portal1400 apply: shown before, asked, kept with who applied it; and portal1400 history."""

import json
import os
import sys
from pathlib import Path

import pytest

from service.cli import main
from tests.support.portal import BOOK, PATH_SECRET

Capture = pytest.CaptureFixture[str]
SHOWN = ("campaign vnn: added", "Donors would be told:", '"VNN 5" to 1408 gives 100,000 VND', "unusual: ")


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The book of the tests: a window of years is unusual."""
    path = tmp_path / "book.toml"
    path.write_text(BOOK, encoding="utf-8")
    return str(path)


def test_a_file_is_shown_asked_about_applied_and_kept(
    environ: pytest.MonkeyPatch, file: str, capsys: Capture
) -> None:
    for way in (["--dry-run"], []):
        assert main(["apply", *way, file]) == (0 if way else 1)
        said = capsys.readouterr()
        for part in (
            "campaign vnn: added",
            "Donors would be told:",
            '"VNN 5" to 1408 gives 100,000 VND',
            "unusual: ",
        ):
            assert part in said.out, way
        assert ("say --yes" in said.err) == (not way)
    assert main(["apply", "--dry-run", "--lang", "vi", file]) == 0
    assert 'soạn "VNN 5" gửi 1408: ủng hộ 100.000 đồng' in capsys.readouterr().out
    assert main(["apply", "--json", file]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["applied"], bool(told["unusual"]), bool(told["told"])) == (False, True, True)
    assert main(["history"]) == 0
    assert capsys.readouterr().out == ""

    assert main(["apply", "--yes", "--by", "Nguyễn Văn A", file]) == 0
    capsys.readouterr()
    assert main(["apply", file]) == 0
    assert capsys.readouterr().out == "nothing changed\n"

    assert main(["history", "--json"]) == 0
    (kept,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (kept["version"], kept["by"]) == (1, "Nguyễn Văn A")
    assert any("gateway hub: added" in each for each in kept["changes"])
    assert main(["history", "--file", "1"]) == 0
    content = capsys.readouterr().out
    assert "(secret, left out)" in content
    assert not any(each in content for each in ("whsec_", PATH_SECRET, "a-password-for-tests"))
    assert main(["history", "--file", "2"]) == 1


def test_a_gateway_is_what_the_file_says(environ: pytest.MonkeyPatch, file: str, capsys: Capture) -> None:
    assert main(["apply", "--yes", file]) == 0
    off = BOOK.replace('adapter = "standard"', 'adapter = "standard"\nenabled = false', 1)
    Path(file).write_text(off, encoding="utf-8")
    capsys.readouterr()
    assert main(["apply", file]) == 1
    assert "takes the gateway off" in capsys.readouterr().out
    assert main(["apply", "--yes", file]) == 0
    assert "gateway hub is off: it takes no callbacks" in capsys.readouterr().out
    Path(file).write_text(BOOK, encoding="utf-8")
    assert main(["apply", file]) == 0
    assert "gateway hub is on" in capsys.readouterr().out


def test_a_refusal_is_in_the_language_of_the_environment(
    environ: pytest.MonkeyPatch, file: str, capsys: Capture
) -> None:
    Path(file).write_text(BOOK.replace('organiser = "mttq"', 'organiser = "MTTQ"', 1), encoding="utf-8")
    environ.setenv("LC_ALL", "vi_VN.UTF-8")
    assert main(["apply", file]) == 1
    assert 'có phải ý bạn là "mttq"?' in capsys.readouterr().err
    assert main(["apply", "--lang", "en", file]) == 1
    assert 'did you mean "mttq"?' in capsys.readouterr().err


def test_who_reads_no_further_is_not_told_that_nothing_was_applied(
    environ: pytest.MonkeyPatch, file: str, capsys: Capture
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as nobody, environ.context() as output:
        output.setattr(sys, "stdout", nobody)
        assert main(["apply", "--yes", file]) == 1
    assert capsys.readouterr().err == ""
    assert main(["history"]) == 0
    assert capsys.readouterr().out.startswith("version 1,")
