"""portal1400 history: what each version of the book changed, from which file, by whom."""

import argparse
import json
from typing import Any

from campaigns.book.book import VIETNAM
from campaigns.book.history import BookVersion, load_kept_file, load_versions
from service.commands.opening import CommandRefused, opened
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--file", metavar="VERSION", type=int, help="show what the file of this version said")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, one for each version")


async def run(arguments: argparse.Namespace) -> int:
    """Print the versions, the first first; with --file the file of one, secrets left out."""
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        if arguments.file is not None:
            kept = await load_kept_file(connection, arguments.file)
            if kept is None:
                raise CommandRefused(f"no file is kept of book version {arguments.file}: see `portal1400 history`")
            print(kept)
            return 0
        for version in await load_versions(connection):
            if arguments.json:
                print(json.dumps(_as_json(version), ensure_ascii=False))
                continue
            at = version.applied_at.astimezone(VIETNAM).strftime("%Y-%m-%d %H:%M:%S")
            by = version.applied_by or "no name given"
            user = version.os_user or "not recorded"
            print(f"version {version.version}, {at} Vietnam time, by {by} (account {user})")
            print(f"  file {version.file_sha256.hex()}")
            for change in version.changes:
                print(f"  {change}")
    return 0


def _as_json(version: BookVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "applied_at": version.applied_at.astimezone(VIETNAM).isoformat(),
        "os_user": version.os_user,
        "by": version.applied_by,
        "file_sha256": version.file_sha256.hex(),
        "changes": list(version.changes),
    }
