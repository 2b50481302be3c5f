"""The night in figures: workers added up, rates between looks, and what asks for somebody."""

from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from deploy.metrics_page import whole
from metrics.carrier_verdicts import STATES
from metrics.instruments import Instruments
from service.operations.night import LIGHTS, Look, WorkerSaid, earliest, night_of, samples_of

LINK = {"account": "hub", "silent_seconds": 1.5, "error_share": 0.0, "our_error_share": None}


def worker(made: Instruments, index: int = 0, *degraded: str) -> WorkerSaid:
    samples = samples_of(generate_latest(made.registry).decode())
    return WorkerSaid(index, is_ready=True, degraded=degraded, samples=samples)


def fresh() -> Instruments:
    made = Instruments(CollectorRegistry(), version="0", adapters=["standard", "kannel"], outcomes=["accepted"])
    made.spool.writable.set(1)
    return made


def counted(made: Instruments, gifts: int) -> None:
    made.intake.messages.labels("vnn", "viettel").inc(gifts)
    made.intake.pledged_vnd.labels("vnn", "viettel").inc(gifts * 20_000)
    for _ in range(gifts):
        made.intake.count_callback("hub", "standard", "accepted", 0.004)


def test_rates_are_what_all_workers_together_counted_between_two_looks() -> None:
    first, second = fresh(), fresh()
    counted(first, 7)
    before = Look(100.0, (worker(first), worker(second, 1)))
    counted(first, 10)
    counted(second, 20)
    second.intake.count_callback("hub", "kannel", "unavailable", 3.0)
    second.intake.count_callback("hub", "kannel", "unauthenticated", 0.001)
    for made, published in ((first, 740_000), (second, 720_000)):
        made.live.campaign_pledged_vnd.labels("vnn").set(published)
        made.live.campaign_messages.labels("vnn").set(37)
        made.live.stream_viewers.set(50)
    first.live.totals_age.set(0.4)
    second.spool.records.set(3)
    second.spool.oldest_seconds.set(12)
    night = night_of(Look(110.0, (worker(first), worker(second, 1)), ({**LINK, "state": "good"},)), before)
    rates = {"messages_per_minute": 180, "vnd_per_minute": 3_600_000}
    assert night["campaigns"] == [{"campaign": "vnn", "pledged_vnd": 740_000, "messages": 37, **rates}]
    assert night["carriers"] == [{"carrier": "viettel", **rates}]
    assert night["acknowledgement"] == {"per_second": 3.0, "told_later": 1, "p99_seconds": 4.04}
    assert night["accounts"][0] == {**LINK, "state": "good", "light": "ok", "callbacks_per_minute": 192}
    assert night["spool"] == {"records": 3, "oldest_seconds": 12.0, "writable": True}
    assert (night["viewers"], night["totals_age_seconds"], night["invariants_broken"]) == (100, 0.4, None)


def test_a_worker_that_was_started_again_counts_from_nothing_and_one_that_hangs_is_told() -> None:
    old, new = fresh(), fresh()
    counted(old, 1_000)
    counted(new, 5)
    silent = WorkerSaid(1, is_ready=False, degraded=(), samples=None)
    night = night_of(Look(60.0, (worker(new, 0, "the disk is full"), silent)), Look(0.0, (worker(old), silent)))
    assert night["acknowledgement"]["per_second"] == 0.1
    assert night["wrong"] == ["worker 0: the disk is full", "worker 1: does not answer"]
    assert night["workers"][1] == {"index": 1, "ready": False, "answers": False}


def test_what_two_workers_say_is_told_once() -> None:
    made = fresh()
    look = Look(1.0, (worker(made, 0, "no writer"), worker(made, 1, "no writer", "old")))
    assert night_of(look, look)["wrong"] == ["worker 0, 1: no writer", "worker 1: old"]


def test_one_look_has_no_rates_and_one_at_nothing_no_figures() -> None:
    look = Look(1.0, (worker(whole()),))
    night: dict[str, Any] = night_of(look, look)
    assert night["acknowledgement"] == {"per_second": None, "told_later": 0, "p99_seconds": None}
    assert night["campaigns"][0]["vnd_per_minute"] is None
    assert night["invariants_broken"] == []
    nothing = night_of(Look(1.0, ()), Look(1.0, ()))
    assert nothing["totals_age_seconds"] is None
    assert nothing["campaigns"] == nothing["accounts"] == nothing["wrong"] == []


def test_a_broken_invariant_is_named() -> None:
    made = fresh()
    made.operations.invariant_difference.labels("totals_equal_money_lines").set(2)
    look = Look(1.0, (worker(made),))
    assert night_of(look, look)["invariants_broken"] == ["totals_equal_money_lines"]


def test_every_state_of_a_link_has_its_light() -> None:
    assert set(LIGHTS) == set(STATES)


def test_rates_look_back_no_further_than_they_should() -> None:
    looks = [Look(float(at), ()) for at in range(0, 100, 10)]
    assert earliest(looks, 35.0).at == 60.0
    assert earliest(looks[:1], 35.0).at == 0.0
