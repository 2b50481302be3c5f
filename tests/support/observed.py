"""Two workers as a real Prometheus and a real Alertmanager see them, by our configuration made faster."""

import asyncio
import math
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml
from aiohttp import test_utils, web

from service.listeners.listening_socket import bind
from tests.support.dashboard import ROOT
from tests.support.portal import (
    Portal,
)
from tests.support.postgres import TestServer

ACCOUNT_CALLBACKS_MAX = 3
CONNECTIONS_MAX = 80
WRITERS = 2
PATIENCE_SECONDS = 60.0
SUBSTITUTES = {"$__rate_interval": "15s", "$campaign": ".*", "$account": ".*"}
Found = TypeVar("Found")


@dataclass(frozen=True)
class Observed:
    """A Prometheus that scrapes two loaded workers."""

    address: str
    http: aiohttp.ClientSession
    workers: tuple[Portal, ...]
    tasks: tuple["asyncio.Task[None]", ...]
    server: TestServer
    silent: set[str]
    """Accounts that send nothing from now on."""
    heard: dict[str, list[dict[str, Any]]]
    """The alerts that reached a person, by receiver."""

    async def ask(self, path: str, **parameters: str) -> Any:
        """The data of one API answer; fails with what Prometheus says."""
        async with self.http.get(f"{self.address}/api/v1/{path}", params=parameters) as answer:
            document = await answer.json()
        assert document["status"] == "success", document
        return document["data"]

    async def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each sample that is a number."""
        data = await self.ask("query", query=expr)
        assert data["resultType"] == "vector"
        found = [(each["metric"], float(each["value"][1])) for each in data["result"]]
        return [(labels, value) for labels, value in found if math.isfinite(value)]


def substituted(expr: str) -> str:
    """A query of a dashboard as it is asked for all that there is."""
    for variable, value in SUBSTITUTES.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr, "a variable that this test does not know"
    return expr


async def in_time(probe: Callable[[], Awaitable[Found]]) -> Found:
    """The first answer of `probe` that is not empty, else the last one."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        answer = await probe()
        if answer or asyncio.get_running_loop().time() > deadline:
            return answer
        await asyncio.sleep(0.25)


@asynccontextmanager
async def prometheus(folder: Path, workers: tuple[Portal, ...], alertmanager: str) -> AsyncIterator[str]:
    """Debian's Prometheus with our configuration, made faster; yields its address. Alerts go to `alertmanager`."""
    configuration = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(ROOT / "deploy/prometheus" / name) for name in configuration["rule_files"]]
    configuration["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    targets = [portal.internal.removeprefix("http://") for portal in workers]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    address = free_address()
    command = (
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}",
        # Told again soon: the first time it may not have found the Alertmanager yet.
        f"--web.listen-address={address}", "--log.level=warn", "--rules.alert.resend-delay=1s",
    )  # fmt: skip
    async with peer(folder, *command):
        yield f"http://{address}"


@asynccontextmanager
async def alertmanager(folder: Path, address: str, receiver: str) -> AsyncIterator[None]:
    """Debian's Alertmanager with our configuration, made faster, whose receivers are paths of `receiver`.

    Where it is not installed nobody listens at `address`.
    """
    if shutil.which("prometheus-alertmanager") is None:
        yield
        return
    text = (ROOT / "deploy/prometheus/alertmanager.yml").read_text(encoding="utf-8")
    text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 1s", text.replace("http://receiver.example", receiver))
    file = folder / "alertmanager.yml"
    file.write_text(text, encoding="utf-8")
    command = (
        "prometheus-alertmanager", f"--config.file={file}", f"--storage.path={folder / 'notifications'}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    )  # fmt: skip
    async with peer(folder, *command):
        yield


@asynccontextmanager
async def peer(folder: Path, *command: str) -> AsyncIterator[None]:
    """A process of somebody else's, ended afterwards; its log is kept in `folder`."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


def free_address() -> str:
    """A port that nobody listens on."""
    with bind("127.0.0.1", 0) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@asynccontextmanager
async def receiver(heard: dict[str, list[dict[str, Any]]]) -> AsyncIterator[str]:
    """Who is called: keeps each alert under the path that it came to; yields its address."""

    async def hear(request: web.Request) -> web.Response:
        document = await request.json()
        heard.setdefault(request.path.removeprefix("/"), []).extend(document["alerts"])
        return web.Response()

    application = web.Application()
    application.router.add_post("/{receiver}", hear)
    async with test_utils.TestServer(application) as served:
        yield f"http://{served.host}:{served.port}"
