"""API tokens: made by a person for some acts of their own role, shown once, kept as a hash, ended by time."""

import base64
import hashlib
import hmac
import os
from datetime import timedelta

import asyncpg
from aiohttp import web

from campaigns.audit.entries import record
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.people import Person, hold, person_of
from service.desk.roles import SCOPES, Act, may
from service.runtime.keyring import Keyring
from service.runtime.phone_numbers import without_numbers_of_people

PREFIX = "p1400_"
RANDOM_BYTES = 24
MAC_BYTES = 12
DAYS = (30, 90, 365)
TOKENS_MAX = 20
NAME_LETTERS_MAX = 60

INSERT_OWN = """
INSERT INTO desk_token (user_id, name, token_sha256, scopes, expires_at)
SELECT $1, $2, $3, $4, now() + $5::interval
WHERE (SELECT count(*) FROM desk_token WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()) < $6
RETURNING id
"""
SELECT_OWN = """
SELECT id, name, scopes, created_at, expires_at FROM desk_token
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() ORDER BY id
"""
REVOKE_OWN = """
UPDATE desk_token SET revoked_at = now() WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING name
"""
SELECT_OWNER = """
SELECT t.scopes, u.id, u.login, u.name, u.role, u.organisations, u.password, u.one_time_until, u.totp_sealed,
       u.disabled_at, u.created_at
FROM desk_token AS t JOIN desk_user AS u ON u.id = t.user_id
WHERE t.token_sha256 = $1 AND t.revoked_at IS NULL AND t.expires_at > now() AND u.disabled_at IS NULL
"""


def rows(desk: Desk) -> list[Row]:
    """The addresses of one's own tokens."""
    tokens = OwnTokens(desk)
    return [
        Row("GET", "/tokens", Act.OWN_ACCOUNT, tokens.show),
        Row("POST", "/tokens", Act.OWN_ACCOUNT, tokens.make),
        Row("POST", "/tokens/{id}/revoke", Act.OWN_ACCOUNT, tokens.revoke),
    ]


def new_token(keyring: Keyring) -> tuple[str, bytes]:
    """A token, and the SHA-256 of it. Its MAC lets an invented one be refused without the database."""
    plain = os.urandom(RANDOM_BYTES)
    token = PREFIX + base64.urlsafe_b64encode(plain + keyring.desk_mac(b"token", plain)[:MAC_BYTES]).decode()
    return token, hashlib.sha256(token.encode()).digest()


def read_token(keyring: Keyring, authorization: str) -> bytes | None:
    """The SHA-256 of the token in an Authorization header (RFC 6750); None for whatever is none of ours."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.startswith(PREFIX):
        return None
    try:
        content = base64.b64decode(token[len(PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, UnicodeError):
        return None
    plain, mac = content[:RANDOM_BYTES], content[RANDOM_BYTES:]
    is_ours = len(mac) == MAC_BYTES and hmac.compare_digest(mac, keyring.desk_mac(b"token", plain)[:MAC_BYTES])
    return hashlib.sha256(token.encode()).digest() if is_ours else None


async def owner_of(connection: asyncpg.Connection, token_sha256: bytes) -> tuple[Person, frozenset[str]] | None:
    """Whose token this is while it is good, and for which acts it was made."""
    row = await connection.fetchrow(SELECT_OWNER, token_sha256)
    return None if row is None else (person_of(row), frozenset(row["scopes"]))


class OwnTokens:
    """Handlers of one's own tokens."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/tokens`."""
        del request
        return await self._page(visit)

    async def make(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/tokens`: name, days and scopes; the answer shows the token, once."""
        del request
        desk, person = self._desk, visit.person
        name = without_numbers_of_people(visit.form.get("name", "").strip())
        days = visit.form.get("days", "")
        scopes = [act for act in SCOPES if visit.form.get(f"scope-{act}") and may(person.role, act)]
        if not name or len(name) > NAME_LETTERS_MAX or not name.isprintable() or days not in map(str, DAYS):
            return await self._page(visit, 422, "token_unnamed")
        if not scopes:
            return await self._page(visit, 422, "token_useless")
        token, digest = new_token(desk.keyring)
        async with desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            made = await connection.fetchval(
                INSERT_OWN, person.id, name, digest, scopes, timedelta(days=int(days)), TOKENS_MAX
            )
            if made is not None:
                after = {"name": name, "scopes": scopes, "days": int(days)}
                await record(connection, visit.who, "token.add", str(made), after=after)
        if made is None:
            return await self._page(visit, 422, "token_many")
        return await self._page(visit, 200, None, token)

    async def revoke(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/tokens/{id}/revoke`."""
        given = request.match_info["id"]
        if not given.isascii() or not given.isdecimal() or len(given) > 9:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        async with self._desk.borrow() as connection, connection.transaction():
            name = await connection.fetchval(REVOKE_OWN, int(given), visit.person.id)
            if name is not None:
                await record(connection, visit.who, "token.revoke", given, before={"name": name})
        return see_other("/desk/tokens")

    async def _page(
        self, visit: Visit, status: int = 200, problem: str | None = None, token: str | None = None
    ) -> web.StreamResponse:
        async with self._desk.borrow() as connection:
            found = await connection.fetch(SELECT_OWN, visit.person.id)
        scopes = [act for act in SCOPES if may(visit.person.role, act)]
        return await self._desk.page(
            "desk_tokens.html", visit, status, tokens=found, scopes=scopes, days=DAYS, problem=problem, token=token
        )
