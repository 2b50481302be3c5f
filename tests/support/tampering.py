"""Facts of every kind, and every way in which a figure is tampered with that an invariant must find."""

import asyncpg

from tests.support.portal import Portal, message
from tests.support.reports import charge, gift, taken_back

PAST_THE_LOCKS = "SET session_replication_role = replica"
"""What a superuser can do: the locks on facts do not hold for this session."""


async def tamper(dsn: str, *statements: str) -> None:
    """Change facts behind the locks."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(";".join((PAST_THE_LOCKS, *statements)))
    finally:
        await connection.close()


# What is tampered with -> the statement, the invariants it breaks, and what the first of them says.
TAMPERED: dict[str, tuple[str, set[str], str]] = {
    "a total's VND": (
        "UPDATE campaign_total SET pledged_vnd = pledged_vnd + 1 WHERE carrier = 'viettel'",
        {"totals_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a total's messages": (
        "UPDATE campaign_total SET messages = messages - 1 WHERE carrier = 'viettel'",
        {"totals_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a total's lines": ("UPDATE campaign_total SET lines = 0", {"totals_equal_money_lines"}, "campaign 1, viettel"),
    "a total that is gone": (
        "DELETE FROM campaign_total",
        {"totals_equal_money_lines", "uncounted_equal_messages"},
        "campaign 1, viettel",
    ),
    "a confirmed figure": (
        "UPDATE campaign_total SET confirmed_vnd = 5",
        {"later_stages_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a minute's units": (
        "UPDATE campaign_minute SET units = units + 1",
        {"minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a minute that is moved": (
        "UPDATE campaign_minute SET minute = minute + interval '1 hour'",
        {"minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a minute of nobody's campaign": (
        "UPDATE campaign_minute SET campaign_id = 99",
        {"minutes_equal_money_lines", "references_hold"},
        "campaign ",
    ),
    "a wrong-syntax figure": (
        "UPDATE campaign_total SET wrong_syntax = 0",
        {"uncounted_equal_messages"},
        "campaign 1, viettel",
    ),
    "an unallocated figure": (
        "UPDATE unallocated_total SET unknown_keyword = unknown_keyword + 1",
        {"unallocated_equal_messages"},
        "unallocated messages",
    ),
    "an orphan figure": (
        "UPDATE unallocated_total SET orphan_vnd = orphan_vnd - 1",
        {"orphans_equal_charges"},
        "orphan charges",
    ),
    "a money line that is gone": (
        "DELETE FROM money_line WHERE cause = 'message' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a money line that grew": (
        "UPDATE money_line SET vnd = vnd + 1 WHERE cause = 'message' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a stored amount": (
        "UPDATE message SET amount_vnd = amount_vnd + 1 WHERE reading = 'counted' AND units = 2",
        {"each_counted_message_is_pledged_once"},
        "message ",
    ),
    "a gift's projection": (
        "UPDATE gift SET reversed_vnd = reversed_vnd + 1",
        {"no_gift_is_overdrawn"},
        "gift ",
    ),
    "an event that was not joined": (
        "INSERT INTO waiting_event SELECT account_id, native_id, id, 'charge' FROM message WHERE native_id = 'm-1'",
        {"nothing_waits_for_what_is_here"},
        "event ",
    ),
    "a message of nobody's account": (
        "UPDATE message SET account_id = 99 WHERE reading = 'unknown_keyword'",
        {"references_hold"},
        "message account 99",
    ),
    "a message of a book nobody applied": (
        "UPDATE message SET book_version = 7 WHERE native_id = 'm-1'",
        {"references_hold"},
        "book version 7",
    ),
}

OF_REPORTS = {"reported_gifts_follow_their_charges"}

# The same for gifts that count on report.
TAMPERED_REPORTS: dict[str, tuple[str, set[str]]] = {
    "a gift that is not counted any more": (
        "UPDATE gift SET state = 'pending' WHERE state = 'counted' AND reversed_vnd = 0",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges"},
    ),
    "a gift that counts without a charge": (
        "UPDATE gift SET state = 'counted' WHERE state = 'received'",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges"},
    ),
    "a charge that is gone": ("DELETE FROM charge_notice WHERE charge_id = 'c-2'", OF_REPORTS),
    "a pledge that is gone": (
        "DELETE FROM money_line WHERE cause = 'charge' AND vnd = 40000",
        {"each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
    ),
    "a gift whose row is gone": (
        "DELETE FROM gift WHERE state = 'received'",
        {"each_counted_message_is_pledged_once"},
    ),
    "a reversal that is not on its gift": (
        "UPDATE gift SET reversed_vnd = 0 WHERE reversed_vnd = 10000",
        {"no_gift_is_overdrawn"},
    ),
}


async def fill_reports(portal: Portal) -> None:
    """Reported gifts: waiting, counted, less a part, reversed, reversed before it counted; and an orphan."""
    for number in range(1, 6):
        await portal.post(gift(f"VNN {number}", f"m-{number}"))
    await portal.post(charge("succeeded", "c-2", "m-2", 40_000))
    await portal.post(charge("succeeded", "c-3", "m-3", 60_000))
    await portal.post(taken_back("r-3", 10_000, "m-3"))
    await portal.post(charge("succeeded", "c-4", "m-4", 80_000))
    await portal.post(taken_back("r-4", 80_000, "m-4"))
    await portal.post(taken_back("r-5", 100_000, "m-5"))
    await portal.post(charge("succeeded", "c-9", "m-9"))


async def fill(portal: Portal) -> None:
    """Gifts, a refused form, an unknown keyword, an orphan charge, a partial reversal."""
    for number in range(1, 4):
        await portal.post(message(f"m-{number}", f"VNN {number}", operator_time="2026-11-20T10:00:00"))
    await portal.post(message("m-4", "VNN x"))
    await portal.post(message("m-5", "XYZ"))
    charge = {"charge_id": "c-1", "amount": 20_000, "currency": "VND"}
    await portal.post({"type": "charge.succeeded", "timestamp": "2026-11-21T08:30:00Z", "data": charge})
    reversal = {"reversal_id": "r-1", "amount": 10_000, "message_id": "m-3"}
    await portal.post({"type": "charge.reversed", "timestamp": "2026-11-21T08:30:00Z", "data": reversal})
