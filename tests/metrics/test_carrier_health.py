"""The health of carriers' links: what is kept, what several workers come to together, and what is judged."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from metrics.carrier_health import CarrierHealth
from metrics.carrier_verdicts import LinkHealth, added, judged
from metrics.instruments import Instruments

BEGAN = datetime(2026, 10, 17, 13, 0, 30, tzinfo=UTC)
ENDS = ("-600.0", "2.0", "30.0", "86400.0", "+Inf")
OUTCOMES = ("accepted", "duplicate", "conflict", "malformed", "unauthenticated", "unavailable")


class Worker:
    """One worker's figures, with a clock that is set."""

    def __init__(self, accounts: Sequence[str] = ("mobi", "viettel")) -> None:
        self.now = BEGAN
        self.instruments = Instruments(CollectorRegistry(), version="0", adapters=["standard"], outcomes=OUTCOMES)
        self.instruments.intake.know_accounts(accounts)
        self.health = CarrierHealth(self.instruments.register, lambda: self.now)

    def send(self, account: str, count: int, outcome: str = "accepted") -> None:
        for _ in range(count):
            self.instruments.intake.count_callback(account, "standard", outcome, 0.0)
        if outcome == "accepted" and count:
            self.instruments.intake.see_callback(account, self.now)

    def minute(self, **sent: int) -> None:
        """One minute in which each account sends so many."""
        for account, count in sent.items():
            self.send(account, count)
        self.health.roll(self.health.counts())
        self.now += timedelta(minutes=1)
        self.health.roll(self.health.counts())


def links(*workers: Worker) -> dict[str, LinkHealth]:
    """All accounts by name, as all workers together see them."""
    told = added([worker.health.told(worker.health.counts()) for worker in workers])
    return {each.account: each for each in judged(told, max(worker.now for worker in workers).timestamp())}


def test_an_account_is_silent_when_what_others_send_says_that_it_should_have_sent() -> None:
    worker = Worker()
    assert {each.state for each in links(worker).values()} == {"never"}
    for _ in range(20):
        worker.minute(mobi=10, viettel=30)
    assert {code: each.state for code, each in links(worker).items()} == {"mobi": "good", "viettel": "good"}
    for minute in range(1, 10):
        worker.minute(viettel=30)
        mobi = links(worker)["mobi"]
        # A minute of 30 from the other is worth 10 of its own.
        assert mobi.expected_callbacks == pytest.approx(10 * minute)
        assert mobi.state == ("good" if minute < 2 else "silent")
    worker.minute(mobi=1, viettel=30)
    assert links(worker)["mobi"].state == "good"
    for _ in range(30):
        worker.minute()
    assert {each.state for each in links(worker).values()} == {"quiet"}, "all are silent: a broadcast is over"


def test_what_a_test_account_sends_makes_no_other_look_silent() -> None:
    worker = Worker(("mobi", "viettel", "trial"))
    for _ in range(20):
        worker.minute(mobi=10, viettel=30)
    for _ in range(3):
        worker.minute(viettel=1, trial=500)
    told = added([worker.health.told(worker.health.counts())])
    found = {each.account: each for each in judged(told, worker.now.timestamp(), {"trial": "test"})}
    assert {code: each.state for code, each in found.items()} == {"mobi": "good", "viettel": "good", "trial": "test"}
    assert found["mobi"].expected_callbacks == pytest.approx(1)
    assert found["trial"].callbacks == 1500


def test_what_is_usual_is_that_of_the_hour_of_day_and_outlives_a_restart() -> None:
    worker = Worker()
    for hour in range(25):
        for _ in range(60):
            # At 20:00 in Vietnam of the first day alone, mobi sends as much as the other.
            worker.minute(mobi=20 if hour == 0 else 1, viettel=20)
    assert worker.now.hour == BEGAN.hour + 1
    assert links(worker)["mobi"].usual_hourly_callbacks == pytest.approx(60, abs=1)
    again = Worker()
    again.health.remember(worker.health.usual() | {"broken": [1.0]})
    assert links(again)["mobi"].usual_hourly_callbacks == pytest.approx(0.7 * 1200 + 0.3 * 60, abs=1)
    again.minute(mobi=1)
    for _ in range(3):
        again.minute(viettel=20)
    # By the last hour alone nothing would be known of its share yet.
    assert links(again)["mobi"].expected_callbacks == pytest.approx(60 * 858 / 1200, abs=1)
    assert links(again)["mobi"].state == "silent"


def test_an_account_that_is_silent_before_and_after_a_restart_is_missed() -> None:
    worker = Worker()
    worker.health.remember({"mobi": [600.0] * 24, "viettel": [1200.0] * 24})
    worker.minute(viettel=50)
    assert links(worker)["mobi"].state == "never", "it has had a minute to speak"
    worker.minute(viettel=50)
    mobi = links(worker)["mobi"]
    assert (mobi.state, mobi.last_callback_at, mobi.expected_callbacks) == ("silent", None, 25.0)
    new = Worker(("mobi", "viettel", "new"))
    for _ in range(60):
        new.minute(mobi=10, viettel=30)
    assert links(new)["new"].state == "never", "nothing is usual for it"


