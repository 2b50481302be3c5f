"""portal1400 top: the night on a terminal, read from the workers of this machine, for whoever has only ssh."""

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from contextlib import suppress

import aiohttp

from service.commands.running import ASK_SECONDS, address_of, running_workers
from service.operations import gateways_page
from service.operations.night import Look, WorkerSaid, earliest, night_of, samples_of
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings

PAUSE_SECONDS = 2.0
ONCE_SECONDS = 1.0
"""Two looks so far apart are needed for a rate."""
WINDOW_SECONDS = 60.0
"""Rates are over so long, once it has been looked at so long."""
LOOKS_MAX = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--once", action="store_true", help="look once, over a second, and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each look, a line each")


async def run(arguments: argparse.Namespace) -> int:
    """Show the night until Ctrl-C; with `--once`, and where nobody sees a screen, once. Raises Refused: none runs."""
    settings = read_settings()
    looks = deque([await look(settings)], LOOKS_MAX)
    if not looks[0].workers:
        raise Refused([f"no worker listens at PORTAL1400_INTERNAL_LISTEN={settings.internal_listen}"])
    if arguments.once or (not arguments.json and not sys.stdout.isatty()):
        await asyncio.sleep(ONCE_SECONDS)
        looks.append(await look(settings))
        _print(looks, as_json=arguments.json)
        return 0
    with suppress(asyncio.CancelledError):  # Ctrl-C is how it ends
        await (_print_on(settings, looks) if arguments.json else _show(settings, looks))
    return 0


async def look(settings: Settings) -> Look:
    """Ask every worker of this machine, at once."""
    running = await running_workers(settings)
    # Those that answer do so now; one that hangs is waited for, and that time is none of the others' rates.
    at = time.time()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:
        texts = await asyncio.gather(
            *(_get(http, f"http://{address_of(settings, each.index)}/metrics") for each in running)
        )
        links: tuple[dict[str, object], ...] = ()
        for each, text in zip(running, texts, strict=True):
            # Each tells what all have seen; the next is asked only where one does not answer.
            page = f"http://{address_of(settings, each.index)}{gateways_page.PATH}?format=json"
            if text is not None and (told := await _get(http, page)) is not None:
                links = tuple(json.loads(told)["gateways"])
                break
    workers = tuple(
        WorkerSaid(each.index, each.is_ready, each.degraded, None if text is None else samples_of(text))
        for each, text in zip(running, texts, strict=True)
    )
    return Look(at, workers, links)


async def _get(http: aiohttp.ClientSession, address: str) -> str | None:
    """What it says; None for a worker that has just ended, or hangs."""
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with http.get(address) as answer:
            return await answer.text() if answer.status == 200 else None
    return None


async def _print_on(settings: Settings, looks: "deque[Look]") -> None:
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        looks.append(await look(settings))
        _print(looks, as_json=True)


def _print(looks: "deque[Look]", *, as_json: bool) -> None:
    night = night_of(looks[-1], earliest(looks, WINDOW_SECONDS))
    if as_json:
        print(json.dumps(night, ensure_ascii=False), flush=True)
        return
    # Only where somebody looks: it takes a tenth of a second to import.
    from rich.console import Console

    from service.commands.top_screen import screen

    Console(width=None if sys.stdout.isatty() else 80, highlight=False).print(screen(night))


async def _show(settings: Settings, looks: "deque[Look]") -> None:
    from rich.console import Console
    from rich.live import Live

    from service.commands.top_screen import screen

    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(night_of(looks[-1], earliest(looks, WINDOW_SECONDS))), refresh=True)
            await asyncio.sleep(PAUSE_SECONDS)
            looks.append(await look(settings))
