"""/api/v1: campaigns, totals and series as JSON. Totals are the board's own bytes; nothing is added up here."""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from campaigns.book.book import VIETNAM, Book, Campaign
from campaigns.totals.rollups import BUCKETS, Question, TooManyPoints
from metrics.board import Board, local
from service.listeners.entity import Entity, answer, digest_of
from service.listeners.large_answer import LargeAnswers
from service.listeners.problems import problem
from service.live.campaign_objects import CampaignObjects
from service.live.corrections import CorrectionsOf
from service.live.series import POINTS_MAX, SeriesBusy, SeriesCache
from service.postgres.database import DatabaseAway

PUBLIC_HEADERS = {
    # As of the pages: a cache in front takes the crowd, and nobody sees an old number.
    "Cache-Control": "public, max-age=1",
}
JSON = "application/json"
RETRY_BUSY_SECONDS = 10
"""About as long as the long series that wait take to be read."""
FIRST_SECONDS = 1.5
"""A campaign of the book is on the board by the next look, which comes within a second."""
AWAY_SECONDS = 5.0
"""So long without a look, the database is away."""


class ParameterRefused(Exception):
    """A query parameter cannot be used; `name` says which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


def routes(
    board: Board,
    book: Callable[[], Book],
    cache: SeriesCache,
    corrections_of: CorrectionsOf,
    clock: Callable[[], datetime],
    count_refused: Callable[[str], None],
) -> list[web.RouteDef]:
    """The public JSON addresses. `count_refused` hears the surface of each refusal for lack of capacity."""
    api = TotalsApi(board, book, cache, corrections_of, clock)
    addresses: list[tuple[str, Handler]] = [
        ("/api/v1/campaigns", api.campaigns),
        ("/api/v1/campaigns/{slug}", api.campaign),
        ("/api/v1/campaigns/{slug}/totals", api.totals),
        ("/api/v1/campaigns/{slug}/series", api.series),
        ("/api/v1/campaigns/{slug}/corrections", api.corrections),
        ("/api/v1/totals", api.all_totals),
    ]
    return [web.get(path, _answering(handler, count_refused)) for path, handler in addresses]


class TotalsApi:
    """The handlers of the public JSON addresses, and what they said last, encoded."""

    def __init__(
        self,
        board: Board,
        book: Callable[[], Book],
        cache: SeriesCache,
        corrections_of: CorrectionsOf,
        clock: Callable[[], datetime],
    ) -> None:
        self._board = board
        self._book = book
        self._cache = cache
        self._corrections_of = corrections_of
        self._clock = clock
        self._large = LargeAnswers()
        self._objects = CampaignObjects()
        self._newest: dict[str, tuple[Hashable, Entity]] = {}

    async def campaigns(self, request: web.Request) -> web.Response:
        """`GET /api/v1/campaigns`."""
        _require_known(request, ())
        return await answer(request, await self._objects.every(self._book(), self._clock()), PUBLIC_HEADERS)

    async def campaign(self, request: web.Request) -> web.Response:
        """`GET /api/v1/campaigns/{slug}`."""
        _require_known(request, ())
        found = self._campaign_of(request)
        return await answer(request, self._objects.one(self._book(), found, self._clock()), PUBLIC_HEADERS)

    async def totals(self, request: web.Request) -> web.Response:
        """`GET /api/v1/campaigns/{slug}/totals`. Raises DatabaseAway before it was read, NotPublished."""
        _require_known(request, ())
        slug = self._campaign_of(request).slug
        if self._board.age_seconds is None:
            raise DatabaseAway("nothing was read yet")
        snapshot = self._board.get(slug) or await self._board.first(slug, FIRST_SECONDS)
        if snapshot is None:
            if self._board.age_seconds >= AWAY_SECONDS:
                raise DatabaseAway("nothing of it was read yet")
            raise NotPublished
        version, body = snapshot.totals.version, snapshot.body

        def encoded() -> Entity:
            return Entity((body,), JSON, tag=f"{version}-{digest_of((body,))}")

        entity = self._remembered(snapshot.totals.campaign, version, encoded)
        return await answer(request, entity, _with_age(self._board))

    async def all_totals(self, request: web.Request) -> web.Response:
        """`GET /api/v1/totals`. Raises DatabaseAway where nothing was read yet."""
        _require_known(request, ())
        board, published = self._board, self._book()
        if board.age_seconds is None:
            raise DatabaseAway("nothing was read yet")

        def joined() -> Entity:
            # What was withdrawn from the book is still on the board.
            known = [each.body for each in board.snapshots if each.totals.campaign in published.by_slug]
            return Entity((b'{"campaigns":[', b",".join(known), b'],"unallocated":', board.unallocated, b"}"), JSON)

        entity = self._remembered("", (board.generation, published.version), joined)
        return await answer(request, entity, _with_age(board))

    async def series(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/v1/campaigns/{slug}/series`. Raises TooManyPoints, SeriesBusy."""
        _require_known(request, ("bucket", "from", "to"))
        found = self._campaign_of(request)
        asked = request.query.get("bucket", "hour")
        bucket = next((each for each in BUCKETS if each == asked), None)
        if bucket is None:
            raise ParameterRefused("bucket", "want minute, hour or day")
        begin, end = _moment(request, "from"), _moment(request, "to")
        since, until = _floor(begin or found.opens_at), _ceil(end or max(found.closes_at, self._clock()))
        if until < since and end is None:
            raise ParameterRefused("from", "lies after the end of what there is; give to as well")
        if until < since:
            raise ParameterRefused("to", "lies before from")
        # What is not asked for by a moment of its own leaves nothing out.
        question = Question(found.id, bucket, since, until, begin is None, end is None)
        async with self._cache.answering(found.slug, question) as encoded:
            return await self._large.send(request, encoded.entity, PUBLIC_HEADERS)

    async def corrections(self, request: web.Request) -> web.Response:
        """`GET /api/v1/campaigns/{slug}/corrections`."""
        _require_known(request, ())
        found = self._campaign_of(request)
        told = tuple(await self._corrections_of(found.id))

        def encoded() -> Entity:
            listed = [
                {
                    "number": each.number,
                    "at": local(each.at),
                    "messages": each.messages,
                    "units": each.units,
                    "vnd": each.vnd,
                    "other_campaign": each.other,
                    "ground": each.ground,
                }
                for each in told
            ]
            return Entity((orjson.dumps({"campaign": found.slug, "corrections": listed}),), JSON)

        entity = self._remembered(f"{found.slug}/corrections", told, encoded)
        return await answer(request, entity, PUBLIC_HEADERS)

    def _remembered(self, address: str, state: Hashable, make: Callable[[], Entity]) -> Entity:
        """What `address` says in this very state, encoded once however many ask."""
        known = self._newest.get(address)
        if known is None or known[0] != state:
            known = self._newest[address] = state, make()
        return known[1]

    def _campaign_of(self, request: web.Request) -> Campaign:
        found = self._book().by_slug.get(request.match_info["slug"])
        if found is None:
            raise UnknownCampaign
        return found


