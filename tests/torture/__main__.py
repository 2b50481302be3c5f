"""`python -m tests.torture`: plays seeds of faults against the real service; says which it did not survive."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.disk import WHY_NOT, SmallDisk
from tests.torture.rig import Cluster, make_template
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
    parser.add_argument("--seconds", type=float, default=12.0, help="load per seed (default 12)")
    parser.add_argument("--rate", type=float, default=120.0, help="messages a second (default 120)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep log and local files of a failed seed there")
    parser.add_argument("--go-on", action="store_true", help="play the other seeds after a failed one")
    parser.add_argument("--list", action="store_true", help="print the schedules and play nothing")
    return parser.parse_args()


async def main() -> int:
    """0 when every seed passed."""
    asked = arguments()
    choice = Choice(asked.seconds, asked.rate, asked.workers, asked.keep)
    if asked.list:
        for seed in asked.seeds:
            tell_schedule(seed, choice, with_disk=True)
        return 0
    with tempfile.TemporaryDirectory(prefix="torture-") as written:
        place = Path(written)
        with_disk, cluster = await asyncio.to_thread(prepared, place)
        try:
            await make_template(cluster, place)
            return await campaign(asked, choice, cluster, place, with_disk=with_disk)
        finally:
            cluster.stop()


def prepared(place: Path) -> tuple[bool, Cluster]:
    """Whether disks can be played here, and a PostgreSQL in `place`."""
    # The server runs as another user than root and has to reach its folder.
    place.chmod(0o755)
    trial, folder = place / "trial", place / "postgres"
    for each in (trial, folder):
        each.mkdir()
    disk = SmallDisk(trial)
    with_disk = disk.is_real
    disk.close()
    return with_disk, Cluster(folder)


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


sys.exit(asyncio.run(main()))
