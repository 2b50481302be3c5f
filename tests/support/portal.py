"""A running service on a database of its own, and small clients that speak to it over HTTP."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from standardwebhooks import Webhook

from service.app import Service
from service.commands.apply import apply_file
from service.commands.opening import Opened, opened
from service.listeners.listening_socket import bind
from service.runtime.clock import utc_now
from service.runtime.settings import Settings, read_settings
from tests.support.databases import cloned_database
from tests.support.postgres import TestServer
from tests.support.promptness import is_prompt

SECRET_KEY = "a key for tests, long enough to be one, known to everybody"
SIGNING_SECRET = "whsec_" + base64.b64encode(b"a signing secret for tests only!").decode()
PATH_SECRET = "a-path-secret-for-tests"
ELSEWHERE = "203.0.113.0/24"
"""Networks from which no test comes."""


def signed_account(
    code: str,
    more: str = "",
    *,
    carrier: str = "viettel",
    network: str = "127.0.0.0/8",
    secrets: Sequence[str] = (SIGNING_SECRET,),
) -> str:
    """An account of the standard protocol, as an apply file has it; `more`: further lines of its table."""
    return (
        f'\n[[gateway]]\ncode = "{code}"\nadapter = "standard"\ncarrier = "{carrier}"\ncharging = "on_message"\n'
        f'secrets = {json.dumps(list(secrets))}\nnetworks = ["{network}"]\n{more}'
    )


BOOK = f"""
[[organisation]]
code = "mttq"
name_vi = "Ủy ban Trung ương Mặt trận Tổ quốc Việt Nam"
name_en = "Vietnam Fatherland Front"

[[campaign]]
slug = "vnn"
name_vi = "Cả nước chung tay vì người nghèo"
name_en = "Hands together for the poor"
category = "poverty"
organiser = "mttq"
decision = "1/QD"
opens_at = 2020-01-01T00:00:00+07:00
closes_at = 2099-01-01T00:00:00+07:00
goal_vnd = 5_000_000_000

  [[campaign.route]]
  short_code = "1408"
  keywords = ["VNN"]
  grammar = "units"
  unit_vnd = 20_000
  max_units = 100

[[campaign]]
slug = "old"
name_vi = "Ủng hộ đồng bào miền Trung"
category = "storm_flood"
organiser = "mttq"
opens_at = 2019-01-01T00:00:00+07:00
closes_at = 2019-02-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1409"
  keywords = ["UH"]
  grammar = "fixed"
  unit_vnd = 20_000
{signed_account("hub")}
[[gateway]]
code = "vina"
adapter = "kannel"
carrier = "from_message"
charging = "on_message"
path_secret = "{PATH_SECRET}"
networks = ["127.0.0.0/8"]
carriers = {{ vnp1 = "vinaphone", vms1 = "mobifone" }}

