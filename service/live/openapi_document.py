"""The OpenAPI document: which public addresses there are, what they are asked with, what they answer."""

from importlib.metadata import version
from typing import Any

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
    _query("bucket", "width of a point", type="string", enum=["minute", "hour", "day"], default="hour"),
    _query("from", "inclusive; default: the campaign opens; taken down to its full minute", **TIME),
    _query("to", "exclusive; default: the later of the campaign's end and now; taken up to its full minute", **TIME),
]
STREAM = [
    _query("campaign", "only this campaign; default: all open and upcoming ones", type="string"),
    _query(
        "state", "also events `state`: the age of the figures and the book's version", type="string", enum=["true"]
    ),
]

# Address -> sentence, answer, parameters, statuses of refusals. tests hold it against the router.
ADDRESSES: dict[str, tuple[str, type[BaseModel] | None, list[dict[str, Any]], tuple[int, ...]]] = {
    "/api/v1/campaigns": ("Every campaign", schemas.Campaigns, [], (400,)),
    "/api/v1/campaigns/{slug}": ("One campaign", schemas.CampaignObject, [SLUG], (400, 404)),
    "/api/v1/campaigns/{slug}/totals": ("A campaign's live totals", schemas.Totals, [SLUG], (400, 404, 503)),
    "/api/v1/campaigns/{slug}/series": ("Sums by time", schemas.SeriesObject, SERIES, (400, 404, 503)),
    "/api/v1/totals": ("Every campaign's live totals, and what belongs to none", schemas.AllTotals, [], (400, 503)),
    "/api/v1/stream": ("Live totals as server-sent events", None, STREAM, (400, 404, 503)),
}

DESCRIPTION = """\
Live totals of text donations. All money is integer VND. `pledged_vnd` is what donors pledged by text; it is not yet
confirmed by the carriers. Figures carry a version: equal version, equal bytes; a client ignores a lower version and
never adds. The header `x-portal1400-age-seconds` says how long ago this server last read its database.\
"""


def document(public_url: str | None = None) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a portal that the outside reaches at `public_url`."""
    paths = {path: {"get": _operation(*about)} for path, about in ADDRESSES.items()}
    described = OpenAPI.model_validate(
        {
            "info": {"title": "portal1400", "version": version("portal1400"), "description": DESCRIPTION},
            "servers": [{"url": public_url or "/"}],
            "paths": paths,
        }
    )
    made = construct_open_api_with_schema_class(described)
    result: dict[str, Any] = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    for path in result["paths"].values():
        for parameter in path["get"].get("parameters", ()):
            # The model writes these defaults out, and OpenAPI 3.1 allows them only in other places.
            del parameter["allowEmptyValue"], parameter["allowReserved"]
    return result


def _operation(
    sentence: str, model: type[BaseModel] | None, parameters: list[dict[str, Any]], refusals: tuple[int, ...]
) -> dict[str, Any]:
    content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    if model is not None:
        content = {"application/json": {"schema": PydanticSchema(schema_class=model)}}
    responses: dict[str, Any] = {"200": {"description": sentence, "content": content}}
    for status in refusals:
        schema: Any = PydanticSchema(schema_class=schemas.Problem)
        responses[str(status)] = {
            "description": "a refusal that says what to do",
            "content": {"application/problem+json": {"schema": schema}},
        }
    return {"summary": sentence, "parameters": parameters, "responses": responses}