def test_several_workers_are_judged_together() -> None:
    first, second = Worker(), Worker()
    for number in range(10):
        first.minute(viettel=20)
        second.minute(mobi=20)
        for odd in range(20):
            worker = second if odd % 2 else first
            worker.health.see_message("mobi", str(7000 + number * 20 + odd), 2.0)
    mobi = links(first, second)["mobi"]
    assert (mobi.state, mobi.callbacks, mobi.missing_ids) == ("good", 200, 0)
    assert links(first)["mobi"].missing_ids is None, "one worker alone sees every other id"
    second.now += timedelta(hours=3)
    assert links(first, second)["viettel"].callbacks == 0, "minutes of long ago are no minutes of now"


@pytest.mark.parametrize(
    ("ids", "missing"),
    [
        ([str(9000 + n) for n in range(200)], 0),
        ([str(9000 + n) for n in range(200) if n not in (60, 61, 90)], 3),
        ([str(9000 + n + (1 if n % 10 == 4 else -1 if n % 10 == 5 else 0)) for n in range(200)], 0),
        ([*(str(9000 + n) for n in range(199)), "12"], 0),
        ([str(9000 + 7 * n) for n in range(200)], None),
        ([f"id-{n}" for n in range(200)], None),
        ([str(10**30 + n) for n in range(200)], None),
        (["٣" * 5 for _ in range(200)], None),
        ([str(n) for n in range(20)], None),
    ],
    ids=["whole", "three", "crossed", "replay", "shared", "words", "long", "other digits", "few"],
)
def test_ids_that_are_counted_up_for_us_alone_show_what_is_missing(ids: list[str], missing: int | None) -> None:
    worker = Worker()
    for begin in range(0, len(ids), 20):
        for native_id in ids[begin : begin + 20]:
            worker.health.see_message("mobi", native_id, None)
        worker.minute(mobi=20)
    for _ in range(2):
        worker.minute()
    link = links(worker)["mobi"]
    assert link.missing_ids == missing
    assert link.state == ("gaps" if missing else "good")


@pytest.mark.parametrize(
    ("delays", "p50", "p99", "state"),
    [
        ([1.5] * 90 + [20.0] * 10, 1.6, 28.0, "good"),
        ([-601.0] * 10, -2_100.0, -630.0, "clock"),
        ([-3600.0 * 7] * 10, -25_200.0, -21_672.0, "clock"),
        ([3600.0 * 7] * 10, 25_200.0, 28_728.0, "clock"),
        ([-1e9], -28_800.0, -28_800.0, "clock"),
        ([1e9], 86_400.0, 86_400.0, "clock"),
    ],
)
def test_the_clock_is_told_by_its_median_and_its_end(delays: list[float], p50: float, p99: float, state: str) -> None:
    worker = Worker()
    for delay in delays:
        worker.health.see_message("mobi", "x", delay)
    worker.minute(mobi=10)
    link = links(worker)["mobi"]
    assert (link.delay_p50_seconds, link.delay_p99_seconds, link.state) == (p50, p99, state)
    value = worker.instruments.registry.get_sample_value
    younger = {end: value("portal1400_message_delay_seconds_bucket", {"account": "mobi", "le": end}) for end in ENDS}
    assert younger == {end: sum(delay <= float(end) for delay in delays) for end in ENDS}


def test_repeats_and_errors_are_shares_of_what_came() -> None:
    worker = Worker()
    worker.send("mobi", 75)
    worker.send("mobi", 25, "duplicate")
    worker.minute()
    assert links(worker)["mobi"].duplicate_share == 0.25
    worker.send("mobi", 5, "unavailable")
    worker.send("mobi", 15, "unauthenticated")
    link = links(worker)["mobi"]
    assert (link.state, link.callbacks) == ("failing", 120)
    assert link.error_share == pytest.approx(20 / 120)
    assert link.our_error_share == pytest.approx(5 / 120)


def test_an_account_for_tests_is_neither_missed_nor_a_measure_of_others() -> None:
    worker = Worker()
    for _ in range(20):
        worker.minute(mobi=10, viettel=30)
    worker.instruments.catalog.see_account("mobi", is_enabled=True, is_usable=True, is_test=True, secrets_missing=0)
    for _ in range(9):
        worker.minute(viettel=30)
    assert list(links(worker)) == ["viettel"]
    for _ in range(9):
        worker.minute(mobi=30)
    assert links(worker)["viettel"].expected_callbacks == 0


def test_a_worker_of_another_release_with_other_classes_is_added_up_without_its_delays() -> None:
    worker = Worker()
    worker.health.see_message("mobi", "x", 1.5)
    worker.minute(mobi=10)
    told = worker.health.told(worker.health.counts())
    older = json.loads(json.dumps(told))
    for minute in older["accounts"]["mobi"]["minutes"]:
        minute[1] = minute[1][:17]
    (link,) = (each for each in judged(added([told, older]), worker.now.timestamp()) if each.account == "mobi")
    assert (link.callbacks, link.delay_p50_seconds) == (20, 1.5)
