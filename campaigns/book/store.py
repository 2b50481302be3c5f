"""The stored book: what an apply file changes is recorded here, and any version is loaded again."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from campaigns.book.apply_entries import ApplyFile, PreparedGateway
from campaigns.book.book import Book, Campaign, Decision, Grammar, Organisation, Route
from campaigns.book.changes import Changes, changes_of
from campaigns.schema.channels import BOOK_CHANNEL, TOTALS_CHANNEL
from campaigns.schema.locks import APPLY_LOCK


class UnknownBookVersion(Exception):
    """The book has no such version in this database."""


SELECT_VERSION = "SELECT coalesce(max(version), 0) FROM book_version"
SELECT_ORGANISATIONS = "SELECT code, name_vi, name_en FROM organisation ORDER BY code"
SELECT_CAMPAIGNS = """
SELECT id, slug, name_vi, name_en, category, organiser, goal_vnd
FROM campaign WHERE book_version <= $1 ORDER BY id
"""
SELECT_DECISIONS = """
SELECT campaign_id, decision, opens_at, closes_at
FROM campaign_decision WHERE book_version <= $1 ORDER BY campaign_id, number
"""
SELECT_ROUTES = """
SELECT campaign_id, short_code, keywords, grammar, unit_vnd, max_units
FROM route WHERE book_version <= $1 ORDER BY id
"""


async def load_book(connection: asyncpg.Connection, version: int | None = None) -> Book:
    """The book of `version`, by default the newest; version 0 is the empty book.

    Windows and routes are those of that version; names, category, organiser and goal are as they are now.
    Raises UnknownBookVersion for one that was never applied.
    """
    newest = await connection.fetchval(SELECT_VERSION)
    version = newest if version is None else version
    if not 0 <= version <= newest:
        raise UnknownBookVersion(f"book version {version} is not in this database, whose newest is {newest}")
    # Rows of a committed version are all there and never change: the statements need no common snapshot.
    decisions: dict[int, list[Decision]] = {}
    for row in await connection.fetch(SELECT_DECISIONS, version):
        decision = Decision(row["decision"], row["opens_at"], row["closes_at"])
        decisions.setdefault(row["campaign_id"], []).append(decision)
    routes: dict[int, list[Route]] = {}
    for row in await connection.fetch(SELECT_ROUTES, version):
        route = Route(
            row["short_code"], tuple(row["keywords"]), Grammar(row["grammar"]), row["unit_vnd"], row["max_units"] or 1
        )
        routes.setdefault(row["campaign_id"], []).append(route)
    campaigns = [
        Campaign(
            id=row["id"],
            slug=row["slug"],
            name_vi=row["name_vi"],
            name_en=row["name_en"],
            category=row["category"],
            organiser=row["organiser"],
            goal_vnd=row["goal_vnd"],
            decisions=tuple(decisions[row["id"]]),
            routes=tuple(routes.get(row["id"], ())),
        )
        for row in await connection.fetch(SELECT_CAMPAIGNS, version)
    ]
    organisations = [
        Organisation(row["code"], row["name_vi"], row["name_en"])
        for row in await connection.fetch(SELECT_ORGANISATIONS)
    ]
    return Book(version, campaigns, organisations)


LOCK_APPLY = "SELECT pg_advisory_xact_lock($1)"
NOTIFY_BOOK = "SELECT pg_notify($1, $2), pg_notify($3, '')"


async def apply_changes(
    connection: asyncpg.Connection, file: ApplyFile, gateways: Sequence[PreparedGateway], *, now: datetime
) -> list[str]:
    """Store what `file` changes, in one transaction and one new book version; a line for each change.

    `gateways` are the file's, prepared. No lines: nothing changed, and there is no new version. Raises
    ApplyRefused, with nothing written, when the file contradicts what is stored.
    """
    async with connection.transaction():
        await connection.execute(LOCK_APPLY, APPLY_LOCK)
        book = await load_book(connection)
        changes = changes_of(file, gateways, book, await _load_gateways(connection), now)
        if changes.lines:
            await _write(connection, file, book.version + 1, changes)
            await connection.execute(NOTIFY_BOOK, BOOK_CHANNEL, str(book.version + 1), TOTALS_CHANNEL)
    return changes.lines


INSERT_VERSION = "INSERT INTO book_version (version, file_sha256, changes) VALUES ($1, $2, $3)"
UPSERT_ORGANISATION = """
INSERT INTO organisation (code, name_vi, name_en) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT organisation_pkey
DO UPDATE SET name_vi = EXCLUDED.name_vi, name_en = EXCLUDED.name_en
"""
INSERT_CAMPAIGN = """
INSERT INTO campaign (slug, name_vi, name_en, category, organiser, goal_vnd, book_version)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
UPDATE_CAMPAIGN = """
UPDATE campaign SET name_vi = $2, name_en = $3, category = $4, organiser = $5, goal_vnd = $6 WHERE id = $1
"""
INSERT_DECISION = """
INSERT INTO campaign_decision (campaign_id, number, decision, opens_at, closes_at, book_version)
SELECT id, $2, $3, $4, $5, $6 FROM campaign WHERE slug = $1
"""
INSERT_ROUTE = """
INSERT INTO route (campaign_id, short_code, keywords, grammar, unit_vnd, max_units, book_version)
SELECT id, $2, $3, $4, $5, $6, $7 FROM campaign WHERE slug = $1
"""
UPSERT_GATEWAY = """
INSERT INTO gateway_account (code, adapter, carrier, charging, networks, enabled, settings, book_version)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
ON CONFLICT ON CONSTRAINT gateway_account_code_once
DO UPDATE SET adapter = EXCLUDED.adapter, carrier = EXCLUDED.carrier, charging = EXCLUDED.charging,
    networks = EXCLUDED.networks, enabled = EXCLUDED.enabled, settings = EXCLUDED.settings,
    book_version = EXCLUDED.book_version
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


async def _write(connection: asyncpg.Connection, file: ApplyFile, version: int, changes: Changes) -> None:
    await connection.execute(INSERT_VERSION, version, file.sha256, changes.lines)
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
        )


async def _write_windows_and_routes(connection: asyncpg.Connection, version: int, changes: Changes) -> None:
    for slug, number, decision in changes.decisions:
        await connection.execute(
            INSERT_DECISION, slug, number, decision.number, decision.opens_at, decision.closes_at, version
        )
    for slug, route in changes.routes:
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


SELECT_GATEWAYS = """
SELECT code, adapter, carrier, charging, networks, enabled, settings::text AS settings FROM gateway_account
"""


async def _load_gateways(connection: asyncpg.Connection) -> Mapping[str, PreparedGateway]:
    stored: dict[str, PreparedGateway] = {}
    for row in await connection.fetch(SELECT_GATEWAYS):
        settings: dict[str, Any] = json.loads(row["settings"])
        stored[row["code"]] = PreparedGateway(
            row["code"],
            row["adapter"],
            row["carrier"],
            row["charging"],
            tuple(row["networks"]),
            row["enabled"],
            settings,
        )
    return stored
