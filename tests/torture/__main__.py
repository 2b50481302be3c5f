"""`python -m tests.torture`: plays seeds of faults against the real service; says which it did not survive."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.disk import WHY_NOT
from tests.torture.rig import Cluster, make_template, prepared
from tests.torture.seed import HEADER, Choice, deliveries, planned, play


def seeds_of(written: str) -> list[int]:
    """`1-50`, `3,7,11` or both. Raises ValueError."""
    found: list[int] = []
    for part in written.split(","):
        first, dash, last = part.partition("-")
        found += range(int(first), int(last) + 1) if dash else [int(first)]
    return found


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default="1-50", metavar="A-B,C", help="which seeds (default 1-50)")
    parser.add_argument("--seconds", type=float, default=10.0, help="load per seed (default 10)")
    parser.add_argument("--rate", type=float, default=120.0, help="messages a second (default 120)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep log and local files of a failed seed there")
    parser.add_argument("--keep-all", action="store_true", help="with --keep, keep those of seeds that passed too")
    parser.add_argument("--go-on", action="store_true", help="play the other seeds after a failed one")
    parser.add_argument("--list", action="store_true", help="print the schedules and play nothing")
    return parser.parse_args()


async def main() -> int:
    """0 when every seed passed."""
    asked = arguments()
    choice = Choice(asked.seconds, asked.rate, asked.workers, asked.keep, asked.keep_all)
    if asked.list:
        for seed in asked.seeds:
            tell_schedule(seed, choice, with_disk=True)
        return 0
    task = asyncio.current_task()
    assert task is not None
    # Whoever ends us: nothing is left mounted and no process behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="torture-") as written:
        place = Path(written)
        with_disk, cluster = await asyncio.to_thread(prepared, place)
        try:
            await make_template(cluster, place)
            return await campaign(asked, choice, cluster, place, with_disk=with_disk)
        finally:
            cluster.stop()


async def campaign(
    asked: argparse.Namespace, choice: Choice, cluster: Cluster, place: Path, *, with_disk: bool
) -> int:
    """Every seed asked for, in order."""
    began, failed = time.monotonic(), []
    print(f"{len(asked.seeds)} seeds, {choice.seconds:g} s of {choice.rate:g} messages/s, {choice.workers} workers")
    if not with_disk:
        print(WHY_NOT)
    print(HEADER, flush=True)
    for seed in asked.seeds:
        verdict = await play(seed, cluster, choice, place)
        print(verdict.line(), flush=True)
        if verdict.wrong:
            failed.append(seed)
            tell_schedule(seed, choice, with_disk=with_disk)
            print(*(f"  wrong: {each}" for each in verdict.wrong), sep="\n")
            if verdict.kept:
                print(f"  kept: {verdict.kept}")
            print(f"  again: python -m tests.torture --seeds {seed} --seconds {choice.seconds:g} "
                  f"--rate {choice.rate:g} --workers {choice.workers}", flush=True)  # fmt: skip
            if not asked.go_on:
                break
    minutes = (time.monotonic() - began) / 60
    print(f"{'failed: ' + ', '.join(map(str, failed)) if failed else 'every seed passed'} ({minutes:.1f} min)")
    return 1 if failed else 0


def tell_schedule(seed: int, choice: Choice, *, with_disk: bool) -> None:
    """The faults of a seed, and how many callbacks it sends."""
    _, made = deliveries(seed, choice)
    print(f"seed {seed}: {len(made)} callbacks with {sum(len(each.events) for each in made)} events")
    for fault in planned(seed, choice, with_disk=with_disk):
        print(f"  {fault.line()}")


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except asyncio.CancelledError:
        sys.exit("torture: ended before its end; nothing is judged")
