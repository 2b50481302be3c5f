"""Sessions on the server: the browser has a random token in a cookie, the database its SHA-256 and nothing more.

With a token goes a MAC of ours, so that an invented one is refused without a question to the database.
"""

import base64
import binascii
import hashlib
import hmac
import os
from datetime import timedelta
from typing import NamedTuple

import asyncpg
from aiohttp import web

from service.desk.people import Person, person_of
from service.runtime.keyring import Keyring

IDLE_MINUTES = 30
HOURS_MAX = 12
PROVING_MINUTES = 10
"""How long whoever has shown a password has for the second factor."""
FAILURES_MAX = 5
"""Wrong second factors end a session: the password is asked for again."""
TOKEN_BYTES = 32
MAC_BYTES = 16
SESSION = b"session"
DEVICE_DAYS = 180
SESSION_COOKIE = "portal1400-desk"
DEVICE_COOKIE = "portal1400-device"

INSERT_SESSION = """
INSERT INTO desk_session (token_sha256, user_id, is_complete, address) VALUES ($1, $2, $3, $4)
"""
SELECT_SESSION = """
SELECT s.is_complete, s.seen_at < now() - interval '1 minute' AS is_stale,
       u.id, u.login, u.name, u.role, u.organisations, u.password, u.one_time_until, u.totp_sealed, u.disabled_at,
       u.created_at
FROM desk_session AS s JOIN desk_user AS u ON u.id = s.user_id
WHERE s.token_sha256 = $1 AND u.disabled_at IS NULL AND s.seen_at > now() - $2::interval
    AND s.created_at > now() - CASE WHEN s.is_complete THEN $3::interval ELSE $4::interval END
"""
TOUCH_SESSION = "UPDATE desk_session SET seen_at = now() WHERE token_sha256 = $1"
COUNT_FAILURE = """
UPDATE desk_session SET failures = failures + 1 WHERE token_sha256 = $1 RETURNING failures
"""
DELETE_SESSION = "DELETE FROM desk_session WHERE token_sha256 = $1 RETURNING user_id"
DELETE_OVER = "DELETE FROM desk_session WHERE seen_at <= now() - $1::interval OR created_at <= now() - $2::interval"
SELECT_SESSIONS_OF = """
SELECT address, created_at, seen_at, token_sha256 = $2 AS is_this FROM desk_session
WHERE user_id = $1 AND is_complete AND seen_at > now() - $3::interval AND created_at > now() - $4::interval
ORDER BY created_at DESC
"""
# Which of those who watch may go on, asked for all of them at once. To watch is to use a session.
UPDATE_STILL_THERE = """
UPDATE desk_session AS s SET seen_at = now() FROM desk_user AS u
WHERE u.id = s.user_id AND s.token_sha256 = ANY($1::bytea[]) AND s.is_complete AND u.disabled_at IS NULL
    AND s.created_at > now() - $2::interval
RETURNING s.token_sha256
"""
IDLE, LONGEST, PROVING = (
    timedelta(minutes=IDLE_MINUTES),
    timedelta(hours=HOURS_MAX),
    timedelta(minutes=PROVING_MINUTES),
)


class Session(NamedTuple):
    """A session that is alive, and whose it is."""

    token_sha256: bytes
    is_complete: bool
    person: Person


