"""Clients that ask for answers of many megabytes, all at once: a process of its own beside the measured service.

Reads paths from stdin, a line each, asks for all of them at the same moment and tells on stdout, as JSON, how many
answers had which status, how many bytes came, and how long the whole took.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

PATIENCE_SECONDS = 120.0
READ_BYTES = 1 << 18


async def ask(port: int, path: str) -> tuple[str, int]:
    """One question on a connection of its own: the status, and the size of the answer with its head."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            first = await reader.read(READ_BYTES)
            size = len(first)
            while read := await reader.read(READ_BYTES):
                size += len(read)
            writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__, 0
    return first[9:12].decode(), size


async def ask_all(port: int, paths: list[str]) -> dict[str, object]:
    """All at once."""
    started = time.perf_counter()
    answers = await asyncio.gather(*(ask(port, path) for path in paths))
    return {
        "statuses": Counter(status for status, _ in answers),
        "megabytes": sum(size for _, size in answers) / 1e6,
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Ask, tell, end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    print(json.dumps(asyncio.run(ask_all(port, sys.stdin.read().split()))), flush=True)


if __name__ == "__main__":
    main()