class UnknownCampaign(Exception):
    """No campaign has this slug."""


class NotPublished(Exception):
    """The database was read, and of this campaign nothing may be shown now: it is older than what was shown."""


def _answering(handler: Handler, count_refused: Callable[[str], None]) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except UnknownCampaign:
            refusal = problem(
                404, "unknown-campaign", "Unknown campaign", "no campaign has this slug; see /api/v1/campaigns"
            )
        except ParameterRefused as refused:
            detail = f"query parameter {refused.name}: {refused}"
            refusal = problem(400, "bad-parameter", "Bad parameter", detail, parameter=refused.name)
        except TooManyPoints:
            detail = f"more than {POINTS_MAX} points: ask for a shorter span by from and to, or a larger bucket"
            refusal = problem(400, "too-many-points", "Too many points", detail)
        except SeriesBusy:
            count_refused("series")
            refusal = problem(503, "busy", "Busy", "enough long series are being read and sent; try again soon")
            refusal.headers["Retry-After"] = str(RETRY_BUSY_SECONDS)
        except NotPublished:
            detail = "this campaign's totals are not published now, for example after a backup was brought back"
            refusal = problem(503, "unavailable", "Unavailable", f"{detail}; try again in a few seconds")
            refusal.headers["Retry-After"] = "5"
        except DatabaseAway:
            refusal = problem(503, "unavailable", "Unavailable", "the database is away; try again in a few seconds")
            refusal.headers["Retry-After"] = "5"
        return refusal

    return guarded


def _require_known(request: web.Request, known: tuple[str, ...]) -> None:
    for name in request.query:
        if name not in known:
            wanted = f"; known: {', '.join(known)}" if known else "; this address takes none"
            raise ParameterRefused(name[:40], f"unknown{wanted}")
        if len(request.query.getall(name)) > 1:
            raise ParameterRefused(name, "is given twice; give it once")


def _moment(request: web.Request, name: str) -> datetime | None:
    given = request.query.get(name)
    if given is None:
        return None
    try:
        # An unescaped + of the zone arrives as a blank.
        at = datetime.fromisoformat(given.strip().replace(" ", "+"))
    except ValueError:
        raise ParameterRefused(name, "want RFC 3339, for example 2026-10-17T20:00:00+07:00") from None
    at = at if at.tzinfo else at.replace(tzinfo=VIETNAM)
    if not 2000 <= at.year <= 2100:
        raise ParameterRefused(name, "lies outside the years 2000 to 2100")
    return at


def _floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _ceil(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + timedelta(minutes=1)


def _with_age(board: Board) -> dict[str, str]:
    age = board.age_seconds
    return {**PUBLIC_HEADERS, "x-portal1400-age-seconds": "unknown" if age is None else f"{age:.1f}"}
