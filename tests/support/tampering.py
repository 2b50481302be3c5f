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
        {"totals_equal_money_lines", "uncounted_equal_messages", "reversed_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a confirmed figure": (
        "UPDATE campaign_total SET confirmed_vnd = 5",
        {"later_stages_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "a figure of what was given back": (
        "UPDATE campaign_total SET reversed_vnd = reversed_vnd - 1 WHERE carrier = 'viettel'",
        {"reversed_equal_money_lines"},
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
        {"no_gift_is_overdrawn", "gifts_follow_their_events"},
        "gift ",
    ),
    "a move that moved nothing": (
        """
        WITH act AS (
            INSERT INTO reattribution (from_campaign_id, to_campaign_id, ground, reason, made_by)
            VALUES (1, 2, 'portal', 'x', 'a') RETURNING id
        ), gift AS (
            INSERT INTO reattribution_gift SELECT act.id, m.id FROM act, message AS m WHERE m.native_id = 'm-1'
        )
        INSERT INTO reattribution_end (reattribution_id, step, who, made_by, messages, units, vnd)
        SELECT id, 'approved', 'b', 'a', 1, 1, 20000 FROM act
        """,
        {"moves_are_whole"},
        "gift ",
    ),
    "a move that nobody decided": (
        """
        INSERT INTO money_line
        SELECT gift_id, stage, 'moved_in:9', campaign_id, carrier, 0, 0, 0, at FROM money_line WHERE cause = 'message'
        LIMIT 1
        """,
        {"lines_follow_their_causes", "totals_equal_money_lines"},
        "campaign 1, viettel",
    ),
    "an event that was not joined": (
        "INSERT INTO waiting_event SELECT account_id, native_id, id, 'charge' FROM message WHERE native_id = 'm-1'",
        {"nothing_waits_for_what_is_here", "what_waits_is_stored"},
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
FOLDED = "gifts_follow_their_events"
REVERSED = "reversed_equal_money_lines"

# The same for gifts that count on report.
TAMPERED_REPORTS: dict[str, tuple[str, set[str]]] = {
    "a gift that is not counted any more": (
        "UPDATE gift SET state = 'pending' WHERE state = 'counted' AND reversed_vnd = 0",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges", FOLDED},
    ),
    "a gift that counts without a charge": (
        "UPDATE gift SET state = 'counted' WHERE state = 'received'",
        {"each_counted_message_is_pledged_once", "reported_gifts_follow_their_charges", FOLDED},
    ),
    "a charge that is gone": ("DELETE FROM charge_notice WHERE charge_id = 'c-2'", OF_REPORTS | {FOLDED}),
    "a pledge that is gone": (
        "DELETE FROM money_line WHERE cause = 'charge' AND vnd = 40000",
        {FOLDED, "each_counted_message_is_pledged_once", "totals_equal_money_lines", "minutes_equal_money_lines"},
    ),
    "a gift whose row is gone": (
        "DELETE FROM gift WHERE state = 'received'",
        {"each_counted_message_is_pledged_once"},
    ),
    "a reversal that is not on its gift": (
        "UPDATE gift SET reversed_vnd = 0 WHERE reversed_vnd = 10000",
        {"no_gift_is_overdrawn", FOLDED},
    ),
    "lines that are moved with their minutes": (
        """
        UPDATE money_line SET at = at + interval '1 day';
        UPDATE campaign_minute SET minute = minute + interval '1 day'
        """,
        {"lines_follow_their_causes"},
    ),
    "an orphan charge that is gone": (
        "DELETE FROM charge_notice WHERE charge_id = 'c-9'",
        {"orphans_equal_charges", "what_waits_is_stored"},
    ),
}

# What only the proof of everything sees, or what puts itself back with its transaction only.
TAMPERED_EVENTS: dict[str, tuple[str, set[str]]] = {
    "a reversal that is gone": (
        "DELETE FROM reversal WHERE native_id = 'r-3'",
        {FOLDED, "lines_follow_their_causes"},
    ),
    "all reversals": ("DELETE FROM reversal", {FOLDED, "lines_follow_their_causes"}),
    "a reversal's amount": (
        "UPDATE reversal SET amount_vnd = amount_vnd + 1000 WHERE native_id = 'r-3'",
        {FOLDED},
    ),
    "a reversal's time": (
        "UPDATE reversal SET occurred_at = occurred_at + interval '1 hour' WHERE native_id = 'r-3'",
        {"lines_follow_their_causes"},
    ),
    "a forged reversal": (
        """
        INSERT INTO reversal (id, account_id, native_id, digest, message_ref, amount_vnd, scope, flags, occurred_at,
                              received_at, raw_id)
        SELECT gen_random_uuid(), account_id, 'forged', digest, 'm-2', 10000, 'partial', flags, occurred_at,
               received_at, raw_id
        FROM reversal WHERE native_id = 'r-3'
        """,
        {FOLDED},
    ),
    "a reversal's line that is gone": (
        "DELETE FROM money_line WHERE vnd = -10000",
        {FOLDED, "no_gift_is_overdrawn", "totals_equal_money_lines", "minutes_equal_money_lines", REVERSED},
    ),
    "a charge's amount": (
        "UPDATE charge_notice SET amount_vnd = amount_vnd + 1 WHERE charge_id = 'c-2'",
        {FOLDED},
    ),
    "a charge's status": (
        "UPDATE charge_notice SET status = 'failed' WHERE charge_id = 'c-2'",
        {FOLDED, "reported_gifts_follow_their_charges"},
    ),
    "a message's time": (
        "UPDATE message SET message_at = message_at + interval '1 hour' WHERE units = 2",
        {"lines_follow_their_causes"},
    ),
    "a line of nobody's campaign": (
        "UPDATE money_line SET campaign_id = 2 WHERE vnd = -10000",
        {"lines_follow_their_causes", "totals_equal_money_lines", "minutes_equal_money_lines", REVERSED},
    ),
    "a callback as it came": (
        "DELETE FROM raw_callback WHERE id = (SELECT raw_id FROM message WHERE native_id = 'm-1')",
        {"raw_callbacks_are_held"},
    ),
    "what waits": ("DELETE FROM waiting_event", {"what_has_no_message_waits"}),
    "a person of no message": (
        """
        INSERT INTO message_person
        SELECT gen_random_uuid(), day, msisdn_sealed, msisdn_hash, text_sealed FROM message_person LIMIT 1
        """,
        {"persons_have_messages"},
    ),
    "a test that became a gift": (
        """
        INSERT INTO test_callback (id, account_id, received_at, day, sealed)
        SELECT id, account_id, received_at, received_at::date, '' FROM message WHERE native_id = 'm-1'
        """,
        {"tests_are_no_facts"},
    ),
    "a message that is gone": (
        "DELETE FROM message WHERE native_id = 'm-1'",
        {"persons_have_messages"},
    ),
    "a gift's row": (
        "DELETE FROM gift WHERE reversed_vnd > 0",
        {FOLDED, "no_gift_is_overdrawn"},
    ),
    "a callback in quarantine": ("DELETE FROM quarantine", {"quarantine_is_held"}),
    "a forged replay": (
        """
        INSERT INTO quarantine_act (quarantine_id, what, outcome, is_stored, os_user)
        SELECT id, 'replayed', 'accepted', true, 'nobody' FROM quarantine
        """,
        {"quarantine_is_held"},
    ),
    "a lock": ("ALTER TABLE money_line DISABLE TRIGGER fact_lock", {"facts_are_locked"}),
    "what the locks do": (
        """
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$
        """,
        {"facts_are_locked"},
    ),
    "what the locks do that open for a row": (
        """
        CREATE OR REPLACE FUNCTION refuse_unless_told() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RETURN NEW; END $$
        """,
        {"facts_are_locked"},
    ),
    "when a lock holds": (
        """
        DROP TRIGGER fact_lock ON reversal;
        CREATE TRIGGER fact_lock BEFORE DELETE OR UPDATE ON reversal
            FOR EACH ROW WHEN (false) EXECUTE FUNCTION refuse_change()
        """,
        {"facts_are_locked"},
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
    await portal.post(b"{")


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
