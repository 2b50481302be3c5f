"""A user of the embedded server in a process of its own, for the tests: says what it sees, does what it is told.

Arguments: the data folder and the preference. Every line it prints is one JSON object. Commands, a line each:
`ensure`, `query SQL`; at the end of its input it closes the handle and ends.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import asyncpg

from service.postgres.embedded.handle import EmbeddedServerFailed, connect_embedded


def say(**words: object) -> None:
    """One line for the test."""
    print(json.dumps(words), flush=True)


async def main() -> None:
    """Use the server until the test closes our input."""
    began = time.monotonic()
    told: list[str] = []
    try:
        handle = await connect_embedded(Path(sys.argv[1]), sys.argv[2], progress=told.append, timeout_seconds=60)
    except EmbeddedServerFailed as error:
        say(failed=str(error), seconds=time.monotonic() - began)
        return
    say(dsn=handle.dsn, description=handle.description, told=told, pid=os.getpid(), seconds=time.monotonic() - began)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, _, rest = line.strip().partition(" ")
        if command == "ensure":
            await handle.ensure()
            say(dsn=handle.dsn)
        else:
            connection = await asyncpg.connect(handle.dsn)
            say(rows=[list(row.values()) for row in await connection.fetch(rest)])
            await connection.close()
    await handle.close()


asyncio.run(main())
