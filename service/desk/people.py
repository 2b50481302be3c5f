"""Who works at the desk: made, shown, disabled and given a new one-time password by `portal1400 user`."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from campaigns.audit.entries import Who, record
from service.desk.roles import Role
from service.runtime.phone_numbers import without_numbers_of_people

LOGIN_LETTERS_MAX = 40
LOGIN = re.compile(rf"[a-z0-9][a-z0-9._-]{{1,{LOGIN_LETTERS_MAX - 1}}}")
NAME_LETTERS_MAX = 100
ONE_TIME_HOURS = 72


class PersonRefused(Exception):
    """What was asked for cannot be done; the sentence says why and what to do."""


class PersonChanged(Exception):
    """Somebody was disabled, or has another password, since they were looked up: what was shown lets nobody in."""


class Person(NamedTuple):
    """Somebody of the desk. `organisations` are whose campaigns a manager sees; of other roles it is empty."""

    id: int
    login: str
    name: str
    role: Role
    organisations: tuple[str, ...]
    password: str
    one_time_until: datetime | None
    """The password was made by a command, and lets in once, before this."""
    totp_sealed: bytes | None
    disabled_at: datetime | None
    created_at: datetime

    @property
    def is_enrolled(self) -> bool:
        """Whether there is a second factor."""
        return self.totp_sealed is not None


INSERT_USER = """
INSERT INTO desk_user (login, name, role, organisations, password, one_time_until)
VALUES ($1, $2, $3, $4, $5, now() + $6)
ON CONFLICT ON CONSTRAINT desk_user_login_once DO NOTHING RETURNING id
"""
SELECT_USERS = """
SELECT id, login, name, role, organisations, password, one_time_until, totp_sealed, disabled_at, created_at
FROM desk_user WHERE $1::text IS NULL OR login = $1 ORDER BY login
"""
SELECT_UNKNOWN_ORGANISATIONS = """
SELECT code FROM unnest($1::text[]) AS code WHERE code NOT IN (SELECT o.code FROM organisation AS o) ORDER BY code
"""
DISABLE_USER = "UPDATE desk_user SET disabled_at = now() WHERE login = $1 AND disabled_at IS NULL RETURNING id"
RESET_USER = """
UPDATE desk_user SET password = $2, one_time_until = now() + $3, totp_sealed = NULL, disabled_at = NULL,
    oidc_issuer = NULL, oidc_subject = NULL
