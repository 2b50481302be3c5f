"""Does what docs/operate.md says, block by block, on an empty Debian 12 that is booted for it; `make operate`.

The machine is made by debootstrap and booted by systemd-nspawn on this machine's network, so the ports of the
service, of Prometheus and of Alertmanager have to be free. Needs root. Prints each block with its seconds; exit code
1 says what did not come out.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohttp import test_utils, web

from tests.support.portal import message, signed

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operate.md"
PORTS = {1400: "the service", 9400: "worker 0", 9401: "worker 1", 9090: "Prometheus", 9093: "Alertmanager"}
KEPT = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables by which this machine reaches a package index."""
RELEASE = "bookworm"
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "git")
REPOSITORY = "/srv/portal1400.git"
NUMBER = "84912340987"
BOOT_SECONDS = 120
BLOCK_SECONDS = 900
WAIT_SECONDS = 120
SPEED = {"cores", "commits", "answers", "event loop", "load", "disk data", "disk postgres", "disk database"}
"""What says something about the machine that this runs on, and nothing about the page."""


class Block(NamedTuple):
    """A block of the page: the heading over it, its first line there, and its commands."""

    heading: str
    line: int
    commands: str


def blocks_of(page: str) -> list[Block]:
    """The blocks marked `sh`, in their order."""
    found: list[Block] = []
    heading, begun = "", 0
    inside: list[str] | None = None
    for number, line in enumerate(page.splitlines(), start=1):
        if inside is not None:
            if line.strip() == "```":
                found.append(Block(heading, begun, "\n".join(inside)))
                inside = None
            else:
                inside.append(line)
        elif line.strip() == "```sh":
            inside, begun = [], number + 1
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


class NotSo(Exception):
    """Something did not come out as the page says."""


