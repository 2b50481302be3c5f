"""portal1400 preflight: go or no-go before a broadcast; asks running workers, their database, and an alert."""

import argparse
import asyncio
import json
import os
import re
import secrets
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from campaigns.book.store import load_book
from service.commands.opening import opened
from service.commands.running import EVERY_INTERFACE, Running, address_of, running_workers
from service.operations import preflight
from service.operations.conformance_runs import recorded
from service.operations.preflight import Finding, Seen, Verdict
from service.postgres.database import Database
from service.postgres.failover import unconfirmed
from service.postgres.inspection import inspect
from service.runtime.clock import utc_now
from service.runtime.kernel_clock import kernel_clock
from service.runtime.refusals import Refused
from service.runtime.settings import Settings, read_settings

ASK_SECONDS = 10.0
COMMITS = 40
ANSWERS = 100
ANSWERS_AT_ONCE = 10
ALERT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.5
DELIVERY_SECONDS = 1.0
"""What a receiver has to answer in before another alert's delivery is taken for ours."""
ALERT = "Portal1400Preflight"
GROUP_WAIT = re.compile(r"group_wait:\s*(\w+)")
GROUP_WAIT_SECONDS = 30.0
"""Alertmanager's own, where a configuration names none."""
SPAN = re.compile(r"(\d+)(ms|[smhd])")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# Written to the log and waited for as any commit is, standbys included; no table is touched.
EMIT = "SELECT pg_logical_emit_message(true, 'portal1400 preflight', '')"
SELECT_STANDBYS = """
SELECT application_name AS name, sync_state AS state, coalesce(extract(epoch FROM replay_lag), 0)::float8 AS lag
FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1
"""