class Tokens:
    """Makes tokens and tells ours from invented ones."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def new(self, purpose: bytes = SESSION) -> tuple[str, bytes]:
        """A token for a cookie, and its SHA-256. Good for no other `purpose`: strangers get those of a challenge."""
        plain = os.urandom(TOKEN_BYTES)
        token = plain + self._mac(purpose, plain)
        return base64.urlsafe_b64encode(token).decode(), hashlib.sha256(token).digest()

    def read(self, given: str, purpose: bytes = SESSION) -> bytes | None:
        """The SHA-256 of a token of ours for this purpose; None for whatever else."""
        token = _decoded(given)
        if len(token) != TOKEN_BYTES + MAC_BYTES:
            return None
        plain, mac = token[:TOKEN_BYTES], token[TOKEN_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, plain)):
            return None
        return hashlib.sha256(token).digest()

    def csrf(self, token_sha256: bytes) -> str:
        """What the forms of this session carry."""
        return self._keyring.desk_mac(b"csrf", token_sha256).hex()

    def device(self, login: str) -> str:
        """What a browser keeps by which somebody was let in."""
        nonce = os.urandom(TOKEN_BYTES)
        return base64.urlsafe_b64encode(nonce + self._mac(b"device", nonce + login.encode())).decode()

    def is_device_of(self, given: str, login: str) -> bool:
        """Whether this browser let this person in before."""
        token = _decoded(given)
        nonce, mac = token[:TOKEN_BYTES], token[TOKEN_BYTES:]
        return hmac.compare_digest(mac, self._mac(b"device", nonce + login.encode()))

    def _mac(self, purpose: bytes, content: bytes) -> bytes:
        return self._keyring.desk_mac(purpose, content)[:MAC_BYTES]


def _decoded(given: str) -> bytes:
    try:
        return base64.b64decode(given.encode(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error, UnicodeEncodeError):
        return b""


class Cookies:
    """The desk's cookies. Behind TLS they have the prefix __Host-, which no other site of the domain can set
    (RFC 6265bis, section 4.1.3.2).
    """

    def __init__(self, *, is_secure: bool) -> None:
        self._is_secure = is_secure

    def name(self, cookie: str) -> str:
        """What a cookie of the desk is called in the browser."""
        return f"__Host-{cookie}" if self._is_secure else cookie

    def get(self, request: web.BaseRequest, cookie: str) -> str:
        """Its value; empty where there is none."""
        return request.cookies.get(self.name(cookie), "")

    def set(self, response: web.StreamResponse, cookie: str, value: str, max_age: int | None = None) -> None:
        """Hand it to the browser, to no script and to no request from elsewhere but a link."""
        response.set_cookie(
            self.name(cookie), value, max_age=max_age, path="/", secure=self._is_secure, httponly=True, samesite="Lax"
        )

    def delete(self, response: web.StreamResponse, cookie: str) -> None:
        """Take it back."""
        self.set(response, cookie, "", 0)


async def begin(
    connection: asyncpg.Connection, tokens: Tokens, user_id: int, address: str, *, is_complete: bool
) -> str:
    """A new session; returns its token. Sessions whose time is over are removed with it."""
    token, digest = tokens.new()
    await connection.execute(DELETE_OVER, IDLE, LONGEST)
    await connection.execute(INSERT_SESSION, digest, user_id, is_complete, address)
    return token


async def find(connection: asyncpg.Connection, token_sha256: bytes) -> Session | None:
    """The session of a token while it lives; its idle time begins anew."""
    row = await connection.fetchrow(SELECT_SESSION, token_sha256, IDLE, LONGEST, PROVING)
    if row is None:
        return None
    if row["is_stale"]:
        await connection.execute(TOUCH_SESSION, token_sha256)
    return Session(token_sha256, row["is_complete"], person_of(row))


async def end(connection: asyncpg.Connection, token_sha256: bytes) -> bool:
    """End one session; False where it had ended already."""
    return await connection.fetchval(DELETE_SESSION, token_sha256) is not None


async def count_failure(connection: asyncpg.Connection, token_sha256: bytes) -> bool:
    """Count a wrong second factor; True where it was the last that was borne, and the session has ended."""
    failures = await connection.fetchval(COUNT_FAILURE, token_sha256)
    if failures is not None and failures < FAILURES_MAX:
        return False
    await end(connection, token_sha256)
    return True


async def select_sessions_of(connection: asyncpg.Connection, session: Session) -> list[asyncpg.Record]:
    """Where the person is logged in: address, created_at, seen_at, is_this."""
    rows = await connection.fetch(SELECT_SESSIONS_OF, session.person.id, session.token_sha256, IDLE, LONGEST)
    return list(rows)
