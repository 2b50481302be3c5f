"""Passkeys as they are kept, the challenges that prove them, and the address that they are bound to.

Source: W3C Web Authentication, level 2, sections 7.1 and 7.2.
"""

import re
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg

from service.desk.people import Person, person_of

PASSKEYS_MAX = 10
"""Of one person."""
NAME_LETTERS_MAX = 60
CHALLENGE_MINUTES = 5
"""As long as somebody may look for their key."""
CHALLENGE_LIFE = timedelta(minutes=CHALLENGE_MINUTES)
CHALLENGES_MAX = 5_000
"""Of all visitors together; then the oldest goes. Whoever holds a key answers within seconds."""
_DOMAIN = re.compile(r"([a-z0-9-]+\.)*[a-z][a-z0-9-]*")
"""Its last part begins with a letter: an address of numbers is no relying party."""
_USUAL_PORTS = {"https": 443, "http": 80}

INSERT_PASSKEY = """
INSERT INTO desk_passkey (user_id, name, credential_id, public_key, sign_count)
SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM desk_passkey WHERE user_id = $1) < $6
ON CONFLICT ON CONSTRAINT desk_passkey_once DO NOTHING RETURNING id
"""
SELECT_PASSKEYS = """
SELECT id, name, credential_id, added_at, used_at FROM desk_passkey WHERE user_id = $1 ORDER BY id
"""
COUNT_PASSKEYS = "SELECT user_id, count(*) AS passkeys FROM desk_passkey GROUP BY user_id"
SELECT_HANDLE = "SELECT passkey_handle FROM desk_user WHERE id = $1"
SELECT_PASSKEY_AND_OWNER = """
SELECT k.id AS passkey_id, k.name AS passkey_name, k.public_key, u.passkey_handle,
       u.id, u.login, u.name, u.role, u.organisations, u.password, u.one_time_until, u.totp_sealed, u.disabled_at,
       u.created_at
FROM desk_passkey AS k JOIN desk_user AS u ON u.id = k.user_id
WHERE k.credential_id = $1 AND u.disabled_at IS NULL
"""
# An authenticator that counts has counted on; one that does not always says nought. Of two who show one answer at
# once, or of an authenticator and its copy, one is let in.
USE_PASSKEY = """
UPDATE desk_passkey SET sign_count = $2, used_at = now()
WHERE id = $1 AND (sign_count < $2 OR (sign_count = 0 AND $2 = 0)) RETURNING id
"""
DELETE_PASSKEY = "DELETE FROM desk_passkey WHERE id = $1 AND user_id = $2 RETURNING name"
DELETE_OTHER_SESSIONS = "DELETE FROM desk_session WHERE user_id = $1 AND token_sha256 <> $2"
DELETE_OLD_CHALLENGES = "DELETE FROM desk_challenge WHERE made_at <= now() - $1::interval"
DELETE_CHALLENGES_BEYOND = """
DELETE FROM desk_challenge
WHERE made_at < (SELECT c.made_at FROM desk_challenge AS c ORDER BY c.made_at DESC OFFSET $1 LIMIT 1)
"""
PUT_CHALLENGE = """
INSERT INTO desk_challenge (bound_to, challenge) VALUES ($1, $2)
ON CONFLICT ON CONSTRAINT desk_challenge_once DO UPDATE SET challenge = excluded.challenge, made_at = now()
"""
TAKE_CHALLENGE = """
DELETE FROM desk_challenge WHERE bound_to = $1 RETURNING challenge, made_at > now() - $2::interval AS is_young
"""


class RelyingParty(NamedTuple):
    """Whom passkeys are made for: the host name that authenticators bind them to, and the origin of its pages."""

    id: str
    origin: str


class Passkey(NamedTuple):
    """One passkey of somebody, as they see it."""

    id: int
    name: str
    credential_id: bytes
    added_at: datetime
    used_at: datetime | None


class Owned(NamedTuple):
    """A passkey that somebody shows, and whose it is."""

    id: int
    name: str
    public_key: bytes
    handle: bytes
    person: Person


