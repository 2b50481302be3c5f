"""portal1400 demo: embedded PostgreSQL, campaigns open today, the service, and simulated carriers over real HTTP."""

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

from campaigns.book.apply_file import load
from campaigns.book.book import VIETNAM
from service.commands.apply import apply_file
from service.commands.demo_desk import Accounts, prepare_accounts, send_earlier_gifts
from service.commands.opening import CommandRefused, opened
from service.commands.serve import bound
from service.commands.starting import service_of, unless_stopped
from service.listeners.listening_socket import bind
from service.runtime import garbage as collector
from service.runtime import logs
from service.runtime.settings import HostPort, Settings
from service.simulator.options import Options
from service.simulator.runner import simulate

DATA_DIR = Path(".portal1400-demo")
PORT = 1400
RATE = 25.0
"""Messages a second in the mean: the first minute of the 2019 drive."""
RATE_MAX = 2_000.0
INTERNAL_PORT = 9400
OPEN_DAYS = 60
STILL_OPEN = timedelta(days=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--data", type=Path, default=DATA_DIR, metavar="DIR", help=f"its own data folder ({DATA_DIR})"
    )
    parser.add_argument("--rate", type=float, default=RATE, metavar="N", help=f"messages a second ({RATE:g})")
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"port of the public pages ({PORT})")


