"""portal1400 export NAME [FILE]: messages without persons, money lines or totals, as CSV or for Excel."""

import argparse
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from campaigns.audit.entries import Who
from campaigns.gifts.exported import EXPORTS, Choice
from service.commands.opening import CommandRefused, opened
from service.commands.person import os_user
from service.commands.printing import as_json, moment
from service.desk.exports import FORMATS, HEADINGS, SLUG, WHOLE, Asked, written
from service.runtime.settings import read_settings
from service.web.words import Language, load_words

SELECT_HAS_CAMPAIGN = "SELECT EXISTS (SELECT FROM campaign WHERE slug = $1)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", choices=list(EXPORTS), metavar=" | ".join(EXPORTS), help="what to take along")
    parser.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", default=Path(),
        help="file to make, by its ending .csv or .xlsx, or the folder for one named by the time; - for the output",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, help="where FILE does not say it (default csv)")
    parser.add_argument("--campaign", metavar="SLUG", help="of this campaign alone")
    parser.add_argument("--since", metavar="TIME", type=moment, help="then or later, RFC 3339")
    parser.add_argument("--until", metavar="TIME", type=moment, help="before then, RFC 3339")
    parser.add_argument(
        "--headings",
        choices=HEADINGS,
        default="vi",
        help="above the columns (default vi); keys are the API's names",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; not with -")


async def run(arguments: argparse.Namespace) -> int:
    """Write the file whole or not at all; print where it is."""
    now = datetime.now(UTC)
    asked = _asked(arguments)
    words = load_words()[Language.EN if arguments.headings == "en" else Language.VI]
    async with opened(read_settings(), may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 export", may_take_long=True)
        try:
            if asked.choice.campaign and not await connection.fetchval(SELECT_HAS_CAMPAIGN, asked.choice.campaign):
                raise CommandRefused(
                    [f"no campaign is called {asked.choice.campaign}: `portal1400 history` names them"]
                )
            pieces = written(connection, Who(f"os:{os_user()}"), asked, words, now)
            if str(arguments.file) == "-":
                async for piece in pieces:
                    sys.stdout.buffer.write(piece)
                return 0
            file = arguments.file / asked.file_name(now) if arguments.file.is_dir() else arguments.file
            size, digest = await _write(file, pieces)
        finally:
            await connection.close()
    if arguments.json:
        print(as_json({"file": str(file), "bytes": size, "sha256": digest}))
    else:
        print(f"{file}: {size} bytes, SHA-256 {digest}")
    return 0


def _asked(arguments: argparse.Namespace) -> Asked:
    ending = arguments.file.suffix.removeprefix(".").lower()
    chosen = arguments.format or (ending if ending in FORMATS else None)
    if chosen is None and ending and not arguments.file.is_dir():
        raise CommandRefused([f"FILE ends in .{ending}: let it end in .csv or .xlsx, or name a --format"])
    if arguments.campaign is not None and not SLUG.fullmatch(arguments.campaign):
        raise CommandRefused(["--campaign is no slug: 1 to 80 of a-z 0-9 -"])
    if arguments.since and arguments.until and arguments.since >= arguments.until:
        raise CommandRefused(["--until is not later than --since: nothing lies between them"])
    if arguments.name in WHOLE and (arguments.since or arguments.until):
        raise CommandRefused(
            [f"{arguments.name} has the totals of now, none of a span: leave out --since and --until"]
        )
    choice = Choice(arguments.campaign, arguments.since, arguments.until)
    return Asked(arguments.name, chosen or "csv", arguments.headings, choice)


async def _write(file: Path, pieces: AsyncIterator[bytes]) -> tuple[int, str]:
    """Replace `file` in one step; its bytes and SHA-256. Raises CommandRefused."""
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    digest, size = hashlib.sha256(), 0
    try:
        with new.open("wb") as out:
            async for piece in pieces:
                out.write(piece)
                digest.update(piece)
                size += len(piece)
            out.flush()
            os.fsync(out.fileno())
        new.replace(file)
    except OSError as error:
        raise CommandRefused([f"{file} cannot be written: {error.strerror}"]) from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return size, digest.hexdigest()
