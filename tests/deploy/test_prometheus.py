"""A real Prometheus scrapes two workers under load and faults: every panel must move as they say, every rule work."""

import asyncio
import itertools
import math
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import aiohttp
import asyncpg
import pytest
import yaml
from aiohttp import test_utils, web

from deploy.metrics_page import whole
from service.listeners.listener import bind
from service.listeners.overload import CALM_SECONDS, IDLE, LOOKS, TOTALS_REFUSED, OverloadMonitor, Signals
from service.operations.backup import times
from service.operations.backup.times import ACTS
from service.operations.invariant_rounds import InvariantRounds
from service.postgres.database import POOL_CONNECTIONS_MAX, Database
from service.runtime.tasks import cancel_and_wait
from tests.support.away import fill_disk, free_disk, locked
from tests.support.dashboard import DASHBOARDS, ROOT, dashboard_queries, panel_queries
from tests.support.databases import cloned_database
from tests.support.portal import (
    BOOK,
    PATH_SECRET,
    SIGNING_SECRET,
    Portal,
    eventually,
    message,
    running,
    signed,
    signed_account,
)
from tests.support.postgres import TestServer, binaries
from tests.support.protocols import get_kannel
from tests.support.rounds import LONG_AFTER
from tests.support.tampering import tamper
from tests.support.tls import tls_proxy

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (apt: prometheus)"),
]

# An account whose secret the service cannot find: it answers `unavailable`.
BOOK_WITH_A_BROKEN_ACCOUNT = BOOK + signed_account("broken", carrier="gmobile", secrets=["env:NOWHERE_TO_BE_FOUND"])
ACCOUNT_CALLBACKS_MAX = 3
CONNECTIONS_MAX = 80
WRITERS = 2
AT_ONCE = 12
PATIENCE_SECONDS = 60.0
# Alerts that wait for nothing, and for which the load gives a reason.
FIRING_AT_ONCE = {
    "Portal1400CallbackTurnedAway",
    "Portal1400Conflicts",
    "Portal1400UnauthenticatedAccount",
    "Portal1400QuarantineGrows",
}
SUBSTITUTES = {"$__rate_interval": "15s", "$campaign": ".*", "$account": ".*"}
OLD = timedelta(minutes=10)
NEVER = {"Viewers cut off A", "Spool refuses B", "Log lines waiting and lost A", "Log lines waiting and lost B"}
"""Belong at zero, and no fault that is played here moves them."""
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


async def one_round(portal: Portal, name: str, silent: set[str]) -> None:
    """Callbacks that end in every way there is, over all three protocols."""
    raw = b"{}"
    kannel = f"{portal.base}/gw/kannel/vina/{PATH_SECRET}"
    sms = {"from": "+84950000002", "to": "1408", "text": "VNN 2"}
    await portal.post(message(f"{name}-a", "VNN 5"))
    await portal.post(message(f"{name}-a", "VNN 5"))
    await portal.post(message(f"{name}-a", "VNN 6"))
    half_an_hour_ago = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    await portal.post(message(f"{name}-b", "VNN many", operator_time=half_an_hour_ago))
    await portal.post(message(f"{name}-c", "SOMETHING ELSE"))
    await portal.post(message(f"{name}-d", " "))
    await portal.post(message(f"{name}-e", short_code="1407"))
    await portal.post(raw)
    await portal.post(raw, headers=signed(raw, secret=SIGNING_SECRET.replace("Y", "Z")))
    await portal.post(raw, headers=signed(raw, at=datetime.now(UTC) - OLD))
    await portal.post(raw, account="nobody")
    await portal.post(message(f"{name}-f"), account="broken")
    with suppress(aiohttp.ClientError):  # refused by its length, perhaps while we still send
        await portal.http.post(f"{portal.base}/gw/vn_soap_mo/soap", data=b" " * (64 * 1024 + 1))
    for carrier in ("vnp1", "vms1") if "vina" not in silent else ():
        async with portal.http.get(kannel, params={**sms, "id": f"{name}-{carrier}", "smsc": carrier}) as answer:
            await answer.read()
    await asyncio.gather(*(portal.post(message(f"{name}-g{number}")) for number in range(AT_ONCE)))
    await refuse_a_text(portal, name)


async def refuse_a_text(portal: Portal, name: str) -> None:
    """A message over SOAP in reply style, whose text is wrong: the hub is told to refund."""
    fields = {
        "UserID": "84950000003", "ServiceID": "1408", "CommandCode": "VNN", "Content": "VNN many",
        "RequestID": f"{name}-h", "Operator": "VMS",
    }  # fmt: skip
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in fields.items())
    body = (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        f'<GetMOData xmlns="http://hub.example/">{inner}</GetMOData></soap:Body></soap:Envelope>'
    )
    credentials = aiohttp.encode_basic_auth("portal", "a-password-for-tests")
    headers = {"Content-Type": "text/xml; charset=utf-8", "Authorization": credentials}
    async with portal.http.post(f"{portal.base}/gw/vn_soap_mo/soap", data=body.encode(), headers=headers) as answer:
        await answer.read()


