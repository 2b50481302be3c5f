"""The audit log: who did what, when, from where and why. Append-only; written in the act's own transaction."""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

import asyncpg
import orjson

CURSOR_ROWS = 500
AuditAct = Literal[
    "login", "login.passkey", "login.provider", "login.refused", "logout", "logout.everywhere", "account.refused",
    "user.add", "user.disable", "user.reset", "user.link", "user.password", "user.second_factor",
    "user.recovery_codes", "passkey.add", "passkey.remove", "token.add", "token.revoke",
    "proposal.make", "proposal.file", "proposal.proposed", "proposal.approved", "proposal.refused",
    "proposal.withdrawn", "proposal.confirmed", "emergency.make", "book.apply",
    "reattribution.propose", "reattribution.approved", "reattribution.refused", "reattribution.withdrawn",
    "quarantine.replay", "list.note", "personal.read", "export", "report", "audit.export",
]  # fmt: skip
"""All that is ever entered. The log is for ever: an act that is entered no more stays here."""
ACTS: tuple[AuditAct, ...] = get_args(AuditAct)


class Who(NamedTuple):
    """Who acts: a login of the desk, or `os:` and an account of the operating system; from which address.

    Who was refused and is nobody of the desk: `provider:` and a digest of the provider's name for them, or `unknown`.
    """

    login: str
    role: str | None = None
    address: str | None = None


class AuditEntry(NamedTuple):
    """One line of the log. `before` and `after` are JSON, of what the act changed; None where nothing was there."""

    id: int
    recorded_at: datetime
    who: str
    role: str | None
    address: str | None
    act: str
    subject: str | None
    before: str | None
    after: str | None
    reason: str | None


class AuditChoice(NamedTuple):
    """Which entries are meant; None: whichever. `until` is exclusive; `before_id`: older than this one."""

    who: str | None = None
    act: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_id: int | None = None


INSERT_AUDIT_ENTRY = """
INSERT INTO audit_entry (who, role, address, act, subject, before, after, reason)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7::text::jsonb, $8) RETURNING id
"""
SELECT_AUDIT_ENTRIES = """
SELECT id, recorded_at, who, role, address, act, subject, before::text AS before, after::text AS after, reason
FROM audit_entry
WHERE ($1::text IS NULL OR who = $1) AND ($2::text IS NULL OR act = $2) AND ($3::text IS NULL OR subject = $3)
    AND ($4::timestamptz IS NULL OR recorded_at >= $4) AND ($5::timestamptz IS NULL OR recorded_at < $5)
    AND ($6::bigint IS NULL OR id < $6)
ORDER BY id DESC LIMIT $7
"""


async def record(
    connection: asyncpg.Connection,
    who: Who,
    act: AuditAct,
    subject: str | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> int:
    """Append an entry; returns its id. No secret, number or text of a message belongs in it. Call it in the
    transaction of the act: what is undone leaves no trace, and what is done always leaves one.
    """
    arguments = (*who, act, subject, _json(before), _json(after), reason)
    return int(await connection.fetchval(INSERT_AUDIT_ENTRY, *arguments))


async def select_entries(connection: asyncpg.Connection, choice: AuditChoice, rows_max: int) -> list[AuditEntry]:
    """The newest `rows_max` entries of `choice`. The last one's id, given as `before_id`, leads to the next page."""
    return [AuditEntry(*row) for row in await connection.fetch(SELECT_AUDIT_ENTRIES, *choice, rows_max)]


async def each_entry(connection: asyncpg.Connection, choice: AuditChoice) -> AsyncGenerator[AuditEntry, None]:
    """All entries of `choice`, the newest first, in flat memory and of one snapshot."""
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        async for row in connection.cursor(SELECT_AUDIT_ENTRIES, *choice, None, prefetch=CURSOR_ROWS):
            yield AuditEntry(*row)


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
