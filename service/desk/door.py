"""The door of the desk: who comes, whether the form is ours, and whether the row of the address lets them in.

Every address is a `Row`, and a row names its act: an address without one is refused at the start.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from campaigns.audit.entries import Who
from service.desk import sessions
from service.desk.bodies import BodyRefused, read_form, require_storable
from service.desk.desk import Desk, see_other
from service.desk.limits import Crowded, Room
from service.desk.people import Person, PersonChanged
from service.desk.returning import LABELS, to_login, to_remembered, typed_in
from service.desk.roles import Act, Role, may
from service.desk.uploads import UPLOAD_SECONDS, UPLOADS_AT_ONCE, read_upload
from service.listeners.peers import peer_of
from service.postgres.database import DATABASE_ERRORS, is_away
from service.runtime.phone_numbers import without_numbers_of_people
from service.web.words import Language, Words

if TYPE_CHECKING:
    from service.desk.api import About

REASON_LETTERS_MAX = 500
AWAY_SECONDS = 5
BUSY_SECONDS = 60
"""When to come again: where the database is away, and where there is no room."""
LANGUAGE_COOKIE = "portal1400-language"
LANGUAGE_SECONDS = 365 * 86_400
NO_FORM: Mapping[str, str] = MappingProxyType({})
CROSS_ORIGIN_HEADERS = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
"""What every answer of the public side has, and none of the desk's may have."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of the desk: by whom, in which words, with which form."""

    words: Words
    address: str
    session: sessions.Session | None = None
    csrf: str = ""
    form: Mapping[str, str] = field(default_factory=lambda: NO_FORM)
    query: tuple[tuple[str, str], ...] = ()
    upload: bytes = b""
    """The file that came with the form, where the row takes one."""

    @property
    def reason(self) -> str:
        """Why, as the form says it: one line, without marks that turn or hide what is read beside it in the log.

        Nor does it hold a number of a person: it stays for ever.
        """
        given = self.form.get("reason", "")[: 10 * REASON_LETTERS_MAX]
        shown = "".join(letter if letter.isprintable() else " " for letter in given)
        # Looked through before it is cut, which may leave nine digits of a number at its end.
        return without_numbers_of_people(" ".join(shown.split()))[:REASON_LETTERS_MAX]

    def query_in(self, language: str) -> str:
        """What leads to this page in another language: what it was asked for stays."""
        return urlencode([*((name, value) for name, value in self.query if name != "lang"), ("lang", language)])

    @property
    def person(self) -> Person:
        """Who has logged in. Not for the acts of strangers."""
        assert self.session is not None  # noqa: S101 -- the door let nobody in without one
        return self.session.person

    @property
    def who(self) -> Who:
        """Of the audit log."""
        return Who(self.person.login, self.person.role, self.address)

    @property
    def organisations(self) -> tuple[str, ...] | None:
        """Those whose campaigns this person sees; None: all of them."""
        return self.person.organisations if self.person.role is Role.MANAGER else None

    def sees(self, organisation: str) -> bool:
        """Whether what is this organisation's is this person's to see: a manager sees nobody else's."""
        return self.person.role is not Role.MANAGER or organisation in self.person.organisations

    def may(self, act: Act) -> bool:
        """Whether this person may do `act`; for what is shown, not for what is let in."""
        session = self.session
        return session is not None and session.is_complete and may(session.person.role, act)


Handler = Callable[[web.Request, Visit], Awaitable[web.StreamResponse]]


class Row(NamedTuple):
    """An address of the desk: what it stands for and what answers. `about` describes one of the API."""

    method: str
    path: str
    act: Act
    handler: Handler
    about: "About | None" = None
    file_bytes_max: int = 0
    """A form may bring one file of so many bytes."""


class RowMissing(Exception):
    """An address of the desk stands for no act; the sentence names it."""


def application(desk: Desk, rows: Sequence[Row]) -> web.Application:
    """The desk as an application of its own below the public one. Raises RowMissing."""
    app = web.Application()
    for row in rows:
        guarded = Guarded(desk, row).answer
        if row.method == "GET":
            app.router.add_get(row.path, guarded)
        else:
            app.router.add_route(row.method, row.path, guarded)
    pages = {row.path for row in rows if row.method == "GET"}
    for row in rows:
        if row.path not in pages:
            back = Row("GET", row.path, row.act, _back(row.path, pages))
            app.router.add_get(back.path, Guarded(desk, back).answer)
    nowhere = Row("*", "/{tail:.*}", Act.ENTER, _nowhere(desk))
    app.router.add_route("*", nowhere.path, Guarded(desk, nowhere).answer)
    app.on_response_prepare.append(keep_to_ourselves)
    require_rows(app)
    return app


def require_rows(app: web.Application) -> None:
    """Raises RowMissing for an address that did not come with a row."""
    for route in app.router.routes():
        if not isinstance(getattr(route.handler, "__self__", None), Guarded):
            place = route.resource.canonical if route.resource else "?"
            raise RowMissing(f"{route.method} {place} has no row: give it an act of service/desk/roles.py")


