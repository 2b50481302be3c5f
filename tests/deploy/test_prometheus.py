"""A real Prometheus scrapes two workers under load and faults: every panel must move as they say, every rule work."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.metrics_page import whole
from service.operations.invariant_rounds import InvariantRounds
from tests.support.dashboard import DASHBOARDS, dashboard_queries, panel_queries
from tests.support.databases import cloned_database
from tests.support.observed import (
    ACCOUNT_CALLBACKS_MAX,
    CONNECTIONS_MAX,
    Observed,
    alertmanager,
    free_address,
    in_time,
    prometheus,
    receiver,
    substituted,
)
from tests.support.observed_faults import FAULTS, Fault
from tests.support.observed_load import load, view, visit
from tests.support.portal import (
    BOOK,
    Portal,
    running,
    signed_account,
)
from tests.support.postgres import TestServer
from tests.support.rounds import LONG_AFTER
from tests.support.tls import tls_proxy

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (apt: prometheus)"),
]

# An account whose secret the service cannot find: it answers `unavailable`.
BOOK_WITH_A_BROKEN_ACCOUNT = BOOK + signed_account("broken", carrier="gmobile", secrets=["env:NOWHERE_TO_BE_FOUND"])
# Alerts that wait for nothing, and for which the load gives a reason.
FIRING_AT_ONCE = {
    "Portal1400CallbackTurnedAway",
    "Portal1400Conflicts",
    "Portal1400UnauthenticatedAccount",
    "Portal1400QuarantineGrows",
}
NEVER = {"Viewers cut off A", "Spool refuses B", "Log lines waiting and lost A", "Log lines waiting and lost B"}
"""Belong at zero, and no fault that is played here moves them."""


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
                connections_max=str(CONNECTIONS_MAX), invariant_seconds="1", public_url=front, queue_wait_seconds="1",
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
        assert values, "no data, or nothing but zeros: tests/support/observed_load.py brings about what panels show"
        assert title not in NEVER or not any(values)


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
