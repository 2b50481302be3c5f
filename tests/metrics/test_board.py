"""The board: versions only rise, a snapshot is encoded once, and equal figures are equal bytes."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import orjson

from campaigns.totals.totals import CampaignTotals, CarrierTotals, UnallocatedTotals
from metrics.board import Board, encode, encode_unallocated

AT = datetime(2026, 10, 17, 13, 0, 1, 123456, tzinfo=UTC)
TOTALS = CampaignTotals(
    campaign="vnn", campaign_id=1, version=3, as_of=AT, messages=2, units=6, pledged_vnd=120_000, confirmed_vnd=None,
    received_vnd=None, disbursed_vnd=0, goal_vnd=None, reversed=(1, 40_000),
    by_carrier=(CarrierTotals("viettel", 2, 6, 120_000),), uncounted=(1, 0, 2),
)  # fmt: skip
NOTHING = UnallocatedTotals(0, AT, (0, 0, 0), 0, 0)


def test_a_snapshot_is_the_contract_s_object_and_its_event() -> None:
    snapshot = encode(TOTALS)
    assert snapshot.body == (
        b'{"campaign":"vnn","version":3,"as_of":"2026-10-17T20:00:01.123456+07:00","messages":2,"units":6,'
        b'"pledged_vnd":120000,"confirmed_vnd":null,"received_vnd":null,"disbursed_vnd":0,"goal_vnd":null,'
        b'"reversed":{"messages":1,"vnd":40000},'
        b'"by_carrier":[{"carrier":"viettel","messages":2,"units":6,"pledged_vnd":120000}],'
        b'"uncounted":{"wrong_syntax":1,"before_open":0,"after_close":2}}'
    )
    assert snapshot.frame == b"event: totals\nid: 3\ndata: " + snapshot.body + b"\n\n"


def test_the_zone_and_the_microseconds_of_a_time_do_not_change_its_bytes() -> None:
    elsewhere = replace(TOTALS, as_of=AT.astimezone(timezone(timedelta(hours=-3))))
    assert encode(elsewhere).body == encode(TOTALS).body
    full = encode(replace(TOTALS, as_of=AT.replace(microsecond=0))).body
    assert re.search(rb'"as_of":"[0-9T:-]+\.000000\+07:00"', full)


def test_money_stays_an_integer_to_the_last_dong() -> None:
    largest = 2**53 - 1
    assert orjson.loads(encode(replace(TOTALS, pledged_vnd=largest)).body)["pledged_vnd"] == largest
    assert b"." not in encode(replace(TOTALS, pledged_vnd=largest)).body.split(b'"pledged_vnd"')[1]


def test_versions_only_rise_and_a_lower_one_is_not_shown() -> None:
    board = Board()
    assert board.get("vnn") is None
    assert board.post([TOTALS], NOTHING, 0.0) == 1
    first = board.get("vnn")
    assert board.post([replace(TOTALS, version=2, messages=1)], NOTHING, 0.0) == 0
    assert board.post([replace(TOTALS, messages=9)], NOTHING, 0.0) == 0
    assert board.get("vnn") is first
    assert board.post([replace(TOTALS, version=4, messages=3)], NOTHING, 0.0) == 1
    newest = board.get("vnn")
    assert newest is not None
    assert (newest.totals.version, newest.totals.messages) == (4, 3)


def test_what_is_unallocated_only_rises_too() -> None:
    board = Board()
    assert board.unallocated == b"null"
    board.post([], replace(NOTHING, version=5, by_reason=(1, 2, 3), orphan_charges=1, orphan_vnd=20_000), 0.0)
    board.post([], replace(NOTHING, version=4), 0.0)
    assert orjson.loads(board.unallocated) == {
        "version": 5,
        "as_of": "2026-10-17T20:00:01.123456+07:00",
        "messages": 6,
        "by_reason": {"unknown_keyword": 1, "unknown_short_code": 2, "empty_text": 3},
        "orphan_charges": {"count": 1, "vnd": 20_000},
    }
    assert encode_unallocated(replace(NOTHING, as_of=None)).startswith(b'{"version":0,"as_of":null')


def test_who_follows_is_told_of_a_change_and_not_of_a_look() -> None:
    board = Board()
    board.post([TOTALS], NOTHING, 0.0)
    assert board.changed.is_set()
    board.changed.clear()
    board.post([TOTALS], NOTHING, 0.0)
    assert not board.changed.is_set()
    board.post([replace(TOTALS, version=4)], NOTHING, 0.0)
    assert board.changed.is_set()


def test_the_board_says_how_long_ago_it_saw_the_database() -> None:
    board = Board()
    assert board.age_seconds is None
    board.post([], NOTHING, time.monotonic() - 30)
    assert board.age_seconds is not None
    assert 30 <= board.age_seconds < 31
