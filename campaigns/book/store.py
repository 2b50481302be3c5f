"""The stored book, any version of it, and what an apply file is held against. What changes it is recording.py."""

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from campaigns.book.apply_entries import PreparedGateway
from campaigns.book.book import Book, Campaign, Decision, Grammar, Organisation, Replies, Route
from campaigns.book.changes import ReadKeyword, Stored


class UnknownBookVersion(Exception):
    """The book has no such version in this database."""


SELECT_VERSION = "SELECT coalesce(max(version), 0) FROM book_version"
SELECT_ORGANISATIONS = "SELECT code, name_vi, name_en FROM organisation ORDER BY code"
SELECT_CAMPAIGNS = """
SELECT id, slug, name_vi, name_en, category, organiser, goal_vnd, hotline, reply_thank_you, reply_wrong_form,
       reply_closed
FROM campaign WHERE book_version <= $1 ORDER BY id
"""
SELECT_DECISIONS = """
SELECT campaign_id, decision, opens_at, closes_at
FROM campaign_decision AS d WHERE book_version <= $1
    AND NOT EXISTS (SELECT FROM decision_withdrawal AS w
                    WHERE w.campaign_id = d.campaign_id AND w.number = d.number AND w.book_version <= $1)
ORDER BY campaign_id, number
"""
SELECT_ROUTES = """
SELECT campaign_id, short_code, keywords, grammar, unit_vnd, max_units
FROM route AS r WHERE book_version <= $1
    AND NOT EXISTS (SELECT FROM route_withdrawal AS w WHERE w.route_id = r.id AND w.book_version <= $1)
ORDER BY id
"""


async def load_book(connection: asyncpg.Connection, version: int | None = None) -> Book:
    """The book of `version`, by default the newest; version 0 is the empty book.

    Windows and routes are those of that version; names, category, organiser, goal and replies are as they are now.
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
    campaigns: list[Campaign] = []
    withdrawn: list[str] = []
    for row in await connection.fetch(SELECT_CAMPAIGNS, version):
        if row["id"] not in decisions:
            # All its decisions were taken back.
            withdrawn.append(row["slug"])
            continue
        campaign = Campaign(
            id=row["id"],
            slug=row["slug"],
            name_vi=row["name_vi"],
            name_en=row["name_en"],
            category=row["category"],
            organiser=row["organiser"],
            goal_vnd=row["goal_vnd"],
            decisions=tuple(decisions[row["id"]]),
            routes=tuple(routes.get(row["id"], ())),
            replies=Replies(row["hotline"], row["reply_thank_you"], row["reply_wrong_form"], row["reply_closed"]),
        )
        campaigns.append(campaign)
    organisations = [
        Organisation(row["code"], row["name_vi"], row["name_en"])
        for row in await connection.fetch(SELECT_ORGANISATIONS)
    ]
    return Book(version, campaigns, organisations, withdrawn)


SELECT_GATEWAYS = """
SELECT code, adapter, carrier, charging, networks, enabled OR coalesce(test, false) AS enabled,
       settings::text AS settings, test IS NOT NULL AND NOT enabled AS test
FROM gateway_account
"""


async def load_gateways(connection: asyncpg.Connection) -> Mapping[str, PreparedGateway]:
    """The stored gateway accounts by their codes, secrets sealed."""
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
            row["test"],
        )
    return stored


SELECT_SLUGS = "SELECT id, slug FROM campaign"
SELECT_READ = "SELECT campaign_id, short_code, keyword FROM keyword_read"
# Beside what was read: messages that another version of the service stored.
SELECT_WITH_MESSAGES = """
SELECT DISTINCT campaign_id FROM campaign_total WHERE lines > 0 OR wrong_syntax + before_open + after_close > 0
"""


async def load_stored(connection: asyncpg.Connection) -> Stored:
    """What an apply file is held against, as it is now."""
    book = await load_book(connection)
    read: frozenset[ReadKeyword] = frozenset(
        (row["campaign_id"], row["short_code"], row["keyword"]) for row in await connection.fetch(SELECT_READ)
    )
    return Stored(
        book,
        await load_gateways(connection),
        {row["slug"]: row["id"] for row in await connection.fetch(SELECT_SLUGS) if row["id"] not in book.by_id},
        read,
        frozenset(row["campaign_id"] for row in await connection.fetch(SELECT_WITH_MESSAGES)),
    )
