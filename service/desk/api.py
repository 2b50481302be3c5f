"""What the addresses of the desk's API share: bodies that are read strictly, and writes that happen once."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import asyncpg
import orjson
from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from campaigns.book.recording import IntakeBusy
from service.desk.bodies import BodyRefused, read_body, unusable
from service.desk.desk import Desk
from service.desk.door import Handler, Visit
from service.listeners.problems import problem
from service.runtime.phone_numbers import without_numbers_of_people

KEY_HEADER = "Idempotency-Key"
KEY = re.compile(r"[!-~]{1,100}")
RETRY_SECONDS = 5
PAGE_ROWS = 50
PAGE_ROWS_MAX = 500
ERRORS_MAX = 20


class Asked(BaseModel):
    """A request's body: nothing in it that is not known."""

    # Built at its first use: no start waits for what it may not need.
    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True)


class Answered(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(defer_build=True, extra="forbid")


Cursor = Annotated[str | None, Field(description="give it as `cursor` for the next page; null at the end")]
LINE = r"^[^\x00-\x1f\x7f]*$"
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE)]
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
SEEN_LINE = rf"^[^{_UNSEEN}]*$"
"""What people read beside other things: without marks that turn, hide or break what is around them."""
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        pattern=rf"^[^{_UNSEEN}]*[^ {_UNSEEN}]$",
        description="why; it stays for ever, so what is shaped like a phone number is left out of it",
    ),
    AfterValidator(without_numbers_of_people),
]


class About(NamedTuple):
    """How an address is described. `refusals` are those beside what every address has.

    `answer` is an object's model, or the media types of a file.
    """

    name: str
    sentence: str
    answer: type[BaseModel] | tuple[str, ...]
    parameters: Sequence[Mapping[str, Any]] = ()
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()
    takes_file: bool = False
    """Its body is a file as it is, in the place of a JSON object."""


class ActRefused(Exception):
    """A write that cannot be done: the transaction ends, and its problem is the answer."""

    def __init__(self, status: int, kind: str, detail: str, **members: object) -> None:
        super().__init__(detail)
        self._problem = status, kind, kind.replace("-", " ").capitalize(), detail, members

    def answer(self) -> web.Response:
        """The problem (RFC 9457)."""
        status, kind, title, detail, members = self._problem
        return problem(status, kind, title, detail, **members)


def not_found(detail: str = "there is nothing of this name that you may see") -> ActRefused:
    """Of what is not there, and of what is another organisation's: nobody can tell which."""
    return ActRefused(404, "not-found", detail)


Write = Callable[[asyncpg.Connection, web.Request, Visit, Any], Awaitable[Mapping[str, Any]]]
"""Does it in the transaction of the connection; returns the answer. Raises ActRefused, IntakeBusy."""

BEGIN_WRITE = """
INSERT INTO desk_write (user_id, idempotency_key, request_sha256) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT desk_write_once DO NOTHING RETURNING user_id
"""
SELECT_WRITE = """
SELECT request_sha256, answer::text AS answer FROM desk_write WHERE user_id = $1 AND idempotency_key = $2
"""
# As it is kept, so it is told: the first answer has the bytes of those that repeat it.
KEEP_ANSWER = """
UPDATE desk_write SET answer = $3::text::jsonb WHERE user_id = $1 AND idempotency_key = $2 RETURNING answer::text
"""
# Beside the write itself: what is older than the promise goes.
FORGET_WRITES = "DELETE FROM desk_write WHERE made_at < now() - interval '30 days'"


