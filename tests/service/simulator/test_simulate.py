"""The simulator by itself: what it plans, how it writes it, what it expects of the target."""

import json
import random
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book, Grammar, Route
from campaigns.book.grammar import ReadingOutcome, read
from gateways.registry import SENDERS
from gateways.sender import Sms
from service.simulator import forms
from service.simulator.bundling import bundled
from service.simulator.compare import rows, standing_of
from service.simulator.curve import AMPLITUDE, EVENING_SECONDS, area, arrivals, height
from service.simulator.message import Delivery, Fault
from service.simulator.profiles import PROFILES, replay, targets
from service.simulator.tally import Figures, Ledger
from service.simulator.traffic import Evening, SmsWriter
from tests.support.simulated import IN_2019, KANNEL, NOW, SOAP, STANDARD, links

FOLDER = Path(__file__).parents[2] / "campaigns" / "book"
BOOK = book_from_file(load(FOLDER / "book.toml"))
READINGS = [json.loads(line) for line in (FOLDER / "readings.jsonl").read_text(encoding="utf-8").splitlines()]


def evening(seed: int, count: int, shares: Mapping[Fault, float], book: Book = BOOK) -> list[Delivery]:
    """Deliveries of an evening over three links."""
    chance = random.Random(seed)
    writer = SmsWriter(links(STANDARD, KANNEL, SOAP), chance, "1")
    played = Evening(book, writer, shares, chance, NOW, 60.0)
    return list(bundled(played.planned(arrivals(count, 60.0, chance)), chance))


def messages_of(deliveries: list[Delivery]) -> list[Sms]:
    """Each message once."""
    return list(dict.fromkeys(each for delivery in deliveries for each in delivery.messages))


@pytest.mark.parametrize("case", READINGS, ids=lambda case: f"{case['short_code']} {case['text']!a} {case['at']}")
def test_the_ledger_expects_what_a_person_wrote_down(case: dict[str, Any]) -> None:
    message = Sms(
        0, "1", "84950000001", case["short_code"], case["text"], "", "viettel", None,
        datetime.fromisoformat(case["at"]),
    )  # fmt: skip
    ledger = Ledger(BOOK)
    ledger.enter(message, ledger.reading(message, NOW))
    sums, campaign = ledger.sums, case["campaign"]
    if case["outcome"] == "counted":
        gift = Figures(1, case["units"], case["amount_vnd"])
        assert sums.counted == {(campaign, ""): gift, (campaign, "viettel"): gift}
        assert not sums.uncounted
        assert not sums.unallocated
    elif campaign is not None:
        assert sums.uncounted == Counter({(campaign, case["outcome"]): 1})
        assert not sums.counted
    else:
        assert sums.unallocated == Counter({case["outcome"]: 1})


def test_the_ledger_sums_up_to_figures_worked_out_by_hand() -> None:
    ledger = Ledger(BOOK)
    texted = [
        ("1408", "VNN", "viettel"),  # 1 unit
        ("1408", "vnn 5", "viettel"),  # 5 units
        ("1408", "VNN5K", "viettel"),  # wrong
        ("1408", "VNN 100", "mobifone"),  # 100 units
        ("1408", "VNN 101", "mobifone"),  # wrong
        ("1409", "VNN", "viettel"),  # vnn-2018 closed ten months before
        ("1408", "UH", "viettel"),  # nobody's on 1408
        ("1402", "VNN", "viettel"),  # nobody's code
    ]
    for number, (code, text, carrier) in enumerate(texted):
        message = Sms(number, str(number), "84950000001", code, text, "", carrier, None, IN_2019)
        ledger.enter(message, ledger.reading(message, NOW))
    assert ledger.sums.counted == {
        ("vnn-2019", ""): Figures(3, 106, 2_120_000),
        ("vnn-2019", "viettel"): Figures(2, 6, 120_000),
        ("vnn-2019", "mobifone"): Figures(1, 100, 2_000_000),
    }
    assert ledger.sums.uncounted == {("vnn-2019", "wrong_syntax"): 2, ("vnn-2018", "after_close"): 1}
    assert ledger.sums.unallocated == {"unknown_keyword": 1, "unknown_short_code": 1}


ROUTES = {
    route.grammar: (campaign.opens_at, route)
    for campaign in BOOK.campaigns
    if campaign.slug in ("da-cam-2021", "vnn-2019", "covid-2021")
    for route in campaign.routes
}


def outcome_of(form: str, route: Route, keyword: str, units: int) -> tuple[ReadingOutcome, int | None]:
    """How a form is read within the window of its route."""
    text = forms.filled(form, route, keyword, units)
    reading = read(BOOK, route.short_code, text, ROUTES[route.grammar][0] + timedelta(hours=1))
    return reading.outcome, reading.units


