"""The one writer of the book: what an apply file changes, in one transaction and one new version."""

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime

import asyncpg

from campaigns.book.apply_entries import ApplyFile, PreparedGateway
from campaigns.book.changes import Changes
from campaigns.book.plan import Plan, plan_of
from campaigns.book.store import load_stored
from campaigns.schema.channels import BOOK_CHANNEL, TOTALS_CHANNEL
from campaigns.schema.locks import ACCOUNT_LOCK_SPACE, APPLY_LOCK, BOOK_READERS

LOCK_APPLY = "SELECT pg_advisory_xact_lock($1)"
NOTIFY_BOOK = "SELECT pg_notify($1, $2), pg_notify($3, '')"
# While this waits, every batch that comes after it waits too: the longest that carriers may notice of it.
LIMIT_WAIT = "SET LOCAL lock_timeout = '2s'"
LOCK_INTAKE = "SELECT pg_advisory_xact_lock($1, $2)"
# Beside keyword_read: what the release before stored while it was being replaced. Only reads: a row that this
# transaction wrote would hold up the batches for which it is about to wait.
SELECT_READ_BEFORE = """
SELECT DISTINCT campaign_id, short_code, keyword FROM message
WHERE campaign_id = ANY($1::integer[]) AND keyword IS NOT NULL
"""
UNLIMIT_WAIT = "SET LOCAL lock_timeout = 0"


class IntakeBusy(Exception):
    """A batch of messages did not end in time, so that nobody can say what no message was read by."""


@dataclass(frozen=True, slots=True)
class AppliedBy:
    """Who applies a file: the account of the operating system, and a name where one was given."""

    os_user: str | None = None
    name: str | None = None


async def apply_changes(
    connection: asyncpg.Connection,
    file: ApplyFile,
    gateways: Sequence[PreparedGateway],
    *,
    now: datetime,
    who: AppliedBy = AppliedBy(),
    accept: Callable[[Plan], None] = lambda _: None,
) -> Plan:
    """Store what `file` changes, in one transaction and one new book version.

    `gateways` are the file's, prepared. Without changes there is no new version. `accept` sees the plan before
    anything is written, and refuses by raising. Raises ApplyRefused, with nothing written, when the file
    contradicts what is stored; IntakeBusy when something is taken back and the intake did not pause for it.
    """
    async with connection.transaction():
        await connection.execute(LOCK_APPLY, APPLY_LOCK)
        stored = await load_stored(connection)
        plan = plan_of(file, gateways, stored, now)
        accept(plan)
        if plan.changes.taken_back:
            # Messages of long ago are looked for before the intake pauses: that may take a while.
            asked = sorted(plan.changes.taken_back & stored.has_messages)
            before = await connection.fetch(SELECT_READ_BEFORE, asked) if asked else []
            # Messages that are being stored are waited for, and then seen; those that come later find a newer book.
            await _pause_intake(connection)
            newest = await load_stored(connection)
            read = newest.read.union((row["campaign_id"], row["short_code"], row["keyword"]) for row in before)
            plan = plan_of(file, gateways, replace(newest, read=read), now)
        if plan.changes.lines:
            await _write(connection, file, stored.book.version + 1, who, plan)
            await connection.execute(NOTIFY_BOOK, BOOK_CHANNEL, str(stored.book.version + 1), TOTALS_CHANNEL)
    return plan


async def _pause_intake(connection: asyncpg.Connection) -> None:
    await connection.execute(LIMIT_WAIT)
    try:
        await connection.execute(LOCK_INTAKE, ACCOUNT_LOCK_SPACE, BOOK_READERS)
    except asyncpg.LockNotAvailableError:
        raise IntakeBusy from None
    await connection.execute(UNLIMIT_WAIT)


