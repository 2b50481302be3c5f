"""`make ha`: a database cluster of three nodes and two workers on this machine; the primary is killed under load.

`--act` plays another of the acts of `acts.py`: what else may befall a node, and what an operator does to one.

Prints how long nothing was committed, what carriers were told meanwhile, and compares by ids at the end. Ends with 0
when nothing was lost and nothing counted twice. Needs .venv-ha, which `make ha` installs.
"""

import argparse
import asyncio
import shutil
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tests.ha.acts import ACTS, WHOLE_SECONDS, Act
from tests.ha.carriers import Answered, Load
from tests.ha.cluster import Cluster
from tests.ha.nodes import HaFailed
from tests.ha.workers import Workers

BEFORE_SECONDS = 8.0
AFTER_SECONDS = 8.0
TAKEOVER_SECONDS = 90.0
SETTLE_SECONDS = 300.0

TUNABLE = ("ttl", "loop-wait", "retry-timeout", "primary-start-timeout")

SELECT_GAP = """
SELECT extract(epoch FROM at)::float8 AS until, extract(epoch FROM at - before)::float8 AS seconds
FROM (
    SELECT at, lag(at) OVER (ORDER BY at) AS before
    FROM (SELECT pg_xact_commit_timestamp(xmin) AS at FROM message) AS commit
) AS gap
WHERE at > $1 AND before < $2 ORDER BY seconds DESC LIMIT 1
"""
SELECT_STORED = """
SELECT account.code, message.native_id, count(*) AS rows, sum(line.messages) AS counted
FROM message JOIN gateway_account AS account ON account.id = message.account_id
LEFT JOIN money_line AS line ON line.gift_id = message.id AND line.stage = 'pledged'
GROUP BY account.code, message.native_id
"""


async def one_round(cluster: Cluster, load: Load, workers: Workers, number: int, act: Act) -> None:
    """One round: play the act, wait for the next leader, bring the node back, tell how it went."""
    leader, standby = await cluster.whole(WHOLE_SECONDS)
    await asyncio.sleep(BEFORE_SECONDS)
    workers.spooled_most = 0
    began, struck_at = time.monotonic(), time.time()
    struck = await act.play(cluster, leader, standby)
    if act.takes_over:
        await cluster.new_leader(leader, TAKEOVER_SECONDS)
    led = time.monotonic() - began
    await asyncio.sleep(AFTER_SECONDS)
    cluster.bring_back(cluster.nodes[struck])
    leads, _ = await cluster.whole(WHOLE_SECONDS)
    back = time.monotonic() - began
    connection = await cluster.connect()
    try:
        since, until = (datetime.fromtimestamp(at, UTC) for at in (struck_at, struck_at + back))
        gap = await connection.fetchrow(SELECT_GAP, since, until)
    finally:
        await connection.close()
    if gap is None:
        raise HaFailed(f"nothing was committed within {back:.0f} s after {struck} was struck")
    began_at = gap["until"] - gap["seconds"]
    meanwhile = [key for key, at in load.sent.items() if began_at < at <= gap["until"]]
    told = [load.answered[key] for key in meanwhile if key in load.answered]
    print(f"round {number}: {act.words}: {struck}")
    print(f"  {leader} led, {standby} was its synchronous standby; now {leads} leads")
    if act.takes_over:
        print(f"  seconds until the next leader     {led:8.1f}")
    print(f"  seconds without commits           {gap['seconds']:8.1f}")
    print(f"  callbacks sent meanwhile          {len(meanwhile):8}")
    print(f"  of them acknowledged              {len(told):8}   {waits(told)}")
    print(f"  most that waited in the spools    {workers.spooled_most:8.0f}")
    print(f"  seconds until the cluster was whole {back:6.1f}", flush=True)


def waits(answers: list[Answered]) -> str:
    """How long they waited, in milliseconds."""
    if len(answers) < 2:
        return ""
    parts = statistics.quantiles([each.seconds * 1000 for each in answers], n=100, method="inclusive")
    longest = max(each.seconds for each in answers) * 1000
    return f"p50 {parts[49]:.0f} ms, p99 {parts[98]:.0f} ms, longest {longest:.0f} ms"


async def compare(cluster: Cluster, load: Load, workers: Workers) -> bool:
    """By ids: what was acknowledged is stored, what is stored was sent, each once. True when all of it holds."""
    connection = await cluster.connect()
    try:
        rows = await connection.fetch(SELECT_STORED)
    finally:
        await connection.close()
    stored = {(row["code"], row["native_id"]) for row in rows}
    lost = load.answered.keys() - stored
    double = [row for row in rows if row["rows"] != 1 or row["counted"] != 1]
    unknown = stored - load.sent.keys()
    untold = load.sent.keys() - load.answered.keys()
    print(f"sent {len(load.sent)}, acknowledged {len(load.answered)}, stored {len(stored)}")
    print(f"told no, or nothing: {len(untold)} ({len(untold & stored)} of them stored all the same)")
    if load.refusals:
        print("  " + ", ".join(f"{answer}: {count}" for answer, count in load.refusals.most_common()))
    print(f"lost {len(lost)}, double {len(double)}, invented {len(unknown)}")
    print(workers.command("verify", "--deep"), flush=True)
    return not (lost or double or unknown)


async def play(arguments: argparse.Namespace, folder: Path) -> bool:
    """The whole of it, in `folder`."""
    given = {name.replace("-", "_"): getattr(arguments, name.replace("-", "_")) for name in TUNABLE}
    tuned = {name: value for name, value in given.items() if value is not None}
    cluster = Cluster(folder, tuned, ACTS[arguments.act].server)
    workers: Workers | None = None
    try:
        print(f"{cluster.versions}; {arguments.workers} workers, {arguments.rate:g} callbacks/s", flush=True)
        await cluster.start()
        workers = Workers(folder, await cluster.make_database(), arguments.workers)
        await workers.start()
        print(workers.command("check"), flush=True)
        load = Load(workers.bases, arguments.rate, arguments.seed)
        watching = asyncio.create_task(workers.watch())
        sending = asyncio.create_task(load.run())
        try:
            for number in range(1, arguments.rounds + 1):
                await one_round(cluster, load, workers, number, ACTS[arguments.act])
        finally:
            load.stop()
            await sending
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        print(f"spools empty {await workers.settled(SETTLE_SECONDS):.1f} s after the last callback", flush=True)
        return await compare(cluster, load, workers)
    finally:
        if workers is not None:
            workers.stop()
        cluster.stop()


def main() -> int:
    """0 when nothing was lost or counted twice, 1 when something was, or when it could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.ha", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="workers of the service (default 2)")
    parser.add_argument("--rate", type=float, default=200.0, help="callbacks a second (default 200)")
    parser.add_argument("--rounds", type=int, default=1, help="how many times the primary is killed (default 1)")
    parser.add_argument("--seed", type=int, default=1400, help="the same seed, the same messages")
    parser.add_argument("--act", choices=ACTS, default="machine", help="what befalls a node, or is done to it")
    for name in TUNABLE:
        parser.add_argument(f"--{name}", type=int, help="seconds; default: deploy/patroni/patroni.yml")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="p1400-ha-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_right = False
    try:
        is_right = asyncio.run(play(arguments, folder))
    except HaFailed as failed:
        print(f"make ha: {failed}", file=sys.stderr)
    except KeyboardInterrupt:
        print("make ha: stopped", file=sys.stderr)
    finally:
        if arguments.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