class MadePasskey(NamedTuple):
    """What an authenticator has made: its id and public key (COSE), and its count of signatures."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def relying_party_of(public_url: str | None) -> RelyingParty | None:
    """The relying party of an address; None where browsers have no passkeys: without https but for localhost, or at
    an address that is no name.
    """
    try:
        parts = urlsplit(public_url or "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    is_secure = parts.scheme == "https" or (parts.scheme, host) == ("http", "localhost")
    if not is_secure or not _DOMAIN.fullmatch(host):
        return None
    behind = "" if port in (None, _USUAL_PORTS[parts.scheme]) else f":{port}"
    return RelyingParty(host, f"{parts.scheme}://{host}{behind}")


async def put_challenge(connection: asyncpg.Connection, bound_to: bytes, challenge: bytes) -> None:
    """Keep a challenge for whoever has the token of this SHA-256, in the place of an earlier one.

    The old ones go, and those beyond CHALLENGES_MAX.
    """
    await connection.execute(DELETE_OLD_CHALLENGES, CHALLENGE_LIFE)
    await connection.execute(DELETE_CHALLENGES_BEYOND, CHALLENGES_MAX - 2)
    await connection.execute(PUT_CHALLENGE, bound_to, challenge)


async def take_challenge(connection: asyncpg.Connection, bound_to: bytes) -> bytes | None:
    """The challenge that was kept for this token, once; None where there is none or its time is over."""
    row = await connection.fetchrow(TAKE_CHALLENGE, bound_to, CHALLENGE_LIFE)
    return bytes(row["challenge"]) if row is not None and row["is_young"] else None


async def add_passkey(connection: asyncpg.Connection, user_id: int, name: str, passkey: MadePasskey) -> int | None:
    """Keep a passkey; its id. None where it is there already, whosever it is, or the person has PASSKEYS_MAX."""
    made: int | None = await connection.fetchval(INSERT_PASSKEY, user_id, name, *passkey, PASSKEYS_MAX)
    return made


async def select_passkeys(connection: asyncpg.Connection, user_id: int) -> list[Passkey]:
    """The passkeys of somebody, the oldest first."""
    return [Passkey(*row) for row in await connection.fetch(SELECT_PASSKEYS, user_id)]


async def count_passkeys(connection: asyncpg.Connection) -> dict[int, int]:
    """How many passkeys each person has, by id; who has none is not in it."""
    return {row["user_id"]: row["passkeys"] for row in await connection.fetch(COUNT_PASSKEYS)}


async def select_handle(connection: asyncpg.Connection, user_id: int) -> bytes:
    """What authenticators keep somebody's passkeys under."""
    handle: bytes = (await connection.fetchval(SELECT_HANDLE, user_id)).bytes
    return handle


async def find_passkey(connection: asyncpg.Connection, credential_id: bytes) -> Owned | None:
    """The passkey of this id, and its owner if not disabled."""
    row = await connection.fetchrow(SELECT_PASSKEY_AND_OWNER, credential_id)
    if row is None:
        return None
    return Owned(
        row["passkey_id"], row["passkey_name"], bytes(row["public_key"]), row["passkey_handle"].bytes, person_of(row)
    )


async def use_passkey(connection: asyncpg.Connection, passkey_id: int, sign_count: int) -> bool:
    """Note that it was shown; False where its count has not grown, or it was removed meanwhile."""
    return await connection.fetchval(USE_PASSKEY, passkey_id, sign_count) is not None


async def remove_passkey(
    connection: asyncpg.Connection, user_id: int, passkey_id: int, kept_session: bytes
) -> str | None:
    """Let it open nothing more; its name, or None where the person has none of this id.

    The person's other sessions end with it: one of them may be whoever has the key. Call it in a transaction.
    """
    name: str | None = await connection.fetchval(DELETE_PASSKEY, passkey_id, user_id)
    if name is not None:
        await connection.execute(DELETE_OTHER_SESSIONS, user_id, kept_session)
    return name
