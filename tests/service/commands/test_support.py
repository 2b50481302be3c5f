"""The support bundle says how the service is, and nothing about a donor and no secret."""

import argparse
import logging
import stat
import tarfile
from pathlib import Path
from typing import Literal

import pytest
import structlog

from service.commands import support
from service.commands.opening import CommandRefused
from service.operations.support_bundle import own_lines, pack
from service.runtime import logs
from tests.support.canary import NUMBER, TEXT, found_in
from tests.support.portal import PATH_SECRET, SECRET_KEY, SIGNING_SECRET, message, running
from tests.support.protocols import SENDERS


def arguments(*words: str) -> argparse.Namespace:
    """A command line, parsed."""
    parser = argparse.ArgumentParser()
    support.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_bundle_holds_what_helps_and_no_number_no_text_no_id_and_no_secret(
    environ: pytest.MonkeyPatch,
    database_dsn: str,
    tmp_path: Path,
    log_format: Literal["json", "console"],
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "a-secret-of-the-environment"
    environ.setenv("HUB_SECRET", secret)
    environ.setenv("PORTAL1400_DATABASE_URL", f"{database_dsn}&password=the-word-of-the-database")
    log_file, file = tmp_path / "service.log", tmp_path / "bundle.tar.gz"
    libraries = {name: list(logging.getLogger(name).handlers) for name in ("aiohttp", "asyncio")}
    with log_file.open("w", encoding="utf-8") as stream:
        logs.configure(log_format, stream)
        async with running(database_dsn, tmp_path) as portal:
            environ.setenv("PORTAL1400_INTERNAL_LISTEN", portal.internal.removeprefix("http://"))
            for sender in SENDERS.values():
                for text, number in ((TEXT, NUMBER), (TEXT + "!", NUMBER), ("VNN 5", NUMBER + "x")):
                    await sender.send(portal, f"id-of-nguyen-thi-lan {text[:5]}", text, number)
            await portal.post(message("m-1"))
            structlog.get_logger("x").warning("seen", native_id="id-of-nguyen-thi-lan")
            logs.close()
            with log_file.open("a", encoding="utf-8") as more:
                more.write(f"Traceback (most recent call last):\n  ValueError: {NUMBER} {TEXT}\n{{'{TEXT}': 1}}\n")
            assert await support.run(arguments(str(file), "--log", str(log_file))) == 0
    structlog.reset_defaults()
    for name, handlers in libraries.items():
        logging.getLogger(name).handlers[:] = handlers
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as packed:
        members = {each.name.partition("/")[2]: read(packed, each) for each in packed.getmembers()}
    everything = b"\n".join(members.values()) + capsys.readouterr().out.encode()
    assert found_in(everything) == []
    known = (SECRET_KEY, SIGNING_SECRET, PATH_SECRET, secret, "the-word-of-the-database", "nguyen-thi-lan")
    assert [each for each in known if each.encode() in everything] == []
    assert b"portal1400_callbacks_total" in members["worker-0-metrics.txt"]
    assert b'"ready"' in members["worker-0-readyz.txt"]
    assert b"0001_first_tables.sql" in members["database.json"]
    assert b"callback" in members["log.txt"]
    assert b'"left_out": 3' in members["log.json"]
    assert b"set, not shown" in members["settings.json"]
    with pytest.raises(CommandRefused, match="cannot be written"):
        await support.run(arguments(str(file), "--log", str(log_file)))


def read(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """A file of the bundle."""
    opened = packed.extractfile(member)
    assert opened is not None
    return opened.read()


def test_a_secret_that_came_in_all_the_same_keeps_the_bundle_from_being_written(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"x\.txt holds a secret"):
        pack(tmp_path / "b", {"x.txt": b"... hunter-22 ..."}, [b"hunter-22"], 0)
    assert not (tmp_path / "b").exists()


def test_only_our_own_lines_are_kept() -> None:
    ours = '{"event":"callback","level":"info","timestamp":"2026-10-17T13:00:00Z","native_id":"lan","count":1}'
    assert own_lines([ours, '{"event":"x"}', "[1]", "Traceback", "", f"{ours}x"]) == (
        ['{"event":"callback","level":"info","timestamp":"2026-10-17T13:00:00Z","count":1}'],
        4,
    )
