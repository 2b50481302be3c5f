"""The desk's API as OpenAPI 3.1. Read when it is first asked for, with the library behind it."""

import re
from collections.abc import Sequence
from typing import Any

from openapi_pydantic.util import PydanticSchema

from service.desk.api import KEY_HEADER, About
from service.desk.door import Row
from service.live.schemas import Problem

REFUSALS = {
    400: "Something in the request cannot be used; the problem says what.",
    401: "No token, or none that is good any more.",
    403: "The token was not made for this act, or its owner's role may not do it.",
    404: "There is nothing of this name, or it is another organisation's.",
    409: "It cannot be done as things stand, and nothing was changed; `why` says why.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "The idempotency key came with another request before.",
    500: "A fault of ours, which was logged.",
    503: "The database is away, or the service is busy: ask again after `Retry-After`.",
}
OF_EVERY_ADDRESS = (400, 401, 403, 500, 503)
OF_WRITES = (409, 413, 415, 422)
TAG = "Campaign desk"
KEY_PARAMETER = {
    "name": KEY_HEADER,
    "in": "header",
    "required": True,
    "description": "a new one for each act: with the same one the same request does nothing a second time",
    "schema": {"type": "string", "pattern": "^[!-~]{1,100}$"},
}
ID = {"type": "string", "pattern": "^[0-9]{1,9}$"}


def described(prefix: str, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The paths of an OpenAPI document, by path and method."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        assert row.about is not None  # noqa: S101 -- a test sees that each has one
        paths.setdefault(prefix + row.path, {})[row.method.lower()] = _operation(row, row.about)
    return paths


def _operation(row: Row, about: About) -> dict[str, Any]:
    parameters = [dict(each) for each in about.parameters]
    for name in re.findall(r"{(\w+)}", row.path):
        if not any(each["name"] == name for each in parameters):
            schema = ID if name == "id" else {"type": "string"}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    ok: dict[str, Any] = {"description": about.sentence}
    if isinstance(about.answer, tuple):
        ok["content"] = {media_type: {"schema": {"type": "string"}} for media_type in about.answer}
    else:
        ok["content"] = {"application/json": {"schema": PydanticSchema(schema_class=about.answer)}}
    refusals = {*OF_EVERY_ADDRESS, *about.refusals, *(OF_WRITES if about.body else ())}
    operation: dict[str, Any] = {
        "operationId": about.name,
        "tags": [TAG],
        "summary": about.sentence,
        "description": f"Needs a token with the scope `{row.act}`.",
        "security": [{"token": []}],
        "parameters": parameters,
        "responses": {
            "200": ok,
            **{
                str(status): {
                    "description": REFUSALS[status],
                    "content": {"application/problem+json": {"schema": PydanticSchema(schema_class=Problem)}},
                }
                for status in sorted(refusals)
            },
        },
    }
    if about.takes_file:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if about.body is not None:
        parameters.append(dict(KEY_PARAMETER))
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": PydanticSchema(schema_class=about.body)}},
        }
    return operation
