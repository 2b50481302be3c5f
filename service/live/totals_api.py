"""/api/v1: campaigns, totals and series as JSON. Totals are the board's own bytes; nothing is added up here."""

from collections.abc import Callable
from datetime import datetime, timedelta

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from campaigns.book.book import VIETNAM, Book, Campaign
from campaigns.totals.rollups import BUCKETS, TooManyPoints
from metrics.board import Board
from service.listeners.large_answer import LargeAnswers
from service.listeners.problems import problem
from service.live.series import POINTS_MAX, SeriesBusy, SeriesCache, rfc3339
from service.postgres.database import DatabaseAway

PUBLIC_HEADERS = {"Cache-Control": "no-cache"}
RETRY_BUSY_SECONDS = 10
"""About as long as the long series that wait take to be read."""


class ParameterRefused(Exception):
    """A query parameter cannot be used; `name` says which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


def routes(
    board: Board,
    book: Callable[[], Book],
    cache: SeriesCache,
    clock: Callable[[], datetime],
    count_refused: Callable[[str], None],
) -> list[web.RouteDef]:
    """The public JSON addresses. `count_refused` hears the surface of each refusal for lack of capacity."""
    large = LargeAnswers()

    def campaign_of(request: web.Request) -> Campaign:
        found = book().by_slug.get(request.match_info["slug"])
        if found is None:
            raise UnknownCampaign
        return found

    async def campaigns(request: web.Request) -> web.Response:
        _require_known(request, ())
        now = clock()
        return _json({"campaigns": [describe(each, now) for each in book().campaigns]})

    async def campaign(request: web.Request) -> web.Response:
        _require_known(request, ())
        return _json(describe(campaign_of(request), clock()))

    async def totals(request: web.Request) -> web.Response:
        _require_known(request, ())
        snapshot = board.get(campaign_of(request).slug)
        if snapshot is None:
            raise DatabaseAway("nothing was read yet")
        return _fresh(snapshot.body, board)

    async def all_totals(request: web.Request) -> web.Response:
        _require_known(request, ())
        if board.age_seconds is None:
            raise DatabaseAway("nothing was read yet")
        # What was withdrawn from the book is still on the board.
        known = book().by_slug
        bodies = b",".join(each.body for each in board.snapshots if each.totals.campaign in known)
        return _fresh(b'{"campaigns":[%b],"unallocated":%b}' % (bodies, board.unallocated), board)

    async def series(request: web.Request) -> web.StreamResponse:
        _require_known(request, ("bucket", "from", "to"))
        found = campaign_of(request)
        asked = request.query.get("bucket", "hour")
        bucket = next((each for each in BUCKETS if each == asked), None)
        if bucket is None:
            raise ParameterRefused("bucket", "want minute, hour or day")
        since = _floor(_moment(request, "from") or found.opens_at)
        until = _ceil(_moment(request, "to") or max(found.closes_at, clock()))
        if until < since:
            raise ParameterRefused("to", "lies before from")
        async with cache.answering(found.slug, (found.id, bucket, since, until)) as encoded:
            return await large.send(request, encoded.pieces, encoded.size, PUBLIC_HEADERS)

    addresses: list[tuple[str, Handler]] = [
        ("/api/v1/campaigns", campaigns),
        ("/api/v1/campaigns/{slug}", campaign),
        ("/api/v1/campaigns/{slug}/totals", totals),
        ("/api/v1/campaigns/{slug}/series", series),
        ("/api/v1/totals", all_totals),
    ]
    return [web.get(path, _answering(handler, count_refused)) for path, handler in addresses]


class UnknownCampaign(Exception):
    """No campaign has this slug."""


def _answering(handler: Handler, count_refused: Callable[[str], None]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
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
        except DatabaseAway:
            refusal = problem(503, "unavailable", "Unavailable", "the database is away; try again in a few seconds")
            refusal.headers["Retry-After"] = "5"
        refusal.headers.update(PUBLIC_HEADERS)
        return refusal

    return answer


def describe(campaign: Campaign, now: datetime) -> dict[str, object]:
    """A campaign as the contract's JSON object."""
    return {
        "slug": campaign.slug,
        "name_vi": campaign.name_vi,
        "name_en": campaign.name_en or campaign.name_vi,
        "category": campaign.category,
        "organiser": campaign.organiser,
        "state": campaign.state_at(now).value,
        "opens_at": rfc3339(campaign.opens_at),
        "closes_at": rfc3339(campaign.closes_at),
        "decisions": [
            {"decision": each.number, "opens_at": rfc3339(each.opens_at), "closes_at": rfc3339(each.closes_at)}
            for each in campaign.decisions
        ],
        "routes": [
            {
                "short_code": route.short_code,
                "keywords": list(route.keywords),
                "grammar": route.grammar.value,
                "unit_vnd": route.unit_vnd,
                "max_units": route.max_units,
            }
            for route in campaign.routes
        ],
        "goal_vnd": campaign.goal_vnd,
    }


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


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", headers=PUBLIC_HEADERS)


def _fresh(body: bytes, board: Board) -> web.Response:
    response = web.Response(body=body, content_type="application/json", headers=PUBLIC_HEADERS)
    age = board.age_seconds
    response.headers["x-portal1400-age-seconds"] = "unknown" if age is None else f"{age:.1f}"
    return response
