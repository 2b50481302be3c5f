"""Every family moves by a known amount, in both formats, and labels are closed sets that exist from the start."""

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from campaigns.totals.totals import CARRIERS
from deploy.metrics_page import PAGE
from gateways.outcome import Outcome
from metrics.instruments import Instruments
from tests.support.portal import Portal, eventually, message, signed
from tests.support.protocols import SENDERS, get_kannel, post_soap

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]

FAMILIES = {
    "portal1400_callbacks": "counter",
    "portal1400_callback_seconds": "histogram",
    "portal1400_late_answers": "counter",
    "portal1400_message_shown_seconds": "histogram",
    "portal1400_messages": "counter",
    "portal1400_units": "counter",
    "portal1400_pledged_vnd": "counter",
    "portal1400_uncounted_messages": "counter",
    "portal1400_message_times": "counter",
    "portal1400_last_callback_timestamp_seconds": "gauge",
    "portal1400_commit_seconds": "histogram",
    "portal1400_commit_batch_messages": "histogram",
    "portal1400_campaign_pledged_vnd": "gauge",
    "portal1400_campaign_messages": "gauge",
    "portal1400_spool_files_refused": "gauge",
    "portal1400_disk_free_bytes": "gauge",
    "portal1400_clock_ahead_of_database_seconds": "gauge",
    "portal1400_totals_age_seconds": "gauge",
    "portal1400_stream_viewers": "gauge",
    "portal1400_quarantined": "counter",
    "portal1400_conflicts": "counter",
    "portal1400_conflict_callbacks_left_out": "counter",
    "portal1400_invariant_difference": "gauge",
    "portal1400_invariants_pass_timestamp_seconds": "gauge",
    "portal1400_last_backup_timestamp_seconds": "gauge",
    "portal1400_published_ahead_of_database": "gauge",
    "portal1400_log_lines_lost": "counter",
    "portal1400_event_loop_stall_seconds": "gauge",
    "portal1400_build_info": "gauge",
    "portal1400_worker_restarts": "counter",
    "portal1400_replies": "counter",
    "portal1400_reply_seconds": "histogram",
    "portal1400_replies_waiting": "gauge",
    "portal1400_replies_oldest_seconds": "gauge",
    "portal1400_account_usable": "gauge",
    "portal1400_account_test": "gauge",
    "portal1400_account_secrets_missing": "gauge",
    "portal1400_public_requests": "counter",
    "portal1400_public_request_seconds": "histogram",
    "portal1400_connections": "gauge",
    "portal1400_pool_connections": "gauge",
    "portal1400_writers_connected": "gauge",
    "portal1400_queue_events": "gauge",
    "portal1400_spool_bytes": "gauge",
    "portal1400_database_bytes": "gauge",
    "portal1400_standbys": "gauge",
    "portal1400_event_loop_lag_seconds": "histogram",
    "process_resident_memory_bytes": "gauge",
}
PROMETHEUS, OPENMETRICS = "text/plain", "application/openmetrics-text; version=1.0.0"


