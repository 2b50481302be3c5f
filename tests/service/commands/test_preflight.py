"""Go or no-go: every judgment is a row, and the whole is asked of a running service and a real Alertmanager."""

import argparse
import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from campaigns.book.book import Campaign, Decision, Grammar, Route
from service.commands import preflight as command
from service.operations import preflight
from service.operations.conformance_runs import ConformanceRun, record, recorded
from service.operations.preflight import Finding, Seen, Verdict
from service.runtime.kernel_clock import KernelClock, kernel_clock
from tests.support.portal import eventually, message, running
from tests.support.ports import free_ports

Capture = pytest.CaptureFixture[str]
NOW = datetime(2026, 10, 17, 18, 0, tzinfo=UTC)
OLD = NOW.timestamp() - 3e5
GOOD: dict[str, dict[tuple[str, ...], float]] = {
    "portal1400_build_info": {("1.0",): 1},
    "portal1400_account_usable": {("hub",): 1},
    "portal1400_last_callback_timestamp_seconds": {("hub",): NOW.timestamp() - 60},
    "portal1400_totals_age_seconds": {(): 0.2},
    "portal1400_event_loop_stall_seconds": {(): 0.01},
    "portal1400_clock_ahead_of_database_seconds": {(): 0.01},
    "portal1400_load_level": {(): 0},
    "portal1400_spool_records": {(): 0},
    "portal1400_spool_files_refused": {(): 0},
    "portal1400_spool_writable": {(): 1},
    "portal1400_disk_free_bytes": {("data",): 1e12},
    "portal1400_invariant_difference": {("totals",): 0},
    "portal1400_last_backup_timestamp_seconds": {("backup",): NOW.timestamp() - 60, ("drill",): NOW.timestamp() - 60},
}


def seen(index: int = 0, changes: dict[str, dict[tuple[str, ...], float]] | None = None, **more: Any) -> Seen:
    """A worker that is well but for `changes`."""
    said: dict[str, Any] = {"is_ready": True, "degraded": (), "book_version": 7} | more
    return Seen(index, samples=GOOD | (changes or {}), **said)


def judged(workers: list[Seen]) -> list[Finding]:
    """Everything that is made of what workers say."""
    return [
        *preflight.judge_workers(workers, [], 7, "1.0"),
        *preflight.judge_accounts(workers, NOW),
        *preflight.judge_figures(workers, NOW),
    ]


def test_two_workers_that_are_well_are_go() -> None:
    assert {each.verdict for each in judged([seen(0), seen(1)])} == {Verdict.GO}


