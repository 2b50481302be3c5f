"""The settings of a session that correctness leans on: pinned at every connection, and compared with what holds.

A role, a database or a server may change any of them (`ALTER ROLE ... SET`); what a client asks for at the start
comes before all three. A pooler in between may ignore that, so one look after connecting tells whether it holds.

Left alone on purpose: `default_transaction_read_only`, by which an administrator fences a server off (it counts as
one that takes no writes), and `search_path`, which says in which schema our tables lie (`migrate.py` refuses one that
hides them). Nothing reads the words of a message, so `lc_messages` may be anything.
"""

from collections.abc import Mapping
from typing import NamedTuple

import asyncpg


class Pinned(NamedTuple):
    """A setting, its value as `current_setting` tells it, and why it may have no other."""

    name: str
    value: str
    reason: str


PINNED = (
    Pinned(
        "default_transaction_isolation",
        "read committed",
        "a statement after a lock sees what the lock's former holder committed: joining leans on it",
    ),
    Pinned("synchronous_commit", "on", "an acknowledged gift is on disk, here and on a synchronous standby"),
    Pinned("client_min_messages", "warning", "a commit whose standby was given up is told by a warning only"),
    Pinned("row_security", "off", "a policy that hides rows fails loudly instead of making a total smaller"),
    Pinned("TimeZone", "UTC", "days and minutes that are cut inside the database are those of UTC"),
    Pinned("DateStyle", "ISO, MDY", "the digest of a day's facts is made of their text"),
    Pinned("IntervalStyle", "postgres", "as above"),
    Pinned("bytea_output", "hex", "as above"),
    Pinned("standard_conforming_strings", "on", "a backslash in a literal is a backslash"),
    Pinned("idle_session_timeout", "0", "an idle writer keeps its slot, an idle listener goes on listening"),
    Pinned("log_parameter_max_length_on_error", "0", "no value of ours in the server's log"),
)
ONLY_CHECKED = (
    Pinned("client_encoding", "UTF8", "asked for by the driver itself"),
    Pinned("session_replication_role", "origin", "a replica's passes by the locks on facts; a superuser's to set"),
)
PREFERRED = {"jit": "off"}
"""For speed alone: compared with nothing."""

KEEPALIVE_SECONDS = 10
"""After so long a silence, and three more without an answer, the server believes that we are gone."""
KNOWS_TRANSACTION_TIMEOUT = 17
"""The first major with a limit for whole transactions: nothing older lets a client name it at the start."""
SET_NO_TRANSACTION_TIMEOUT = "SET transaction_timeout = 0"
LIMITED = ("portal1400", "portal1400 writer", "portal1400 reader", "portal1400 feed", "portal1400 replies")
"""Applications whose transactions may not wait for us longer than a statement may take."""
END_STALLED = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = ANY ($1::text[])
  AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => $2)
"""
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
SELECT_SETTINGS = """
SELECT name, current_setting(name, true) AS setting FROM unnest($1::text[]) AS name
UNION ALL
SELECT name, (1000 * extract(epoch FROM current_setting(name)::interval))::bigint::text
FROM unnest($2::text[]) AS name
"""
"""Asked one by one: the view `pg_settings` is made of all that there are, at some ten times the cost. Limits of time
are told in a unit that reads well ("30s"), and compared in milliseconds."""


class SessionDiffers(asyncpg.InterfaceError):
    """A setting that correctness leans on is not in force; the sentence names it and says what to do."""


def server_settings(application: str, statement_seconds: float, idle_seconds: float) -> dict[str, str]:
    """What is asked for at the start of a session. `idle_seconds`: inside a transaction; 0 for no limit."""
    limit = str(int(statement_seconds * 1000))
    return {
        **PREFERRED,
        **{each.name: each.value for each in PINNED},
        "application_name": application,
        "statement_timeout": limit,
        "lock_timeout": limit,
        # A network that goes silent in the middle of a transaction leaves it open on the server, with
        # its locks: on rows that the repeat waits for, and on the account.
        "idle_in_transaction_session_timeout": str(int(idle_seconds * 1000)),
        # And outside a transaction, the locks of the session: the slot, and what is done once in a cluster.
        "tcp_keepalives_idle": str(KEEPALIVE_SECONDS),
        "tcp_keepalives_interval": str(KEEPALIVE_SECONDS),
        "tcp_keepalives_count": "3",
    }


def tool_options() -> str:
    """The same for PostgreSQL's own programs, as PGOPTIONS has it; they set their own limits of time."""
    return " ".join(f"-c {each.name}={each.value.replace(' ', chr(92) + ' ')}" for each in PINNED)


async def require_in_force(connection: asyncpg.Connection, asked: Mapping[str, str]) -> None:
    """Compare a new session with what it was asked for. Raises SessionDiffers, or what the database raises."""
    if connection.get_server_version().major >= KNOWS_TRANSACTION_TIMEOUT:
        await connection.execute(SET_NO_TRANSACTION_TIMEOUT)
    wanted = {each.name: each.value for each in (*PINNED, *ONLY_CHECKED)}
    rows = await connection.fetch(SELECT_SETTINGS, list(wanted), LIMITS)
    found = {row["name"]: row["setting"] for row in rows}
    for name, value in (wanted | {name: asked[name] for name in LIMITS}).items():
        if found.get(name) != value:
            raise SessionDiffers(
                f"the database's sessions do not have {name} = {value}, which was asked for, but "
                f"{found.get(name) or 'nothing'}: a pooler that ignores what a client asks for at its start "
                "stands in between, or a superuser set it; let PORTAL1400_DATABASE_URL name PostgreSQL itself, and "
                "look at ALTER ROLE ... SET and ALTER DATABASE ... SET"
            )


async def end_stalled(connection: asyncpg.Connection, seconds: float) -> int:
    """End the sessions of ours that were cut off in the middle of a statement; returns how many.

    A driver prepares a statement, waits for the answer, and only then binds and executes it. A network that goes
    silent in between leaves the server waiting for the rest with every lock of the transaction: to it that is no
    idle transaction, and the limit of a statement does not act while it reads. Keepalives notice a machine that is
    gone, but only after 40 s, and what stands on the way may answer them. Who has waited for `seconds` is ended.

    Raises what the database raises.
    """
    return int(await connection.fetchval(END_STALLED, LIMITED, seconds))