async def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C; returns 0 after a clean end whose totals were exact."""
    if not 0 < arguments.rate <= RATE_MAX:
        raise CommandRefused(
            [f"--rate {arguments.rate:g}: want more than 0 and at most {RATE_MAX:g} messages a second"]
        )
    if not 0 <= arguments.port <= 65535:
        raise CommandRefused([f"--port {arguments.port}: want 0 to 65535"])
    folder: Path = arguments.data
    book, key = prepared_folder(folder, datetime.now(VIETNAM))
    settings = settings_of(folder, key, arguments.port)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with (folder / "demo.log").open("w", encoding="utf-8") as log_file:
        # The terminal is for people: a line per callback goes to a file.
        logs.configure("console", log_file)
        public = bound("--port", settings.listen)
        inside = _bound_inside()
        opening = opened(settings, kind="demo", embedded_only=True, progress=_tell)
        async with AsyncExitStack() as stack:
            ready = await unless_stopped(stopping, stack.enter_async_context(opening))
            if ready is None:
                return 0
            if ready.kind != "demo":
                raise CommandRefused(
                    [f"{folder} holds the database of a real service: name another folder by --data"]
                )
            before = before_of(book)
            await apply_file(ready, book)
            await apply_file(ready, before)
            accounts = await prepare_accounts(ready.database, ready.keyring)
            service = service_of(settings, ready)
            await service.start(public, inside)
            collector.tune_garbage_collection()
            base = f"http://127.0.0.1:{public.getsockname()[1]}"
            _show_addresses(base, inside, folder, accounts, _protocols(book))
            try:
                await send_earlier_gifts(base, book, before, datetime.now(VIETNAM), stopping)
                return await _play(base, book, arguments.rate, stopping)
            finally:
                await service.stop()
                _tell("stopped")


def settings_of(folder: Path, key: str, port: int) -> Settings:
    """What the demo serves by. It turns nobody away: on a machine busy with other things that would end the demo.

    There a commit may also be late, and from the spool a callback may be overtaken by its own conflict: the carriers
    wait instead, so that what grew is what they sent.
    """
    return Settings.model_validate(
        {
            "data_dir": folder,
            "secret_key": key,
            "listen": HostPort(host="127.0.0.1", port=port),
            "shed_under_load": False,
            "queue_wait_seconds": 20,
        }
    )


async def _play(base: str, book: Path, rate: float, stopping: asyncio.Event) -> int:
    """Simulated carriers until Ctrl-C; then what they sent is compared with what the portal shows."""
    options = Options(rate=rate, seconds=None)
    report = await simulate(base, book, options, environment=os.environ, stop=stopping)
    print()
    print(*report.lines(), sep="\n")
    return 0 if report.is_right else 1


def prepared_folder(folder: Path, now: datetime) -> tuple[Path, str]:
    """The demo's apply file and key in `folder`, made when they are not there or no longer open for a day.

    Raises CommandRefused for a folder that is something else.
    """
    book, key = folder / "book.toml", folder / "secret.key"
    if folder.exists() and any(folder.iterdir()) and not key.exists():
        raise CommandRefused([f"{folder} is not a demo's folder: name an empty or new one by --data"])
    if book.exists() and key.exists():
        # A folder of an earlier release has not what the desk is to show: it begins anew.
        is_whole = before_of(book).exists()
        if is_whole and all(each.decision.closes_at - now > STILL_OPEN for each in load(book).campaigns):
            return book, key.read_text().strip()
        _tell("the last demo's campaigns are over: its invented gifts are thrown away")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_private(key, secrets.token_hex(32))
    _write_private(before_of(book), demo_book(now, "demo_before.toml"))
    _write_private(book, demo_book(now))
    return book, key.read_text().strip()


def before_of(book: Path) -> Path:
    """The apply file of what lies before and after the drives of `book`."""
    return book.with_name("before.toml")


def demo_book(now: datetime, name: str = "demo.toml") -> str:
    """An apply file of the demo: drives open since the day before `now`, or by the other name last year's, next."""
    opens_at = (now - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    last_opens_at = opens_at - timedelta(days=365)
    next_opens_at = opens_at + timedelta(days=3, hours=20)
    template = resources.files("service").joinpath(f"commands/{name}").read_text(encoding="utf-8")
    values = {
        "@YEAR@": str(now.year),
        "@LAST_YEAR@": str(now.year - 1),
        "@OPENS@": opens_at.isoformat(),
        "@CLOSES@": (opens_at + timedelta(days=OPEN_DAYS)).isoformat(),
        "@LAST_OPENS@": last_opens_at.isoformat(),
        "@LAST_CLOSES@": (last_opens_at + timedelta(days=OPEN_DAYS)).isoformat(),
        "@NEXT_OPENS@": next_opens_at.isoformat(),
        "@NEXT_CLOSES@": (next_opens_at + timedelta(days=OPEN_DAYS)).isoformat(),
        "@SIGNING@": "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
        "@PATH@": secrets.token_urlsafe(24),
        "@PASSWORD@": secrets.token_urlsafe(24),
        "@SECRET@": secrets.token_urlsafe(24),
    }
    for mark, value in values.items():
        template = template.replace(mark, value)
    return template


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _bound_inside() -> socket.socket:
    """The internal port; any free one when the usual is taken, for the demo is not alone on this machine."""
    with suppress(OSError):
        return bind("127.0.0.1", INTERNAL_PORT)
    return bind("127.0.0.1", 0)


def _protocols(book: Path) -> Sequence[str]:
    """Of the accounts that are played: to those for tests nobody posts by himself."""
    played = (each.raw for each in load(book).gateways if each.raw.get("test") is not True)
    return tuple(dict.fromkeys(str(each["adapter"]) for each in played if each.get("enabled") is not False))


def _show_addresses(
    base: str, inside: socket.socket, folder: Path, accounts: Accounts, protocols: Sequence[str]
) -> None:
    rows = (
        ("the public page", f"{base}/"),
        ("the API, to read and try", f"{base}/api/docs"),
        ("live totals as a stream", f"{base}/api/v1/stream"),
        ("Prometheus metrics", f"http://127.0.0.1:{inside.getsockname()[1]}/metrics"),
    )
    print("\nportal1400 is running with invented gifts. Open:\n")
    for name, address in rows:
        print(f"  {name:26} {address}")
    print("", *accounts.lines(base), sep="\n")
    print(f"\nInvented carriers speak {len(protocols)} protocols to it at once: {', '.join(protocols)}.")
    print(f"\nOne line per callback is in {folder / 'demo.log'}. Ctrl-C ends it and compares the totals.", flush=True)


def _tell(sentence: str) -> None:
    print(f"portal1400: {sentence}", file=sys.stderr, flush=True)