async def scrape(portal: Portal, accept: str) -> tuple[str, dict[str, Metric]]:
    async with portal.http.get(portal.internal + "/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        text = await answer.text()
        kind = answer.headers["Content-Type"]
    parse = parse_openmetrics if accept == OPENMETRICS else parse_prometheus
    return kind, {family.name: family for family in parse(text)}


async def samples(portal: Portal) -> Samples:
    """Every sample of the service, by name and labels."""
    _, families = await scrape(portal, PROMETHEUS)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


@pytest.mark.parametrize(
    ("accept", "kind"), [(PROMETHEUS, "text/plain"), (OPENMETRICS, "application/openmetrics-text")]
)
async def test_both_formats_are_understood_and_hold_every_family(
    lasting_portal: Portal, accept: str, kind: str
) -> None:
    content_type, families = await scrape(lasting_portal, accept)
    assert content_type.startswith(kind)
    # In the plain format a counter's family carries its suffix, and the library's parser takes it off again.
    assert {name: family.type for name, family in families.items() if name in FAMILIES} == FAMILIES
    for family in families.values():
        assert family.documentation, family.name
        for sample in family.samples:
            assert not math.isnan(sample.value), sample


async def test_a_running_worker_exports_the_families_of_the_page_and_no_other(lasting_portal: Portal) -> None:
    """Whoever makes a family beside the register makes one that no page, no query and no count of series knows."""
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in lasting_portal.service.instruments.registry.collect()
    }
    described = {family.name: family.kind for family in lasting_portal.service.instruments.families}
    assert described == exported
    on_the_page = set(re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert on_the_page == exported.keys()


def changed(before: Samples, after: Samples) -> dict[str, float]:
    """What moved, by name and label values; times and sums of seconds are left out."""
    times = (
        "_seconds_sum",
        "_timestamp_seconds",
        "commit_seconds_count",
        "stall_seconds",
        "ahead_of_database_seconds",
        "age_seconds",
        "free_bytes",
    )
    # What the machine and the database do meanwhile.
    beside = ("process_", *(f"portal1400_{name}" for name in (
        "connections", "database_", "disk_", "event_loop_", "log_", "pool_", "queue_", "standby", "writers",
    )))  # fmt: skip
    moved = {}
    for (name, labels), value in after.items():
        difference = value - before.get((name, labels), 0.0)
        if difference and not name.endswith(times) and not name.startswith(beside):
            moved[" ".join([name.removeprefix("portal1400_"), *(v for _, v in sorted(labels))])] = difference
    return moved


async def test_every_family_moves_by_what_happened(portal: Portal) -> None:
    before = await samples(portal)
    started = datetime.now(UTC).timestamp()
    await portal.post(message("m-1", "VNN 5"))
    await portal.post(message("m-1", "VNN 5"))
    await portal.post(message("m-1", "VNN 6"))
    await portal.post(message("m-1", "VNN 6"))
    now = datetime.now(UTC)
    await portal.post(message("m-2", "VNN x", operator_time=(now - timedelta(minutes=30)).isoformat()))
    await portal.post(message("m-3", "UH", short_code="1409", operator_time=now.isoformat()))
    await portal.post(message("m-4", "XYZ", operator_time=(now + timedelta(minutes=2)).isoformat()))
    await portal.post(message("m-5", "VNN", msisdn="12"))
    await portal.post(message("m-6"), headers={"webhook-id": "x"})
    await portal.post(message("m-7"), account="nobody")
    body = b'{"type":"message.received"}'
    await portal.post(body, headers=signed(body, at=datetime(2026, 1, 1, tzinfo=UTC)))
    await portal.post(b" " * (1024 * 1024 + 1))
    await get_kannel(portal, "k-1", "VNN 7")
    await post_soap(portal, "s-1", "VNN x")

    async def is_published() -> bool:
        return await portal.metric("portal1400_message_shown_seconds_count") == 6

    async with portal.http.get(portal.base + "/api/v1/stream") as stream:
        await stream.content.readany()
        await eventually(is_published)
        after = await samples(portal)
    moved = changed(before, after)
    batches = moved.pop("commit_batch_messages_count")
    assert 1 <= batches <= 6
    assert moved == {
        "callbacks_total hub accepted": 3,
        "callbacks_total hub duplicate": 1,
        "callbacks_total hub conflict": 2,
        "callbacks_total hub unallocated": 1,
        "callbacks_total hub malformed": 1,
        "callbacks_total hub unauthenticated": 1,
        "callbacks_total hub stale": 1,
        "callbacks_total hub too_large": 1,
        "callbacks_total unknown unauthenticated": 1,
        "turned_away_total standard unknown_account listed": 1,
        "callbacks_total vina accepted": 1,
        "callbacks_total soap rejected_policy": 1,
        "callback_seconds_count standard": 12,
        "callback_seconds_count kannel": 1,
        "callback_seconds_count vn_soap_mo": 1,
        "messages_total vnn viettel": 1,
        "messages_total vnn vinaphone": 1,
        "units_total vnn viettel": 5,
        "units_total vnn vinaphone": 7,
        "pledged_vnd_total vnn viettel": 100_000,
        "pledged_vnd_total vnn vinaphone": 140_000,
        "uncounted_messages_total viettel wrong_syntax": 1,
        "uncounted_messages_total viettel after_close": 1,
        "uncounted_messages_total viettel unknown_keyword": 1,
        "uncounted_messages_total mobifone wrong_syntax": 1,
        "commit_batch_messages_sum": 6,
        "campaign_pledged_vnd vnn": 240_000,
        "campaign_messages vnn": 2,
        "message_shown_seconds_count": 6,
        "stream_viewers": 1,
        "quarantined_total standard malformed": 1,
        "quarantined_total standard unauthenticated": 1,
        "conflicts_total hub": 1,
        "public_requests_total /api/v1/stream 200": 1,
        "public_request_seconds_count /api/v1/stream": 1,
        "message_times_total hub behind": 1,
        "message_times_total hub near": 1,
        "message_times_total hub ahead": 1,
    }
    for account in ("hub", "vina", "soap"):
        at = after["portal1400_last_callback_timestamp_seconds", frozenset({("account", account)})]
        assert started - 1 <= at <= datetime.now(UTC).timestamp(), account
    assert sum(value for (name, _), value in after.items() if name == "portal1400_commit_seconds_count") >= batches


async def test_the_age_of_the_totals_is_theirs_and_not_the_scrape_s(lasting_portal: Portal) -> None:
    # As it is before the first reading, and an hour after one.
    board = lasting_portal.service.live.board
    for seen_at, expected in ((None, math.inf), (time.monotonic() - 3600, 3600.0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(board, "_seen_at", seen_at)
            assert await lasting_portal.metric("portal1400_totals_age_seconds") == pytest.approx(expected, abs=60)
    assert await lasting_portal.metric("portal1400_totals_age_seconds") < 60


async def test_a_reversal_shows_in_the_gauges_and_the_counters_never_fall(portal: Portal) -> None:
    await portal.post(message("m-1", "VNN 5"))
    reversal = {"reversal_id": "r-1", "amount": 100_000, "message_id": "m-1"}
    await portal.post({"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": reversal})

    async def is_published() -> bool:
        return bool((await portal.totals())["version"] == 2)

    await eventually(is_published)
    assert await portal.metric("portal1400_campaign_pledged_vnd", campaign="vnn") == 0
    assert await portal.metric("portal1400_campaign_messages", campaign="vnn") == 0
    assert await portal.metric("portal1400_pledged_vnd_total", campaign="vnn", carrier="viettel") == 100_000


async def test_children_exist_from_the_start_so_that_a_rate_has_a_beginning(lasting_portal: Portal) -> None:
    portal = lasting_portal
    # To which no test of this file has sent a callback.
    for account in ("hub", "vina", "soap", "unknown"):
        for outcome in Outcome:
            assert await portal.metric("portal1400_callbacks_total", account=account, outcome=outcome.value) == 0
        assert await portal.metric("portal1400_conflicts_total", account=account) == 0
    for slug in ("vnn", "old"):
        for carrier in CARRIERS:
            for family in ("messages", "units", "pledged_vnd"):
                assert await portal.metric(f"portal1400_{family}_total", campaign=slug, carrier=carrier) == 0
    for sender in SENDERS.values():
        for reason in ("malformed", "unauthenticated", "unstorable"):
            assert await portal.metric("portal1400_quarantined_total", adapter=sender.adapter, reason=reason) == 0


def test_two_structures_share_nothing() -> None:
    made = [
        Instruments(CollectorRegistry(), version="1", adapters=("standard",), outcomes=["accepted"]) for _ in range(2)
    ]
    made[0].intake.messages.labels("vnn", "viettel").inc()
    labels = {"campaign": "vnn", "carrier": "viettel"}
    assert made[0].registry.get_sample_value("portal1400_messages_total", labels) == 1
    assert made[1].registry.get_sample_value("portal1400_messages_total", labels) is None


ACCEPTS = {
    "nothing": ("", False),
    "anything": ("*/*", False),
    "quoted text": ('text/plain; version="0.0.4"', False),
    "an odd text version": ("text/plain; version=latest", False),
    "a later text version": ("text/plain; version=1.0.0", False),
    "OpenMetrics": ("application/openmetrics-text", True),
    "quoted OpenMetrics": ('Application/OpenMetrics-Text ; Version = "1.0.0"', True),
    "OpenMetrics of a draft": ("application/openmetrics-text; version=0.0.1", False),
    "OpenMetrics of the future": ("application/openmetrics-text; version=2.0.0", False),
    "an odd OpenMetrics version": ("application/openmetrics-text; version=1.x", False),
    "an odd escaping": ("application/openmetrics-text; version=1.0.0; escaping=what", True),
    "what Prometheus 3 sends": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        True,
    ),
    "an older one first": ("application/openmetrics-text; version=0.0.1, application/openmetrics-text", True),
    "separators alone": (';,="",;;version', False),
}


async def test_every_accept_header_is_answered(lasting_portal: Portal) -> None:
    for label, (accept, is_openmetrics) in ACCEPTS.items():
        async with lasting_portal.http.get(
            lasting_portal.internal + "/metrics", headers={"Accept": accept}
        ) as answer:
            assert answer.status == 200, label
            kind = "application/openmetrics-text" if is_openmetrics else "text/plain"
            assert answer.headers["Content-Type"].startswith(kind), label
            assert (await answer.text()).endswith("# EOF\n") == is_openmetrics, label