WHERE login = $1 RETURNING id
"""
UPDATE_OWN_HASH = "UPDATE desk_user SET password = $2, one_time_until = NULL WHERE id = $1"
DELETE_PASSKEYS_OF = "DELETE FROM desk_passkey WHERE user_id = $1"
# Whoever is resetting this person is waited for, and then waits.
HOLD_PERSON = """
SELECT id FROM desk_user WHERE id = $1 AND password = $2 AND disabled_at IS NULL FOR NO KEY UPDATE
"""
DELETE_SESSIONS_OF = "DELETE FROM desk_session WHERE user_id = $1"
REVOKE_TOKENS_OF = "UPDATE desk_token SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL"
SELECT_HAS_USERS = "SELECT EXISTS (SELECT FROM desk_user WHERE disabled_at IS NULL)"


async def add_person(
    connection: asyncpg.Connection,
    who: Who,
    login: str,
    name: str,
    role: Role,
    organisations: Sequence[str],
    phc: str,
) -> None:
    """Make somebody, whose first password has the hash `phc`. Raises PersonRefused."""
    if not LOGIN.fullmatch(login):
        raise PersonRefused("a login is 2 to 40 of a-z 0-9 . _ - and begins with a letter or digit")
    if without_numbers_of_people(login) != login:
        raise PersonRefused("a login is no phone number: the audit log keeps it for ever")
    if (role is Role.MANAGER) != bool(organisations):
        raise PersonRefused("a manager, and nobody else, has organisations: give --organisation CODE for each")
    async with connection.transaction():
        unknown = [row["code"] for row in await connection.fetch(SELECT_UNKNOWN_ORGANISATIONS, list(organisations))]
        if unknown:
            raise PersonRefused(f"no organisation has the code {', '.join(unknown)}: apply it first")
        span = timedelta(hours=ONE_TIME_HOURS)
        made = await connection.fetchval(INSERT_USER, login, name, role, sorted(set(organisations)), phc, span)
        if made is None:
            raise PersonRefused(f"{login} is there already: choose another login, or `portal1400 user reset {login}`")
        after = {"name": name, "role": role, "organisations": sorted(set(organisations))}
        await record(connection, who, "user.add", login, after=after)


async def select_people(connection: asyncpg.Connection, login: str | None = None) -> list[Person]:
    """Everybody, by login; or the one with this login."""
    return [person_of(row) for row in await connection.fetch(SELECT_USERS, login)]


def person_of(row: asyncpg.Record) -> Person:
    """A row of the columns of SELECT_USERS."""
    sealed = row["totp_sealed"]
    return Person(
        row["id"], row["login"], row["name"], Role(row["role"]), tuple(row["organisations"]), row["password"],
        row["one_time_until"], None if sealed is None else bytes(sealed), row["disabled_at"], row["created_at"],
    )  # fmt: skip


async def disable_person(connection: asyncpg.Connection, who: Who, login: str, reason: str | None = None) -> bool:
    """Let somebody in no more, at once: sessions end, tokens are revoked. False where it was so.

    Raises PersonRefused.
    """
    async with connection.transaction():
        user_id = await connection.fetchval(DISABLE_USER, login)
        if user_id is None:
            if not await select_people(connection, login):
                raise PersonRefused(f"nobody has the login {login}: see `portal1400 user list`")
            return False
        await end_everywhere(connection, user_id)
        await record(connection, who, "user.disable", login, reason=reason)
    return True


async def reset_person(
    connection: asyncpg.Connection, who: Who, login: str, phc: str, reason: str | None = None
) -> None:
    """Begin anew: a new one-time password with the hash `phc`, no second factor, no passkey, no link to a provider.

    Who was disabled may enter again.

    Raises PersonRefused.
    """
    async with connection.transaction():
        user_id = await connection.fetchval(RESET_USER, login, phc, timedelta(hours=ONE_TIME_HOURS))
        if user_id is None:
            raise PersonRefused(f"nobody has the login {login}: see `portal1400 user list`")
        await connection.execute(DELETE_PASSKEYS_OF, user_id)
        await end_everywhere(connection, user_id)
        await record(connection, who, "user.reset", login, reason=reason)


async def hold(connection: asyncpg.Connection, person: Person) -> None:
    """Require that this person is as they were looked up, and let nobody change them before this transaction ends.

    Between a look-up and a session lies the work of a password: a reset in that time has ended all sessions there
    were, and must not be outlived by one that begins by the password before. Raises PersonChanged.
    """
    if await connection.fetchval(HOLD_PERSON, person.id, person.password) is None:
        raise PersonChanged


async def change_password(connection: asyncpg.Connection, who: Who, person: Person, phc: str) -> None:
    """Take another password; every session of the person ends, and every token. Call it in a transaction.

    Raises PersonChanged.
    """
    await hold(connection, person)
    await connection.execute(UPDATE_OWN_HASH, person.id, phc)
    await end_everywhere(connection, person.id)
    await record(connection, who, "user.password", person.login)


async def end_everywhere(connection: asyncpg.Connection, user_id: int) -> None:
    """End all sessions of somebody and revoke all tokens."""
    await connection.execute(DELETE_SESSIONS_OF, user_id)
    await connection.execute(REVOKE_TOKENS_OF, user_id)


async def has_people(connection: asyncpg.Connection) -> bool:
    """Whether anybody works at the desk."""
    return bool(await connection.fetchval(SELECT_HAS_USERS))
