"""portal1400 simulate: plays carriers over HTTP and compares what the totals grew by with what was sent."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from service.runtime.environment import process_environment
from service.simulator.links import PROTOCOLS
from service.simulator.message import OF_THE_DONOR, ON_THE_WAY, Fault
from service.simulator.options import (
    DEFAULT_RATE,
    DEFAULT_SCALE,
    DEFAULT_SECONDS,
    DEFAULT_SEED,
    PROFILE_NAMES,
    Options,
    require_target,
)
from service.simulator.playing import Progress
from service.simulator.refused import SimulateRefused
from service.simulator.runner import simulate
from service.simulator.series import check_series

TOLD_EVERY_SECONDS = 5.0
REPLAY_RATE = 500.0
NO_FAULTS = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--target", metavar="URL", required=True, help="the portal's public listener")
    parser.add_argument("--book", metavar="FILE", type=Path, help="the apply file with its campaigns and accounts")
    parser.add_argument(
        "--protocol",
        metavar="P",
        nargs="+",
        action="extend",
        choices=PROTOCOLS,
        default=[],
        help=f"play only these: {', '.join(PROTOCOLS)}",
    )
    parser.add_argument(
        "--rate",
        metavar="N",
        type=float,
        help=f"messages a second in the mean (default {DEFAULT_RATE:g}; a replay: {REPLAY_RATE:g})",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        help=f"play the first S seconds of an evening (default {DEFAULT_SECONDS:g})",
    )
    length.add_argument("--profile", metavar="NAME", help=f"one of {', '.join(PROFILE_NAMES)}")
    parser.add_argument(
        "--scale", metavar="N", type=int, default=DEFAULT_SCALE, help="replay published figures / N (default 1)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=DEFAULT_SEED, help="the same seed, the same messages"
    )
    parser.add_argument(
        "--faults",
        metavar="NAME=SHARE,...",
        help=f"shares from 0 to 1 of {', '.join(Fault)}; or {NO_FAULTS}; what is not named is 0",
    )
    parser.add_argument(
        "--check-series", action="store_true", help="send nothing; compare the series with --profile's figures"
    )
    parser.add_argument(
        "--yes-this-is-my-own-server", action="store_true", help="allow a target that is not this machine"
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Returns 0 where everything is equal, 1 where something differs or is refused, 2 for wrong usage."""
    if arguments.book is None and not arguments.check_series:
        print("usage: portal1400 simulate --target URL --book FILE: --book is missing", file=sys.stderr)
        return 2
    if arguments.check_series:
        return await _check_series(arguments)
    return await _simulate(arguments)


async def _simulate(arguments: argparse.Namespace) -> int:
    is_replay = arguments.profile not in (None, "evening")
    options = Options(
        protocols=arguments.protocol,
        rate=arguments.rate if arguments.rate is not None else REPLAY_RATE if is_replay else DEFAULT_RATE,
        seconds=DEFAULT_SECONDS if arguments.seconds is None else arguments.seconds,
        profile=arguments.profile,
        scale=arguments.scale,
        seed=arguments.seed,
        faults=None if arguments.faults is None else faults_of(arguments.faults),
        is_own_server=arguments.yes_this_is_my_own_server,
    )
    report = await simulate(
        arguments.target,
        arguments.book,
        options,
        environment=process_environment(),
        progress=None if arguments.json else _Teller(),
        stop=_stopped_by_the_keyboard(),
    )
    if arguments.json:
        print(json.dumps(report.document(), ensure_ascii=False))
    else:
        print(*report.lines(), sep="\n")
    return 0 if report.is_right else 1


async def _check_series(arguments: argparse.Namespace) -> int:
    require_target(arguments.target, is_own_server=True)
    moments = await check_series(arguments.target, arguments.profile or "", arguments.scale)
    is_right = all(moment.is_right for moment in moments)
    if arguments.json:
        print(json.dumps({"equal": is_right, "moments": [moment.document() for moment in moments]}))
    else:
        print(*(moment.line() for moment in moments), sep="\n")
    return 0 if is_right else 1


def faults_of(written: str) -> Mapping[Fault, float]:
    """`duplicates=.05,conflicts=.01` as shares. Raises SimulateRefused for an unknown name or a wrong share."""
    shares: dict[Fault, float] = {}
    for part in written.split(",") if written != NO_FAULTS else ():
        name, _, share = part.partition("=")
        try:
            fault = Fault(name.strip())
        except ValueError:
            raise SimulateRefused(f"--faults {name.strip()} is unknown: use {', '.join(Fault)}") from None
        if fault in shares:
            raise SimulateRefused(f"--faults names {fault} twice: leave one of them out")
        try:
            shares[fault] = float(share)
        except ValueError:
            shares[fault] = -1.0
        if not 0 <= shares[fault] <= 1:
            raise SimulateRefused(f"--faults {fault} needs a share from 0 to 1, as in {fault}=.05")
    for together in (ON_THE_WAY, OF_THE_DONOR):
        if sum(shares.get(fault, 0.0) for fault in together) > 1:
            raise SimulateRefused(f"--faults: the shares of {', '.join(together)} are more than 1 together")
    return shares


class _Teller:
    """A line on stderr every few seconds."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.seconds - self._told >= TOLD_EVERY_SECONDS:
            self._told = progress.seconds
            print(f"{progress.seconds:.0f} s: {progress.messages} messages acknowledged", file=sys.stderr)


def _stopped_by_the_keyboard() -> asyncio.Event:
    """Set by the first Ctrl-C: what was sent until then is still compared. A second one ends at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, end)
    return stop