# A test account is never `enabled`.
SELECT_DELIVERING = "SELECT code, adapter FROM gateway_account WHERE enabled ORDER BY code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--campaign", metavar="SLUG", help="that of tonight; else whichever is open or opens")
    parser.add_argument("--alertmanager", metavar="URL", help="where to post a test alert, and see it delivered")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print every finding, the grave ones last; 1 for no-go."""
    settings = read_settings()
    findings: list[Finding] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:
        running = await running_workers(settings)
        workers = [await _seen(http, settings, each) for each in running if not each.is_silent]
        silent = [each.index for each in running if each.is_silent]
        findings += await _database(settings, workers, silent, arguments.campaign)
        if workers:
            now = utc_now()
            findings += preflight.judge_accounts(workers, now)
            findings += preflight.judge_figures(workers, now)
        findings.append(preflight.judge_time_source(kernel_clock()))
        findings.append(await _certificate(settings))
        findings.append(await _alert(http, arguments.alertmanager))
    is_go = not any(each.verdict is Verdict.NO_GO for each in findings)
    if arguments.json:
        print(
            json.dumps(
                {
                    "go": is_go,
                    "at": datetime.now(UTC).isoformat(),
                    "campaign": arguments.campaign,
                    "checks": [each._asdict() for each in findings],
                },
                ensure_ascii=False,
            )
        )
        return 0 if is_go else 1
    order = list(Verdict)
    for each in sorted(findings, key=lambda finding: order.index(finding.verdict)):
        print(f"{each.verdict.replace('_', '-'):9}  {each.name}: {each.sentence}")
    looks = sum(each.verdict is Verdict.LOOK for each in findings)
    print(("GO" if is_go else "NO-GO") + (f", and {looks} thing(s) for a person to look at" if looks else ""))
    return 0 if is_go else 1


async def _seen(http: aiohttp.ClientSession, settings: Settings, worker: Running) -> Seen:
    samples: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with http.get(f"http://{address_of(settings, worker.index)}/metrics") as answer:
            for family in text_string_to_metric_families(await answer.text()):
                for sample in family.samples:
                    samples[sample.name][tuple(sample.labels.values())] = sample.value
    return Seen(worker.index, worker.is_ready, worker.degraded, worker.book_version, samples)


async def _database(settings: Settings, workers: list[Seen], silent: list[int], slug: str | None) -> list[Finding]:
    """What needs the database: the book, connections, standbys, commits. It may be away: that is a finding."""
    found: list[Finding] = []
    try:
        async with opened(settings, may_migrate=False) as ready:
            async with ready.database.borrow() as connection:
                book = await load_book(connection)
                rows = await connection.fetch(SELECT_STANDBYS)
                protocols = {row["code"]: row["adapter"] for row in await connection.fetch(SELECT_DELIVERING)}
                warning = await unconfirmed(ready.database.servers, connection)
            found += preflight.judge_workers(workers, silent, book.version, version("portal1400"))
            found += preflight.judge_campaigns(book.campaigns, slug, utc_now())
            runs = await asyncio.to_thread(recorded, settings.data_dir.expanduser())
            found += preflight.judge_conformance(protocols, runs, utc_now())
            found.append(preflight.judge_standbys([(r["name"], r["state"], r["lag"]) for r in rows], warning))
            looked = await inspect(ready.database, len(workers) or 1, settings.writers)
            found += [Finding("connections", Verdict.NO_GO, each) for each in looked.problems]
            found += [Finding("connections", Verdict.LOOK, each) for each in looked.warnings]
            if not looked.problems:
                found.append(Finding("connections", Verdict.GO, "there are enough"))
            commits = await _commits(ready.database)
            answers = await _answers(settings)
            found += preflight.judge_headroom(commits, answers, os.getloadavg()[0], os.cpu_count() or 1)
    except Refused as refused:
        found += [Finding("database", Verdict.NO_GO, str(each)) for each in refused.problems]
    return found


async def _commits(database: Database) -> list[float]:
    connection = await database.connect("portal1400 preflight")
    try:
        return [await _timed(lambda: connection.execute(EMIT)) for _ in range(COMMITS)]
    except asyncpg.PostgresError:
        return []
    finally:
        await connection.close()


async def _answers(settings: Settings) -> list[float]:
    """Requests for the totals, some at once, as viewers would ask on this machine."""
    host = EVERY_INTERFACE.get(settings.listen.host, settings.listen.host)
    address = f"http://{settings.listen.model_copy(update={'host': host})}/api/v1/totals"
    times: list[float] = []
    turns = asyncio.Semaphore(ANSWERS_AT_ONCE)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)) as http:

        async def ask() -> None:
            async with http.get(address) as answer:
                answer.raise_for_status()
                await answer.read()

        async def one() -> None:
            async with turns:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    times.append(await _timed(ask))

        await asyncio.gather(*(one() for _ in range(ANSWERS)))
    return times if len(times) > ANSWERS // 2 else []


async def _timed(act: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


async def _certificate(settings: Settings) -> Finding:
    """Of PUBLIC_URL as the outside sees it, as far as this machine is let out to it."""
    url = urlsplit(settings.public_url or "")
    if url.scheme != "https":
        return preflight.judge_certificate(None, "PORTAL1400_PUBLIC_URL names no https address: nothing to look at")
    try:
        async with asyncio.timeout(ASK_SECONDS):
            _, writer = await asyncio.open_connection(url.hostname, url.port or 443, ssl=ssl.create_default_context())
        ends = ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"])
        writer.close()
    except ssl.SSLCertVerificationError as error:
        return Finding("certificate", Verdict.NO_GO, f"{url.hostname}: {error.verify_message}")
    except (OSError, TimeoutError):
        return preflight.judge_certificate(None, f"{url.hostname} cannot be reached from here: look elsewhere")
    return preflight.judge_certificate((ends - time.time()) / 86400, "")


async def _alert(http: aiohttp.ClientSession, url: str | None) -> Finding:
    """Post an alert, and wait until Alertmanager has sent it on. Whether anybody looked only they can say."""
    if url is None:
        return Finding("alert", Verdict.NOT_ASKED, "--alertmanager URL posts one and sees whether it is delivered")
    code, base = secrets.token_hex(3).upper(), url.rstrip("/")
    ends = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    summary = f"A test before a broadcast, code {code}: tell whoever asked that it has come. Nothing is wrong."
    alert = {
        "labels": {"alertname": ALERT, "severity": "critical", "code": code},
        "annotations": {"summary": summary},
        "endsAt": ends,
    }
    try:
        delivered_before, failed_before = await _deliveries(http, base)
        async with http.post(f"{base}/api/v2/alerts", json=[alert]) as answer:
            answer.raise_for_status()
        # What it delivers until then may be another alert's, of which one, the heartbeat, always fires.
        ours_from = time.monotonic() + await _group_wait(http, base) + DELIVERY_SECONDS
        receivers: list[str] = []
        deadline = time.monotonic() + ALERT_SECONDS_MAX
        while time.monotonic() < deadline:
            receivers = receivers or await _receivers(http, base, code)
            delivered, failed = await _deliveries(http, base)
            if failed > failed_before:
                return Finding("alert", Verdict.NO_GO, "Alertmanager could not deliver it: see its log")
            if delivered > delivered_before and receivers and time.monotonic() > ours_from:
                names = ", ".join(receivers)
                return Finding(
                    "alert", Verdict.GO, f"sent to {names} with code {code}: ask who is on call for the code"
                )
            await asyncio.sleep(POLL_SECONDS)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Finding("alert", Verdict.NO_GO, f"Alertmanager does not take one ({type(error).__name__})")
    said = f"not sent within {ALERT_SECONDS_MAX:.0f} s: no route leads to anybody"
    return Finding("alert", Verdict.NO_GO, said)


async def _group_wait(http: aiohttp.ClientSession, base: str) -> float:
    """How long, in seconds, it holds a new alert back at most: the longest `group_wait` of its routes."""
    async with http.get(f"{base}/api/v2/status") as answer:
        configuration = str((await answer.json())["config"]["original"])
    waits = (
        sum(float(count) * UNIT_SECONDS[unit] for count, unit in SPAN.findall(wait))
        for wait in GROUP_WAIT.findall(configuration)
    )
    return min(max(waits, default=GROUP_WAIT_SECONDS), ALERT_SECONDS_MAX / 2)


async def _receivers(http: aiohttp.ClientSession, base: str, code: str) -> list[str]:
    """Whose the alert is by Alertmanager's routes, once it has taken it up."""
    async with http.get(f"{base}/api/v2/alerts/groups", params={"filter": f'code="{code}"'}) as answer:
        return sorted({str(group["receiver"]["name"]) for group in await answer.json()})


async def _deliveries(http: aiohttp.ClientSession, base: str) -> tuple[float, float]:
    """How many receivers took, and how many tries failed; `alertmanager_notifications_total` counts what began."""
    tried = failed = 0.0
    async with http.get(f"{base}/metrics") as answer:
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                tried += sample.value if sample.name == "alertmanager_notification_requests_total" else 0
                failed += sample.value if sample.name == "alertmanager_notification_requests_failed_total" else 0
    return tried - failed, failed