[[gateway]]
code = "soap"
adapter = "vn_soap_mo"
carrier = "from_message"
charging = "on_message"
dialect = "GetMOData"
style = "reply"
refuse_value = "1|Sai cu phap"
user = "portal"
password = "a-password-for-tests"
networks = ["127.0.0.0/8"]
"""


def book_file(folder: Path, text: str = BOOK) -> Path:
    """An apply file, for whoever applies it by the command line or asks for a path."""
    path = folder / "book.toml"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def outcome(self) -> str | None:
        """How the callback ended, where the protocol tells."""
        return self.headers.get("x-portal1400-outcome")

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


@dataclass
class Portal:
    """A running service: its addresses, its database, and ways to speak to it."""

    service: Service
    opened: Opened
    base: str
    internal: str
    dsn: str
    http: aiohttp.ClientSession
    asked: dict[str, asyncpg.Pool] = field(default_factory=dict)

    async def post(self, body: dict[str, Any] | bytes, *, account: str = "hub", **changes: Any) -> Reply:
        """Post a signed callback of the `standard` protocol."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = changes.pop("headers", None) or signed(raw)
        async with self.http.post(
            f"{self.base}/gw/standard/{account}", data=BytesIO(raw), headers=headers, **changes
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **changes: Any) -> Any:
        """GET a public JSON address."""
        async with self.http.get(self.base + path, **changes) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return orjson.loads(await answer.read())

    async def totals(self, slug: str = "vnn") -> Any:
        """The totals of a campaign as published now."""
        return await self.get(f"/api/v1/campaigns/{slug}/totals")

    async def metric(self, name: str, **labels: str) -> float:
        """One sample of the service's registry, without asking for all the others."""
        families = self.service.instruments.registry.restricted_registry([name]).collect()
        found = next((each.value for family in families for each in family.samples if each.labels == labels), None)
        assert found is not None, f"no sample {name} {labels}"
        return found

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the database itself, over a connection that lasts: a new one costs more than most questions."""
        pool = self.asked.get(self.dsn)
        if pool is None:
            # Of several servers, the one that leads is another from one question to the next: none is kept.
            questions = 1 if "," in self.dsn else 50_000
            pool = self.asked[self.dsn] = await asyncpg.create_pool(self.dsn, min_size=0, max_queries=questions)
        return list(await pool.fetch(sql, *arguments))


def signed(
    raw: bytes, *, message_id: str = "msg_1", at: datetime | None = None, secret: str = SIGNING_SECRET
) -> dict[str, str]:
    """Standard Webhooks headers, made by the reference library."""
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, raw.decode()),
    }


def message(native_id: str, text: str = "VNN 5", **changes: Any) -> dict[str, Any]:
    """A `message.received` event."""
    data = {"message_id": native_id, "msisdn": "84950000001", "short_code": "1408", "text": text, **changes}
    return {"type": "message.received", "timestamp": "2026-11-21T08:30:00Z", "data": data}


async def eventually(probe: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until `probe` holds; fail after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await probe():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def within(seconds: float, probe: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `probe` holds, as promised in `seconds`; on a machine busy with other things, whenever it does."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await eventually(probe)
    took = clock() - began
    assert is_prompt(took, seconds), f"it came true after {took:.1f} s"


@asynccontextmanager
async def running(
    dsn: str,
    folder: Path,
    book: str = BOOK,
    clock: Callable[[], datetime] = utc_now,
    accept_older_database: bool = False,
    internal_port: int = 0,
    **settings: str,
) -> AsyncIterator[Portal]:
    """Start a service on `dsn` with `book` applied; stop it afterwards."""
    environ = {
        "PORTAL1400_DATABASE_URL": dsn,
        "PORTAL1400_SECRET_KEY": SECRET_KEY,
        "PORTAL1400_DATA_DIR": str(folder),
        # The test itself, in the same process, may keep the event loop; what is shed then is not what it asks.
        "PORTAL1400_SHED_UNDER_LOAD": "false",
        # A busy machine may commit late; only a test of that asks for an answer from the spool.
        "PORTAL1400_QUEUE_WAIT_SECONDS": "15",
        **{f"PORTAL1400_{name.upper()}": value for name, value in settings.items()},
    }
    chosen: Settings = read_settings(environ)
    async with opened(chosen, may_be_away=True) as ready:
        if book:
            await apply_file(ready, book_file(folder, book))
        service = Service(
            chosen,
            ready.database,
            ready.keyring,
            copy=ready.copy,
            prepare=ready.prepare,
            clock=clock,
            environ={},
            accept_older_database=accept_older_database,
        )
        public, inside = bind("127.0.0.1", 0), bind("127.0.0.1", internal_port)
        base, internal = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (public, inside))
        try:
            await service.start(public, inside)
        except BaseException:
            public.close()
            inside.close()
            raise
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            portal = Portal(service, ready, base, internal, dsn, http)
            try:
                yield portal
            finally:
                # Waits for no answer: the database may be away by now.
                for pool in portal.asked.values():
                    pool.terminate()
                await http.close()
                await service.stop()


@pytest.fixture
async def portal(server: TestServer, database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A running service with the book of this file."""
    async with running(database_dsn, tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
async def lasting_portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service for all tests of a module, where they only ask or are refused."""
    async with cloned_database(server) as dsn, running(dsn, tmp_path_factory.mktemp("lasting")) as started:
        yield started


@pytest.fixture(scope="module")
async def hasty_portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """The same for a module about senders that dawdle, cheat or break off: its service waits for nobody long."""
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path_factory.mktemp("hasty"), head_read_seconds="0.4", body_read_seconds="0.4") as started,
    ):
        yield started
