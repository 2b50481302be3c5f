"""Commands: what they print, their exit codes, and a sentence for everything that stands in their way."""

import argparse
import asyncio
import json
import os
import re
import socket
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import asyncpg
import orjson
import pytest

from campaigns.schema.migrate import shipped_migrations
from service.cli import COMMANDS, main
from service.commands.apply import apply_file
from service.commands.person import reason
from service.runtime.keyring import Keyring
from tests.support.portal import BOOK, SECRET_KEY, Portal, message, within
from tests.support.postgres import TestServer

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def book_file(tmp_path: Path) -> Path:
    """The tests' book as a file."""
    path = tmp_path / "book.toml"
    path.write_text(BOOK, encoding="utf-8")
    return path


USAGE = {
    "no command": [],
    "an unknown command": ["srve"],
    "apply without a file": ["apply"],
    "apply with two files": ["apply", "a.toml", "b.toml"],
    "an unknown option": ["serve", "--worker", "1"],
    "workers that are no number": ["serve", "--workers", "two"],
    "verify with an argument": ["verify", "vnn"],
    "check with an argument": ["check", "x"],
    "migrate with an argument": ["migrate", "x"],
    "simulate without a target": ["simulate"],
    "a demo on no port": ["demo", "--port", "x"],
    "read without a text": ["read", "1408"],
    "quarantine without an act": ["quarantine"],
    "list without a name": ["list"],
    "a list of no rows": ["list", "conflicts", "--limit", "0"],
    "find without an id": ["find", "hub"],
}


def options_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a command and of the acts below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)


def test_whatever_is_kept_as_a_reason_for_ever_passes_one_gate() -> None:
    kept = []
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"service.commands.{name.replace('-', '_')}").add_arguments(parser)
        for option in options_of(parser):
            if {"--reason-text", "--emergency"} & set(option.option_strings):
                kept.append(name)
                assert option.type is reason, f"{name} {option.option_strings}"
    assert set(kept) >= {"apply", "erase", "quarantine", "reattribute", "secret-key", "user"}


