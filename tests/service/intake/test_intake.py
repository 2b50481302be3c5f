"""One callback from bytes to answer, over HTTP, on a real database."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from campaigns.book.grammar import GRAMMAR_VERSION
from tests.support.away import require_invariants
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, Portal, Reply, eventually, message, running, signed
from tests.support.postgres import TestServer
from tests.support.protocols import SENDERS, fetch, post_soap

MONEY = """
SELECT count(*) AS lines, coalesce(sum(messages), 0) AS messages, sum(vnd)::bigint AS vnd FROM money_line
WHERE gift_id IN (SELECT id FROM message WHERE native_id LIKE $1)
"""
ONE = """
[[campaign]]
slug = "one"
name_vi = "Một món quà"
category = "poverty"
organiser = "mttq"
opens_at = 2020-01-01T00:00:00+07:00
closes_at = 2099-01-01T00:00:00+07:00

  [[campaign.route]]
  short_code = "1408"
  keywords = ["ONE"]
  grammar = "units"
  unit_vnd = 20_000
  max_units = 100
"""


@pytest.fixture(scope="module")
async def portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service that waits for its commits: on a busy machine the spool would answer for them.

    One for the tests of this file: each has message ids of its own.
    """
    folder = tmp_path_factory.mktemp("intake")
    async with cloned_database(server) as dsn, running(dsn, folder, BOOK + ONE, queue_wait_seconds="20") as started:
        yield started
        await require_invariants(dsn)


async def outcomes(portal: Portal, account: str, outcome: str) -> float:
    """How many callbacks of an account ended so until now."""
    return await portal.metric("portal1400_callbacks_total", account=account, outcome=outcome)


async def test_a_gift_is_counted_and_published(portal: Portal) -> None:
    answer = await portal.post(message("gift-1", "ONE 5"))
    assert (answer.status, answer.outcome) == (200, "accepted")

    async def is_shown() -> bool:
        return bool((await portal.totals("one"))["messages"] == 1)

    await eventually(is_shown)
    totals = await portal.totals("one")
    assert (totals["units"], totals["pledged_vnd"], totals["version"]) == (5, 100_000, 1)


async def test_forty_repeats_at_once_are_one_gift(portal: Portal) -> None:
    answers = await asyncio.gather(*(portal.post(message("forty-1")) for _ in range(40)))
    assert {answer.body for answer in answers} == {b'{"accepted":["forty-1"]}'}
    assert Counter(answer.outcome for answer in answers) == {"accepted": 1, "duplicate": 39}
    (money,) = await portal.fetch(MONEY, "forty-%")
    assert (money["lines"], money["vnd"]) == (1, 100_000)


async def test_210_identical_texts_of_one_number_are_210_gifts(portal: Portal) -> None:
    answers = []
    for turn in range(3):  # an account may have 200 callbacks in hand, so they come in turns
        answers += await asyncio.gather(*(portal.post(message(f"same-{turn}-{at}", "VNN")) for at in range(70)))
    assert {(answer.status, answer.outcome) for answer in answers} == {(200, "accepted")}
    (money,) = await portal.fetch(MONEY, "same-%")
    assert (money["lines"], money["messages"], money["vnd"]) == (210, 210, 4_200_000)
    (persons,) = await portal.fetch(
        "SELECT count(*) AS rows, count(DISTINCT msisdn_hash) AS numbers, count(DISTINCT msisdn_sealed) AS seals"
        " FROM message_person WHERE message_id IN (SELECT id FROM message WHERE native_id LIKE 'same-%')"
    )
    assert tuple(persons) == (210, 1, 210)


async def test_a_repeat_gets_the_same_bytes_and_moves_no_money(portal: Portal) -> None:
    for name, sender in SENDERS.items():
        first = await sender.send(portal, "repeat-1")
        second = await sender.send(portal, "repeat-1")
        at_once = await asyncio.gather(*(sender.send(portal, "repeat-20") for _ in range(20)))
        late = await sender.send(portal, "repeat-1")
        assert {(each.status, each.body, each.headers.get("content-type")) for each in (first, second, late)} == {
            (200, first.body, first.headers.get("content-type"))
        }, name
        assert len({(each.status, each.body) for each in at_once}) == 1, name
    (money,) = await portal.fetch(MONEY, "repeat-%")
    assert (money["lines"], money["vnd"]) == (2 * len(SENDERS), 200_000 * len(SENDERS))
    rows = await portal.fetch(
        "SELECT a.code, m.carrier FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id"
        " WHERE m.native_id LIKE 'repeat-%'"
    )
    assert sorted(map(tuple, rows)) == sorted([(each.account, each.carrier) for each in SENDERS.values()] * 2)