class Guarded:
    """A row behind the door; `answer` is what aiohttp calls."""

    def __init__(self, desk: Desk, row: Row) -> None:
        self._desk = desk
        self.row = row
        self._uploads = Room(UPLOADS_AT_ONCE)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Let in whom the row lets in, and answer everybody."""
        visit = Visit(
            _words(self._desk, request),
            str(peer_of(request, self._desk.settings.trusted_proxies)),
            query=tuple(request.query.items()),
        )
        try:
            response = await self._answer(request, visit)
        except BodyRefused:
            response = await self._desk.page("desk_refused.html", visit, 400, why="form")
        except PersonChanged:
            response = see_other("/desk/login")
        except Crowded:
            response = await self._later(visit, "busy", BUSY_SECONDS)
        except TimeoutError:
            response = await self._later(visit, "away", AWAY_SECONDS)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            response = await self._later(visit, "away", AWAY_SECONDS)
        if request.query.get("lang") in set(Language):
            response.set_cookie(
                LANGUAGE_COOKIE, request.query["lang"], max_age=LANGUAGE_SECONDS, samesite="Lax", path="/desk"
            )
        return response

    async def _answer(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        desk, row = self._desk, self.row
        if request.method == "POST" and not is_from_here(request, desk.origin):
            return await desk.page("desk_refused.html", visit, 403, why="origin")
        require_storable(request.path, *request.query.keys(), *request.query.values())
        digest = desk.tokens.read(desk.cookies.get(request, sessions.SESSION_COOKIE))
        session = None
        if digest is not None:
            async with desk.borrow() as connection:
                session = await sessions.find(connection, digest)
        csrf = "" if session is None else desk.tokens.csrf(session.token_sha256)
        visit = replace(visit, session=session, csrf=csrf)
        if row.act is not Act.ENTER:
            if session is None:
                return await self._lost(request, visit, had_session=digest is not None)
            if not session.is_complete and row.act is not Act.PROVE:
                return see_other(way_in(session.person))
            if not may(session.person.role, row.act):
                return await desk.page("desk_refused.html", visit, 403, why="right")
            if session.is_complete and (place := to_remembered(desk, request)):
                return place
        if request.method == "POST":
            seconds = desk.settings.body_read_seconds
            if not row.file_bytes_max:
                return await self._sent(request, visit, await read_form(request, seconds))
            with self._uploads.entered():
                form, upload = await read_upload(request, max(seconds, UPLOAD_SECONDS), row.file_bytes_max)
                return await self._sent(request, visit, form, upload)
        return await row.handler(request, visit)

    async def _sent(
        self, request: web.Request, visit: Visit, form: Mapping[str, str], upload: bytes = b""
    ) -> web.StreamResponse:
        given = form.get("csrf", "").encode()
        if visit.session is not None and not hmac.compare_digest(given, visit.csrf.encode()):
            return await self._again(request, visit, "token", {} if self.row.file_bytes_max else form)
        return await self.row.handler(request, replace(visit, form=form, upload=upload))

    async def _lost(self, request: web.Request, visit: Visit, *, had_session: bool) -> web.StreamResponse:
        """Whose session has ended logs in first; a form that was on its way is kept in the page."""
        if request.method == "POST" and had_session and not self.row.file_bytes_max:
            form = await read_form(request, self._desk.settings.body_read_seconds)
            if typed_in(self.row.act, form):
                return await self._again(request, visit, "ended", form)
        return to_login(self._desk, request)

    async def _again(
        self, request: web.Request, visit: Visit, why: str, form: Mapping[str, str]
    ) -> web.StreamResponse:
        """A form without a token of this session: nothing is done by it, and what was typed may be sent again."""
        typed = typed_in(self.row.act, form)
        if not typed:
            return await self._desk.page("desk_refused.html", visit, 403, why=why)
        return await self._desk.page(
            "desk_again.html", visit, 403, why=why, typed=typed, labels=LABELS, action=request.path
        )

    async def _later(self, visit: Visit, why: str, seconds: int) -> web.Response:
        response = await self._desk.page("desk_refused.html", visit, 503, why=why)
        response.headers["Retry-After"] = str(seconds)
        return response


def way_in(person: Person) -> str:
    """Where whoever has shown a password goes next."""
    if person.one_time_until is not None:
        return "/desk/password"
    return "/desk/code" if person.is_enrolled else "/desk/enrol"


def is_from_here(request: web.BaseRequest, origin: str | None) -> bool:
    """Whether a browser says that a page of ours sends this (Fetch Metadata; Origin, RFC 6454). Silence is no."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return False
    given = request.headers.get("Origin")
    if given is None:
        return site is not None
    try:
        parts = urlsplit(given)
    except ValueError:
        return False
    return given == origin or (parts.scheme in ("http", "https") and parts.netloc == request.host != "")


def _words(desk: Desk, request: web.BaseRequest) -> Words:
    asked = request.query.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    return desk.words[Language.EN if asked == Language.EN else Language.VI]


def _back(path: str, pages: Set[str]) -> Handler:
    """From where a form was answered, by a reload or the link to the other language, to the page that has it."""
    steps = path.split("/")
    up = next(number for number in range(1, len(steps)) if "/".join(steps[:-number]) in pages)

    async def back(request: web.Request, visit: Visit) -> web.StreamResponse:
        del visit
        page = "/".join(request.rel_url.raw_path.split("/")[:-up])
        return see_other(page + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""))

    return back


def _nowhere(desk: Desk) -> Handler:
    async def nowhere(request: web.Request, visit: Visit) -> web.StreamResponse:
        del request
        return await desk.page("desk_refused.html", visit, 404, why="nowhere")

    return nowhere


async def keep_to_ourselves(_request: web.Request, response: web.StreamResponse) -> None:
    """Let no page of another site read what the desk answers."""
    for name in CROSS_ORIGIN_HEADERS:
        response.headers.popall(name, None)
