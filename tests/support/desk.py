"""People of the desk for tests, and a browser without a browser: cookies, forms and where they come from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from http.cookies import SimpleCookie
from typing import Any

from campaigns.audit.entries import Who
from service.desk import sessions
from service.desk.passwords import hash_password
from service.desk.people import add_person, change_password, select_people
from service.desk.roles import Role
from service.desk.tokens import INSERT_OWN, new_token
from tests.support.portal import Portal


def object_in(printed: str) -> Any:
    """The JSON object that a command printed, among log lines of the service that runs beside it."""
    return json.loads(next(line for line in reversed(printed.splitlines()) if line.startswith("{")))


PASSWORD = "một câu dài dễ nhớ"
TESTER = Who("os:tests")
phc_of = cache(hash_password)
"""Argon2 is dear on purpose: once for each password."""


@dataclass(frozen=True)
class Page:
    """An answer of the desk."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def location(self) -> str | None:
        """Where it leads."""
        return self.headers.get("Location")

    def field(self, name: str) -> str:
        """The value of a hidden field of its first form that has it."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, (self.status, self.text)
        return found[1]


@dataclass
class Visitor:
    """Somebody's browser: keeps cookies, follows nothing, says that a page of ours sends its forms."""

    portal: Portal
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> Page:
        """GET a page below /desk."""
        return await self.send("GET", path)

    async def post(self, path: str, **form: str) -> Page:
        """Send a form of this session."""
        return await self.send("POST", path, {"csrf": self.csrf, **form})

    @property
    def csrf(self) -> str:
        """What the forms of the present session carry."""
        tokens = self.portal.service.desk.desk.tokens
        digest = tokens.read(self.cookies.get(sessions.SESSION_COOKIE, ""))
        return tokens.csrf(digest) if digest else ""

    async def send(
        self, method: str, path: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Page:
        """Send anything; `headers` stand in the place of a browser's own."""
        own = {"Sec-Fetch-Site": "same-origin", "Origin": self.portal.base} if headers is None else headers
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        async with self.portal.http.request(
            method, f"{self.portal.base}/desk{path}", data=form, headers={**own, **cookies}, allow_redirects=False
        ) as answer:
            is_stream = answer.content_type == "text/event-stream"
            page = Page(answer.status, dict(answer.headers), "" if is_stream else await answer.text())
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    if morsel.value:
                        self.cookies[name] = morsel.value
                    else:
                        self.cookies.pop(name, None)
        return page


async def person(portal: Portal, login: str, role: Role, *organisations: str, password: str = PASSWORD) -> int:
    """Make somebody whose password is their own already; returns the id."""
    async with portal.service.desk.desk.borrow() as connection:
        await add_person(connection, TESTER, login, login.capitalize(), role, organisations, phc_of(password))
        (made,) = await select_people(connection, login)
        await change_password(connection, TESTER, made, phc_of(password))
    return made.id


async def token_of(portal: Portal, user_id: int, *scopes: str) -> tuple[str, int]:
    """An API token of somebody, good for a day, and its id."""
    token, digest = new_token(portal.service.desk.desk.keyring)
    arguments = (user_id, "a test's", digest, list(scopes), timedelta(days=1), 1000)
    async with portal.service.desk.desk.borrow() as connection:
        return token, await connection.fetchval(INSERT_OWN, *arguments)


async def logged_in(portal: Portal, user_id: int) -> Visitor:
    """A browser in which somebody has logged in."""
    desk = portal.service.desk.desk
    async with desk.borrow() as connection:
        token = await sessions.begin(connection, desk.tokens, user_id, "127.0.0.1", is_complete=True)
    return Visitor(portal, {sessions.SESSION_COOKIE: token})