async def plan_changes(
    connection: asyncpg.Connection, file: ApplyFile, gateways: Sequence[PreparedGateway], *, now: datetime
) -> Plan:
    """What `apply_changes` would do now; nothing is written. Raises ApplyRefused."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return plan_of(file, gateways, await load_stored(connection), now)


INSERT_VERSION = """
INSERT INTO book_version (version, file_sha256, changes, takes_back, os_user, applied_by)
VALUES ($1, $2, $3, $4, $5, $6)
"""
INSERT_FILE = "INSERT INTO applied_file (sha256, content) VALUES ($1, $2) ON CONFLICT DO NOTHING"
UPSERT_ORGANISATION = """
INSERT INTO organisation (code, name_vi, name_en) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT organisation_pkey
DO UPDATE SET name_vi = EXCLUDED.name_vi, name_en = EXCLUDED.name_en
"""
INSERT_CAMPAIGN = """
INSERT INTO campaign (slug, name_vi, name_en, category, organiser, goal_vnd, hotline, reply_thank_you,
                      reply_wrong_form, reply_closed, book_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
UPDATE_CAMPAIGN = """
UPDATE campaign SET name_vi = $2, name_en = $3, category = $4, organiser = $5, goal_vnd = $6, hotline = $7,
    reply_thank_you = $8, reply_wrong_form = $9, reply_closed = $10
WHERE id = $1
"""
INSERT_DECISION = """
INSERT INTO campaign_decision (campaign_id, number, decision, opens_at, closes_at, book_version)
SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM campaign_decision WHERE campaign_id = campaign.id),
       $2, $3, $4, $5
FROM campaign WHERE slug = $1
"""
WITHDRAW_DECISIONS = """
INSERT INTO decision_withdrawal (campaign_id, number, book_version)
SELECT campaign_id, number, $3 FROM campaign_decision AS d WHERE campaign_id = $1
    AND NOT EXISTS (SELECT FROM decision_withdrawal AS w WHERE w.campaign_id = $1 AND w.number = d.number)
ORDER BY number DESC LIMIT $2
"""
WITHDRAW_ROUTE = """
INSERT INTO route_withdrawal (route_id, book_version)
SELECT id, $4 FROM route AS r WHERE campaign_id = $1 AND short_code = $2 AND keywords = $3
    AND NOT EXISTS (SELECT FROM route_withdrawal AS w WHERE w.route_id = r.id)
"""
INSERT_ROUTE = """
INSERT INTO route (campaign_id, short_code, keywords, grammar, unit_vnd, max_units, book_version)
SELECT id, $2, $3, $4, $5, $6, $7 FROM campaign WHERE slug = $1
"""
UPSERT_GATEWAY = """
INSERT INTO gateway_account (code, adapter, carrier, charging, networks, enabled, settings, book_version, test)
VALUES ($1, $2, $3, $4, $5, $6 AND NOT $9, $7::text::jsonb, $8, CASE WHEN $9 THEN $6::boolean END)
ON CONFLICT ON CONSTRAINT gateway_account_code_once
DO UPDATE SET adapter = EXCLUDED.adapter, carrier = EXCLUDED.carrier, charging = EXCLUDED.charging,
    networks = EXCLUDED.networks, enabled = EXCLUDED.enabled, settings = EXCLUDED.settings,
    book_version = EXCLUDED.book_version, test = EXCLUDED.test
"""
# Slot 0 is for commands. A line-less row of the carrier `unknown` shows nothing but its version.
RAISE_TOTAL_VERSIONS = """
INSERT INTO campaign_total (campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd,
                            wrong_syntax, before_open, after_close, as_of)
SELECT shown.id, 'unknown', 0, 1, 0, 0, 0, 0, 0, 0, 0, clock_timestamp()
FROM unnest($1::integer[]) AS shown (id)
ORDER BY shown.id
ON CONFLICT ON CONSTRAINT campaign_total_key
DO UPDATE SET version = campaign_total.version + 1, as_of = greatest(campaign_total.as_of, EXCLUDED.as_of)
"""


async def _write(connection: asyncpg.Connection, file: ApplyFile, version: int, who: AppliedBy, plan: Plan) -> None:
    changes = plan.changes
    lines = [str(line) for line in changes.lines]
    await connection.execute(
        INSERT_VERSION, version, file.sha256, lines, bool(changes.taken_back), who.os_user, who.name
    )  # fmt: skip
    await connection.execute(INSERT_FILE, file.sha256, plan.kept_file)
    for organisation in changes.organisations:
        await connection.execute(UPSERT_ORGANISATION, organisation.code, organisation.name_vi, organisation.name_en)
    await _write_campaigns(connection, version, changes)
    await _write_windows_and_routes(connection, version, changes)
    for gateway in changes.gateways:
        await connection.execute(
            UPSERT_GATEWAY,
            gateway.code,
            gateway.adapter,
            gateway.carrier,
            gateway.charging,
            list(gateway.networks),
            gateway.enabled,
            json.dumps(gateway.settings),
            version,
            gateway.test,
        )
    if changes.shown:
        await connection.execute(RAISE_TOTAL_VERSIONS, sorted(changes.shown))


async def _write_campaigns(connection: asyncpg.Connection, version: int, changes: Changes) -> None:
    # One by one, in file order: ids, and with them the order of the book, follow the file.
    for entry in changes.new_campaigns:
        await connection.execute(
            INSERT_CAMPAIGN,
            entry.slug,
            entry.name_vi,
            entry.name_en,
            entry.category,
            entry.organiser,
            entry.goal_vnd,
            *astuple(entry.replies),
            version,
        )
    for campaign in changes.campaigns:
        await connection.execute(
            UPDATE_CAMPAIGN,
            campaign.id,
            campaign.name_vi,
            campaign.name_en,
            campaign.category,
            campaign.organiser,
            campaign.goal_vnd,
            *astuple(campaign.replies),
        )


async def _write_windows_and_routes(connection: asyncpg.Connection, version: int, changes: Changes) -> None:
    for campaign_id, count in changes.withdrawn_decisions:
        await connection.execute(WITHDRAW_DECISIONS, campaign_id, count, version)
    for campaign_id, route in changes.withdrawn_routes:
        await connection.execute(WITHDRAW_ROUTE, campaign_id, route.short_code, list(route.keywords), version)
    for slug, decision in changes.decisions:
        await connection.execute(
            INSERT_DECISION, slug, decision.number, decision.opens_at, decision.closes_at, version
        )
    for slug, route, _ in changes.routes:
        await connection.execute(
            INSERT_ROUTE,
            slug,
            route.short_code,
            list(route.keywords),
            str(route.grammar),
            route.unit_vnd,
            route.max_units,
            version,
        )
