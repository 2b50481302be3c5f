"""Whom the provider of OpenID Connect may let in: those whom somebody has linked to the provider's name for them."""

from typing import NamedTuple

import asyncpg

from campaigns.audit.entries import Who, record
from service.desk.people import DELETE_SESSIONS_OF, Person, PersonRefused, person_of

SUBJECT_LETTERS_MAX = 255
"""OpenID Connect Core 1.0, section 2: `sub` has no more, and they are ASCII."""

SELECT_LINKED_PERSON = """
SELECT id, login, name, role, organisations, password, one_time_until, totp_sealed, disabled_at, created_at
FROM desk_user WHERE oidc_issuer = $1 AND oidc_subject = $2 AND disabled_at IS NULL
"""
SELECT_LINK = "SELECT id, oidc_issuer, oidc_subject FROM desk_user WHERE login = $1 FOR UPDATE"
UPDATE_LINK = "UPDATE desk_user SET oidc_issuer = $2, oidc_subject = $3 WHERE id = $1"
SELECT_LINKED_LOGINS = "SELECT login FROM desk_user WHERE oidc_subject IS NOT NULL"


class Link(NamedTuple):
    """Somebody as a provider names them: its address, and its name for the person, given to nobody else."""

    issuer: str
    subject: str


async def link_person(
    connection: asyncpg.Connection, who: Who, login: str, link: Link | None, reason: str | None = None
) -> bool:
    """Put `link` in the place of what was there, None: take it away. Sessions end. False where it was so already.

    Raises PersonRefused.
    """
    if link is not None and not (is_subject(link.subject) and link.subject.isprintable()):
        raise PersonRefused(f"a subject is 1 to {SUBJECT_LETTERS_MAX} letters of ASCII, as the provider writes it")
    try:
        async with connection.transaction():
            row = await connection.fetchrow(SELECT_LINK, login)
            if row is None:
                raise PersonRefused(f"nobody has the login {login}: see `portal1400 user list`")
            before = None if row["oidc_subject"] is None else Link(row["oidc_issuer"], row["oidc_subject"])
            if before == link:
                return False
            await connection.execute(UPDATE_LINK, row["id"], *(link or (None, None)))
            await connection.execute(DELETE_SESSIONS_OF, row["id"])
            await record(
                connection,
                who,
                "user.link",
                login,
                before=before and before._asdict(),
                after=link and link._asdict(),
                reason=reason,
            )
    except asyncpg.UniqueViolationError:
        raise PersonRefused("somebody else is linked to this subject: take that link away first") from None
    return True


async def find_linked(connection: asyncpg.Connection, link: Link) -> Person | None:
    """Whoever is linked so and not disabled."""
    row = await connection.fetchrow(SELECT_LINKED_PERSON, *link)
    return None if row is None else person_of(row)


async def select_linked_logins(connection: asyncpg.Connection) -> set[str]:
    """The logins of all who are linked."""
    return {row["login"] for row in await connection.fetch(SELECT_LINKED_LOGINS)}


def is_subject(value: object) -> bool:
    """Whether it can be a provider's name for somebody."""
    return isinstance(value, str) and value.isascii() and 0 < len(value) <= SUBJECT_LETTERS_MAX