@pytest.mark.parametrize("grammar", Grammar)
def test_every_form_that_is_said_to_count_counts_its_units(grammar: Grammar) -> None:
    _, route = ROUTES[grammar]
    for units in (1,) if grammar is Grammar.FIXED else (1, 5, 20, 50):
        for form, _ in forms.COUNTED[grammar]:
            for keyword in route.keywords:
                assert outcome_of(form, route, keyword, units) == (ReadingOutcome.COUNTED, units), form


def test_every_form_of_one_unit_is_one_unit() -> None:
    _, route = ROUTES[Grammar.UNITS]
    for form, _ in forms.ONE_UNIT:
        assert outcome_of(form, route, "VNN", 1) == (ReadingOutcome.COUNTED, 1), form


@pytest.mark.parametrize("grammar", Grammar)
def test_every_form_that_is_said_to_be_wrong_is_wrong(grammar: Grammar) -> None:
    _, route = ROUTES[grammar]
    for form, _ in forms.WRONG[grammar]:
        for keyword in route.keywords:
            assert outcome_of(form, route, keyword, 5) == (ReadingOutcome.WRONG_SYNTAX, None), form


@pytest.mark.parametrize("grammar", Grammar)
def test_no_unknown_form_names_a_campaign(grammar: Grammar) -> None:
    _, route = ROUTES[grammar]
    for form, _ in forms.UNKNOWN:
        for keyword in route.keywords:
            outcome, _ = outcome_of(form, route, keyword, 1)
            assert outcome in (ReadingOutcome.UNKNOWN_KEYWORD, ReadingOutcome.EMPTY_TEXT), form


def test_the_same_seed_plans_the_same_callbacks_and_another_seed_others() -> None:
    shares = dict.fromkeys(Fault, 0.05)
    assert evening(1, 400, shares) == evening(1, 400, shares)
    assert evening(1, 400, shares) != evening(2, 400, shares)


def test_carriers_have_the_shares_of_real_drives_and_numbers_stay_in_the_closed_range() -> None:
    sent = messages_of(evening(3, 20_000, {}))
    share = {carrier: times / len(sent) for carrier, times in Counter(each.carrier for each in sent).items()}
    assert len(sent) == 20_000
    assert share["viettel"] == pytest.approx(0.4755, abs=0.02)
    assert share["mobifone"] == pytest.approx(0.2935, abs=0.02)
    assert share["vinaphone"] == pytest.approx(0.214, abs=0.02)
    assert all(each.msisdn.lstrip("+").removeprefix("84").lstrip("0")[:2] == "95" for each in sent)
    assert len({each.native_id for each in sent}) == len(sent)


def test_what_is_charged_is_what_the_text_gives() -> None:
    sent = messages_of(evening(3, 500, {}))
    readings = [read(BOOK, each.short_code, each.text, each.at or NOW) for each in sent]
    counted = [each for each in zip(sent, readings, strict=True) if each[1].outcome is ReadingOutcome.COUNTED]
    assert len(counted) > 200
    assert [sms.amount_vnd for sms, _ in counted] == [reading.amount_vnd for _, reading in counted]


def test_a_donor_of_units_gives_about_three_and_of_thousands_about_forty_five() -> None:
    chance = random.Random(5)
    for grammar, low, high in ((Grammar.UNITS, 2.9, 3.2), (Grammar.THOUSANDS, 42.0, 48.0)):
        _, route = ROUTES[grammar]
        assert low < sum(forms.units_texted(chance, route) for _ in range(20_000)) / 20_000 < high


def test_faults_come_in_their_shares() -> None:
    shares = {Fault.WRONG: 0.2, Fault.UNKNOWN: 0.1, Fault.LATE: 0.1, Fault.EARLY: 0.1, Fault.CONFLICTS: 0.3}
    planned = evening(7, 10_000, shares, book=BOOK)
    outcomes = Counter(
        read(BOOK, each.short_code, each.text, each.at or NOW).outcome for each in messages_of(planned)
    )
    assert outcomes[ReadingOutcome.WRONG_SYNTAX] == pytest.approx(2_000, rel=0.1)
    unknown = outcomes[ReadingOutcome.UNKNOWN_KEYWORD] + outcomes[ReadingOutcome.EMPTY_TEXT]
    assert unknown == pytest.approx(1_000, rel=0.15)
    assert outcomes[ReadingOutcome.BEFORE_OPEN] == pytest.approx(1_000, rel=0.15)
    assert sum(each.fault is Fault.CONFLICTS for each in planned) == pytest.approx(3_000, rel=0.1)


def test_a_batch_holds_messages_of_one_account_only_and_may_hold_one_twice() -> None:
    planned = evening(9, 5_000, {Fault.DUPLICATES: 0.3})
    batches = [each for each in planned if len(each.messages) > 1]
    assert batches
    assert {each.link.protocol for each in batches} == {"standard"}
    assert max(len(each.messages) for each in batches) <= SENDERS["standard"].batch_max
    assert any(len(set(each.messages)) < len(each.messages) for each in batches)


