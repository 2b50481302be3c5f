"""`python -m tests.image IMAGE`: a container of the image takes a gift, is killed, and has it still.

It runs as it should in production: root file system read-only, no capability, no new privilege. Needs Podman or
Docker on Linux; `--engine` names it with flags of its own, `--flag=...` adds flags of `run`. Ends with 0 when all
holds.
"""

import argparse
import asyncio
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import orjson

from tests.support.portal import BOOK, SECRET_KEY, message, signed
from tests.support.ports import free_ports

NAME = "portal1400-image-test"
VOLUME = f"{NAME}-data"
CONFINED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host")
READY_SECONDS = 120.0
STOP_SECONDS = 40
GIFT_VND = 100_000
SECRETS = re.compile(r"secret|password|token|credential", re.IGNORECASE)


class ImageFailed(Exception):
    """What did not hold."""


@dataclass(frozen=True)
class Engine:
    """A container engine, by its command."""

    command: tuple[str, ...]

    def run(self, *arguments: str, given: str | None = None, may_fail: bool = False) -> str:
        """One command of it to its end; what it said. Raises ImageFailed."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=given,
            env=os.environ | {"PORTAL1400_SECRET_KEY": SECRET_KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0 and not may_fail:
            raise ImageFailed(f"{' '.join(arguments)}: {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout


def require(holds: bool, what: str) -> None:
    """Say what was looked at. Raises ImageFailed where it does not hold."""
    if not holds:
        raise ImageFailed(what)
    print(f"image: {what}", flush=True)


async def ready(engine: Engine, internal: int) -> None:
    """Wait until it takes callbacks. Raises ImageFailed."""
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{internal}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)
    raise ImageFailed(engine.run("logs", NAME))


async def play(engine: Engine, image: str, flags: Sequence[str]) -> None:
    """The whole of it. Raises ImageFailed."""
    port = free_ports(3)
    listen = (f"PORTAL1400_LISTEN=127.0.0.1:{port}", f"PORTAL1400_INTERNAL_LISTEN=127.0.0.1:{port + 1}")
    settings = [f"--env={each}" for each in (*listen, "PORTAL1400_SECRET_KEY")]
    inspected = engine.run("image", "inspect", image) + engine.run("history", "--no-trunc", image)
    require(not SECRETS.search(inspected), "neither its settings nor its history speak of a secret")
    kept = (f"--name={NAME}", f"--volume={VOLUME}:/var/lib/portal1400")
    engine.run("run", "--detach", *kept, *CONFINED, *settings, *flags, image)
    await ready(engine, port + 1)
    require(engine.run("exec", NAME, "id", "-u").strip() == "1400", "it is not root")
    wrote = engine.run("exec", NAME, "sh", "-c", "for f in / /opt /etc /usr; do touch $f/x && echo wrote; done; true")
    require("wrote" not in wrote, "it can write nowhere but to its data and /tmp")
    engine.run("exec", "--interactive", NAME, "sh", "-c", "cat > /tmp/book.toml", given=BOOK)
    engine.run("exec", NAME, "portal1400", "apply", "--yes", "/tmp/book.toml")
    for life in ("first", "second"):
        for _ in range(2):
            require(await gift(port) == (200, GIFT_VND), f"the gift was taken and counts once, in its {life} life")
        if life == "first":
            engine.run("kill", "--signal=KILL", NAME)
            engine.run("start", NAME)
            await ready(engine, port + 1)
    engine.run("stop", f"--time={STOP_SECONDS}", NAME)
    require(engine.run("inspect", "--format={{.State.ExitCode}}", NAME).strip() == "0", "a stop is a clean end")
    require(engine.run("logs", NAME).count('"event":"callback"') >= 4, "its log is JSON, a line for each callback")


async def gift(port: int) -> tuple[int, int]:
    """Post one and the same gift; the answer's status, and what the campaign's total then comes to."""
    raw = orjson.dumps(message("image-1"))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        async with http.post("/gw/standard/hub", data=raw, headers=signed(raw)) as answer:
            status = answer.status
        deadline = time.monotonic() + 10
        while True:
            async with http.get("/api/v1/campaigns/vnn/totals") as answer:
                vnd = orjson.loads(await answer.read())["pledged_vnd"]
            if vnd == GIFT_VND or time.monotonic() > deadline:
                return status, vnd
            await asyncio.sleep(0.1)


def main(arguments: Sequence[str]) -> int:
    """Play it, and leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.image", description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--engine", default="podman", help="the engine's command with its own flags")
    parser.add_argument("--flag", action="append", default=[], help="one more flag of `run`; may be repeated")
    asked = parser.parse_args(arguments)
    engine = Engine(tuple(shlex.split(asked.engine)))
    try:
        asyncio.run(play(engine, asked.image, asked.flag))
    except ImageFailed as failed:
        print(f"image: this does not hold: {failed}", file=sys.stderr)
        return 1
    finally:
        engine.run("rm", "--force", NAME, may_fail=True)
        engine.run("volume", "rm", "--force", VOLUME, may_fail=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
