"""What a file may mean and seldom does is told, at the line of its key, before anything is written."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from campaigns.book.apply_entries import PreparedGateway
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book
from campaigns.book.changes import Stored
from campaigns.book.plan import Plan, plan_of
from campaigns.book.sentences import in_vietnamese
from tests.support import apply_files
from tests.support.apply_files import EARLY, RUNNING

FILE = apply_files.FILE.replace('"VNN", "DA CAM"', '"Đa Cam"')
ANOTHER = """
[[campaign.route]]
short_code = "1408"
keywords = ["DA CAM 5"]
grammar = "fixed"
unit_vnd = 20_000
"""
EMPTY = Stored(Book(0, [], []), {}, {}, frozenset(), frozenset())


def plan(content: str, stored: Stored = EMPTY, now: datetime = EARLY) -> Plan:
    return plan_of(load(content.encode()), [], stored, now)


def stored(content: str) -> Stored:
    return Stored(book_from_file(load(content.encode())), {}, {}, frozenset(), frozenset())


THOUSANDS = FILE[FILE.index("grammar") :], 'grammar = "thousands"\nmax_units = 10_000\n'
# label, replaced in FILE, by, the key that is told, part of the reason
UNUSUAL = [
    ("short code", '"1408"', '"1490"', "short_code", "1402 to 1409"),
    ("price too high", "20_000", "2_000_000", "unit_vnd", "2,000,000 VND"),
    ("price too low", "20_000", "2_000", "unit_vnd", "2,000 VND"),
    ("goal without its zeros", "5_000_000_000", "5_000_000", "goal_vnd", "5,000,000 VND"),
    ("goal with too many zeros", "5_000_000_000", "5_000_000_000_000", "goal_vnd", "5,000,000,000,000 VND"),
    ("window of more than a year", "2027-01-01", "2028-01-01", "closes_at", "more than a year after"),
    ("window of many years", "2027-01-01", "2062-01-01", "closes_at", "more than five years ahead"),
    ("the year before", "2026-10-17T00", "2026-02-17T00", "opens_at", "more than a month back"),
    ("window of hours", "2027-01-01T00", "2026-10-17T05", "closes_at", "less than a day"),
    ("last second of the day", "2027-01-01T00:00:00", "2026-12-31T23:59:59", "closes_at", "00:00 of the next day"),
    ("last minute of the day", "2027-01-01T00:00:00", "2026-12-31T23:59:00", "closes_at", "00:00 of the next day"),
    (
        "opening at midnight of UTC",
        "2026-10-17T00:00:00+07:00",
        "2026-10-17T00:00:00Z",
        "opens_at",
        "07:00 in Vietnam",
    ),
    (
        "closing at midnight of UTC",
        "2027-01-01T00:00:00+07:00",
        "2027-01-01T00:00:00Z",
        "closes_at",
        "07:00 in Vietnam",
    ),
    ("a hundred units with a zero more", "max_units = 100", "max_units = 1000", "max_units", "give 20,000,000 VND"),
    ("thousands with a zero more", THOUSANDS[0], THOUSANDS[1], "max_units", "give 10,000,000 VND"),
    ("Cyrillic that looks like BAO", '"Đa Cam"', '"ВАО"', "keywords", "does not type"),
    ("one Greek letter", '"Đa Cam"', '"BΑO"', "keywords", "does not type"),
    ("digits of another script", '"Đa Cam"', '"BAO٥X"', "keywords", "does not type"),
    ("several keywords in one", '"Đa Cam"', '"BÃO, UH, ỦNG HỘ"', "keywords", "punctuation"),
    ("keyword with a number", '"Đa Cam"', '"BAO12"', "keywords", "ends in a number"),
    ("keyword with the n of advertisements", '"Đa Cam"', '"VNN n"', "keywords", "ends in N or GUI"),
    ("keyword with send to", '"Đa Cam"', '"HSTS gửi 1407"', "keywords", "ends in N or GUI"),
]


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"), [row[1:] for row in UNUSUAL], ids=[row[0] for row in UNUSUAL]
)
def test_what_is_unusual_is_told_at_its_key(old: str, new: str, key: str, reason: str) -> None:
    assert old in FILE
    content = FILE.replace(old, new, 1)

    told = plan(content).warnings

    lines = content.splitlines()
    assert {lines[(each.line or 0) - 1].partition(" = ")[0] for each in told} == {key}
    assert any(reason in each.reason for each in told)
    assert all(in_vietnamese(each.reason) != each.reason for each in told)


def test_what_is_usual_and_what_is_only_repeated_is_not_told() -> None:
    assert plan(FILE).warnings == ()
    odd = FILE.replace("20_000", "2_000_000").replace("2027-01-01", "2062-01-01")
    again = plan(odd, stored(odd))
    assert (again.warnings, again.told, again.changes.lines) == ((), (), [])


def test_a_window_that_has_passed_or_lies_years_ahead_is_told() -> None:
    for now, key in ((datetime(2027, 2, 1, tzinfo=UTC), "closes_at"), (datetime(2025, 2, 1, tzinfo=UTC), "opens_at")):
        (told,) = plan(FILE, now=now).warnings
        assert told.toml_path == f"campaign[0].{key}"


def test_a_goal_with_a_zero_too_many_is_told_beside_other_goals() -> None:
    other = FILE.replace('"vnn"', '"two"').replace('"Đa Cam"', '"KHAC"').replace("5_000_000_000", "600_000_000_000")
    for known, times in (("500_000_000", 1_200), ("700_000_000", None)):
        told = plan(other, stored(FILE.replace("5_000_000_000", known))).warnings
        assert [each.reason for each in told] == (
            [f"would be {times} times that of campaign vnn; count its zeros"] if times else []
        )
    (own,) = plan(FILE.replace("5_000_000_000", "50_000_000_000"), stored(FILE)).warnings
    assert own.reason == "would be 10 times what it was; count its zeros"


def test_an_early_close_is_told_and_an_extension_is_not() -> None:
    other = FILE.replace("1/QD", "2/QD")
    (told,) = plan(other.replace("2027-01-01", "2026-12-01"), stored(FILE), RUNNING).warnings
    assert "earlier than was decided" in told.reason
    later = other.replace("2027-01-01", "2027-02-01")
    assert plan(later, stored(FILE), datetime(2026, 12, 1, tzinfo=UTC)).warnings == ()


def test_a_keyword_that_is_another_with_a_number_is_told_whoever_came_first() -> None:
    second = FILE[FILE.index("[[campaign]]") :].replace('"vnn"', '"two"').replace('"Đa Cam"', '"DACAM 5"')
    plans = plan(FILE + ANOTHER), plan(FILE + second.replace("DACAM 5", "DA CAM 5")), plan(FILE + second)
    for each in plans:
        assert any("with a number: who texts" in told.reason for told in each.warnings)
    longer_first = stored(FILE.replace('"Đa Cam"', '"DA CAM 5"'))
    shorter = FILE.replace('"vnn"', '"two"').replace("1/QD", "2/QD")
    assert any("with a number: who texts" in told.reason for told in plan(shorter, longer_first).warnings)


def test_two_keywords_of_one_route_are_told_once() -> None:
    (told,) = plan(FILE.replace('["Đa Cam"]', '["BAO", "BAO 5K"]')).warnings
    assert '"BAO 5K" is "BAO" with a number' in told.reason


def test_donors_are_told_in_words_and_figures() -> None:
    told = plan(FILE).told

    assert told == (
        "vnn: Vì người nghèo",
        "  texts count from 00:00:00 17/10/2026 to 23:59:59 31/12/2026 inclusive, Vietnam time",
        "  goal: 5,000,000,000 VND",
        '  "DA CAM" to 1408 gives 20,000 VND',
        '  "DA CAM 5" to 1408 gives 100,000 VND',
        '  "DA CAM 100" to 1408 gives 2,000,000 VND',
        '  "Đa Cam" in the file is texted as DA CAM',
    )
    assert in_vietnamese(told[3]) == '  soạn "DA CAM" gửi 1408: ủng hộ 20.000 đồng'
    assert in_vietnamese(told[2]) == "  mục tiêu: 5.000.000.000 đồng"


def test_what_the_file_does_not_name_stays_and_is_said() -> None:
    two = FILE.replace('["Đa Cam"]', '["VNN", "VNN N"]')

    assert plan(two.replace(', "VNN N"', ""), stored(two)).stays == (
        'stays: keyword "VNN N" on 1408 of campaign vnn; withdrawn = true takes it away',
    )
    (campaign,) = stored(two).book.campaigns
    read = replace(stored(two), read=frozenset({(campaign.id, "1408", "VNN N")}))
    (stays,) = plan(two.replace(', "VNN N"', ""), read).stays
    assert stays.endswith("messages were read by it, so it counts until the campaign closes")
    assert in_vietnamese(stays) != stays
    assert plan(FILE[: FILE.index("[[campaign]]")], stored(two)).stays == ("stays: campaign vnn",)


def test_labels_are_unique() -> None:
    assert len({row[0] for row in UNUSUAL}) == len(UNUSUAL)


HUB = """
[[gateway]]
code = "hub"
adapter = "kannel"
"""
REPLIES = 'hotline = "19001530"\nreply_wrong_form = "Sai cu phap, {promise}. Ho tro {{hotline}}"\n'


def hub(**changes: Any) -> PreparedGateway:
    prepared = PreparedGateway(
        "hub", "kannel", "viettel", "on_message", ("127.0.0.0/8",), True, {"reply_url": "http://hub.example"}
    )
    return replace(prepared, **changes)


PROMISES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "not charged, and is": ("chua tru tien ung ho", {}, True),
    "free of charge": ("tin nhan mien phi", {}, True),
    "in an answer": ("Quy vi khong bi tru tien", {"settings": {}, "charges_uncounted": True}, True),
    "nothing promised": ("xin thu lai", {}, False),
    "charged by the reply": ("chua tru tien", {"charging": "on_reply"}, False),
    "for tests": ("chua tru tien", {"test": True}, False),
    "never answered": ("chua tru tien", {"settings": {}}, False),
}


@pytest.mark.parametrize("label", PROMISES)
def test_a_promise_that_nothing_was_charged_is_told_where_the_message_is_the_charge(label: str) -> None:
    promise, changes, is_told = PROMISES[label]
    content = FILE.replace("[[campaign.route]]", REPLIES.format(promise=promise) + "[[campaign.route]]", 1) + HUB
    file, gateway = load(content.encode()), hub(**changes)
    told = plan_of(file, [gateway], EMPTY, EARLY).warnings
    assert [each.toml_path for each in told] == ["campaign[0].reply_wrong_form"] * is_told
    # What a file only repeats is not told again; a gateway that has become such a one is.
    known = replace(stored(content), gateways={"hub": gateway})
    assert plan_of(file, [gateway], known, EARLY).warnings == ()
    off = replace(known, gateways={"hub": replace(gateway, enabled=False)})
    assert bool(plan_of(file, [gateway], off, EARLY).warnings) == is_told
    # So does a file of the gateway alone, beside campaigns that were applied before.
    alone = plan_of(load(HUB.encode()), [gateway], replace(known, gateways={}), EARLY).warnings
    assert [each.toml_path for each in alone] == ["gateway[0].charging"] * is_told
    assert all(in_vietnamese(each.reason) != each.reason for each in alone)


SECRETS: dict[str, tuple[dict[str, Any], bool]] = {
    "over": ({"path_secret": [{"env": "A", "not_after": "2026-01-01T00:00:00+07:00"}]}, True),
    "not begun": ({"path_secret": [{"env": "A", "not_before": "2099-01-01T00:00:00+07:00"}]}, True),
    "alone": ({"path_secret": {"env": "A", "not_after": "2026-01-01T00:00:00+07:00"}}, True),
    "another is right": (
        {"path_secret": [{"env": "A", "not_after": "2026-01-01T00:00:00+07:00"}, {"env": "B"}]}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", SECRETS)
def test_a_live_gateway_without_a_secret_whose_time_it_is_is_told(label: str) -> None:
    settings, is_told = SECRETS[label]
    file = load((FILE + HUB).encode())
    for gateway, is_live in ((hub(settings=settings), True), (hub(settings=settings, test=True), False)):
        told = plan_of(file, [gateway], EMPTY, EARLY).warnings
        assert [each.toml_path for each in told] == ["gateway[0].path_secret"] * (is_told and is_live)
        assert all("time" in each.reason and in_vietnamese(each.reason) != str(each.reason) for each in told)
