"""portal1400 support: one file for whoever helps, with nothing in it that they must not see."""

import argparse
import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import orjson

from service.commands.opening import CommandRefused, opened
from service.commands.running import ASK_SECONDS, address_of, running_workers
from service.operations import support_bundle as bundle
from service.runtime.environment import process_environment
from service.runtime.refusals import Refused
from service.runtime.settings import PREFIX, Settings, read_settings

JOURNAL_SECONDS = 20.0
SECRET_LETTERS_MIN = 8
"""Shorter values of the environment are no secrets, and stand in any file by chance."""
SECRET_WORDS = ("SECRET", "PASSWORD", "TOKEN", "KEY")
ABOUT = """\
A support bundle of portal1400. It holds: settings without secrets, what running workers say of themselves (readyz,
metrics), versions, the state of the database (parameters, migrations, sizes, sessions; no row of any table), codes of
accounts, names and sizes of spool files, and the last lines of the log that are the service's own, numbers left out.
It holds no number, no text of a donor, no id of a sender, and no secret.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="to write (default: named by the time)")
    parser.add_argument("--log", metavar="FILE", type=Path, help="the service's log (default: its unit's journal)")
    parser.add_argument("--unit", default="portal1400", help="the unit of systemd (default: portal1400)")


async def run(arguments: argparse.Namespace) -> int:
    """Write the bundle and name it. What cannot be had is told in it, and is no failure."""
    settings = read_settings()
    now = datetime.now(UTC)
    file = (arguments.file or Path(f"portal1400-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")).absolute()
    members: dict[str, Any] = {
        "versions.json": {"portal1400": version("portal1400"), "made_at": now.isoformat(), **bundle.machine()},
        "settings.json": bundle.shown_settings(settings),
        "files.json": bundle.files_of(settings.data_dir),
        "database.json": await _database(settings),
    }
    members |= await _workers(settings)
    lines = await _log(arguments)
    members["log.txt"] = lines if isinstance(lines, str) else "\n".join(lines.kept)
    if not isinstance(lines, str):
        members["log.json"] = {"kept": len(lines.kept), "left_out": lines.left_out}
    packed = {"README.txt": ABOUT.encode()} | {name: _bytes(content) for name, content in members.items()}
    try:
        await asyncio.to_thread(bundle.pack, file, packed, _secrets(settings), int(now.timestamp()))
    except AssertionError as leak:
        raise CommandRefused(str(leak)) from None
    except OSError as error:
        raise CommandRefused(f"{file} cannot be written ({error.strerror}): name another file") from None
    for name, content in packed.items():
        print(f"{len(content):>9}  {name}")
    print(f"written  {file}: look through it before you send it")
    return 0


def _bytes(content: Any) -> bytes:
    return content.encode() if isinstance(content, str) else orjson.dumps(content, option=orjson.OPT_INDENT_2)


async def _database(settings: Settings) -> Mapping[str, Any]:
    try:
        async with (
            opened(settings, may_migrate=False, may_be_behind=True) as ready,
            ready.database.borrow() as connection,
        ):
            return {"description": ready.database.description} | await bundle.database_state(connection)
    except Refused as refused:
        return {"refused": [str(each) for each in refused.problems]}


async def _workers(settings: Settings) -> Mapping[str, Any]:
    members: dict[str, Any] = {}
    running = await running_workers(settings)
    members["workers.json"] = [{"index": each.index, "silent": each.is_silent} for each in running]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:
        for worker in running:
            for path in ("readyz", "metrics"):
                said = "it did not answer"
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with http.get(f"http://{address_of(settings, worker.index)}/{path}") as answer:
                        said = await answer.text()
                members[f"worker-{worker.index}-{path}.txt"] = said
    return members


async def _log(arguments: argparse.Namespace) -> bundle.Lines | str:
    if arguments.log is not None:
        try:
            return bundle.own_lines(await asyncio.to_thread(bundle.tail, arguments.log))
        except OSError as error:
            raise CommandRefused(
                f"{arguments.log} cannot be read ({error.strerror}): name the service's log"
            ) from None
    journal = shutil.which("journalctl")
    if journal is None:
        return "there is no journal on this machine: name the log with --log"
    process = await asyncio.create_subprocess_exec(
        journal, "--unit", arguments.unit, "--lines", str(bundle.LINES_MAX), "--output", "cat", "--no-pager",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), JOURNAL_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return "the journal did not answer in time"
    return bundle.own_lines(out.decode("utf-8", "replace").splitlines())


def _secrets(settings: Settings) -> list[bytes]:
    """What must stand nowhere in it: the keys, and whatever of the environment accounts may name as a secret."""
    values = [
        value.get_secret_value()
        for value in (
            settings.secret_key,
            settings.secret_key_previous,
            settings.database_url,
            settings.oidc_client_secret,
        )
        if value is not None
    ]
    if settings.database_url is not None:
        values.append(unquote(urlsplit(settings.database_url.get_secret_value()).password or ""))
    values += [value for name, value in process_environment().items() if _may_be_secret(name)]
    return [value.encode("utf-8", "surrogateescape") for value in values if len(value) >= SECRET_LETTERS_MIN]


def _may_be_secret(name: str) -> bool:
    return not name.startswith(PREFIX) and any(word in name.upper() for word in SECRET_WORDS)
