"""The OpenAPI document: which public addresses there are, what they are asked with, what they answer."""

from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, NamedTuple

from openapi_pydantic import OpenAPI
from openapi_pydantic.util import PydanticSchema, construct_open_api_with_schema_class
from pydantic import BaseModel

from service.live import schemas

SLUG = {"name": "slug", "in": "path", "required": True, "schema": {"type": "string"}, "description": "the campaign"}


def _query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


TIME = {"type": "string", "format": "date-time"}
SERIES = [
    SLUG,
    _query(
        "bucket",
        "width of a point; the first and the last may be cut by from and to",
        type="string",
        enum=["minute", "hour", "day"],
        default="hour",
    ),
    _query(
        "from",
        "inclusive; default: the campaign opens, or the first minute that has a figure of it, where that is earlier "
        "(money given back as of a time before the opening); taken down to its full minute",
        **TIME,
    ),
    _query(
        "to",
        "exclusive; default: the later of its end and now, or the end of the last minute that has a figure of it, "
        "where that is later (a carrier whose clock is ahead); taken up to its full minute",
        **TIME,
    ),
]
STREAM = [
    _query("campaign", "only this campaign; default: all open and upcoming ones", type="string"),
    _query("lastEventId", "ignored, as the header Last-Event-ID is: a stream begins with the newest", type="string"),
    _query(
        "state", "also events `state`: the age of the figures and the book's version", type="string", enum=["true"]
    ),
]


class About(NamedTuple):
    """What an address answers. Refusals are statuses beside those that every address has."""

    name: str
    sentence: str
    model: type[BaseModel] | None
    parameters: list[dict[str, Any]]
    refusals: tuple[int, ...]
    headers: tuple[str, ...]


TAGGED = ("ETag", "Vary", "Cache-Control")
AGED = (*TAGGED, "x-portal1400-age-seconds")
# tests hold it against the router, and against real answers.
ADDRESSES: dict[str, About] = {
    "/api/v1/campaigns": About("listCampaigns", "Every campaign", schemas.Campaigns, [], (), TAGGED),
    "/api/v1/campaigns/{slug}": About("getCampaign", "One campaign", schemas.CampaignObject, [SLUG], (404,), TAGGED),
    "/api/v1/campaigns/{slug}/totals": About(
        "getTotals", "A campaign's live totals", schemas.Totals, [SLUG], (404,), AGED
    ),
    "/api/v1/campaigns/{slug}/series": About(
        "getSeries", "Sums by time", schemas.SeriesObject, SERIES, (404,), TAGGED
    ),
    "/api/v1/campaigns/{slug}/corrections": About(
        "getCorrections", "Gifts moved to or from a campaign", schemas.CorrectionsObject, [SLUG], (404,), TAGGED
    ),
    "/api/v1/totals": About(
        "listTotals", "Every campaign's live totals, and what belongs to none", schemas.AllTotals, [], (), AGED
    ),
    "/api/v1/stream": About(
        "followTotals", "Live totals as server-sent events", None, STREAM, (404,), ("Cache-Control",)
    ),
}

HEADERS = {
    "ETag": "stands for the bytes of the answer, that of totals begins with their version; weak when compressed",
    "Vary": "the answer is compressed for those who take gzip",
    "Cache-Control": "how long the answer may be kept",
    "x-portal1400-age-seconds": "seconds since this server last read its database, or `unknown`",
    "Retry-After": "seconds after which to ask again",
    "Access-Control-Allow-Origin": "`*`: pages of any site may read every answer",
    "Access-Control-Expose-Headers": "the headers that they may read",
}
OF_ALL = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")

REFUSALS = {
    400: "A parameter cannot be used; the problem names it.",
    404: "There is no such campaign.",
    500: "A fault of ours, which was logged.",
    503: "The database is away, or the service is busy with gifts, or nothing of the campaign may be shown now: "
    "ask again after `Retry-After`.",
}
OF_EVERY_ADDRESS = (400, 500, 503)
NOT_MODIFIED = "Nothing has changed since the answer whose `ETag` was sent as `If-None-Match`."
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "the `ETag` of an answer that is at hand",
    "schema": {"type": "string"},
}

