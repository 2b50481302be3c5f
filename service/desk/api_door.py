"""The desk for programs: /api/v1/desk, by a token in the header and never by a cookie: no form can be forged."""

from collections.abc import Sequence

from aiohttp import web

from service.desk.desk import Desk
from service.desk.door import Guarded, Row, Visit, keep_to_ourselves, require_rows
from service.desk.limits import Crowded
from service.desk.roles import may
from service.desk.sessions import Session
from service.desk.tokens import owner_of, read_token
from service.listeners.peers import peer_of
from service.listeners.problems import problem
from service.postgres.database import DATABASE_ERRORS, is_away
from service.web.words import Language

RETRY_SECONDS = 5
NONE_GIVEN = "give a token: Authorization: Bearer p1400_..."
NONE_GOOD = "this is no token, or it has expired or was revoked: its owner makes another at /desk/tokens"
NAME_LETTERS_MAX = 40
"""Of a parameter that nobody knows, so much is told again."""


def api_application(desk: Desk, rows: Sequence[Row]) -> web.Application:
    """The desk's API as an application of its own. Raises RowMissing."""
    app = web.Application()
    for row in rows:
        app.router.add_route(row.method, row.path, TokenGuarded(desk, row).answer)
    app.on_response_prepare.append(keep_to_ourselves)
    require_rows(app)
    return app


class TokenGuarded(Guarded):
    """A row behind a token."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Let in whose token was made for the row's act, while the owner's role may do it."""
        try:
            response = await self._answered(request)
        except Crowded:
            response = problem(503, "busy", "Busy", "as many are at it as there is room for: try again soon")
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        except (TimeoutError, *DATABASE_ERRORS) as error:
            if not isinstance(error, TimeoutError) and not is_away(error):
                raise
            response = problem(503, "unavailable", "Unavailable", "the database is away; try again in a few seconds")
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        desk, row = self._desk, self.row
        digest = read_token(desk.keyring, request.headers.get("Authorization", ""))
        owner = None
        if digest is not None:
            async with desk.borrow() as connection:
                owner = await owner_of(connection, digest)
        if owner is None:
            refusal = problem(401, "unauthenticated", "Unauthenticated", NONE_GIVEN if digest is None else NONE_GOOD)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        person, scopes = owner
        if row.act not in scopes or not may(person.role, row.act):
            return problem(403, "forbidden", "Forbidden", f"this needs a token with the scope {row.act}")
        if (unknown := _unknown_parameter(request, row)) is not None:
            return unknown
        session = Session(b"", True, person)
        address = str(peer_of(request, desk.settings.trusted_proxies))
        return await row.handler(request, Visit(desk.words[Language.EN], address, session))


def _unknown_parameter(request: web.Request, row: Row) -> web.Response | None:
    """A refusal of what the address has no parameter for: its caller would take what it gets for what it asked."""
    described = () if row.about is None else row.about.parameters
    known = [str(each["name"]) for each in described if each["in"] == "query"]
    for name in request.query:
        if name not in known:
            wanted = f"known: {', '.join(known)}" if known else "this address takes none"
            reason = f"unknown; {wanted}"
        elif len(request.query.getall(name)) > 1:
            reason = "is given twice; give it once"
        else:
            continue
        name = name[:NAME_LETTERS_MAX]
        return problem(400, "bad-parameter", "Bad parameter", f"{name}: {reason}", parameter=name)
    return None