class Machine:
    """A booted container."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self.leader = leader

    async def run(self, commands: str, **variables: str) -> str:
        """Run a block as root's shell would, and return what it printed. Raises NotSo."""
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environ |= {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"} | variables
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        process = await asyncio.create_subprocess_exec(
            "nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--pid", "--root", "--wd",
            "/bin/bash", "-euo", "pipefail", "-c", commands,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=kept | environ,
        )  # fmt: skip
        try:
            out, _ = await asyncio.wait_for(process.communicate(), BLOCK_SECONDS)
        except TimeoutError:
            process.kill()
            raise NotSo(f"it did not end within {BLOCK_SECONDS} s") from None
        if process.returncode:
            raise NotSo(f"exit code {process.returncode}:\n{out.decode(errors='replace')[-4000:]}")
        return out.decode(errors="replace")


def make_root(root: Path) -> None:
    """An empty Debian 12 with the init of one."""
    include = "systemd,systemd-sysv,dbus,ca-certificates"
    run("debootstrap", "--variant=minbase", f"--include={include}", RELEASE, root, *own_mirror())


def own_mirror() -> list[str]:
    """Where this machine itself has the release from; none: debootstrap knows a place."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {RELEASE}", "Component: main"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False) if shutil.which(asked[0]) else None
    return found.stdout.splitlines()[:1] if found else []


def lay_ready(root: Path) -> None:
    """Our repository for it to clone, and how this machine reaches a package index, which is its own affair."""
    run("git", "clone", "--quiet", "--bare", ROOT, f"{root}{REPOSITORY}")
    for name in ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(name).exists():
            shutil.copy(name, f"{root}{name}")
    links = os.environ.get("PIP_FIND_LINKS", "")
    if links.startswith("/") and Path(links).is_dir():
        shutil.copytree(links, f"{root}{links}", dirs_exist_ok=True)


def run(*words: str | Path) -> None:
    """Run a command to its end. Raises NotSo."""
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotSo(f"{words[0]} ended with {ended.returncode}: {(ended.stdout + ended.stderr)[-2000:]}")


async def is_up(machine: Machine) -> bool:
    """Whether its init has begun all that it begins."""
    try:
        await machine.run("systemctl is-system-running | grep -qE 'running|degraded'")
    except NotSo:
        return False
    return True


@asynccontextmanager
async def booted(root: Path) -> AsyncIterator[Machine]:
    """The machine, until the block ends."""
    log = (root.parent / "boot.log").open("wb")
    process = subprocess.Popen(
        ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--resolv-conf=off",
         "--console=read-only", "-D", root],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(BOOT_SECONDS):
            while True:
                if process.poll() is not None:
                    raise NotSo(f"it did not boot: {(root.parent / 'boot.log').read_text(errors='replace')[-2000:]}")
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for child in children:
                    machine = Machine(root, int(child))
                    if await is_up(machine):
                        break
                else:
                    await asyncio.sleep(0.5)
                    continue
                break
        yield machine
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()


async def give(machine: Machine, native_id: str, secret_name: str = "VIETTEL_HUB_SECRET", **changes: Any) -> None:
    """Post a gift as the carrier would. Raises NotSo unless it is taken."""
    secret = (await machine.run(f"sed -n 's/^{secret_name}=//p' /etc/portal1400/env")).strip()
    body = orjson.dumps(message(native_id, "VNN 5", **changes))
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            "http://127.0.0.1:1400/gw/standard/viettel-hub", data=body, headers=signed(body, secret=secret)
        ) as answer,
    ):
        outcome = answer.headers.get("x-portal1400-outcome")
        if answer.status != 200 or outcome not in ("accepted", "duplicate"):
            raise NotSo(f"a gift was answered {answer.status} {outcome}")


async def until(what: str, probe: Any) -> None:
    """Wait until `probe` gives something true. Raises NotSo."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError, OSError, KeyError, IndexError, ValueError):
            if await probe():
                return
        await asyncio.sleep(0.5)
    raise NotSo(f"within {WAIT_SECONDS} s it did not come true that {what}")


async def ask(url: str) -> Any:
    """JSON from an address."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return await answer.json(content_type=None)


async def is_watched() -> bool:
    """Whether Prometheus has scraped both workers and loaded the rules."""
    up = await ask('http://127.0.0.1:9090/api/v1/query?query=sum(up{job="portal1400"})')
    rules = await ask("http://127.0.0.1:9090/api/v1/rules")
    return up["data"]["result"][0]["value"][1] == "2" and len(rules["data"]["groups"]) > 0


async def are_ready() -> bool:
    """Whether both workers take callbacks."""
    return all([(await ask(f"http://127.0.0.1:{port}/readyz"))["status"] == "ready" for port in (9400, 9401)])


async def rolls(machine: Machine) -> int:
    """How often all workers were replaced."""
    return int(await machine.run("journalctl -u portal1400 -o cat --no-pager | grep -c rolling_restart_done || true"))


async def has_rolled(machine: Machine, before: int) -> bool:
    """Whether they were once more, and nothing of it is under way."""
    begun = await machine.run("journalctl -u portal1400 -o cat --no-pager | grep -c rolling_restart_begins || true")
    return before < await rolls(machine) == int(begun)


def publish_release(root: Path) -> None:
    """Another commit in the repository, so that there is something to upgrade to."""
    git = ["git", f"--git-dir={root}{REPOSITORY}", "-c", "user.name=operate", "-c", "user.email=operate@localhost"]
    made = subprocess.run(
        [*git, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "The next release"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    run(*git, "update-ref", "HEAD", made.stdout.strip())


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[int, list[Any]]]:
    """Whom Alertmanager tells: its port, and what came."""
    told: list[Any] = []

    async def receive(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    application = web.Application()
    application.add_routes([web.post("/{tail:.*}", receive)])
    async with test_utils.TestServer(application) as served:
        assert served.port
        yield served.port, told


async def follow(machine: Machine, port: int, told: list[Any], first_line: int) -> None:
    """Every block in its order, with what has to be true between them. Raises NotSo."""
    for block in (each for each in blocks_of(PAGE.read_text(encoding="utf-8")) if each.line >= first_line):
        started = time.monotonic()
        commands = block.commands.replace("ADDRESS-OF-THIS-REPOSITORY", REPOSITORY)
        commands = commands.replace("--campaign SLUG", "--campaign vi-nguoi-ngheo --json")
        commands = commands.replace("http://ALERTMANAGER:9093", "http://127.0.0.1:9093")
        commands = commands.replace(
            "# put your receivers into /etc/prometheus/alertmanager.yml",
            f"sed -i 's#receiver.example#127.0.0.1:{port}#' /etc/prometheus/alertmanager.yml",
        )
        try:
            rolled = await rolls(machine)
            if "former=" in commands:
                publish_release(machine.root)
            if "preflight" in commands:
                await preflight(machine, commands, told)
            else:
                await machine.run(commands.replace("$former", "${former}"), NUMBER=NUMBER, **FOUND)
            if "former=" in commands:
                FOUND["former"] = (await machine.run("ls -t /opt/portal1400/releases | tail -1")).strip()
            if "systemctl reload" in commands:
                await until("the last worker is replaced", partial(has_rolled, machine, rolled))
            if "systemctl" in commands:
                await until("both workers are ready", are_ready)
            await after(machine, block)
        except NotSo as wrong:
            raise NotSo(f"docs/operate.md, line {block.line} ({block.heading}): {wrong}\n{commands}") from None
        print(f"{time.monotonic() - started:7.1f} s  line {block.line:<4} {block.heading}", flush=True)


FOUND: dict[str, str] = {}
"""What a shell of the page would remember from block to block."""


async def after(machine: Machine, block: Block) -> None:
    """What has to hold behind a block."""
    match block.heading:
        case "Install" if "portal.toml" in block.commands:
            await give(machine, "m-1")
            await give(machine, "m-2", msisdn=NUMBER)
        case "Watch it":
            await until("Prometheus has scraped two workers and loaded the rules", is_watched)
        case "Rotate a carrier's secret":
            await give(machine, "m-1", "VIETTEL_HUB_SECRET_2")
        case "Change the secret key" | "Upgrade, and back":
            # A repeat is a repeat: of a changed key of digests it would be a conflict.
            await give(machine, "m-1", "VIETTEL_HUB_SECRET_2")
        case "Erase a person":
            said = await machine.run("portal1400 verify")
            if "every figure can be recomputed" not in said:
                raise NotSo(said)
        case _:
            pass


async def preflight(machine: Machine, commands: str, told: list[Any]) -> None:
    """The answer of the command, but for what this machine is like; and the alert has come. Raises NotSo."""
    said = await machine.run(commands.replace("\nportal1400 verify", " || true\nportal1400 verify >&2"))
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    bad = [each for each in found["checks"] if each["verdict"] == "no_go" and each["name"] not in SPEED]
    if bad:
        raise NotSo(str(bad))
    (alert,) = (each["sentence"] for each in found["checks"] if each["name"] == "alert")

    async def has_come() -> bool:
        codes = {alert["labels"].get("code") for each in told for alert in each["alerts"]}
        return any(code and code in alert for code in codes)

    await until(f"the alert has come: {alert}", has_come)
    print(f"           alert: {alert}", flush=True)


def require() -> None:
    """What this needs. Raises NotSo."""
    if os.geteuid() != 0:
        raise NotSo("it boots a machine: run it as root")
    if missing := [name for name in TOOLS if shutil.which(name) is None]:
        raise NotSo(f"it needs {', '.join(missing)} (Debian: apt-get install debootstrap systemd-container)")
    for port, whose in PORTS.items():
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                raise NotSo(f"port {port}, for {whose}, is in use on this machine") from None


async def main() -> int:
    """Make the machine, follow the page; 1 when something did not come out."""
    parser = argparse.ArgumentParser(prog="python -m tests.operate", description=__doc__)
    parser.add_argument("--root", type=Path, help="an empty Debian 12 that is there already; is changed")
    parser.add_argument("--from-line", type=int, default=0, metavar="N", help="leave out the blocks before it")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="portal1400-operate-"))
    try:
        require()
        root = chosen.root or folder / "root"
        started = time.monotonic()
        if chosen.root is None:
            make_root(root)
        if not (root / REPOSITORY[1:]).exists():
            lay_ready(root)
        print(f"{time.monotonic() - started:7.1f} s  an empty Debian 12", flush=True)
        async with receiver() as (port, told), booted(root) as machine:
            if chosen.from_line:
                await until("both workers are ready", are_ready)
            await follow(machine, port, told, chosen.from_line)
    except NotSo as wrong:
        print(f"operate: {wrong}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("docs/operate.md holds: every block was run as it stands there", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