TAG = "Public API"
TOKEN = {"type": "http", "scheme": "bearer", "description": "a token made at /desk/tokens for the scope needed"}
EVENTS = """\
Server-sent events. At once and with each change an event `totals` for each campaign that is followed: `id` is its
version, `data` one totals object. With `state=true` first, with each new book, and when figures grow old or are read
again, an event `state`: `data` is one StreamState. Comments in between are signs of life. The stream ends with a
`retry:` line when the server is replaced, and a stream of totals alone when its campaign is withdrawn.\
"""
STREAM_EXAMPLE = (
    'retry: 2000\n\nevent: state\ndata: {"age_seconds":0.4,"book_version":7,"withdrawn":false}\n\n'
    'event: totals\nid: 1234\ndata: {"campaign":"vi-nguoi-ngheo-2026","version":1234, ...}\n\n'
)

DESCRIPTION = """\
Live totals of text donations. All money is integer VND. `pledged_vnd` is what donors pledged by text; it is not yet
confirmed by the carriers. Figures carry a version: equal version, equal bytes; a client ignores a lower version and
never adds. The header `x-portal1400-age-seconds` says how long ago this server last read its database.

Every public address answers `HEAD` (but the stream) and `OPTIONS` too, JSON whatever `Accept` asks for, gzip to
whoever takes it, and 304 to whoever sends the `ETag` of what it has. Those of the campaign desk take the methods
described and `OPTIONS`, and no answer of them is to be kept. Other methods are 405 with `Allow`. A refusal is
`application/problem+json` (RFC 9457) with a stable `type`, and is not to be kept.\
"""


NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


def document(public_url: str | None = None, more: Mapping[str, Any] = NOTHING_MORE) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a portal that the outside reaches at `public_url`.

    `more`: paths of those who log in, described where they are served.
    """
    described = OpenAPI.model_validate(
        {
            "info": {"title": "portal1400", "version": version("portal1400"), "description": DESCRIPTION},
            "servers": [{"url": public_url or "/"}],
            "paths": {**{path: {"get": _operation(about)} for path, about in ADDRESSES.items()}, **more},
            "components": {"securitySchemes": {"token": TOKEN}},
        }
    )
    made = construct_open_api_with_schema_class(described, [schemas.StreamState])
    result: dict[str, Any] = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    for path in result["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                # The model writes these defaults out, and OpenAPI 3.1 allows them only in other places.
                del parameter["allowEmptyValue"], parameter["allowReserved"]
    return result


def _operation(about: About) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": about.sentence, "headers": _headers(*about.headers)}
    if about.model is None:
        events = {"type": "string", "description": EVENTS}
        ok["content"] = {"text/event-stream": {"schema": events, "example": STREAM_EXAMPLE}}
    else:
        ok["content"] = {"application/json": {"schema": PydanticSchema(schema_class=about.model)}}
    responses = {"200": ok}
    parameters = list(about.parameters)
    if "ETag" in about.headers:
        parameters.append(IF_NONE_MATCH)
        responses["304"] = {"description": NOT_MODIFIED, "headers": _headers(*about.headers)}
    for status in sorted({*OF_EVERY_ADDRESS, *about.refusals}):
        retry = ("Retry-After",) if status == 503 else ()
        responses[str(status)] = {
            "description": REFUSALS[status],
            "headers": _headers("Cache-Control", *retry),
            "content": {"application/problem+json": {"schema": PydanticSchema(schema_class=schemas.Problem)}},
        }
    return {
        "operationId": about.name,
        "tags": [TAG],
        "summary": about.sentence,
        "parameters": parameters,
        "responses": responses,
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in (*OF_ALL, *names)}
