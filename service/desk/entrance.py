"""The way in: password, second factor, and for a first login a password of one's own. And the way out."""

import hmac

import asyncpg
from aiohttp import web

from campaigns.audit.entries import Who, record
from service.desk import passwords, second_factor, sessions
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit, way_in
from service.desk.people import LOGIN_LETTERS_MAX, Person, PersonChanged, change_password, hold, select_people
from service.desk.roles import Act
from service.runtime.addresses import address, site_of
from service.runtime.keyring import SealBroken


def rows(desk: Desk) -> list[Row]:
    """The addresses of the way in and out."""
    entrance = Entrance(desk)
    return [
        Row("GET", "/login", Act.ENTER, entrance.show_login),
        Row("POST", "/login", Act.ENTER, entrance.log_in),
        Row("GET", "/password", Act.PROVE, entrance.show_password),
        Row("POST", "/password", Act.PROVE, entrance.choose_password),
        Row("GET", "/enrol", Act.PROVE, entrance.show_enrol),
        Row("POST", "/enrol", Act.PROVE, entrance.enrol),
        Row("GET", "/code", Act.PROVE, entrance.show_code),
        Row("POST", "/code", Act.PROVE, entrance.prove),
        Row("POST", "/logout", Act.PROVE, entrance.log_out),
    ]


