"""The way in by a passkey, for password and second factor: it proves both that the authenticator is there and whose
finger or PIN it is. Off, and 404, where the portal's address bears none.
"""

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from campaigns.audit.entries import Who, record
from service.desk import sessions
from service.desk.desk import HEADERS, Desk, see_other
from service.desk.door import Row, Visit
from service.desk.limits import Pace
from service.desk.passkey_proofs import ProofRefused, new_challenge, proved_count, request_options, shown_passkey
from service.desk.passkeys import (
    CHALLENGE_MINUTES,
    Owned,
    RelyingParty,
    find_passkey,
    put_challenge,
    take_challenge,
    use_passkey,
)
from service.desk.people import hold
from service.desk.roles import Act
from service.runtime.addresses import address, site_of

if TYPE_CHECKING:
    from webauthn.helpers.structs import AuthenticationCredential

CHALLENGE_COOKIE = "portal1400-passkey"
CHALLENGE = b"challenge"


def rows(desk: Desk) -> list[Row]:
    """The addresses of the way in by a passkey."""
    entrance = PasskeyEntrance(desk)
    return [
        Row("POST", "/login/passkey/begin", Act.ENTER, entrance.begin),
        Row("POST", "/login/passkey", Act.ENTER, entrance.log_in),
    ]


def options(text: str) -> web.Response:
    """What a script hands to the browser."""
    return web.Response(text=text, content_type="application/json", headers=HEADERS)


def problem(status: int, sentence: str, wait_seconds: int = 0) -> web.Response:
    """What a script tells in the place of a page."""
    wait = {"Retry-After": str(wait_seconds)} if wait_seconds else {}
    return web.json_response({"problem": sentence}, status=status, headers={**HEADERS, **wait})


class PasskeyEntrance:
    """Handlers of the way in by a passkey."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/login/passkey/begin`: a challenge for this browser, which is good once."""
        del request
        desk, party = self._desk, self._desk.relying_party
        if party is None:
            return await desk.page("desk_refused.html", visit, 404, why="nowhere")
        if wait := desk.of_challenge.take(site_of(address(visit.address))):
            return problem(429, visit.words("too_often", wait=visit.words.ago(wait)), wait)
        challenge, (token, digest) = new_challenge(), desk.tokens.new(CHALLENGE)
        async with desk.borrow() as connection:
            await put_challenge(connection, digest, challenge)
        response = options(await asyncio.to_thread(request_options, party, challenge))
        desk.cookies.set(response, CHALLENGE_COOKIE, token, CHALLENGE_MINUTES * 60)
        return response

    async def log_in(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/login/passkey`: the browser's answer, which lets in at once."""
        desk, party = self._desk, self._desk.relying_party
        if party is None:
            return await desk.page("desk_refused.html", visit, 404, why="nowhere")
        if visit.session is not None and visit.session.is_complete:
            return see_other("/desk")
        digest = desk.tokens.read(desk.cookies.get(request, CHALLENGE_COOKIE), CHALLENGE)
        try:
            shown = await asyncio.to_thread(shown_passkey, visit.form.get("credential", ""))
        except ProofRefused:
            shown = None
        if digest is None or shown is None:
            return await self._refused(visit)
        async with desk.borrow() as connection:
            # Whatever becomes of it: a challenge is looked at once.
            challenge = await take_challenge(connection, digest)
            owned = await find_passkey(connection, shown.raw_id)
        for pace, key in self._paces(request, visit, owned):
            if wait := pace.take(key):
                return await self._too_often(visit, wait)
        if owned is None:
            return await self._refused(visit)
        count, why = await self._proved(party, owned, shown, challenge)
        return await self._answered(visit, owned, count, why)

    def _paces(self, request: web.Request, visit: Visit, owned: Owned | None) -> list[tuple[Pace, object]]:
        """What this try counts against: as one with a password does."""
        desk, site = self._desk, site_of(address(visit.address))
        device = desk.cookies.get(request, sessions.DEVICE_COOKIE)
        if owned is None:
            return [(desk.of_site, site)]
        if device and desk.tokens.is_device_of(device, owned.person.login):
            return [(desk.of_device, device)]
        return [(desk.of_site, site), (desk.of_login, (site, owned.person.login))]

    async def _proved(
        self, party: RelyingParty, owned: Owned, shown: "AuthenticationCredential", challenge: bytes | None
    ) -> tuple[int, str | None]:
        """The authenticator's count, and why nobody comes in all the same."""
        if challenge is None:
            return 0, "challenge"
        if owned.person.one_time_until is not None or not owned.person.is_enrolled:
            # Whoever has a one-time password begins with it, as after a reset.
            return 0, "first"
        try:
            count = await asyncio.to_thread(proved_count, party, shown, challenge, owned.public_key, owned.handle)
        except ProofRefused:
            return 0, "proof"
        return count, None

    async def _answered(self, visit: Visit, owned: Owned, count: int, why: str | None) -> web.StreamResponse:
        desk, person = self._desk, owned.person
        who = Who(person.login, person.role, visit.address)
        async with desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            if why is None and not await use_passkey(connection, owned.id, count):
                # A copy of the authenticator, or an answer that somebody else has shown first.
                why = "count"
            if why is None:
                if visit.session is not None:
                    await sessions.end(connection, visit.session.token_sha256)
                await record(connection, who, "login.passkey", after={"passkey": owned.name})
                await record(connection, who, "login")
                token = await sessions.begin(connection, desk.tokens, person.id, visit.address, is_complete=True)
            else:
                await record(
                    connection, who, "login.refused", before={"passkey": owned.name}, reason=f"passkey: {why}"
                )
        if why is not None:
            return await self._refused(visit)
        response = see_other("/desk")
        desk.cookies.delete(response, CHALLENGE_COOKIE)
        desk.cookies.set(response, sessions.SESSION_COOKIE, token)
        device = desk.tokens.device(person.login)
        desk.cookies.set(response, sessions.DEVICE_COOKIE, device, sessions.DEVICE_DAYS * 86_400)
        return response

    async def _refused(self, visit: Visit) -> web.StreamResponse:
        response = await self._desk.page("desk_login.html", visit, 422, login="", problem="passkey_refused")
        self._desk.cookies.delete(response, CHALLENGE_COOKIE)
        return response

    async def _too_often(self, visit: Visit, wait: int) -> web.StreamResponse:
        told = visit.words.ago(wait)
        response = await self._desk.page("desk_login.html", visit, 429, login="", problem="too_often", wait=told)
        response.headers["Retry-After"] = str(wait)
        return response