async def test_other_content_under_an_id_is_kept_and_harms_nobody(portal: Portal) -> None:
    for name, sender in SENDERS.items():
        conflicts_before = await portal.metric("portal1400_conflicts_total", account=sender.account)
        first = await sender.send(portal, "other-1", "VNN 5")
        other = await sender.send(portal, "other-1", "VNN 6")
        again = await sender.send(portal, "other-1", "VNN 6")
        assert other.status == sender.conflict_status, name
        assert (again.status, again.body) == (other.status, other.body), name
        if sender.conflict_status == 200:
            assert other.body == first.body, name
        # At the same instant: exactly one is counted, the other recorded, whichever comes first.
        await asyncio.gather(*(sender.send(portal, "other-2", f"VNN {1 + number % 2}") for number in range(20)))
        conflicts = await portal.fetch(
            "SELECT native_id, conflict.sealed AS own, callback.sealed, raw_id, callback.day"
            " FROM conflict JOIN conflict_callback AS callback USING (raw_id, account_id)"
            " JOIN gateway_account AS a ON a.id = account_id WHERE a.code = $1 AND native_id LIKE 'other-%'"
            " ORDER BY native_id",
            sender.account,
        )
        assert [row["native_id"] for row in conflicts] == ["other-1", "other-2"], name
        kept = conflicts[0]
        assert kept["own"] is None
        assert b"VNN" not in kept["sealed"]
        sealer = portal.opened.keyring.day(kept["day"])
        assert sealer is not None
        # The first "VNN 5" was stored; what is kept is the callback that said otherwise.
        assert b"6" in sealer.unseal(kept["sealed"], b"raw_callback.sealed:" + kept["raw_id"].bytes), name
        conflicts_now = await portal.metric("portal1400_conflicts_total", account=sender.account)
        assert conflicts_now == conflicts_before + 2, name
    (money,) = await portal.fetch(
        "SELECT count(*), count(DISTINCT gift_id) AS gifts FROM money_line"
        " WHERE gift_id IN (SELECT id FROM message WHERE native_id LIKE 'other-%')"
    )
    assert tuple(money) == (2 * len(SENDERS), 2 * len(SENDERS))


async def test_a_conflict_inside_one_batch_is_told_and_the_rest_is_stored(portal: Portal) -> None:
    events = [
        message("b-1", "VNN 1"),
        message("b-2", "VNN 2"),
        message("b-1", "VNN 9"),
        message("b-3", "VNN 3"),
    ]
    batch = {"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": events}
    answer = await portal.post(batch)
    assert (answer.status, answer.outcome) == (409, "conflict")
    assert answer.json() == {"accepted": ["b-1", "b-2", "b-3"], "conflicts": ["b-1"]}
    rows = await portal.fetch("SELECT native_id, units FROM message WHERE native_id LIKE 'b-%' ORDER BY native_id")
    assert [tuple(row) for row in rows] == [("b-1", 1), ("b-2", 2), ("b-3", 3)]
    assert (await portal.post(batch)).body == answer.body
    assert len(await portal.fetch("SELECT FROM conflict WHERE native_id LIKE 'b-%'")) == 1


WORST = {
    "all new": (["VNN 1", "VNN 2"], "accepted"),
    "a wrong syntax counts as accepted": (["VNN 1", "VNN x"], "accepted"),
    "one unallocated": (["VNN 1", "XYZ"], "unallocated"),
}


async def test_a_batch_is_counted_as_its_worst(portal: Portal) -> None:
    before = await outcomes(portal, "hub", "unallocated")
    for label, (texts, outcome) in WORST.items():
        data = [message(f"{label} {number}", text) for number, text in enumerate(texts)]
        body = {"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": data}
        answer = await portal.post(body)
        ids = [event["data"]["message_id"] for event in data]
        assert (answer.status, answer.outcome, answer.json()) == (200, outcome, {"accepted": ids}), label
        again = await portal.post(body)
        assert (again.outcome, again.body) == ("duplicate", answer.body), label
        half = {**body, "data": [*data, message(f"{label} new", "VNN")]}
        assert (await portal.post(half)).outcome == "accepted", label
    assert await outcomes(portal, "hub", "unallocated") == before + 1


