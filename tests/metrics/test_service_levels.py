"""What the objectives are measured by: late answers by account, and how long until a message is in the totals."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from gateways.outcome import Outcome
from metrics import service_levels
from metrics.families.register import Register
from metrics.service_levels import NEVER_LATE, ServiceLevels

NOW = datetime(2026, 10, 17, 13, 0, tzinfo=UTC)
SHOWN = "portal1400_message_shown_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def levels(registry: CollectorRegistry) -> ServiceLevels:
    made = ServiceLevels(Register(registry))
    made.know_accounts(["hub"])
    return made


def test_only_acknowledgements_can_be_late(levels: ServiceLevels, registry: CollectorRegistry) -> None:
    assert {outcome.value for outcome in Outcome} > NEVER_LATE
    levels.see_answer("hub", Outcome.ACCEPTED, 1.0)
    assert registry.get_sample_value("portal1400_late_answers_total", {"account": "hub"}) == 0
    for outcome in Outcome:
        levels.see_answer("hub", outcome, 1.01)
    late = registry.get_sample_value("portal1400_late_answers_total", {"account": "hub"})
    assert late == len(Outcome) - len(NEVER_LATE)


def test_a_message_is_shown_by_totals_that_were_read_after_its_commit(
    levels: ServiceLevels, registry: CollectorRegistry
) -> None:
    before = time.monotonic()
    levels.see_committed([NOW - timedelta(seconds=1.5), NOW - timedelta(seconds=0.2)])
    levels.see_committed([])
    levels.see_shown(before - 1, NOW)
    assert registry.get_sample_value(f"{SHOWN}_count") == 0
    levels.see_shown(time.monotonic(), NOW)
    levels.see_shown(time.monotonic(), NOW)
    # As late as the first of its commit, and once.
    assert registry.get_sample_value(f"{SHOWN}_bucket", {"le": "1.0"}) == 0
    assert registry.get_sample_value(f"{SHOWN}_bucket", {"le": "2.0"}) == 2
    # Its sender's clock and ours may differ by a little; nothing is shown before it came.
    levels.see_committed([NOW + timedelta(seconds=5)])
    levels.see_shown(time.monotonic(), NOW)
    assert registry.get_sample_value(f"{SHOWN}_sum") == 3.0


def test_what_waits_for_totals_that_are_not_read_has_a_limit(
    levels: ServiceLevels, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_levels, "COMMITS_PENDING_MAX", 3)
    for age in (1, 2, 30, 4, 5):
        levels.see_committed([NOW - timedelta(seconds=age)] * 10)
    levels.see_shown(time.monotonic(), NOW)
    assert registry.get_sample_value(f"{SHOWN}_count") == 50
    assert registry.get_sample_value(f"{SHOWN}_bucket", {"le": "2.0"}) == 20
    assert registry.get_sample_value(f"{SHOWN}_bucket", {"le": "10.0"}) == 20
