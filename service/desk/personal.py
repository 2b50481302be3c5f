"""Personal data read at the desk: a number, a text, a callback as it came. Each reading asks for a reason and is an
entry of the audit log, written before anything is shown.
"""

import json
import re
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID
from xml.sax.saxutils import escape

import asyncpg
import orjson
from aiohttp import web

from campaigns.audit.entries import record
from campaigns.gifts.personal import KeptCallback, KeptMessage, select_kept_callback, select_kept_message
from campaigns.gifts.privacy import SEALED
from campaigns.gifts.quarantined import Actor, record_opened
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.roles import Act
from service.runtime.keyring import SealBroken
from service.runtime.phone_numbers import without_numbers_of_people
from service.simulator.conformance.masking import HIDDEN, secrets_of

REASON_LETTERS = range(5, 501)
# No attribute has a bare `<`: what is begun and never ended is followed up to the next one, and not to the end anew.
PASSWORD_ELEMENT = re.compile(
    r"(<(?:[\w.-]+:)?pass(?:word|wd)?(?:\s[^<>]*)?>)(?:<!\[CDATA\[.{0,300}?\]\]>|[^<])*", re.IGNORECASE | re.DOTALL
)


def rows(desk: Desk) -> list[Row]:
    """The addresses."""
    personal = Personal(desk)
    return [
        Row("GET", "/personal/{id}", Act.READ_PERSONS, personal.ask),
        Row("POST", "/personal/{id}", Act.READ_PERSONS, personal.show),
    ]


class Personal:
    """Handlers of what is about a person. `{id}` is the request that the lists show: a message's or a callback's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/personal/{id}`: what for? Nothing is opened."""
        return await self._page(request, visit)

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`POST /desk/personal/{id}`: `reason`, and `what` is read: `number` (with the text) or `callback`."""
        reason, what = visit.form.get("reason", "").strip(), visit.form.get("what", "")
        if what not in ("number", "callback"):
            return await self._page(request, visit, 422, "personal_what")
        if len(reason) not in REASON_LETTERS or not reason.isprintable():
            return await self._page(request, visit, 422, "personal_reason")
        asked = _id(request)
        if asked is None:
            return await self._page(request, visit)
        async with self._desk.borrow() as connection:
            message, callback = await _found(connection, asked)
            if message is None and callback is None:
                return await self._page(request, visit)
            # The entry stays for ever, also when the person whose number this is has been forgotten.
            reason = without_numbers_of_people(reason)
            async with connection.transaction():
                after = {"what": what, "table": callback.table if what == "callback" and callback else None}
                await record(connection, visit.who, "personal.read", str(asked), after=after, reason=reason)
                if what == "callback" and callback is not None and callback.table == "quarantine":
                    await record_opened(connection, asked, Actor("desk", visit.person.login, reason))
            shown = (
                await self._number(connection, message)
                if what == "number"
                else await self._callback(connection, callback, message.raw_id if message else asked)
            )
        return await self._page(request, visit, shown=shown)

    async def _page(
        self,
        request: web.Request,
        visit: Visit,
        status: int = 200,
        problem: str | None = None,
        shown: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        asked = _id(request)
        message, callback = None, None
        if asked is not None:
            async with self._desk.borrow() as connection:
                message, callback = await _found(connection, asked)
        if message is None and callback is None:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        return await self._desk.page(
            "desk_personal.html", visit, status, asked=asked, message=message, has_callback=callback is not None,
            problem=problem, shown=shown, form=visit.form,
        )  # fmt: skip

    async def _number(self, connection: asyncpg.Connection, message: KeptMessage | None) -> dict[str, str]:
        sealer = None
        if message is not None and message.day is not None:
            sealer = await self._desk.keyring.find_day(connection, message.day)
        if message is None or sealer is None or message.number_sealed is None or message.text_sealed is None:
            return {}
        try:
            opened = {
                "personal_number": sealer.unseal(message.number_sealed, b"message_person.msisdn:" + message.id.bytes),
                "personal_text": sealer.unseal(message.text_sealed, b"message_person.text:" + message.id.bytes),
            }
        except SealBroken:
            return {}
        return {key: value.decode() for key, value in opened.items()}

    async def _callback(
        self, connection: asyncpg.Connection, callback: KeptCallback | None, raw_id: UUID
    ) -> dict[str, str]:
        sealer = None if callback is None else await self._desk.keyring.find_day(connection, callback.day)
        if callback is None or sealer is None:
            return {}
        try:
            packed = sealer.unseal(callback.sealed, SEALED[callback.table].associated + raw_id.bytes)
        except SealBroken:
            return {}
        # As service/intake/packing.py writes it: a line about the request, then its body.
        head, _, body = packed.partition(b"\n")
        about: dict[str, Any] = orjson.loads(head)
        shown = {"personal_request": f"{about['method']} ?{about['query']}" if about["query"] else about["method"]}
        shown["personal_headers"] = "\n".join(f"{name}: {value}" for name, value in about["headers"].items())
        shown["personal_body"] = body.decode("utf-8", "backslashreplace")
        return {key: self._without_secrets(value) for key, value in shown.items() if value}

    def _without_secrets(self, text: str) -> str:
        """Without what proves a sender: some hubs show it in the query or the body, and people here need it for
        nothing. Those of now in every form that a callback may bear, and whatever stands in an element of that name.
        """
        secrets = {each for account in self._desk.accounts() for each in secrets_of(account.gateway.settings)}
        forms = {form for each in secrets if each for form in (
            each, quote(each, safe=""), quote_plus(each), escape(each), json.dumps(each)[1:-1],
        )}  # fmt: skip
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, HIDDEN)
        return PASSWORD_ELEMENT.sub(rf"\1{HIDDEN}", text)


async def _found(connection: asyncpg.Connection, asked: UUID) -> tuple[KeptMessage | None, KeptCallback | None]:
    message = await select_kept_message(connection, asked)
    return message, await select_kept_callback(connection, asked if message is None else message.raw_id)


def _id(request: web.Request) -> UUID | None:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        return None
