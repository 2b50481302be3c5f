"""What the desk reads of requests: bodies and forms, each within a bound."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 200


class BodyRefused(Exception):
    """A form that is too large, too slow or no form, or what was asked for holds what no database stores."""


def require_storable(*values: str) -> None:
    """Raises BodyRefused for a NUL, which no browser sends and PostgreSQL keeps in no text."""
    if any("\x00" in value for value in values):
        raise BodyRefused


async def read_body(request: web.BaseRequest, seconds: float, bytes_max: int = FORM_BYTES_MAX) -> bytes:
    """A whole body. Raises BodyRefused for one that is larger than `bytes_max`, or slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > bytes_max:
                    raise BodyRefused
    except TimeoutError:
        raise BodyRefused from None
    return bytes(body)


async def read_form(request: web.BaseRequest, seconds: float) -> Mapping[str, str]:
    """The fields of a form, the first of each name. Raises BodyRefused."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise BodyRefused
    body = await read_body(request, seconds)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=FIELDS_MAX
        )
    except ValueError:
        raise BodyRefused from None
    form: dict[str, str] = {}
    for name, value in pairs:
        require_storable(name, value)
        form.setdefault(name, value)
    return form