async def load(portal: Portal, name: str, silent: set[str]) -> None:
    for number in itertools.count():
        await one_round(portal, f"{name}-{number}", silent)
        await asyncio.sleep(0.3)


async def visit(portal: Portal) -> None:
    while True:
        for address in ("/", "/c/vnn", "/api/v1/campaigns/vnn/totals", "/nowhere"):
            async with portal.http.get(portal.base + address) as answer:
                await answer.read()
        await asyncio.sleep(0.3)


async def view(portal: Portal) -> None:
    async with portal.http.get(portal.base + "/api/v1/stream") as stream:
        async for _ in stream.content:
            pass


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


async def no_rest(_seconds: float) -> None:
    return


async def check_everything(portal: Portal) -> None:
    """A whole pass of the checks, without their rests."""
    connection = await asyncpg.connect(portal.dsn)
    try:
        rounds = InvariantRounds(
            connection, portal.service.instruments, lambda: LONG_AFTER, no_rest, round_seconds=3600
        )
        await rounds.check()
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def observed(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """Two workers on one database, two viewers, load on both, and the Prometheus that watches them."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(cloned_database(server))
        ends_at = datetime.now(UTC) + timedelta(days=60)
        front = await stack.enter_async_context(tls_proxy(tmp_path_factory.mktemp("tls"), ends_at))
        workers: tuple[Portal, ...] = ()
        for _ in range(2):
            folder = tmp_path_factory.mktemp("worker")
            worker = running(
                dsn, folder, book=BOOK_WITH_A_BROKEN_ACCOUNT, account_callbacks_max=str(ACCOUNT_CALLBACKS_MAX),
                connections_max=str(CONNECTIONS_MAX), invariant_seconds="1", public_url=front,
            )  # fmt: skip
            workers += (await stack.enter_async_context(worker),)
        await workers[0].service.operations.certificate.look()
        await check_everything(workers[0])
        workers[0].service.instruments.replies.know_replies(["hub"])
        heard: dict[str, list[dict[str, Any]]] = {}
        called, calls = await stack.enter_async_context(receiver(heard)), free_address()
        folder = tmp_path_factory.mktemp("prometheus")
        await stack.enter_async_context(alertmanager(folder, calls, called))
        address = await stack.enter_async_context(prometheus(folder, workers, calls))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        silent: set[str] = set()
        acts = [act(worker) for worker in workers for act in (view, visit)]
        acts += [load(worker, f"w{number}", silent) for number, worker in enumerate(workers)]
        tasks = tuple(asyncio.create_task(act) for act in acts)
        try:
            yield Observed(address, http, workers, tasks, server, silent, heard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
async def is_scraping(observed: Observed) -> None:
    """The load goes on, and both workers are scraped."""
    for task in observed.tasks:
        if task.done():
            task.result()
            pytest.fail("the load has ended")

    async def both_are_up() -> bool:
        try:
            found = await observed.query('sum(up{job="portal1400"})')
        except aiohttp.ClientError:
            return False  # it has only just been started
        return [value for _, value in found] == [len(observed.workers)]

    assert await in_time(both_are_up), "Prometheus does not reach both workers"


async def test_both_workers_are_scraped_without_a_complaint(observed: Observed) -> None:
    targets = (await observed.ask("targets"))["activeTargets"]
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")] * len(observed.workers)


async def test_every_query_of_the_metrics_page_is_understood(observed: Observed) -> None:
    for family in whole().families:
        await observed.ask("query", query=family.query)


@pytest.mark.parametrize(
    "query",
    {
        variable["query"]: None
        for dashboard in DASHBOARDS.values()
        for variable in dashboard["templating"]["list"]
        if variable["name"] != "datasource"
    },
)
async def test_every_variable_has_values(observed: Observed, query: str) -> None:
    asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
    assert asked is not None
    values = await observed.ask(f"label/{asked[2]}/values", **{"match[]": asked[1]})
    assert {"vnn", "hub"} & set(values)


async def test_live_totals_are_the_published_ones_and_not_twice_them(observed: Observed) -> None:
    """The scrape is a second late: what it shows lies between the totals before and those now."""
    shown_by = {title: asked[0] for title, asked in panel_queries().items()}
    before = await observed.workers[0].totals()

    async def have_passed() -> bool:
        shown = [
            {labels["campaign"]: value for labels, value in await observed.query(substituted(shown_by[title]))}
            for title in ("Pledged, VND", "Counted messages")
        ]
        now = await observed.workers[0].totals()
        return all(
            "vnn" in values and before[figure] <= values["vnn"] <= now[figure]
            for figure, values in zip(("pledged_vnd", "messages"), shown, strict=True)
        )

    assert before["messages"] > 0
    assert await in_time(have_passed)


async def test_every_rule_is_evaluated_without_an_error(observed: Observed) -> None:
    async def rules() -> list[dict[str, Any]]:
        groups = (await observed.ask("rules"))["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    found = await in_time(rules)
    assert len(found) >= 10
    assert [(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"] == []


async def test_the_alerts_that_the_load_deserves_fire_and_the_worst_do_not(observed: Observed) -> None:
    async def firing() -> set[str]:
        alerts = (await observed.ask("alerts"))["alerts"]
        names = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
        return names if names >= FIRING_AT_ONCE else set()

    names = await in_time(firing)
    assert names >= FIRING_AT_ONCE
    assert not names & {"Portal1400InvariantBroken", "Portal1400AllDown", "Portal1400WorkerDown"}


@pytest.mark.parametrize(
    ("title", "expr"),
    [pytest.param(*query, id=query[0]) for query in dashboard_queries()],
)
async def test_every_panel_shows_something(observed: Observed, title: str, expr: str) -> None:
    async def shown() -> list[float]:
        values = [value for _, value in await observed.query(substituted(expr))]
        return values if title in NEVER or any(values) else []

    if title not in MOVED_BY_A_FAULT:
        values = await in_time(shown)
        assert values, "no data, or nothing but zeros"
        assert title not in NEVER or not any(values)


Act = Callable[[Observed, AsyncExitStack], Awaitable[None]]


class Fault(NamedTuple):
    """What is done, undone by what it leaves on the stack, and the queries that it moves: by how much at least."""

    act: Act
    moves: Mapping[str, float]
    lowers: frozenset[str] = frozenset()


def calm(load: OverloadMonitor) -> None:
    for each in range(1, TOTALS_REFUSED + 1):
        load.update(IDLE, time.monotonic() + each * CALM_SECONDS)


async def borrow(pool: Database) -> None:
    async with pool.borrow(PATIENCE_SECONDS):
        pass


async def things_happen(observed: Observed, stack: AsyncExitStack) -> None:
    """An account falls silent, a worker died, pages are shed, strangers flood, a standby follows, readers wait."""
    observed.silent.add("vina")
    first, second = observed.workers
    second.service.instruments.runtime.count_restarts({"died": 1})
    replies = first.service.instruments.replies
    replies.count_reply("hub", "refused")
    replies.see_replies("hub", waiting=3, oldest_seconds=400.0)
    load = second.service.intake.load
    for _ in range(LOOKS):
        load.update(Signals(0.5, 0.0, 0.0), time.monotonic())
    stack.callback(calm, load)
    host, port = first.base.removeprefix("http://").split(":")
    for _ in range(CONNECTIONS_MAX):
        _, writer = await asyncio.open_connection(host, int(port))
        stack.callback(writer.close)
    for act in ACTS:
        times.record(first.service.settings.data_dir, act)
    await follow(observed.server, stack)
    pool = first.opened.database
    for _ in range(POOL_CONNECTIONS_MAX):
        await stack.enter_async_context(pool.borrow())
    waiting = asyncio.create_task(borrow(pool))
    stack.push_async_callback(cancel_and_wait, waiting)
    connection = await asyncpg.connect(first.dsn)
    stack.push_async_callback(connection.close)
    await connection.execute("CREATE TABLE something_to_write AS SELECT generate_series(1, 1000)")
    await first.service.operations.database.look(connection)


async def follow(server: TestServer, stack: AsyncExitStack) -> None:
    """A standby of the simplest kind: it takes the log, tells how far it has come, and then stalls."""
    folder = stack.enter_context(TemporaryDirectory())
    process = await asyncio.create_subprocess_exec(
        str(binaries("auto") / "pg_receivewal"), "-D", folder, "-h", str(server.socket_folder), "-U", "app", "-w",
        "--synchronous",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    stack.push_async_callback(process.wait)
    stack.callback(process.kill)
    admin = await asyncpg.connect(server.dsn("postgres"))

    async def is_followed() -> bool:
        return bool(await admin.fetchval("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))

    try:
        await eventually(is_followed)
        process.send_signal(signal.SIGSTOP)  # from now on it falls behind
    finally:
        await admin.close()


async def wait_long(portal: Portal, native_id: str) -> None:
    await get_kannel(portal, native_id)


async def database_stalls(observed: Observed, stack: AsyncExitStack) -> None:
    """Somebody locks the table that every commit writes."""
    connection = await asyncpg.connect(observed.workers[0].dsn)
    stack.push_async_callback(connection.close)
    await connection.execute("BEGIN; LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
    worker = observed.workers[0]
    held = [asyncio.create_task(wait_long(worker, f"held-{each}")) for each in range(WRITERS + ACCOUNT_CALLBACKS_MAX)]
    stack.push_async_callback(cancel_and_wait, *held)


async def database_is_away(observed: Observed, stack: AsyncExitStack) -> None:
    """It lets nobody in, and one worker's spool has no room."""
    fill_disk(observed.workers[1])
    stack.callback(free_disk, observed.workers[1])
    await stack.enter_async_context(locked(observed.workers[0].dsn))


async def figures_are_tampered_with(observed: Observed, _stack: AsyncExitStack) -> None:
    """A total is raised by a dong, and the database is set back behind what was published."""
    await tamper(observed.workers[0].dsn, "UPDATE campaign_total SET pledged_vnd = pledged_vnd + 1, version = 0")


FAULTS = {
    "things happen": Fault(
        things_happen,
        {
            "Each account's light A": 3.0, "Silence per account A": 3.0, "Workers that ended A": 0.0,
            "Load level A": 1.0, "Public requests shed A": 0.0, "Public requests that failed A": 0.0,
            "Connections closed for room A": 0.0, "Last backup and last drill A": 0.0,
            "Replies by what became of them A": 0.0, "Longest wait for a reply A": 399.0,
            "Standbys A": 0.0, "Lag of the last standby A": 0.0, "Pool for reads A": 3.0, "Pool for reads B": 0.0,
        },
    ),
    "the database stalls": Fault(
        database_stalls, {"Queue, of what it may hold A": 0.0, "Oldest in the queue A": 0.0}
    ),
    "the database is away": Fault(
        database_is_away,
        {
            "Callbacks in the spool A": 0.0, "Oldest callback in the spool A": 1.0,
            "Spool, of what it may hold A": 0.0, "Spool refuses A": 0.0, "Age of the totals A": 2.0,
            "Age of the totals, per worker A": 2.0, "Totals older than two seconds A": 0.0,
            "Writers connected A": 0.5,
        },
        lowers=frozenset({"Writers connected A"}),
    ),
    "figures are tampered with": Fault(
        figures_are_tampered_with,
        {
            "Invariants broken A": 0.0, "Invariants, one by one A": 0.0, "Ahead of the database A": 0.0,
            "Published ahead of the database A": 0.0,
        },
    ),
}  # fmt: skip
MOVED_BY_A_FAULT = {title for fault in FAULTS.values() for title in fault.moves}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_panels_move_as_the_fault_says(observed: Observed, fault: Fault) -> None:
    """The last here: faults leave their traces."""
    queries = {title: substituted(expr) for title, expr in dashboard_queries() if title in fault.moves}
    assert queries.keys() == fault.moves.keys()

    async def height(title: str) -> float:
        """How high the curve is; of what falls, how deep."""
        values = [value for _, value in await observed.query(queries[title])]
        return -min(values, default=0.0) if title in fault.lowers else max(values, default=0.0)

    before = {title: await height(title) for title in queries}
    still = set(queries)

    async def all_have_moved() -> bool:
        for title in sorted(still):
            if await height(title) > before[title] + fault.moves[title]:
                still.remove(title)
        return not still

    async with AsyncExitStack() as stack:
        await fault.act(observed, stack)
        await in_time(all_have_moved)
    assert not still, before


@pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None,
    reason="Alertmanager is not installed (apt: prometheus-alertmanager)",
)
async def test_alerts_reach_the_person_they_are_for(observed: Observed) -> None:
    """By the shipped rules and routes, from what the load does."""
    wanted = {
        "heartbeat": {"Portal1400Watchdog"},
        "day": {"Portal1400Conflicts", "Portal1400QuarantineGrows"},
        "night": {"Portal1400AcknowledgementBudget"},
    }

    async def have_heard() -> bool:
        names = {who: {alert["labels"]["alertname"] for alert in observed.heard.get(who, [])} for who in wanted}
        return all(wanted[who] <= names[who] for who in wanted)

    assert await in_time(have_heard), {who: len(alerts) for who, alerts in observed.heard.items()}
    severities = {"heartbeat": "heartbeat", "day": "warning", "night": "critical"}
    for who, alerts in observed.heard.items():
        assert {alert["labels"]["severity"] for alert in alerts} == {severities[who]}
        for alert in alerts:
            assert alert["status"] in {"firing", "resolved"}
            assert alert["annotations"]["runbook_url"].endswith(f"alerts.md#{alert['labels']['alertname'].lower()}")
            assert alert["annotations"]["summary"]
