"""`python -m tests.bench.exports`: what an export of very many messages takes of time and memory, as a command."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from service.postgres.embedded.handle import connect_embedded
from tests.bench.__main__ import INTERNAL_PORT, PORTS
from tests.support.portal import book_file
from tests.support.processes import SERVICE, environ_for

FILL = """
INSERT INTO message (id, account_id, native_id, digest, received_at, message_at, short_code, carrier, reading,
                     campaign_id, keyword, units, amount_vnd, parts, flags, book_version, grammar_version, raw_id)
SELECT gen_random_uuid(), g.id, 'message-' || n, '', now(), now(), '1408', 'viettel', 'counted', c.id, 'VNN', 1,
       20000, 1, '{}', 1, 1, gen_random_uuid()
FROM generate_series(1, $1::int) AS n, gateway_account AS g, campaign AS c WHERE g.code = 'hub' AND c.slug = 'vnn'
"""


def measured(environ: dict[str, str], file: Path) -> dict[str, Any]:
    """One export: seconds, MiB of the file, and the highest resident memory of its process."""
    began = time.monotonic()
    process = subprocess.Popen([*SERVICE, "export", "messages", str(file)], env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "mib": file.stat().st_size >> 20,
        "peak_mib": usage.ru_maxrss >> 10,
    }


async def bench(folder: Path, rows: list[int]) -> dict[str, Any]:
    """Fill, export, fill more, export again."""
    environ = environ_for(folder / "data", PORTS["intake"], INTERNAL_PORT)
    figures: dict[str, Any] = {}
    server = await connect_embedded(folder / "data", "auto")
    try:
        book = book_file(folder)
        subprocess.run([*SERVICE, "apply", "--yes", str(book)], env=environ, check=True, stdout=subprocess.DEVNULL)
        there = 0
        for wanted in rows:
            admin = await asyncpg.connect(server.dsn)
            await admin.execute(FILL.replace("'message-' ||", f"'m{there}-' ||"), wanted - there)
            await admin.execute("VACUUM ANALYZE message")
            await admin.close()
            there = wanted
            for ending in ("csv", "xlsx"):
                figures[f"{wanted} {ending}"] = await asyncio.to_thread(measured, environ, folder / f"x.{ending}")
                print(wanted, ending, figures[f"{wanted} {ending}"], file=sys.stderr, flush=True)
    finally:
        await server.close()
    return figures


def main() -> int:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exports")
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000], help="rising")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p1400-exports-") as folder:
        Path(folder).chmod(0o755)
        print(json.dumps(asyncio.run(bench(Path(folder), chosen.rows)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