def writing(desk: Desk, body: type[Asked], act: Write) -> Handler:
    """A handler that reads a JSON object and does `act` once for each Idempotency-Key of a person.

    A request that comes again within 30 days with the same key is answered as the first was, and does nothing; one
    that was refused did nothing, and may be tried again with its key.
    """

    async def handler(request: web.Request, visit: Visit) -> web.StreamResponse:
        key = request.headers.get(KEY_HEADER, "")
        if not KEY.fullmatch(key):
            detail = f"give a header {KEY_HEADER}: 1 to 100 printable ASCII letters, a new one for each act"
            return problem(400, "idempotency-key", "Idempotency key", detail)
        if request.content_type != "application/json":
            return problem(415, "unsupported-media-type", "Unsupported media type", "send application/json")
        try:
            content = await read_body(request, desk.settings.body_read_seconds)
        except BodyRefused:
            return problem(413, "too-large", "Too large", "the body is larger than 64 KiB, or came too slowly")
        try:
            asked = body.model_validate_json(content)
        except ValidationError as error:
            return _unfit(error)
        digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + content).digest()
        try:
            async with desk.borrow() as connection, connection.transaction():
                return await _once(connection, request, visit, (key, digest), asked, act)
        except ActRefused as refused:
            return refused.answer()
        except IntakeBusy:
            answer = problem(503, "busy", "Busy", "messages are being stored: nothing was changed, try again")
            answer.headers["Retry-After"] = str(RETRY_SECONDS)
            return answer

    return handler


async def _once(
    connection: asyncpg.Connection,
    request: web.Request,
    visit: Visit,
    key: tuple[str, bytes],
    asked: Asked,
    act: Write,
) -> web.Response:
    place = visit.person.id, key[0]
    # Whoever sends the same at the same moment waits here for the first, and then finds its answer.
    if await connection.fetchval(BEGIN_WRITE, *place, key[1]) is None:
        known = await connection.fetchrow(SELECT_WRITE, *place)
        if known is None or bytes(known["request_sha256"]) != key[1]:
            return ActRefused(
                422, "idempotency-key-reused", "this key came with another request: take a new one"
            ).answer()
        return json_answer(orjson.loads(known["answer"]))
    done = await act(connection, request, visit, asked)
    kept = await connection.fetchval(KEEP_ANSWER, *place, orjson.dumps(done).decode())
    await connection.execute(FORGET_WRITES)
    return json_answer(orjson.loads(kept))


def _unfit(error: ValidationError) -> web.Response:
    """Where a body does not fit and why, and nothing of what it says."""
    errors = [
        {"path": ".".join(str(each) for each in found["loc"])[:200], "reason": found["type"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]
    ]
    return problem(400, "bad-body", "Bad body", "the body does not fit; `errors` says where", errors=errors)


def json_answer(content: Mapping[str, Any]) -> web.Response:
    """A JSON object."""
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def bad_parameter(name: str) -> ActRefused:
    """A query parameter that cannot be used."""
    return ActRefused(400, "bad-parameter", unusable(name), parameter=name)


def page_of(request: web.Request) -> tuple[int, int | None]:
    """`limit` and, of a list by falling numbers, `cursor`. Raises ActRefused."""
    limit, cursor = limit_of(request), request.query.get("cursor")
    if cursor is not None and not re.fullmatch(r"[0-9]{1,9}", cursor, re.ASCII):
        raise bad_parameter("cursor")
    return limit, None if cursor is None else int(cursor)


def limit_of(request: web.Request) -> int:
    """How many rows a page has. Raises ActRefused."""
    limit = request.query.get("limit", str(PAGE_ROWS))
    if not (re.fullmatch(r"[0-9]{1,3}", limit, re.ASCII) and 1 <= int(limit) <= PAGE_ROWS_MAX):
        raise bad_parameter("limit")
    return int(limit)


def reading(handler: Handler) -> Handler:
    """A handler that may raise ActRefused."""

    async def guarded(request: web.Request, visit: Visit) -> web.StreamResponse:
        try:
            return await handler(request, visit)
        except ActRefused as refused:
            return refused.answer()

    return guarded


def query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """A query parameter, described."""
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


PAGED = (
    query("limit", "rows of a page", type="integer", minimum=1, maximum=PAGE_ROWS_MAX, default=PAGE_ROWS),
    query("cursor", "of the page before", type="string", minLength=1, maxLength=200),
)
