"""A secret is rotated under load, in every protocol: old, both, new; nobody is refused for a moment."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from gateways.registry import ADAPTERS
from gateways.sender import Reply, Sms, Verdict
from gateways.wire.signatures import new_secret
from tests.support.databases import cloned_database
from tests.support.fleet import Fleet
from tests.support.portal import BOOK, eventually
from tests.support.postgres import TestServer
from tests.support.processes import command
from tests.support.protocols import account_table, speaker

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")]

CAMPAIGNS = BOOK[: BOOK.index("[[gateway]]")]
CHANGE_OVER_AT_ONCE = 8
PAUSE_SECONDS = 0.25
"""Of a carrier between its messages, all together some fifty a second. Less than an idle connection is kept for when
its worker is replaced, or the carrier would send into its end."""


@dataclass
class Rotation:
    """A service with an account of every protocol, and carriers that post to them all the time."""

    site: Fleet
    folder: Path
    secrets: dict[str, dict[str, str]]
    used: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ADAPTERS, "OLD"))
    """Which of its secrets each carrier uses now."""
    verdicts: list[tuple[str, str, Verdict]] = field(default_factory=list)

    def keep(self, *which: str) -> None:
        """Write these secrets, and no other, to the environment file and to the files."""
        lines = [f"{name.upper()}_{each}={self.secrets[name][each]}" for name in ADAPTERS for each in which]
        (self.folder / "env").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for each in ("OLD", "NEW"):
            path = self.folder / f"kannel-{each}"
            if each in which:
                path.write_text(self.secrets["kannel"][each] + "\n", encoding="utf-8")
                path.chmod(0o600)
            else:
                path.unlink(missing_ok=True)

    async def run(self, *words: str) -> str:
        """A command beside the service; what it prints."""
        ended = await command(self.site.environ, *words)
        assert ended.code == 0, ended.err
        return ended.out + ended.err

    async def apply(self, *which: str) -> str:
        """Apply accounts that list these secrets; what the command says."""
        tables = []
        for name in ADAPTERS:
            written = [
                f"file:{self.folder}/kannel-{each}" if name == "kannel" else f"env:{name.upper()}_{each}"
                for each in which
            ]
            tables.append(account_table(name, written))
        path = self.folder / "rotation.toml"
        path.write_text(CAMPAIGNS + "\n".join(tables), encoding="utf-8")
        return await self.run("apply", "--yes", str(path))

    async def hang_up(self) -> None:
        """What `systemctl reload` sends; all workers have read again and are replaced afterwards."""
        done = len(self.site.said("rolling_restart_done"))
        os.kill(self.site.pid, signal.SIGHUP)
        if self.site.workers > 1:
            await self.site.until_said("rolling_restart_done", done + 1)

    async def degraded(self) -> list[str]:
        """What the first worker calls degraded."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.site.internal_port}/readyz") as answer,
        ):
            assert answer.status == 200
            return list((await answer.json())["degraded"])

    async def is_whole(self) -> bool:
        """Whether no account misses a secret."""
        return await self.degraded() == []

    async def post(self, http: aiohttp.ClientSession, name: str, which: str, native_id: str) -> Verdict:
        """One message over the account of a protocol."""
        sender = speaker(name, self.secrets[name][which])
        now = datetime.now(UTC)
        sms = Sms(0, native_id, "84950000001", "1408", "VNN 5", "VNN", "viettel", None, now.replace(microsecond=0))
        asked = sender.request([sms], now)
        url = URL(f"http://127.0.0.1:{self.site.port}{asked.address}", encoded=True)
        async with http.request(asked.method, url, headers=asked.headers, data=asked.body) as answer:
            return sender.judge([sms], Reply(answer.status, answer.content_type, await answer.read()))

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """A carrier for each protocol that posts until the end."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            tasks = [asyncio.create_task(self._carrier(http, name)) for name in ADAPTERS]
            try:
                yield
                for task in tasks:
                    assert not task.done(), task.exception()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _carrier(self, http: aiohttp.ClientSession, name: str) -> None:
        for number in count():
            which = self.used[name]
            self.verdicts.append((name, which, await self.post(http, name, which, f"{name}-{number}")))
            await asyncio.sleep(PAUSE_SECONDS)

    async def more(self) -> None:
        """Wait until every carrier has posted a few times more, over every worker it may reach."""
        seen = len(self.verdicts)

        async def have_all() -> bool:
            names = [name for name, _, _ in self.verdicts[seen:]]
            return all(names.count(name) >= 3 for name in ADAPTERS)

        await eventually(have_all, 120)


@asynccontextmanager
async def rotating(
    dsn: str, folder: Path, workers: int, arguments: tuple[str, ...] | None = None
) -> AsyncIterator[Rotation]:
    site = Fleet(dsn, folder, workers, arguments=arguments)
    site.changes = {"PORTAL1400_ENVIRONMENT_FILE": str(folder / "env"), "PORTAL1400_DRAIN_SECONDS": "1"}
    secrets = {
        name: {each: new_secret() if name == "standard" else f"a-{name}-secret-{each}" for each in ("OLD", "NEW")}
        for name in ADAPTERS
    }
    found = Rotation(site, folder, secrets)
    found.keep("OLD")
    await found.apply("OLD")
    site.start()
    try:
        await site.ready()
        yield found
    finally:
        await site.end()


@pytest.fixture(scope="module")
async def alone(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rotation]:
    """One process, which has the old secrets before each test."""
    folder = tmp_path_factory.mktemp("alone")
    async with cloned_database(server) as dsn, rotating(dsn, folder, 1, ("serve",)) as started:
        yield started


async def test_an_environment_file_that_is_broken_meanwhile_changes_nothing(alone: Rotation) -> None:
    site, file = alone.site, alone.folder / "env"
    read = len(site.said("secrets_read_again"))
    file.write_text("STANDARD_OLD='half\n", encoding="utf-8")
    await alone.hang_up()
    refused = await site.until_said("environment_file_refused", 1)
    assert str(refused["reason"]).endswith("line 1: STANDARD_OLD: the quote is not closed at the line's end")
    async with aiohttp.ClientSession() as http:
        assert await alone.post(http, "standard", "OLD", "m-1") is Verdict.TAKEN
        # An account that has none left says "later" to those that pass its other factor.
        file.write_text("VN_SOAP_MO_OLD=x\n", encoding="utf-8")
        await alone.hang_up()

        async def is_later() -> bool:
            return await alone.post(http, "standard", "OLD", "m-2") is Verdict.LATER

        await eventually(is_later)
        await site.until_said("secrets_read_again", read + 1)
    assert 'portal1400_account_usable{account="standard"} 0.0' in await site.metrics(0)
    assert len(site.said("secrets_read_again")) == read + 1, "of the file that was refused nothing was read"
    alone.keep("OLD")
    await alone.hang_up()
    await eventually(alone.is_whole)


async def rotate(rotation: Rotation) -> None:
    """Asserts what is so before, while and after every carrier is given another secret."""
    workers = rotation.site.workers
    pids = [rotation.site.pid, *rotation.site.worker_pids()]
    async with rotation.playing():
        await rotation.more()
        # The accounts name a secret that no running worker has: the other one is used, and it is said.
        said = await rotation.apply("OLD", "NEW")
        for name, where in (("standard", "STANDARD_NEW"), ("vn-soap-mo", "VN_SOAP_MO_NEW")):
            assert f"warning: running worker 0: gateway {name}: {where} is not set; its other" in said
        assert f"gateway kannel: {rotation.folder}/kannel-NEW cannot be read" in said
        assert ("running worker 1" in said) is (workers > 1)
        assert len(await rotation.degraded()) == len(ADAPTERS)
        assert "warning: gateway standard: STANDARD_NEW is not set" in await rotation.run("check")
        metrics = await rotation.site.metrics(0)
        assert 'portal1400_account_secrets_missing{account="kannel"} 1.0' in metrics
        assert 'portal1400_account_usable{account="kannel"} 1.0' in metrics
        await rotation.more()

        rotation.keep("OLD", "NEW")
        await rotation.hang_up()
        await eventually(rotation.is_whole, 120)
        # The carriers change over a few at a time.
        names = list(ADAPTERS)
        for first in range(0, len(names), CHANGE_OVER_AT_ONCE):
            rotation.used |= dict.fromkeys(names[first : first + CHANGE_OVER_AT_ONCE], "NEW")
            await rotation.more()
        assert "warning" not in await rotation.apply("NEW")
        rotation.keep("NEW")
        os.kill(rotation.site.pid, signal.SIGHUP)
        await rotation.more()
        async with aiohttp.ClientSession() as http:
            for name in ADAPTERS:
                assert await rotation.post(http, name, "OLD", f"late-{name}") is Verdict.REFUSED
    assert {each for each in rotation.verdicts if each[2] is not Verdict.TAKEN} == set()
    assert rotation.site.pid == pids[0]
    if workers == 1:
        assert [rotation.site.pid, *rotation.site.worker_pids()] == pids
    said = rotation.site.log_file.read_text()
    for secret in (each for both in rotation.secrets.values() for each in both.values()):
        assert secret not in said


async def test_old_both_and_new_are_taken_at_every_moment_by_two_workers(database_dsn: str, tmp_path: Path) -> None:
    async with rotating(database_dsn, tmp_path, 2) as rotation:
        await rotate(rotation)


async def test_old_both_and_new_are_taken_at_every_moment_by_one_process(alone: Rotation) -> None:
    await rotate(alone)