WRONG: dict[str, tuple[Seen, str, Verdict]] = {
    "a worker takes no callbacks": (seen(is_ready=False), "workers", Verdict.NO_GO),
    "a worker reads an old book": (seen(book_version=6), "book", Verdict.NO_GO),
    "an account's secret is named": (seen(degraded=("gateway hub: no secret",)), "worker 0", Verdict.NO_GO),
    "something else is degraded": (seen(degraded=("12 wait in the spool",)), "worker 0", Verdict.LOOK),
    "another release": (seen(changes={"portal1400_build_info": {("0.9",): 1}}), "release", Verdict.LOOK),
    "a worker died": (seen(changes={"portal1400_worker_restarts_total": {("died",): 1}}), "workers", Verdict.LOOK),
    "a secret is missing": (seen(changes={"portal1400_account_usable": {("hub",): 0}}), "account hub", Verdict.NO_GO),
    "an account never spoke": (
        seen(changes={"portal1400_last_callback_timestamp_seconds": {}}), "account hub", Verdict.LOOK,
    ),
    "totals are old": (seen(changes={"portal1400_totals_age_seconds": {(): 30}}), "totals", Verdict.NO_GO),
    "no age of totals": (seen(changes={"portal1400_totals_age_seconds": {}}), "totals", Verdict.NO_GO),
    "the loop stalls": (seen(changes={"portal1400_event_loop_stall_seconds": {(): 0.3}}), "event loop", Verdict.LOOK),
    "the clock is behind": (
        seen(changes={"portal1400_clock_ahead_of_database_seconds": {(): -90}}), "clock", Verdict.NO_GO,
    ),
    "load is shed": (seen(changes={"portal1400_load_level": {(): 1}}), "load", Verdict.LOOK),
    "the spool holds some": (seen(changes={"portal1400_spool_records": {(): 5}}), "spool", Verdict.LOOK),
    "the spool is closed": (seen(changes={"portal1400_spool_writable": {(): 0}}), "spool", Verdict.NO_GO),
    "a spool is damaged": (seen(changes={"portal1400_spool_files_refused": {(): 1}}), "spool", Verdict.NO_GO),
    "little disk": (seen(changes={"portal1400_disk_free_bytes": {("data",): 5e9}}), "disk data", Verdict.LOOK),
    "no disk": (seen(changes={"portal1400_disk_free_bytes": {("data",): 1e9}}), "disk data", Verdict.NO_GO),
    "a figure is broken": (
        seen(changes={"portal1400_invariant_difference": {("totals",): 3}}), "invariants", Verdict.NO_GO,
    ),
    "nobody checks here": (seen(changes={"portal1400_invariant_difference": {}}), "invariants", Verdict.LOOK),
    "the backup is old": (
        seen(changes={"portal1400_last_backup_timestamp_seconds": {("backup",): OLD, ("drill",): NOW.timestamp()}}),
        "backup", Verdict.NO_GO,
    ),
    "no drill": (
        seen(changes={"portal1400_last_backup_timestamp_seconds": {("backup",): NOW.timestamp()}}),
        "drill", Verdict.LOOK,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("worker", "name", "verdict"), WRONG.values(), ids=WRONG.keys())
def test_workers_that_are_not_well_are_found(worker: Seen, name: str, verdict: Verdict) -> None:
    found = [each for each in judged([worker, worker]) if each.verdict is not Verdict.GO]
    assert {(each.name, each.verdict) for each in found} == {(name, verdict)}


def campaign(opens: timedelta, closes: timedelta, *, routes: bool = True) -> Campaign:
    """A campaign whose window lies so from now."""
    ways = (Route("1408", ("VNN",), Grammar.UNITS, 20_000, 100),) if routes else ()
    decision = Decision("1/QD", NOW + opens, NOW + closes)
    return Campaign(1, "vnn", "Vì người nghèo", None, "poverty", "mttq", None, (decision,), ways)


DAY = timedelta(days=1)
WINDOWS: dict[str, tuple[list[Campaign], str | None, Verdict]] = {
    "open": ([campaign(-DAY, DAY)], None, Verdict.GO),
    "opens tonight": ([campaign(DAY / 12, DAY)], "vnn", Verdict.GO),
    "closes in the night": ([campaign(-DAY, DAY / 12)], "vnn", Verdict.LOOK),
    "over": ([campaign(-2 * DAY, -DAY)], None, Verdict.NO_GO),
    "far away": ([campaign(9 * DAY, 10 * DAY)], "vnn", Verdict.NO_GO),
    "without a keyword": ([campaign(-DAY, DAY, routes=False)], "vnn", Verdict.NO_GO),
    "of another name": ([campaign(-DAY, DAY)], "tet", Verdict.NO_GO),
    "an empty book": ([], None, Verdict.NO_GO),
}


@pytest.mark.parametrize(("campaigns", "slug", "verdict"), WINDOWS.values(), ids=WINDOWS.keys())
def test_a_window_is_judged(campaigns: list[Campaign], slug: str | None, verdict: Verdict) -> None:
    (found,) = preflight.judge_campaigns(campaigns, slug, NOW)
    assert found.verdict is verdict


def test_what_else_is_asked_is_judged() -> None:
    def verdicts(findings: Iterable[Finding]) -> list[str]:
        return [each.verdict.value for each in findings]

    assert verdicts(preflight.judge_workers([], [0], 7, "1.0")) == ["no_go", "no_go"]
    assert verdicts(preflight.judge_headroom([0.001] * 40, [0.001] * 40, 0.1, 2)) == ["go", "go", "go"]
    assert verdicts(preflight.judge_headroom([0.1] * 40, [], 4, 2)) == ["look", "no_go", "no_go"]
    days = (30.0, 7.0, 1.0, None)
    assert verdicts(preflight.judge_certificate(each, "") for each in days) == ["go", "look", "no_go", "look"]
    assert preflight.judge_standbys([("b", "sync", 0.1)], None).verdict is Verdict.GO
    assert preflight.judge_standbys([("b", "async", 99.0)], None).verdict is Verdict.LOOK
    assert preflight.judge_standbys([], None).verdict is Verdict.LOOK


def ran(account: str, days: float, failed: int = 0, protocol: str = "standard") -> ConformanceRun:
    at = int((NOW - days * DAY).timestamp())
    return ConformanceRun(account=account, protocol=protocol, at=at, is_right=not failed, passed=50, failed=failed)


CONFORMANCE: dict[str, tuple[list[ConformanceRun], Verdict, str]] = {
    "passed": ([ran("a-test", 3)], Verdict.GO, "standard ran 3.0 day(s) ago by a-test: 50 passed, 0 failed"),
    "failed since": ([ran("b-test", 1, failed=2), ran("a-test", 3)], Verdict.LOOK, "by b-test: 50 passed, 2 failed"),
    "passed since": ([ran("a-test", 3, failed=2), ran("b-test", 1)], Verdict.GO, "by b-test: 50 passed, 0 failed"),
    "long ago": ([ran("a-test", 200)], Verdict.LOOK, "200.0 day(s) ago"),
    "another protocol's": ([ran("k-test", 1, protocol="kannel")], Verdict.LOOK, "no run of standard is known"),
}


@pytest.mark.parametrize(("runs", "verdict", "said"), CONFORMANCE.values(), ids=CONFORMANCE.keys())
def test_the_last_conformance_run_of_an_accounts_protocol_is_told(
    runs: list[ConformanceRun], verdict: Verdict, said: str, tmp_path: Path
) -> None:
    for each in runs:
        record(tmp_path, each)
    assert {each.account: each for each in recorded(tmp_path)} == {each.account: each for each in runs}
    (found,) = preflight.judge_conformance({"hub": "standard"}, recorded(tmp_path), NOW)
    assert (found.name, found.verdict) == ("conformance hub", verdict)
    assert said in found.sentence


@pytest.mark.parametrize(
    ("clock", "verdict"),
    [
        (KernelClock(True, 0.02), Verdict.GO),
        (KernelClock(True, 3.0), Verdict.LOOK),
        (KernelClock(False, 16.0), Verdict.LOOK),
        (None, Verdict.LOOK),
    ],
)
def test_who_sets_the_clock_is_told(clock: KernelClock | None, verdict: Verdict) -> None:
    found = preflight.judge_time_source(clock)
    assert found.verdict is verdict
    assert ("unknown" in found.sentence) == (clock is None)


def test_the_kernel_is_asked_as_it_is() -> None:
    found = kernel_clock()
    # The kernel lets no clock be called synchronised that may be 16 s off.
    assert found is None or (
        0 <= found.error_seconds_max < 60 and found.is_synchronised <= (found.error_seconds_max < 16)
    )


ALERTMANAGER = shutil.which("prometheus-alertmanager")
ROUTES = """
route: {{receiver: night, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1s}}
receivers: [{{name: night, webhook_configs: [{{url: "{url}"}}]}}]
"""


@asynccontextmanager
async def alertmanager(folder: Path, told: list[Any], refused: set[str]) -> AsyncIterator[str]:
    """A real one, whose only receiver adds to `told`, and takes no alerts of the names in `refused`."""
    assert ALERTMANAGER is not None

    async def receive(request: web.Request) -> web.Response:
        document = await request.json()
        if document["groupLabels"]["alertname"] in refused:
            return web.Response(status=503)
        told.append(document)
        return web.Response()

    application = web.Application()
    application.add_routes([web.post("/", receive)])
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_ports(3)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    (folder / "am.yml").write_text(ROUTES.format(url=f"http://127.0.0.1:{port}/"), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        ALERTMANAGER, f"--config.file={folder / 'am.yml'}", f"--storage.path={folder / 'am'}",
        f"--web.listen-address=127.0.0.1:{port + 1}", "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port + 1}"
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()


async def asked(capsys: Capture, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command; its exit code, and its findings by name."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    capsys.readouterr()
    code = await command.run(parser.parse_args([*words, "--json"]))
    # The service runs in this process, and may log a line meanwhile.
    said = json.loads(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("{")))
    assert said["go"] == (code == 0)
    return code, {each["name"]: each for each in said["checks"]}


@pytest.mark.prometheus
@pytest.mark.skipif(ALERTMANAGER is None, reason="needs Debian's prometheus-alertmanager")
async def test_a_running_service_is_asked_and_a_test_alert_is_delivered(
    environ: pytest.MonkeyPatch,
    database_dsn: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How fast and how full this machine is, is no matter of this test.
    for name in ("COMMIT", "ANSWER", "BUSY", "STALL"):
        monkeypatch.setattr(preflight, name, preflight.Limits(1e9, 1e9))
    monkeypatch.setattr(preflight, "FREE_NO_GO", 0)
    told: list[Any] = []
    refused: set[str] = set()

    def told_codes() -> set[str]:
        return {alert["labels"].get("code", "") for each in told for alert in each["alerts"]}

    async with running(database_dsn, tmp_path) as portal, alertmanager(tmp_path, told, refused) as url:
        environ.setenv("PORTAL1400_INTERNAL_LISTEN", portal.internal.removeprefix("http://"))
        environ.setenv("PORTAL1400_LISTEN", portal.base.removeprefix("http://"))
        await portal.post(message("m-1"))

        async def is_up() -> bool:
            try:
                async with portal.http.get(url + "/-/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(is_up, 60)
        refused.add(command.ALERT)
        code, found = await asked(capsys, "--alertmanager", url)
        assert (code, found["alert"]["verdict"]) == (1, "no_go"), "what was tried is not delivered"
        refused.clear()

        async def is_told_at_last() -> bool:
            return bool(told)

        await eventually(is_told_at_last, 60)
        # One that fires for ever and is told again and again, as the heartbeat is.
        async with portal.http.post(f"{url}/api/v2/alerts", json=[{"labels": {"alertname": "Heartbeat"}}]) as answer:
            assert answer.status == 200
        code, found = await asked(capsys, "--campaign", "vnn", "--alertmanager", url)
        assert code == 0, found
        assert found["alert"]["verdict"] == "go"
        (told_code,) = re.findall(r"code (\w+):", found["alert"]["sentence"])

        async def is_told() -> bool:
            return told_code in told_codes()

        await eventually(is_told)
        assert found["commits"]["sentence"].startswith("40 tried")
        assert found["answers"]["sentence"].startswith("100 tried")
        assert "last spoke" in found["account hub"]["sentence"]
        assert found["conformance hub"]["sentence"] == "no run of standard is known on this machine"
        assert found["time source"]["verdict"] in ("go", "look")
        assert (await portal.fetch("SELECT count(*) AS lines FROM money_line"))[0]["lines"] == 1
        code, found = await asked(capsys, "--campaign", "old", "--alertmanager", "http://127.0.0.1:9")
        verdicts = {name: found[name]["verdict"] for name in ("campaign", "alert")}
        assert (code, verdicts) == (1, {"campaign": "no_go", "alert": "no_go"})
    code, found = await asked(capsys)
    assert (code, found["workers"]["verdict"], found["alert"]["verdict"]) == (1, "no_go", "not_asked")
