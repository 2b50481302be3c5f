"""One's own passkeys: added for password and second factor together, which a passkey stands for; removed at once."""

import asyncio

from aiohttp import web

from campaigns.audit.entries import record
from service.desk import passwords, second_factor, sessions
from service.desk.account import Account
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.passkey_entrance import options, problem
from service.desk.passkey_proofs import ProofRefused, creation_options, made_passkey, new_challenge
from service.desk.passkeys import (
    NAME_LETTERS_MAX,
    PASSKEYS_MAX,
    add_passkey,
    put_challenge,
    remove_passkey,
    select_handle,
    select_passkeys,
    take_challenge,
)
from service.desk.people import hold
from service.desk.roles import Act
from service.runtime.phone_numbers import without_numbers_of_people


def rows(desk: Desk) -> list[Row]:
    """The addresses of one's own passkeys."""
    own = OwnPasskeys(desk)
    return [
        Row("POST", "/account/passkeys/begin", Act.OWN_ACCOUNT, own.begin),
        Row("POST", "/account/passkeys", Act.OWN_ACCOUNT, own.add),
        Row("POST", "/account/passkeys/{id}/remove", Act.OWN_ACCOUNT, own.remove),
    ]


class OwnPasskeys:
    """Handlers of one's own passkeys."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._account = Account(desk)

    async def begin(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/passkeys/begin`: for password and a code, what the browser is asked to make."""
        del request
        desk, person, session, words = self._desk, visit.person, visit.session, visit.words
        assert session is not None  # noqa: S101 -- the door's
        if desk.relying_party is None:
            return await desk.page("desk_refused.html", visit, 404, why="nowhere")
        if desk.of_device.take(("own", person.id)):
            return problem(429, words("too_soon"))
        if _name(visit) is None:
            return problem(422, words("passkey_unnamed"))
        try:
            given = visit.form.get("old", "")[: passwords.LETTERS_MAX]
            is_password = await desk.hasher.is_right(given, person.password, is_known=True)
        except passwords.TooManyWaiting:
            return problem(503, words("too_soon"))
        challenge, is_over = new_challenge(), False
        async with desk.borrow() as connection, connection.transaction():
            known = await select_passkeys(connection, person.id)
            if len(known) >= PASSKEYS_MAX:
                return problem(422, words("passkey_many"))
            code = visit.form.get("code", "")
            # A code that was right is used up; beside a wrong password it is not even looked at.
            wrong = None if is_password else "password"
            if not wrong and not await second_factor.is_right(connection, desk.keyring, person, code, desk.clock()):
                wrong = "second factor"
            if wrong:
                # Whoever found an open browser has no more tries than at the login, and leaves the same trace.
                await record(connection, visit.who, "account.refused", reason=wrong)
                is_over = await sessions.count_failure(connection, session.token_sha256)
            else:
                await put_challenge(connection, session.token_sha256, challenge)
                handle = await select_handle(connection, person.id)
        if is_over:
            response: web.StreamResponse = see_other("/desk/login")
            desk.cookies.delete(response, sessions.SESSION_COOKIE)
            return response
        if wrong:
            return problem(422, words("password_old_wrong" if wrong == "password" else "code_wrong"))
        ids = [each.credential_id for each in known]
        return options(await asyncio.to_thread(creation_options, desk.relying_party, person, handle, challenge, ids))

    async def add(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/passkeys`: what the browser has made for this session's challenge."""
        del request
        desk, person, session, name = self._desk, visit.person, visit.session, _name(visit)
        assert session is not None  # noqa: S101 -- the door's
        if desk.relying_party is None:
            return await desk.page("desk_refused.html", visit, 404, why="nowhere")
        async with desk.borrow() as connection:
            challenge = await take_challenge(connection, session.token_sha256)
        if challenge is None or name is None:
            return await self._account.page(visit, 422, "passkey_over")
        try:
            answer = visit.form.get("credential", "")
            made = await asyncio.to_thread(made_passkey, desk.relying_party, answer, challenge)
        except ProofRefused:
            async with desk.borrow() as connection:
                await record(connection, visit.who, "account.refused", reason="passkey: proof")
            return await self._account.page(visit, 422, "passkey_unfit")
        async with desk.borrow() as connection, connection.transaction():
            # Beside a reset either it is added before, and removed with the others, or not at all.
            await hold(connection, person)
            added = await add_passkey(connection, person.id, name, made)
            if added is not None:
                await record(connection, visit.who, "passkey.add", str(added), after={"name": name})
        if added is None:
            return await self._account.page(visit, 422, "passkey_unfit")
        return see_other("/desk/account")

    async def remove(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/passkeys/{id}/remove`: it opens nothing more; the other sessions end."""
        given, session = request.match_info["id"], visit.session
        assert session is not None  # noqa: S101 -- the door's
        if not given.isascii() or not given.isdecimal() or len(given) > 9:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        async with self._desk.borrow() as connection, connection.transaction():
            name = await remove_passkey(connection, visit.person.id, int(given), session.token_sha256)
            if name is not None:
                await record(connection, visit.who, "passkey.remove", given, before={"name": name})
        return see_other("/desk/account")


def _name(visit: Visit) -> str | None:
    """What the person calls it, which the audit log keeps, and so no number; None for what is no name."""
    name = without_numbers_of_people(visit.form.get("name", "").strip())
    return name if name.isprintable() and 0 < len(name) <= NAME_LETTERS_MAX else None