async def test_one_malformed_element_refuses_the_whole_batch(portal: Portal) -> None:
    events = [message("whole-1"), message("whole-2", msisdn="none"), message("whole-3")]
    answer = await portal.post({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": events})
    assert (answer.status, answer.outcome) == (400, "malformed")
    assert [error["path"] for error in answer.json()["errors"]] == ["data.1.data.msisdn"]
    assert await portal.fetch("SELECT FROM message WHERE native_id LIKE 'whole-%'") == []
    kept = await portal.fetch("SELECT outcome FROM quarantine WHERE id = $1", answer.headers["x-portal1400-request"])
    assert [row["outcome"] for row in kept] == ["malformed"]


@pytest.fixture
async def own_portal(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """The same for a test alone, which looks at all that is stored and shown."""
    async with running(database_dsn, tmp_path, queue_wait_seconds="20") as started:
        yield started


READINGS = {
    "a wrong number": ("1408", "VNN 101", "wrong_syntax", "accepted"),
    "a word behind": ("1408", "VNN xin chao", "wrong_syntax", "accepted"),
    "a closed campaign": ("1409", "UH", "after_close", "accepted"),
    "an unknown keyword": ("1408", "XYZ 5", "unknown_keyword", "unallocated"),
    "an unknown code": ("1402", "VNN 5", "unknown_short_code", "unallocated"),
    "an empty text": ("1408", " ! ", "empty_text", "unallocated"),
}


async def test_what_does_not_count_is_recorded_at_zero_with_its_reason(own_portal: Portal) -> None:
    portal = own_portal
    for label, (code, text, _, outcome) in READINGS.items():
        answer = await portal.post(message(label, text, short_code=code))
        assert (answer.status, answer.outcome) == (200, outcome), label
        assert answer.json() == {"accepted": [label]}
    rows = await portal.fetch(
        "SELECT native_id, reading, units, amount_vnd, book_version, grammar_version FROM message"
    )
    assert {row["native_id"]: row["reading"] for row in rows} == {
        label: reading for label, (_, _, reading, _) in READINGS.items()
    }
    assert {(row["units"], row["amount_vnd"]) for row in rows} == {(None, None)}
    assert {(row["book_version"], row["grammar_version"]) for row in rows} == {(1, GRAMMAR_VERSION)}
    assert await portal.fetch("SELECT FROM money_line") == []

    async def is_shown() -> bool:
        return bool((await portal.get("/api/v1/totals"))["unallocated"]["messages"] == 3)

    await eventually(is_shown)
    everything = await portal.get("/api/v1/totals")
    assert everything["unallocated"]["by_reason"] == {"unknown_keyword": 1, "unknown_short_code": 1, "empty_text": 1}
    uncounted = {each["campaign"]: each["uncounted"] for each in everything["campaigns"]}
    assert uncounted["vnn"] == {"wrong_syntax": 2, "before_open": 0, "after_close": 0}
    assert uncounted["old"] == {"wrong_syntax": 0, "before_open": 0, "after_close": 1}


async def test_in_reply_style_a_refusal_is_stored_and_repeated_to_the_letter(portal: Portal) -> None:
    before = await outcomes(portal, "soap", "rejected_policy")
    refused = await post_soap(portal, "style-1", "VNN x")
    assert (refused.status, b">1|Sai cu phap<" in refused.body) == (200, True)
    assert (await post_soap(portal, "style-1", "VNN x")).body == refused.body
    # A conflict hears the first answer, never another: the hub would charge or refund by it.
    assert (await post_soap(portal, "style-1", "VNN 5")).body == refused.body
    taken = await post_soap(portal, "style-2", "VNN 5")
    assert b">0|<" in taken.body
    assert (await post_soap(portal, "style-2", "VNN x")).body == taken.body
    assert await outcomes(portal, "soap", "rejected_policy") == before + 1


TIMES = {
    "no time of its own": (None, [], "counted"),
    "nine minutes ahead": (timedelta(minutes=9), [], "counted"),
    "eleven minutes ahead": (timedelta(minutes=11), ["time_in_future"], "counted"),
    "a year ahead": (timedelta(days=365), ["time_in_future"], "counted"),
    "a year ago": (timedelta(days=-365), [], "counted"),
    "before it opened": (timedelta(days=-3650), [], "before_open"),
}


async def test_the_carrier_s_time_decides_unless_it_lies_in_the_future(portal: Portal) -> None:
    now = datetime.now(UTC)
    for label, (offset, _, _) in TIMES.items():
        stated = {} if offset is None else {"operator_time": (now + offset).strftime("%Y-%m-%dT%H:%M:%SZ")}
        assert (await portal.post(message(label, **stated))).status == 200
    rows = {row["native_id"]: row for row in await portal.fetch("SELECT * FROM message")}
    for label, (offset, flags, reading) in TIMES.items():
        assert (rows[label]["flags"], rows[label]["reading"]) == (flags, reading), label
        believed = timedelta(0) if offset is None or flags else offset
        assert abs(rows[label]["message_at"] - now - believed) < timedelta(seconds=30), label


async def test_an_amount_the_carrier_claims_is_kept_and_never_preferred(portal: Portal) -> None:
    await portal.post(message("amount-1", "VNN 5", amount=90_000))
    await portal.post(message("amount-2", "VNN 5", amount=100_000))
    rows = await portal.fetch(
        "SELECT amount_vnd, claimed_vnd, flags FROM message WHERE native_id LIKE 'amount-%' ORDER BY native_id"
    )
    assert [tuple(row) for row in rows] == [(100_000, 90_000, ["amount_differs"]), (100_000, 100_000, [])]


LATE = {
    "an hour after": (timedelta(hours=1), []),
    "a day and a minute after": (timedelta(hours=24, minutes=1), ["late_after_close"]),
}


async def test_a_message_received_a_day_after_its_campaign_closed_is_flagged(
    database_dsn: str, tmp_path: Path
) -> None:
    closes_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    book = BOOK.replace("closes_at = 2099-01-01T00:00:00+07:00", f"closes_at = {closes_at.isoformat()}")
    shift = timedelta(0)
    async with running(database_dsn, tmp_path, book, lambda: datetime.now(UTC) + shift) as portal:
        for label, (after, _) in LATE.items():
            shift = closes_at + after - datetime.now(UTC)
            sent_at = (closes_at - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
            body = orjson.dumps(message(label, operator_time=sent_at))
            answer = await portal.post(body, headers=signed(body, at=datetime.now(UTC) + shift))
            assert (answer.status, answer.outcome) == (200, "accepted")
        rows = {row["native_id"]: row for row in await portal.fetch("SELECT native_id, flags, reading FROM message")}
    for label, (_, flags) in LATE.items():
        assert (rows[label]["flags"], rows[label]["reading"]) == (flags, "counted"), label


async def unsealed(portal: Portal, table: str, *answers: Reply) -> list[Any]:
    """The rows of a table that are of these callbacks, with their sealed column opened."""
    opened = []
    ids = [answer.headers["x-portal1400-request"] for answer in answers]
    for row in await portal.fetch(f"SELECT * FROM {table} WHERE id = ANY($1::uuid[]) ORDER BY id", ids):
        sealer = portal.opened.keyring.day(row["day"] if table == "quarantine" else row["received_on"])
        assert sealer is not None
        opened.append((row, sealer.unseal(row["sealed"], f"{table}.sealed:".encode() + row["id"].bytes)))
    return opened


async def test_what_is_malformed_is_kept_whole_and_sealed_with_its_reason(portal: Portal) -> None:
    bad = orjson.dumps(message("kept-1", "VNN 5", msisdn="12"))
    answers = [
        await portal.post(bad),
        await SENDERS["kannel"].send(portal, "kept-1", number="12"),
        await post_soap(portal, "kept-1", number="12"),
    ]
    assert [answer.status for answer in answers] == [400, 200, 500]
    kept = await unsealed(portal, "quarantine", *answers)
    assert [(row["adapter"], row["outcome"]) for row, _ in kept] == [
        ("standard", "malformed"),
        ("kannel", "malformed"),
        ("vn_soap_mo", "malformed"),
    ]
    assert all("is not a Vietnamese mobile number" in row["reason"] for row, _ in kept)
    assert kept[0][1].endswith(b"\n" + bad)
    assert b"text=VNN+5" in kept[1][1]
    assert all(b"VNN" not in row["sealed"] for row, _ in kept)
    assert await portal.fetch("SELECT FROM message WHERE native_id LIKE 'kept-%'") == []


def without_its_own(header: tuple[str, str]) -> tuple[str, str]:
    """A header, blanked where each answer has one of its own."""
    name, value = header
    return name, "" if name in ("Date", "x-portal1400-request") else value


async def test_a_stranger_is_refused_alike_for_known_and_unknown_accounts(portal: Portal) -> None:
    before = await outcomes(portal, "unknown", "unauthenticated")
    for sender in SENDERS.values():
        # Who shows no credentials at all waits for the challenge, where the protocol has one.
        method, headers = "POST" if sender.adapter != "kannel" else "GET", {"authorization": "Basic bjpu"}
        wrong = await fetch(portal, method, f"/gw/{sender.adapter}/{sender.account}", headers=headers)
        unknown = await fetch(portal, method, f"/gw/{sender.adapter}/nobody", headers=headers)
        assert wrong.status == sender.unauthenticated_status
        assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
        assert [without_its_own(each) for each in wrong.headers.items()] == [
            without_its_own(each) for each in unknown.headers.items()
        ]
        assert wrong.headers["Cache-Control"] == "no-store"
    # From a listed network it is kept: the usual cause is a secret that was changed.

    async def is_kept() -> bool:
        kept = await portal.fetch("SELECT adapter, outcome FROM quarantine WHERE outcome <> 'malformed'")
        return sorted(map(tuple, kept)) == sorted((sender.adapter, "unauthenticated") for sender in SENDERS.values())

    await eventually(is_kept)
    assert await outcomes(portal, "unknown", "unauthenticated") == before + len(SENDERS)


async def test_raw_callbacks_are_kept_sealed_and_open_again(portal: Portal) -> None:
    body = orjson.dumps(message("raw-1"))
    answers = [await portal.post(body) for _ in range(2)]
    ((row, plain),) = await unsealed(portal, "raw_callback", *answers)
    assert plain.endswith(b"\n" + body)
    assert b"msisdn" not in row["sealed"]


async def test_two_services_agree_while_they_post_each_other_s_repeats_and_conflicts(
    server: TestServer, database_dsn: str, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    async with (
        # No commit is given up on a busy machine: what goes into the spool is no conflict until it is replayed.
        running(database_dsn, folders[0], account_callbacks_max="1000", queue_wait_seconds="20") as one,
        running(database_dsn, folders[1], account_callbacks_max="1000", queue_wait_seconds="20") as two,
    ):
        events = [message(f"m-{number}", f"VNN {1 + number % 9}") for number in range(120)]
        others = [message(f"m-{number}", "VNN 99") for number in range(120)]

        async def play(portal: Portal, order: list[dict[str, Any]]) -> list[str | None]:
            data = [order[at : at + 10] for at in range(0, len(order), 10)]
            batches = [portal.post({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": d}) for d in data]
            singles = [portal.post(event) for event in reversed(order)]
            return [answer.outcome for answer in await asyncio.gather(*batches, *singles)]

        ended = await asyncio.gather(
            play(one, events), play(two, events[::-1]), play(two, others), play(one, others[::-1])
        )
        assert {outcome for each in ended for outcome in each} <= {"accepted", "duplicate", "conflict"}
        (money,) = await one.fetch(MONEY, "%")
        assert (money["lines"], money["messages"]) == (120, 120)
        assert len(await one.fetch("SELECT FROM conflict")) == 120
        (stored,) = await one.fetch("SELECT sum(version)::int AS version FROM campaign_total")

        async def both_show_it() -> bool:
            bodies = [(await fetch(each, "GET", "/api/v1/campaigns/vnn/totals")).body for each in (one, two)]
            return bodies[0] == bodies[1] and orjson.loads(bodies[0])["version"] == stored["version"]

        await eventually(both_show_it)
        totals = await two.totals()
        assert (totals["messages"], totals["pledged_vnd"]) == (120, money["vnd"])


async def test_beyond_the_quarantine_s_bound_nothing_verified_is_acknowledged(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, quarantine_per_account_max="2") as portal:
        answers = [await portal.post(b'{"type":"unheard of"}') for _ in range(3)]
        assert [answer.outcome for answer in answers] == ["malformed", "malformed", "unavailable"]
        wrong = signed(b"{}", secret="whsec_" + base64.b64encode(b"another secret, wrong for this!!").decode())
        strangers = [await portal.post(b"{}", headers=wrong) for _ in range(3)]
        assert [answer.outcome for answer in strangers] == ["unauthenticated"] * 3
        await portal.service.intake.quarantine.stop()
        rows = await portal.fetch("SELECT outcome, count(*) FROM quarantine GROUP BY outcome ORDER BY outcome")
        assert [tuple(row) for row in rows] == [("malformed", 2), ("unauthenticated", 2)]
