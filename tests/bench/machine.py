"""What one machine carries, as a row of the table in docs/operate.md; and what further service processes add.

Load generator, service and database share the machine: of more machines this says what the database bears, no more.
"""

import asyncio
import os
import platform
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.__main__ import INTAKE_PATH, cpu_seconds, process, wait_for
from tests.bench.load import Tally, closed_loop, messages, signed_requests
from tests.support.portal import SIGNING_SECRET
from tests.support.processes import SERVICE, environ_for

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
NIGHT_GIFTS = 1_000_000
"""A night's growth is told for so many."""
VIEWERS = 1000
PORTS = range(21420, 21428)
INTERNAL_PORTS = range(21520, 21528)
CONNECTIONS = 64
"""Of carriers, in all: shared out among the processes."""


def described() -> str:
    """This machine in a few words."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    gibibytes = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES / 2**30
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {gibibytes:.0f} GiB"


async def database_bytes(dsn: str) -> tuple[int, int]:
    """Size of the database and messages in it."""
    connection = await asyncpg.connect(dsn)
    try:
        asked = "SELECT pg_database_size(current_database()) AS bytes, (SELECT count(*) FROM message) AS messages"
        row = await connection.fetchrow(asked)
        assert row is not None
        return row["bytes"], row["messages"]
    finally:
        await connection.close()


async def viewer_bytes(folder: Path, dsn: str) -> float:
    """By how much a new worker's memory grows for each stream of a thousand, beside a thousand that are there."""
    environ = environ_for(
        folder / "viewed", PORTS[0], INTERNAL_PORTS[0], database_url=dsn, stream_viewers_max=str(2 * VIEWERS + 10)
    )
    opened: list[asyncio.StreamWriter] = []
    with process([*SERVICE, "serve"], environ, folder / "viewed.log") as service:
        wait_for(INTERNAL_PORTS[0], "/startupz")
        sizes = []
        for _ in range(2):
            for _ in range(VIEWERS):
                reader, writer = await asyncio.open_connection("127.0.0.1", PORTS[0])
                opened.append(writer)
                writer.write(b"GET /api/v1/stream?campaign=vnn HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                seated = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " not in seated[:20]:
                    raise RuntimeError(f"a viewer was not seated: {seated!r}")
            sizes.append(resident_bytes(service.pid))
        for writer in opened:
            writer.close()
    return (sizes[1] - sizes[0]) / VIEWERS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (proc(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def scaled(folder: Path, dsn: str, count: int, seconds: float) -> dict[str, Any]:
    """`count` services of one process each against one database, all under load: callbacks a second together."""
    with ExitStack() as stack:
        pids = []
        for index in range(count):
            port, internal = PORTS[index], INTERNAL_PORTS[index]
            environ = environ_for(folder / f"scaled-{index}", port, internal, database_url=dsn)
            log = folder / f"scaled-{index}.log"
            pids.append(stack.enter_context(process([*SERVICE, "serve"], environ, log)).pid)
        for index in range(count):
            wait_for(INTERNAL_PORTS[index], "/startupz")
        await _all(count, f"warm-{count}", min(2.0, seconds))
        before = sum(map(cpu_seconds, pids))
        tallies = await _all(count, f"scaled-{count}", seconds)
        cpu = sum(map(cpu_seconds, pids)) - before
    answered = sum(each.answered for each in tallies)
    if any(set(each.statuses) - {200} for each in tallies):
        raise RuntimeError(f"answers: {[dict(each.statuses) for each in tallies]}")
    late = sorted(latency for each in tallies for latency in each.latencies)
    return {
        "processes": count,
        "per_second": sum(each.per_second for each in tallies),
        "cpu_us": 1e6 * cpu / max(1, answered),
        "p99_ms": 1000 * late[int(len(late) * 0.99)],
    }


async def _all(count: int, run: str, seconds: float) -> list[Tally]:
    return await asyncio.gather(
        *(
            closed_loop(
                PORTS[index],
                signed_requests(INTAKE_PATH, SIGNING_SECRET, messages(f"{run}-{index}")),
                seconds=seconds,
                connections=CONNECTIONS // count,
            )
            for index in range(count)
        )
    )


def row(figures: dict[str, Any]) -> str:
    """The line for the table in docs/operate.md, under its heading."""
    night = figures["gift_bytes"] * NIGHT_GIFTS / 1e9
    cells = (
        described(),
        f"{figures['per_second']:.0f}/s",
        f"{figures['core_per_second']:.0f}/s",
        f"{figures['gift_bytes'] / 1000:.1f} KB",
        f"{figures['viewer_bytes'] / 1024:.1f} KiB",
        f"{night:.1f} GB",
    )
    return "| " + " | ".join(cells) + " |"
