"""What an auditor's role may read: every figure and every fact, nothing about persons, nothing sealed, no secret.

A table stands here with its columns, or among those withheld: a test compares both with the schema.
"""

from collections.abc import Mapping

import asyncpg

_ALL: tuple[str, ...] = ()

READABLE: Mapping[str, tuple[str, ...]] = {
    "organisation": _ALL,
    "campaign": _ALL,
    "campaign_decision": _ALL,
    "route": _ALL,
    "book_version": _ALL,
    "decision_withdrawal": _ALL,
    "route_withdrawal": _ALL,
    "keyword_read": _ALL,
    "applied_file": _ALL,
    "money_line": _ALL,
    "gift": _ALL,
    "charge_match": _ALL,
    "charge_owner": _ALL,
    "waiting_event": _ALL,
    "review": _ALL,
    "refolding": _ALL,
    "late_fact": _ALL,
    "evidence_day": _ALL,
    "quarantine_act": _ALL,
    "privacy_act": ("id", "what", "counts", "os_user", "acted_by", "reason", "acted_at"),
    "reply": _ALL,
    "audit_entry": _ALL,
    "proposal": _ALL,
    "proposal_step": _ALL,
    "decision_file": ("id", "proposal_id", "sha256", "decision", "decided_on", "media_type", "who", "recorded_at"),
    "reattribution": _ALL,
    "reattribution_gift": _ALL,
    "reattribution_claim": _ALL,
    "reattribution_end": _ALL,
    "moved_gift": _ALL,
    "worklist_note": _ALL,
    "desk_user": ("id", "login", "name", "role", "organisations", "one_time_until", "created_at", "disabled_at"),
    "desk_token": ("id", "user_id", "name", "scopes", "created_at", "expires_at", "revoked_at"),
    "desk_passkey": ("id", "user_id", "name", "sign_count", "added_at", "used_at"),
    "campaign_total": _ALL,
    "campaign_minute": _ALL,
    "unallocated_total": _ALL,
    "schema_migration": _ALL,
    "invariant_pass": _ALL,
    "invariant_broken": _ALL,
    "message": (
        "id", "account_id", "native_id", "received_at", "message_at", "operator_time", "short_code", "carrier",
        "reading", "campaign_id", "keyword", "units", "amount_vnd", "claimed_vnd", "parts", "flags", "book_version",
        "grammar_version", "raw_id",
    ),
    "charge_notice": (
        "id", "account_id", "native_id", "charge_id", "status", "amount_vnd", "message_ref", "short_code", "flags",
        "occurred_at", "received_at", "raw_id",
    ),
    "reversal": (
        "id", "account_id", "native_id", "charge_ref", "message_ref", "amount_vnd", "scope", "flags", "occurred_at",
        "received_at", "raw_id",
    ),
    "gateway_account": ("id", "code", "adapter", "carrier", "charging", "enabled", "test", "book_version"),
    "test_event": (
        "id", "account_id", "kind", "native_id", "is_first", "outcome", "received_at", "happened_at", "raw_id",
        "short_code", "carrier", "reading", "campaign_id", "keyword", "units", "amount_vnd", "charge_ref",
        "message_ref", "status", "flags", "book_version",
    ),
    "test_callback": ("id", "account_id", "received_at", "day"),
    "raw_callback": ("id", "received_on", "account_id"),
    "conflict": ("account_id", "kind", "native_id", "received_at", "raw_id", "day"),
    "conflict_callback": ("raw_id", "account_id", "received_at", "day", "bytes"),
    "quarantine": ("id", "received_at", "adapter", "account_id", "outcome", "reason", "day"),
    "installation": ("kind", "created_at"),
}  # fmt: skip
"""Table or view, and the columns of it; none named: all. Left out are digests (of texts and numbers), answers, what a
carrier says in words of its own, and whatever is sealed. A right on raw_callback holds for each day made later."""
WITHHELD = frozenset(
    {
        "message_person",
        "charge_person",
        "uncharged_person",
        "data_key",
        "desk_session",
        "desk_recovery_code",
        "desk_write",
        "desk_challenge",
    }
)
"""Numbers, texts, the keys of what is sealed, and what lets somebody in."""


class RoleUnfit(Exception):
    """The role is not there, or may read more than it should by other means; the sentence says which."""


SELECT_ROLE = "SELECT rolsuper FROM pg_roles WHERE rolname = $1"
# A column list, empty for the whole of a table; DDL takes no parameters, so format() quotes inside the server.
SELECT_MISSING = """
SELECT r.relation, format('GRANT SELECT%s ON %I TO %I',
           (SELECT ' (' || string_agg(quote_ident(c), ', ') || ')' FROM unnest(string_to_array(r.columns, ',')) AS c),
           r.relation, $3::text) AS statement
FROM unnest($1::text[], $2::text[]) AS r (relation, columns)
WHERE NOT CASE WHEN r.columns = '' THEN has_table_privilege($3::name, r.relation, 'SELECT')
          ELSE (SELECT bool_and(has_column_privilege($3::name, r.relation, c, 'SELECT'))
                FROM unnest(string_to_array(r.columns, ',')) AS c) END
"""
SELECT_ENTRANCES = """
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1::text) AS statement
WHERE NOT has_database_privilege($1::name, current_database(), 'CONNECT')
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $1::text) FROM pg_class JOIN pg_namespace AS n
    ON n.oid = relnamespace
WHERE pg_class.oid = 'message'::regclass AND NOT has_schema_privilege($1::name, n.oid, 'USAGE')
"""
# By a wider grant, or by membership in a role that has one.
SELECT_EXCESS = """
SELECT format('%I.%I', c.relname, a.attname) AS excess
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN unnest($1::text[], $2::text[]) AS r (relation, columns) ON r.relation = c.relname
WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'message'::regclass)
    AND c.relkind IN ('r', 'p', 'v') AND has_column_privilege($3::name, c.oid, a.attnum, 'SELECT')
    AND (c.relname = ANY($4::text[])
         OR (r.columns <> '' AND a.attname <> ALL (string_to_array(r.columns, ',')))
         OR (c.relispartition AND c.relname LIKE 'raw%' AND a.attname = 'sealed'))
ORDER BY 1 LIMIT 1
"""


async def grant_reading(connection: asyncpg.Connection, role: str) -> list[str]:
    """Give `role` what it lacks of READABLE, in one transaction; returns the relations it was given, in order.

    Raises RoleUnfit, with nothing granted, for a role that is not there, a superuser, and one that may read more.
    """
    relations, columns = list(READABLE), [",".join(each) for each in READABLE.values()]
    async with connection.transaction():
        is_superuser = await connection.fetchval(SELECT_ROLE, role)
        if is_superuser is None:
            raise RoleUnfit("there is no such role: make it first (CREATE ROLE ... LOGIN)")
        if is_superuser:
            raise RoleUnfit("it is a superuser and reads everything, persons too: name another role")
        for row in await connection.fetch(SELECT_ENTRANCES, role):
            await connection.execute(row["statement"])
        missing = await connection.fetch(SELECT_MISSING, relations, columns, role)
        for row in missing:
            await connection.execute(row["statement"])
        excess = await connection.fetchval(SELECT_EXCESS, relations, columns, role, sorted(WITHHELD))
        if excess is not None:
            raise RoleUnfit(
                f"it may read {excess} already, by a grant or as a member of another role: take that away first"
            )
    given = {row["relation"] for row in missing}
    return [relation for relation in relations if relation in given]