def test_a_quarter_of_an_evening_comes_in_its_first_ten_minutes_and_its_peak_is_nine_times_the_mean() -> None:
    assert area(600.0) / area(EVENING_SECONDS) == pytest.approx(0.25, abs=0.001)
    assert height(0.0) * EVENING_SECONDS / area(EVENING_SECONDS) == pytest.approx(9.4, abs=0.1)
    assert height(0.0) == 1 + AMPLITUDE
    moments = list(arrivals(10_000, EVENING_SECONDS, random.Random(1)))
    assert len(moments) == 10_000
    assert all(earlier <= later for earlier, later in pairwise(moments))
    assert sum(each < 600.0 for each in moments) == pytest.approx(2_500, abs=2)
    assert moments[-1] <= EVENING_SECONDS


COVID_AT_1000 = [
    (34, 100),
    (600, 2_150),
    (929, 3_120),
    (1_177, 3_850),
    (1_500, 4_800),
    (2_100, 6_300),
    (2_151, 6_432),
]


def test_the_replay_of_2020_sums_up_to_every_published_figure() -> None:
    aims = targets(PROFILES["covid-2020"], 1_000)
    assert [(each.messages, each.units) for each in aims] == COVID_AT_1000
    assert [each.vnd for each in aims][-1] == 128_640_000
    gifts = list(replay(PROFILES["covid-2020"], 1_000, random.Random(1)))
    assert all(1 <= gift.units <= 100 for gift in gifts)
    assert all(earlier.at <= later.at for earlier, later in pairwise(gifts))
    for aim, (messages, units) in zip(aims, COVID_AT_1000, strict=True):
        before = [gift for gift in gifts if gift.at < aim.at]
        assert (len(before), sum(gift.units for gift in before)) == (messages, units)


def test_the_whole_of_2020_is_the_published_sum_to_the_last_unit() -> None:
    last = targets(PROFILES["covid-2020"], 1)[-1]
    assert (last.units, last.vnd) == (6_432_745, 128_654_900_000)
    in_tens = list(replay(PROFILES["covid-2020"], 10, random.Random(1)))
    assert sum(gift.units for gift in in_tens) == 643_274


def test_the_first_minute_of_2019_is_fifteen_hundred_messages_and_seventy_million() -> None:
    gifts = list(replay(PROFILES["launch-2019"], 1, random.Random(1)))
    opening = datetime.fromisoformat("2019-08-19T00:00:00+07:00")
    assert (len(gifts), sum(gift.units for gift in gifts) * 20_000) == (1_500, 70_000_000)
    assert all(opening <= gift.at < opening + timedelta(minutes=1) for gift in gifts)


def totals(**changes: int) -> dict[str, Any]:
    """A totals document with one campaign and one carrier."""
    share = {"carrier": "viettel", "messages": 3, "units": 8, "pledged_vnd": 160_000}
    campaign = {"campaign": "vnn", "version": 7, "messages": 3, "units": 8, "pledged_vnd": 160_000, **changes}
    campaign |= {"by_carrier": [share], "uncounted": {"wrong_syntax": 1, "before_open": 0, "after_close": 0}}
    return {"campaigns": [campaign], "unallocated": {"version": 1, "by_reason": {"unknown_keyword": 2}}}


@pytest.mark.parametrize("changed", ["messages", "units", "pledged_vnd"])
def test_a_campaign_that_grew_by_one_more_is_seen(changed: str) -> None:
    empty = {"campaigns": [], "unallocated": {"version": 0, "by_reason": {}}}
    before, after = standing_of(empty).sums, standing_of(totals()).sums
    assert all(row.is_right for row in rows(before, after, after))
    tampered = standing_of(totals(**{changed: totals()["campaigns"][0][changed] + 1})).sums
    wrong = [row for row in rows(before, tampered, after) if not row.is_right]
    assert [(row.campaign, row.place) for row in wrong] == [("vnn", "all carriers")]


def test_uncounted_and_unallocated_messages_are_compared_too() -> None:
    before, after = standing_of(totals()).sums, standing_of(totals()).sums
    after.uncounted["vnn", "wrong_syntax"] += 1
    after.unallocated["unknown_keyword"] += 1
    wrong = [row for row in rows(before, after, Ledger(BOOK).sums) if not row.is_right]
    assert [(row.campaign, row.place) for row in wrong] == [("vnn", "wrong_syntax"), (None, "unknown_keyword")]


def test_a_worker_that_is_behind_takes_nothing_back() -> None:
    standing, behind = standing_of(totals()), standing_of(totals(version=6, messages=1))
    assert not standing.merge_newer(behind)
    assert standing.sums.counted["vnn", ""].messages == 3
    assert standing.merge_newer(standing_of(totals(version=8, messages=5)))
    assert standing.sums.counted["vnn", ""].messages == 5
    # Equal versions must be equal figures: where they are not, that is taken, and seen.
    assert standing.merge_newer(standing_of(totals(version=8, messages=6)))
    assert not standing.merge_newer(standing_of(totals(version=8, messages=6)))