@pytest.mark.parametrize("given", ["", "   ", "x" * 501, "two\nlines", "\x1b[2Jgone"])
def test_a_reason_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a reason of 1 to 500 letters, in one line"):
        reason(given)


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE.keys())
def test_a_usage_error_exits_2_and_shows_the_usage(arguments: list[str], capsys: Capture) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert "usage: portal1400" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--help"], ["read", "--help"]])
def test_help_and_version_exit_0(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "portal1400" in capsys.readouterr().out


UNREACHABLE = {
    "nobody listens": "postgresql://app:hunter2@127.0.0.1:1/portal",
    "nobody listens at either": "postgresql://app:hunter2@127.0.0.1:1,127.0.0.1:2/portal",
    "no such socket": "postgresql://app:hunter2@/portal?host=/nonexistent-folder",
    "an unknown ssl mode": "postgresql://app:hunter2@127.0.0.1/portal?sslmode=perhaps",
}
NEED_DATABASE = [["serve"], ["migrate"], ["check"], ["verify"], ["read", "1408", "VNN"]]


@pytest.mark.parametrize("url", UNREACHABLE.values(), ids=UNREACHABLE.keys())
def test_an_unreachable_database_is_a_sentence(environ: pytest.MonkeyPatch, url: str, capsys: Capture) -> None:
    environ.setenv("PORTAL1400_DATABASE_URL", url)
    for arguments in NEED_DATABASE if "127.0.0.1:1/" in url else [["serve"]]:
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("portal1400: cannot connect to PostgreSQL of DATABASE_URL"), arguments
        assert ("`sslmode` parameter must be one of" if "perhaps" in url else "names the right host") in said
        assert "hunter2" not in said
        assert "Traceback" not in said


def test_a_database_that_does_not_exist_is_a_sentence(
    environ: pytest.MonkeyPatch, server: TestServer, capsys: Capture
) -> None:
    environ.setenv("PORTAL1400_DATABASE_URL", server.dsn("nobody_made_it"))
    assert main(["serve"]) == 1
    assert "(InvalidCatalogNameError): check that" in capsys.readouterr().err


def test_a_number_of_workers_that_cannot_be_is_refused_with_a_sentence(
    environ: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for workers in ("0", "-1", "65"):
        assert main(["serve", "--workers", workers]) == 1
        assert capsys.readouterr().err == f"portal1400: --workers {workers}: want 1 to 64 worker processes\n"
    environ.setenv("PORTAL1400_INTERNAL_LISTEN", "127.0.0.1:65530")
    assert main(["serve", "--workers", "7"]) == 1
    assert "7 workers need as many ports from it on" in capsys.readouterr().err


def test_the_command_of_a_worker_is_not_shown_to_people(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert "serve" in names
    assert "worker" not in names


@pytest.mark.parametrize("name", ["PORTAL1400_LISTEN", "PORTAL1400_INTERNAL_LISTEN"])
def test_an_address_in_use_is_named(environ: pytest.MonkeyPatch, name: str, capsys: Capture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ.setenv(name, address)
        assert main(["serve"]) == 1
    said = capsys.readouterr().err
    assert f"portal1400: {name}={address} cannot be used (Address already in use): stop what listens there" in said


def test_settings_that_cannot_be_used_are_told_by_every_command(
    environ: pytest.MonkeyPatch, book_file: Path, capsys: Capture
) -> None:
    environ.setenv("PORTAL1400_SERVICE_HOST", "10.0.0.1")
    environ.setenv("PORTAL1400_WRITERS", "many")
    for arguments in (*NEED_DATABASE, ["apply", str(book_file)]):
        assert main(arguments) == 1
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith("portal1400: PORTAL1400_SERVICE_HOST is not a setting: remove it"), arguments
        assert said[1].startswith("portal1400: PORTAL1400_WRITERS: "), arguments


def test_another_secret_key_is_refused_by_whatever_opens_the_database(
    environ: pytest.MonkeyPatch, book_file: Path, capsys: Capture
) -> None:
    assert main(["apply", "--yes", str(book_file)]) == 0
    capsys.readouterr()
    environ.setenv("PORTAL1400_SECRET_KEY", "another key, long enough to be one, known to nobody")
    for arguments in (*NEED_DATABASE, ["apply", str(book_file)]):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert "PORTAL1400_SECRET_KEY is not the key this database was made with" in said, arguments
        assert "another key" not in said
    environ.delenv("PORTAL1400_SECRET_KEY")
    assert main(["serve"]) == 1
    assert "PORTAL1400_SECRET_KEY is not set: set it" in capsys.readouterr().err


async def _make_demo(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await Keyring(SECRET_KEY).claim(connection, "demo")
    await connection.close()


@pytest.fixture
async def demo_database(database_dsn: str) -> None:
    """The fresh database was made by the demonstration."""
    await _make_demo(database_dsn)


def test_the_demonstration_s_database_is_refused(
    environ: pytest.MonkeyPatch, demo_database: None, book_file: Path, capsys: Capture
) -> None:
    for arguments in (["serve"], ["apply", str(book_file)]):
        assert main(arguments) == 1
        assert "this database was made by `portal1400 demo` and holds invented gifts" in capsys.readouterr().err
    assert main(["check"]) == 1
    assert "serve refuses it" in capsys.readouterr().out


@pytest.fixture
async def bare_database(database_dsn: str) -> None:
    """The database has no schema yet."""
    connection = await asyncpg.connect(database_dsn)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()


async def forget_migrations_from(number: int, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("DELETE FROM schema_migration WHERE number >= $1", number)
    await connection.close()


def test_pending_migrations_are_named_and_applied_by_migrate(
    environ: pytest.MonkeyPatch, bare_database: None, capsys: Capture
) -> None:
    environ.setenv("PORTAL1400_MIGRATE_ON_START", "false")
    for arguments in (["serve"], ["check"], ["verify"]):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert re.search(r"pending, first 0001_\S+: run `portal1400 migrate`", said), arguments
    environ.setenv("PORTAL1400_MIGRATE_ON_START", "true")
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"warning: database: \d+ migration\(s\) are pending, first 0001_\S+: `serve`, `apply`", said)
    assert "a release without them" not in said, "there is none before the first"
    assert main(["migrate"]) == 0
    assert "the schema is up to date" in capsys.readouterr().out
    assert main(["verify"]) == 0
    capsys.readouterr()
    shipped = shipped_migrations()
    not_additive = max(each.number for each in shipped if not each.is_additive)
    for first in (shipped[-1].number, not_additive):
        pending = [each for each in shipped if each.number >= first]
        asyncio.run(forget_migrations_from(first, os.environ["PORTAL1400_DATABASE_URL"]))
        assert main(["check"]) == 0
        said = capsys.readouterr().out
        assert f"{len(pending)} migration(s) are pending" in said
        is_told = "a release without them does not start from then on" in said
        assert is_told is (first == not_additive)


def test_apply_prints_what_changed_and_then_that_nothing_does(
    environ: pytest.MonkeyPatch, book_file: Path, capsys: Capture
) -> None:
    assert main(["apply", "--yes", str(book_file)]) == 0
    first = capsys.readouterr().out
    assert "vnn" in first
    assert "hub" in first
    assert main(["apply", "--yes", str(book_file)]) == 0
    assert capsys.readouterr().out == "nothing changed\n"
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("good: PostgreSQL of DATABASE_URL; book version 1 with 2 campaign(s)")


BAD_FILES: dict[str, tuple[str | None, str]] = {
    "no file": (None, "book.toml"),
    "no TOML": ("[[campaign]]\nslug = \n", "book.toml:2: column"),
    "an unknown key": (BOOK.replace('category = "poverty"', 'category = "poverty"\ncolour = "red"'), "colour"),
    "a category nobody has": (BOOK.replace('"poverty"', '"charity"'), "category"),
    "one factor": (BOOK.replace('networks = ["127.0.0.0/8"]', "networks = []", 1), "factor"),
    "an organiser nobody is": (BOOK.replace('organiser = "mttq"', 'organiser = "nobody"', 1), "organiser"),
}


@pytest.mark.parametrize(("content", "place"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused_with_its_place_and_nothing_is_written(
    environ: pytest.MonkeyPatch, book_file: Path, content: str | None, place: str, capsys: Capture
) -> None:
    book_file.unlink() if content is None else book_file.write_text(content, encoding="utf-8")
    assert main(["apply", str(book_file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("portal1400: ")
    assert place in said
    assert main(["check"]) == 0
    assert "book version 0 with 0 campaign(s), 0 account(s)" in capsys.readouterr().out


def test_check_tells_one_line_per_problem(environ: pytest.MonkeyPatch, book_file: Path, capsys: Capture) -> None:
    content = re.sub(r'secrets = \["whsec_[^"]+"\]', 'secrets = ["env:HUB_SECRET"]', BOOK)
    book_file.write_text(content, encoding="utf-8")
    assert main(["apply", "--yes", str(book_file)]) == 0
    told = "warning: no worker runs here yet; by the environment of this command gateway hub: HUB_SECRET is not set\n"
    assert capsys.readouterr().out.endswith(told), "whoever applies the first file hears it then, not on the night"
    assert main(["check"]) == 1
    assert capsys.readouterr().out == "gateway hub: HUB_SECRET is not set\n"


def test_read_answers_as_the_service_would(book_file: Path, environ: pytest.MonkeyPatch, capsys: Capture) -> None:
    given = ["read", "--book", str(book_file), "--at", "2026-11-21T20:00:00+07:00", "1408", " vnn  5 "]
    assert main(given) == 0
    expected = {
        "outcome": "counted", "campaign": "vnn", "keyword": "VNN", "units": 5, "amount_vnd": 100_000,
        "folded": "VNN 5", "grammar_version": 1,
    }  # fmt: skip
    assert json.loads(capsys.readouterr().out) == expected
    assert main(["apply", "--yes", str(book_file)]) == 0
    capsys.readouterr()
    assert main([given[0], *given[3:]]) == 0
    assert json.loads(capsys.readouterr().out) == expected


AS_TAKEN: dict[str, tuple[bytes, str]] = {
    "a mark before the line": (b'\xef\xbb\xbf{"short_code":"1408","text":"VNN 5"}', "VNN 5"),
    "a code with its country": (b'{"short_code":"+841408","text":"VNN 5"}', "VNN 5"),
    "a code with a plus": (b'{"short_code":"+1408","text":"VNN 5"}', "VNN 5"),
    "half a character": (b'{"short_code":"tel:1408","text":"VNN 5 \\ud83c"}', "VNN 5"),
    "a NUL": (b'{"short_code":"841408","text":"VN\\u0000N 5"}', "VNN 5"),
    "a broken byte": (b'{"short_code":"1408","text":"VNN 5 \xf0\x9f\x98"}', "VNN 5"),
}


@pytest.mark.parametrize("label", AS_TAKEN)
def test_read_takes_a_text_as_the_intake_takes_it(
    book_file: Path, monkeypatch: pytest.MonkeyPatch, label: str, capsys: Capture
) -> None:
    line, folded = AS_TAKEN[label]
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(line), encoding="ascii"))
    assert main(["read", "--book", str(book_file), "--stdin"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["units"], answer["folded"]) == ("counted", 5, folded)


STDIN = {
    "no JSON": ('{"short_code":"1408","text":"VNN"}\nVNN 5\n', "standard input, line 2: not JSON"),
    "no object": ("[1]\n", "standard input, line 1: want an object"),
    "no text": ('\n{"short_code":"1408"}\n', "standard input, line 2: want an object"),
    "a number for a code": ('{"short_code":1408,"text":"VNN"}\n', "standard input, line 1: want an object"),
    "a time that is none": ('{"short_code":"1408","text":"VNN","at":"noon"}\n', 'line 1, "at": want RFC 3339'),
    "a number for a time": ('{"short_code":"1408","text":"VNN","at":5}\n', '"at" must be a string'),
}


@pytest.mark.parametrize(("lines", "sentence"), STDIN.values(), ids=STDIN.keys())
def test_read_names_the_line_it_cannot_read(
    book_file: Path, monkeypatch: pytest.MonkeyPatch, lines: str, sentence: str, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(lines))
    assert main(["read", "--book", str(book_file), "--stdin"]) == 1
    assert sentence in capsys.readouterr().err


def test_read_refuses_a_time_that_is_none(book_file: Path, capsys: Capture) -> None:
    assert main(["read", "--book", str(book_file), "--at", "noon", "1408", "VNN"]) == 1
    assert "--at: want RFC 3339, for example" in capsys.readouterr().err


async def test_apply_takes_effect_in_the_running_service_within_a_second(portal: Portal, tmp_path: Path) -> None:
    assert (await portal.post(message("m-1", "MOI 5"))).outcome == "unallocated"
    file = tmp_path / "more.toml"
    file.write_text(BOOK.replace('keywords = ["VNN"]', 'keywords = ["VNN", "MOI"]'), encoding="utf-8")
    assert await apply_file(portal.opened, file)
    count = 0

    async def is_counted() -> bool:
        nonlocal count
        count += 1
        return (await portal.post(message(f"m-new-{count}", "MOI 5"))).outcome == "accepted"

    await within(1, is_counted)
    rows = await portal.fetch("SELECT DISTINCT book_version, reading FROM message ORDER BY 1, 2")
    assert (1, "unknown_keyword") in [tuple(row) for row in rows]
    assert (2, "counted") in [tuple(row) for row in rows]
    # The reading of before stands: nothing reads a stored message anew.
    assert (await portal.post(message("m-1", "MOI 5"))).outcome == "duplicate"


async def test_an_account_that_is_switched_off_is_unknown_within_a_second(portal: Portal, tmp_path: Path) -> None:
    file = tmp_path / "off.toml"
    file.write_text(BOOK.replace('adapter = "standard"', 'adapter = "standard"\nenabled = false'), encoding="utf-8")
    await apply_file(portal.opened, file)

    async def is_refused() -> bool:
        answer = await portal.post(message("m-1"))
        return (answer.status, orjson.loads(answer.body)) == (401, {"error": "unauthenticated"})

    await within(1, is_refused)