class Entrance:
    """Handlers of the way in."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show_login(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/login`."""
        if visit.session is not None:
            return see_other("/desk" if visit.session.is_complete else way_in(visit.session.person))
        has_ended = bool(self._desk.cookies.get(request, sessions.SESSION_COOKIE))
        return await self._desk.page("desk_login.html", visit, login="", problem=None, has_ended=has_ended)

    async def log_in(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/login`: login and password; whoever is right gets a session that opens the next step only."""
        desk = self._desk
        # A letter more than a login has is none; what is kept of the tries is no longer than that.
        login = visit.form.get("login", "").strip().lower()[: LOGIN_LETTERS_MAX + 1]
        password = visit.form.get("password", "")
        device = desk.cookies.get(request, sessions.DEVICE_COOKIE)
        is_known = bool(device) and desk.tokens.is_device_of(device, login)
        site = site_of(address(visit.address))
        keys = [(desk.of_device, device)] if is_known else [(desk.of_site, site), (desk.of_login, (site, login))]
        for pace, key in keys:
            if wait := pace.take(key):
                return await self._too_often(visit, "desk_login.html", wait, login=login)
        async with desk.borrow() as connection:
            found = await select_people(connection, login) if login else []
        person = next((each for each in found if each.disabled_at is None), None)
        try:
            is_right = await desk.hasher.is_right(
                password[: passwords.LETTERS_MAX], person.password if person else None, is_known=is_known
            )
        except passwords.TooManyWaiting:
            return await self._too_often(visit, "desk_login.html", 5, status=503, login=login)
        if person is None or not is_right or len(password) > passwords.LETTERS_MAX:
            if person is not None:
                async with desk.borrow() as connection:
                    await record(connection, Who(person.login, person.role, visit.address), "login.refused")
            return await desk.page("desk_login.html", visit, 422, login=login, problem="login_wrong")
        if person.one_time_until is not None and person.one_time_until <= desk.clock():
            return await desk.page("desk_login.html", visit, 422, login=login, problem="one_time_over")
        return await self._begin(visit, person, way_in(person), is_complete=False)

    async def show_password(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/password`: at the first login."""
        del request
        if visit.person.one_time_until is None:
            return see_other("/desk")
        return await self._desk.page("desk_password.html", visit, problem=None)

    async def choose_password(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/password`: a password of one's own instead of the one-time password."""
        del request
        desk, person = self._desk, visit.person
        if person.one_time_until is None:
            return see_other("/desk")
        new = visit.form.get("new", "")
        try:
            if not hmac.compare_digest(new.encode(), visit.form.get("again", "").encode()):
                raise passwords.PasswordUnfit("password_differs")
            await desk.hasher.require_fit(new, person.login, person.name)
            if await desk.hasher.is_right(new, person.password, is_known=True):
                raise passwords.PasswordUnfit("password_same")
            phc = await desk.hasher.hash(new)
        except passwords.PasswordUnfit as unfit:
            return await desk.page("desk_password.html", visit, 422, problem=unfit.key)
        except passwords.TooManyWaiting:
            return await self._too_often(visit, "desk_password.html", 5, status=503)
        async with desk.borrow() as connection, connection.transaction():
            await change_password(connection, visit.who, person, phc)
        person = person._replace(password=phc)
        is_complete = bool(visit.session and visit.session.is_complete)
        goes_to = "/desk/code" if person.is_enrolled else "/desk/enrol"
        return await self._begin(visit, person, "/desk" if is_complete else goes_to, is_complete=is_complete)

    async def show_enrol(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/enrol`: a new secret as a picture and as letters."""
        del request
        if visit.session is not None and visit.session.is_complete:
            return see_other("/desk")
        if way_in(visit.person) != "/desk/enrol":
            return see_other(way_in(visit.person))
        return await self._enrolling(visit, second_factor.new_secret(), None)

    async def enrol(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/enrol`: the first code of that secret; shows the recovery codes, once."""
        del request
        desk, person, session = self._desk, visit.person, visit.session
        assert session is not None  # noqa: S101 -- the door's
        if session.is_complete or way_in(person) != "/desk/enrol":
            return see_other("/desk" if session.is_complete else way_in(person))
        try:
            sealed = bytes.fromhex(visit.form.get("sealed", ""))
            secret = desk.keyring.desk.unseal(sealed, b"enrol:" + session.token_sha256).decode()
        except (SealBroken, ValueError):
            return see_other("/desk/enrol")
        step = second_factor.step_of(secret, visit.form.get("code", ""), desk.clock())
        if step is None:
            return await self._enrolling(visit, secret, "code_wrong", 422)
        async with desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            codes = await second_factor.enrol(connection, desk.keyring, person, secret, step)
            await record(connection, visit.who, "user.second_factor", person.login)
            token = await self._let_in(connection, visit)
        response = await desk.page("desk_recovery.html", visit, codes=codes)
        return self._with_cookies(response, token, person)

    async def show_code(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/code`."""
        del request
        if visit.session is not None and visit.session.is_complete:
            return see_other("/desk")
        if way_in(visit.person) != "/desk/code":
            return see_other(way_in(visit.person))
        return await self._desk.page("desk_code.html", visit, problem=None)

    async def prove(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/code`: a code of the telephone, or a recovery code."""
        desk, person, session = self._desk, visit.person, visit.session
        assert session is not None  # noqa: S101 -- the door's
        if session.is_complete or way_in(person) != "/desk/code":
            return see_other("/desk" if session.is_complete else way_in(person))
        device = desk.cookies.get(request, sessions.DEVICE_COOKIE)
        is_known = bool(device) and desk.tokens.is_device_of(device, person.login)
        pace, key = (desk.of_device, device) if is_known else (desk.of_code, person.id)
        if wait := pace.take(key):
            return await self._too_often(visit, "desk_code.html", wait)
        async with desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            given = visit.form.get("code", "")
            if await second_factor.is_right(connection, desk.keyring, person, given, desk.clock()):
                await record(connection, visit.who, "login")
                token = await self._let_in(connection, visit)
            else:
                await record(connection, visit.who, "login.refused", reason="second factor")
                token = None
                is_over = await sessions.count_failure(connection, session.token_sha256)
        if token is not None:
            pace.forgive(key)
            return self._with_cookies(see_other("/desk"), token, person)
        if is_over:
            response: web.StreamResponse = see_other("/desk/login")
            desk.cookies.delete(response, sessions.SESSION_COOKIE)
            return response
        return await desk.page("desk_code.html", visit, 422, problem="code_wrong")

    async def log_out(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/logout`: this browser's session ends."""
        del request
        assert visit.session is not None  # noqa: S101 -- the door's
        async with self._desk.borrow() as connection, connection.transaction():
            await sessions.end(connection, visit.session.token_sha256)
            await record(connection, visit.who, "logout")
        response = see_other("/desk/login")
        self._desk.cookies.delete(response, sessions.SESSION_COOKIE)
        return response

    async def _begin(self, visit: Visit, person: Person, goes_to: str, *, is_complete: bool) -> web.StreamResponse:
        async with self._desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            token = await sessions.begin(
                connection, self._desk.tokens, person.id, visit.address, is_complete=is_complete
            )
        response = see_other(goes_to)
        self._desk.cookies.set(response, sessions.SESSION_COOKIE, token)
        return response

    async def _let_in(self, connection: asyncpg.Connection, visit: Visit) -> str:
        """A whole session in the place of the half one: whoever knew the token of that knows nothing of this.

        Call it in a transaction that holds the person. Raises PersonChanged where the half one has ended meanwhile.
        """
        assert visit.session is not None  # noqa: S101 -- the door's
        if not await sessions.end(connection, visit.session.token_sha256):
            raise PersonChanged
        return await sessions.begin(connection, self._desk.tokens, visit.person.id, visit.address, is_complete=True)

    def _with_cookies(self, response: web.Response, token: str, person: Person) -> web.StreamResponse:
        cookies = self._desk.cookies
        cookies.set(response, sessions.SESSION_COOKIE, token)
        device = self._desk.tokens.device(person.login)
        cookies.set(response, sessions.DEVICE_COOKIE, device, sessions.DEVICE_DAYS * 86_400)
        return response

    async def _enrolling(
        self, visit: Visit, secret: str, problem: str | None, status: int = 200
    ) -> web.StreamResponse:
        assert visit.session is not None  # noqa: S101 -- the door's
        sealed = self._desk.keyring.desk.seal(secret.encode(), b"enrol:" + visit.session.token_sha256).hex()
        letters = " ".join(secret[place : place + 4] for place in range(0, len(secret), 4))
        picture = second_factor.picture_of(secret, visit.person.login)
        return await self._desk.page(
            "desk_enrol.html", visit, status, sealed=sealed, letters=letters, picture=picture, problem=problem
        )

    async def _too_often(
        self, visit: Visit, template: str, wait_seconds: int, status: int = 429, **values: str
    ) -> web.StreamResponse:
        response = await self._desk.page(
            template, visit, status, problem="too_often", wait=visit.words.ago(wait_seconds), **values
        )
        response.headers["Retry-After"] = str(wait_seconds)
        return response
