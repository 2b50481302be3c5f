"""What the desk reads of requests: bodies and forms, each within a bound."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 200

WANTED = {
    "limit": "a number from 1 to 500",
    "cursor": "the `cursor` of the page before, of the same list",
    "since": "a day of Vietnam, as 2026-10-17; where times are taken one by RFC 3339; of the years 2000 to 2100",
    "until": "what `since` takes, and not before it",
    "account": "the code of an account that there is",
    "campaign": "the slug of a campaign that you may see",
    "reason": "one of the reasons for which a row is in this list",
    "act": "one of the acts that the audit log knows, as proposal.approved",
    "format": "csv or xlsx",
    "headings": "vi, en or keys",
    "lang": "vi or en",
    "ids": "ids of callbacks, with commas between, each once, 100 at most",
    "decision": "the number of the decision, of 1 to 100 letters",
    "decided_on": "the day of the decision, as 2026-10-17, and not one that has not come",
}
"""What a query parameter takes, for whoever gave something else."""


def unusable(name: str) -> str:
    """A sentence about a parameter that cannot be used; nothing of its value."""
    return f"{name} cannot be used: give {WANTED.get(name, 'at most 100 letters, none of them a control character')}"


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
