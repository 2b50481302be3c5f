"""One's own account: password, where one is logged in, recovery codes, log-out everywhere."""

import hmac

from aiohttp import web

from campaigns.audit.entries import record
from service.desk import passkeys, passwords, second_factor, sessions
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.people import change_password, end_everywhere
from service.desk.roles import Act

CHANGED_COOKIE = "portal1400-changed"
"""In a browser in which the password was changed, until its page has said what that means."""
CHANGED_SECONDS = 60


def rows(desk: Desk) -> list[Row]:
    """The addresses of one's own account."""
    account = Account(desk)
    return [
        Row("GET", "/account", Act.OWN_ACCOUNT, account.show),
        Row("POST", "/account/password", Act.OWN_ACCOUNT, account.change_password),
        Row("POST", "/account/recovery", Act.OWN_ACCOUNT, account.renew_recovery),
        Row("POST", "/account/everywhere", Act.OWN_ACCOUNT, account.log_out_everywhere),
    ]


class Account:
    """Handlers of one's own account."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/account`; after a change of password it says once what that has ended, and what not."""
        is_changed = bool(self._desk.cookies.get(request, CHANGED_COOKIE))
        response = await self.page(visit, is_changed=is_changed)
        if is_changed:
            self._desk.cookies.delete(response, CHANGED_COOKIE)
        return response

    async def change_password(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/password`: every session ends, and this browser begins a new one."""
        del request
        desk, person = self._desk, visit.person
        new = visit.form.get("new", "")
        if desk.of_device.take(("own", person.id)):
            return await self.page(visit, 429, "too_soon")
        try:
            if not hmac.compare_digest(new.encode(), visit.form.get("again", "").encode()):
                raise passwords.PasswordUnfit("password_differs")
            await desk.hasher.require_fit(new, person.login, person.name)
            old = visit.form.get("old", "")[: passwords.LETTERS_MAX]
            if not await desk.hasher.is_right(old, person.password, is_known=True):
                async with desk.borrow() as connection:
                    await record(connection, visit.who, "account.refused", reason="password")
                raise passwords.PasswordUnfit("password_old_wrong")
            phc = await desk.hasher.hash(new)
        except passwords.PasswordUnfit as unfit:
            return await self.page(visit, 422, unfit.key)
        except passwords.TooManyWaiting:
            return await self.page(visit, 503, "too_soon")
        async with desk.borrow() as connection, connection.transaction():
            await change_password(connection, visit.who, person, phc)
            token = await sessions.begin(connection, desk.tokens, person.id, visit.address, is_complete=True)
        response = see_other("/desk/account")
        desk.cookies.set(response, sessions.SESSION_COOKIE, token)
        # Passkeys stay: the page says which, once.
        desk.cookies.set(response, CHANGED_COOKIE, "1", CHANGED_SECONDS)
        return response

    async def renew_recovery(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/recovery`: new recovery codes for a code of the telephone; the old ones end."""
        del request
        desk, person = self._desk, visit.person
        assert visit.session is not None  # noqa: S101 -- the door's
        if desk.of_device.take(("own", person.id)):
            return await self.page(visit, 429, "too_soon")
        codes, is_over = None, False
        async with desk.borrow() as connection, connection.transaction():
            code = visit.form.get("code", "")
            if await second_factor.is_right(connection, desk.keyring, person, code, desk.clock()):
                codes = await second_factor.renew_recovery_codes(connection, desk.keyring, person.id)
                await record(connection, visit.who, "user.recovery_codes", person.login)
            else:
                # Whoever found an open browser has no more tries than at the login, and leaves the same trace.
                await record(connection, visit.who, "account.refused", reason="second factor")
                is_over = await sessions.count_failure(connection, visit.session.token_sha256)
        if is_over:
            response: web.StreamResponse = see_other("/desk/login")
            desk.cookies.delete(response, sessions.SESSION_COOKIE)
            return response
        if codes is None:
            return await self.page(visit, 422, "code_wrong")
        return await desk.page("desk_recovery.html", visit, codes=codes)

    async def log_out_everywhere(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/account/everywhere`: all sessions end and all tokens are revoked."""
        del request
        async with self._desk.borrow() as connection, connection.transaction():
            await end_everywhere(connection, visit.person.id)
            await record(connection, visit.who, "logout.everywhere")
        response = see_other("/desk/login")
        self._desk.cookies.delete(response, sessions.SESSION_COOKIE)
        return response

    async def page(
        self, visit: Visit, status: int = 200, problem: str | None = None, *, is_changed: bool = False
    ) -> web.StreamResponse:
        """The page of one's own account, with a sentence about what went wrong."""
        assert visit.session is not None  # noqa: S101 -- the door's
        async with self._desk.borrow() as connection:
            found = await sessions.select_sessions_of(connection, visit.session)
            codes = await second_factor.count_recovery_codes(connection, visit.person.id)
            keys = await passkeys.select_passkeys(connection, visit.person.id)
        return await self._desk.page(
            "desk_account.html", visit, status, sessions=found, codes=codes, passkeys=keys, problem=problem,
            is_changed=is_changed,
            hours=sessions.HOURS_MAX, minutes=sessions.IDLE_MINUTES,
        )  # fmt: skip
