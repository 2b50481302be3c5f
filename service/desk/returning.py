"""Whoever has to log in loses nothing by it: a form goes on with what was typed, a link leads where it led."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from service.desk.desk import Desk, see_other
from service.desk.proposal_forms import FIELDS
from service.desk.roles import Act

PLACE_COOKIE = "portal1400-place"
PLACE_SECONDS = 600
"""As long as a login may take for the link before it to be remembered."""
PLACES = re.compile(
    r"/desk/(?:(?:proposals|reattributions|lists|rows|personal)/[a-z0-9-]{1,64}"
    r"|proposals|reattributions|lists|quarantine|charts|exports|audit|people|account|tokens)"
)
"""Pages alone, and none of another site: a file would come down beside the page of the login."""
UNSAID = frozenset({Act.ENTER, Act.PROVE, Act.OWN_ACCOUNT})
"""What is typed for these is a password or a code: it goes into no page."""
LABELS: Mapping[str, str] = MappingProxyType(
    {
        **{each: f"field_{each}" for each in FIELDS},
        "reason": "audit_reason", "text": "propose_text", "texts": "try_texts", "code": "field_short_code",
        "account": "list_account", "ids": "move_ids", "taker": "move_taker", "ground": "move_ground_public",
        "note": "row_note",
    }
)  # fmt: skip
"""What the fields are called in which somebody types; what else a form carries was not typed."""


def to_login(desk: Desk, request: web.BaseRequest) -> web.Response:
    """To the way in; the page that was asked for is remembered in the browser."""
    response = see_other("/desk/login")
    if request.method == "GET" and PLACES.fullmatch(request.path, endpos=200):
        desk.cookies.set(response, PLACE_COOKIE, request.path, PLACE_SECONDS)
    return response


def to_remembered(desk: Desk, request: web.BaseRequest) -> web.Response | None:
    """From the first page to the one that was asked for before the login, once."""
    place = desk.cookies.get(request, PLACE_COOKIE)
    if request.path != "/desk" or not place:
        return None
    response = see_other(place if PLACES.fullmatch(place) else "/desk")
    desk.cookies.delete(response, PLACE_COOKIE)
    return response


def typed_in(act: Act, form: Mapping[str, str]) -> dict[str, str]:
    """What of a form may be shown to who sent it, to be sent again; empty where there is nothing to lose."""
    typed = {name: value for name, value in form.items() if name != "csrf"}
    return typed if act not in UNSAID and any(value.strip() for value in typed.values()) else {}
