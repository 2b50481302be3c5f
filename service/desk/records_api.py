"""The audit log and the people by API: what `records.py` shows, as JSON."""

from typing import Any

import orjson
from aiohttp import web
from pydantic import AwareDatetime

from campaigns.audit.entries import ACTS, select_entries
from metrics.board import local
from service.desk.api import (
    PAGED,
    About,
    Answered,
    Cursor,
    bad_parameter,
    json_answer,
    page_of,
    query,
    reading,
)
from service.desk.bodies import BodyRefused
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.people import select_people
from service.desk.records import FILTERS, choice_of
from service.desk.roles import Act

DAY = {"type": "string", "pattern": "^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"}
AUDIT_QUERY = (
    query("who", "a login, or `os:` and an account of the machine", type="string", maxLength=100),
    query("act", "as `proposal.approved`", type="string", maxLength=100),
    query("subject", "what it was done to: a proposal's number, a login", type="string", maxLength=100),
    query("since", "a day of Vietnam", **DAY),
    query("until", "a day of Vietnam, inclusive", **DAY),
    *PAGED,
)


class PersonObject(Answered):
    """Somebody of the desk."""

    login: str
    name: str
    role: str
    organisations: list[str]
    created_at: AwareDatetime
    disabled_at: AwareDatetime | None


class PeopleObject(Answered):
    """Everybody, by login."""

    people: list[PersonObject]


class EntryObject(Answered):
    """An entry of the audit log."""

    id: int
    recorded_at: AwareDatetime
    who: str
    role: str | None
    address: str | None
    act: str
    subject: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str | None


class AuditPage(Answered):
    """The newest first."""

    entries: list[EntryObject]
    cursor: Cursor


def api_rows(desk: Desk) -> list[Row]:
    """The addresses."""
    rooms = RecordsApi(desk)
    return [
        Row("GET", "/audit", Act.SEE_AUDIT, reading(rooms.audit),
            About("listAudit", "What people did", AuditPage, AUDIT_QUERY)),
        Row("GET", "/people", Act.SEE_PEOPLE, reading(rooms.people),
            About("listPeople", "Who works at the desk", PeopleObject)),
    ]  # fmt: skip


class RecordsApi:
    """Handlers of the audit log and the people."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def audit(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/audit?who=&act=&subject=&since=&until=`: the newest first."""
        del visit
        limit, before = page_of(request)
        asked = {name: value for name, value in request.query.items() if name in FILTERS}
        for name, value in asked.items():
            # One by one, so that the answer names the one that cannot be used.
            try:
                choice_of({name: value})
            except BodyRefused:
                raise bad_parameter(name) from None
        if asked.get("act", "").strip() and asked["act"].strip() not in ACTS:
            raise bad_parameter("act")
        try:
            choice = choice_of(asked)._replace(before_id=before)
        except BodyRefused:
            # Each can be used, and both cannot: it ends before it begins.
            raise bad_parameter("until") from None
        async with self._desk.borrow() as connection:
            found = await select_entries(connection, choice, limit + 1)
        entries = [
            {
                **each._asdict(),
                "recorded_at": local(each.recorded_at),
                "before": None if each.before is None else orjson.loads(each.before),
                "after": None if each.after is None else orjson.loads(each.after),
            }
            for each in found[:limit]
        ]
        return json_answer({"entries": entries, "cursor": str(found[limit - 1].id) if len(found) > limit else None})

    async def people(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/people`."""
        del request, visit
        async with self._desk.borrow() as connection:
            found = await select_people(connection)
        return json_answer(
            {
                "people": [
                    {
                        "login": each.login, "name": each.name, "role": each.role.value,
                        "organisations": list(each.organisations), "created_at": local(each.created_at),
                        "disabled_at": None if each.disabled_at is None else local(each.disabled_at),
                    }
                    for each in found
                ]
            }
        )  # fmt: skip
