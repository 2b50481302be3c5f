"""portal1400 migrate: applies pending migrations."""

import argparse
import sys

from service.commands.opening import opened
from service.runtime.settings import read_settings


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """The command takes no arguments."""


async def run(_arguments: argparse.Namespace) -> int:
    """Apply what is pending and say so."""
    lines: list[str] = []
    async with opened(read_settings(), progress=lines.append) as ready:
        for line in lines:
            print(line, file=sys.stderr)
        print(f"the schema is up to date on {ready.database.description}")
    return 0
