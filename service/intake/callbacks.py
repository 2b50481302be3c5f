"""/gw/: carriers' callbacks in, the protocol's answers out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import unquote
from uuid import UUID

from aiohttp import HttpVersion11, web

from gateways.account import LAST_STEPS
from gateways.callback import Callback
from gateways.outcome import Answer, Outcome
from gateways.registry import ADAPTERS
from service.catalog.catalog import Party
from service.intake.bodies import LARGE_BYTES, NoRoom, Room
from service.intake.intake import Intake, Verified
from service.intake.questions import Questions
from service.intake.wire_answer import FINISH, REQUEST_HEADER, plain_response_of, response_of
from service.listeners.bad_http import HttpFault
from service.listeners.client_keys import ClientKeys
from service.listeners.http_connection import HttpConnection
from service.listeners.listener import origin_form
from service.listeners.peers import peer_of
from service.listeners.problems import problem
from service.listeners.turned_away import Kind, word
from service.runtime.addresses import Network, address
from service.runtime.random_pool import RandomPool
from service.runtime.uuid7 import uuid7

CODE_CHARACTERS_MAX = 60
PATH_CHARACTERS_MAX = 1_000
"""Enough for every part percent-encoded; what is longer would fill the memory of addresses."""
PREFIX = "/gw/"
REPORT = "dlr"
OUR_STEPS = frozenset({"gw", *ADAPTERS})
STEPS_TOLD_MAX = 8
NO_SUCH_ADDRESS = f"want /gw/{{protocol}}/{{account}}; the protocols are {', '.join(sorted(ADAPTERS))}"


class TooLarge(Exception):
    """The body is larger than the adapter takes."""


class Target(NamedTuple):
    """Where a callback was sent: /gw/{adapter}/{account}[/{path_secret}][/dlr]; or a question, /ping or /received."""

    adapter: str
    code: str
    path_secret: str | None
    is_delivery_report: bool
    question: str | None = None


def target_of(path: str) -> Target | None:
    """The address a raw path names; None where it is none."""
    return _target_of(path) if len(path) <= PATH_CHARACTERS_MAX else None


# Few addresses, many callbacks: remembered.
@lru_cache(maxsize=4096)
def _target_of(path: str) -> Target | None:
    parts = [unquote(part) for part in path.removeprefix(PREFIX).removesuffix("/").split("/")]
    last = parts.pop() if len(parts) > 2 and parts[-1] in LAST_STEPS else None
    if not 2 <= len(parts) <= 3 or not all(parts) or len(parts[1]) > CODE_CHARACTERS_MAX:
        return None
    return Target(
        parts[0], parts[1], parts[2] if len(parts) == 3 else None, last == REPORT, None if last == REPORT else last
    )


Answered = Callable[..., Awaitable[Answer]]
"""Who answers a callback: the intake, or what questions are asked of."""


class Callbacks:
    """What answers every path below /gw/, without the router and its middlewares: this is the hot path.

    Each answer names its request by an id of ours. What a sender gives for one is not looked at.
    """

    def __init__(
        self,
        intake: Intake,
        questions: Questions,
        *,
        clock: Callable[[], datetime],
        trusted_proxies: Sequence[Network],
        client_certificate_header: str | None,
        body_read_seconds: float,
        public_url: str | None,
    ) -> None:
        self._intake = intake
        self._questions = questions
        self._clock = clock
        self._trusted_proxies = trusted_proxies
        self._client_key = ClientKeys(client_certificate_header, trusted_proxies)
        self._body_read_seconds = body_read_seconds
        self._public_url = public_url or ""
        self._random = RandomPool()

    async def take(self, request: web.BaseRequest, verified: Verified) -> web.StreamResponse:
        """One request. `verified` is called once its sender is known to be an account's."""
        path, _, query = origin_form(request.raw_path).partition("?")
        target = target_of(path)
        if target is None or target.adapter not in ADAPTERS:
            return self._refuse_address(request, path, target)
        party = self._intake.resolve(target.adapter, target.code)
        if request.method not in party.gateway.methods:
            return self._refuse_method(request, path, target, party)
        if len(query) > party.gateway.query_bytes_max:
            return self._refuse_size(party, self._callback(request, target, query, b""))
        answered: Answered = self._intake.take
        if target.question is not None:
            answered = partial(self._questions.take, target.question)
        came = request.content.read_nowait() if request.content.is_eof() else None
        if came is None or len(came) > LARGE_BYTES:
            made = partial(self._callback, request, target, query)
            said = partial(answered, party, verified=verified, tried=target.code)
            return await self._take_large(request, party, came, made, said)
        # The body came with the head, as nearly all do.
        whole = self._callback(request, target, query, came)
        answer = await answered(party, whole, verified=verified, tried=target.code)
        return response_of(request, answer, whole.request_id)

    async def _take_large(
        self,
        request: web.BaseRequest,
        party: Party,
        came: bytes | None,
        made: Callable[[bytes], Callback],
        said: Answered,
    ) -> web.StreamResponse:
        """One whose body is large, or still on its way: None in `came`. It is read where there is room for it.

        `made` makes a callback of a body, `said` the answer to a callback.
        """
        intake, bytes_max = self._intake, party.gateway.body_bytes_max
        try:
            with intake.bodies.room(lambda: intake.sender_of(party, made(b""))) as room:
                body = came if came is not None else b""
                _require_room(len(body) or request.content_length or 0, bytes_max, room)
                if came is None:
                    await _invite(request)
                    async with asyncio.timeout(self._body_read_seconds):
                        body = await _read(request, bytes_max, room)
                whole = made(body)
                answer = await said(whole, sender=room.asked)
                return response_of(request, answer, whole.request_id)
        except TooLarge:
            response = self._refuse_size(party, made(b""))
        except NoRoom as full:
            if full.sender.is_stranger and isinstance(request.protocol, HttpConnection):
                request.protocol.read_no_more(request)
            head = made(b"")
            response = plain_response_of(intake.refuse_for_now(party, head), head.request_id)
        except ConnectionError:
            self._see_incomplete(request, party, HttpFault.BODY_BROKEN_OFF)
            raise
        except TimeoutError:
            late = problem(408, "timeout", "Request timeout", HttpFault.BODY_LATE.value)
            response = _finished(late, self._see_incomplete(request, party, HttpFault.BODY_LATE))
        response.force_close()
        return response

    def _callback(self, request: web.BaseRequest, target: Target, query: str, body: bytes) -> Callback:
        received_at = self._clock()
        return Callback(
            method=request.method,
            query=query,
            headers=_headers(request),
            body=body,
            peer=peer_of(request, self._trusted_proxies),
            received_at=received_at,
            path_secret=target.path_secret,
            is_delivery_report=target.is_delivery_report,
            is_forwarded=_is_forwarded(request, self._trusted_proxies),
            public_url=self._public_url,
            client_key=self._client_key.of(request),
            request_id=uuid7(received_at, self._random),
        )

    def _refuse_address(self, request: web.BaseRequest, path: str, target: Target | None) -> web.Response:
        intake, request_id = self._intake, uuid7(self._clock(), self._random)
        if target is not None:
            intake.inspection.show_astray(
                target.code, self._clock(), "no protocol of ours stands in the address", 404
            )
        intake.turned_away.see(
            Kind.WRONG_ADDRESS,
            peer_of(request, self._trusted_proxies),
            request_id,
            tried=_steps(path, intake),
            method=_method(request),
        )
        return _finished(problem(404, "not-found", "Not found", NO_SUCH_ADDRESS), request_id)

    def _refuse_method(self, request: web.BaseRequest, path: str, target: Target, party: Party) -> web.Response:
        intake, request_id = self._intake, uuid7(self._clock(), self._random)
        allowed = ", ".join(sorted(party.gateway.methods))
        intake.inspection.show_astray(
            target.code, self._clock(), f"callbacks of {party.adapter} come by {allowed}", 405
        )
        intake.turned_away.see(
            Kind.WRONG_METHOD, peer_of(request, self._trusted_proxies), request_id,
            adapter=party.adapter, account=party.label, tried=_steps(path, intake), method=_method(request),
        )  # fmt: skip
        response = problem(405, "method-not-allowed", "Method not allowed", f"callbacks come here by {allowed}")
        response.headers["Allow"] = allowed
        return _finished(response, request_id)

    def _refuse_size(self, party: Party, head: Callback) -> web.Response:
        return plain_response_of(self._intake.refuse(party, head, Outcome.TOO_LARGE), head.request_id)

    def _see_incomplete(self, request: web.BaseRequest, party: Party, fault: HttpFault) -> UUID:
        request_id = uuid7(self._clock(), self._random)
        self._intake.turned_away.see(
            Kind.INCOMPLETE, peer_of(request, self._trusted_proxies), request_id, adapter=party.adapter,
            account=party.label, fault=fault.value,
        )  # fmt: skip
        return request_id


def astray(
    intake: Intake, trusted_proxies: Sequence[Network], rooms: Sequence[str] = ()
) -> Callable[[web.BaseRequest], None]:
    """What is told of requests that found nothing outside /gw/: whether one may have been meant as a callback.

    It may where it was posted, or where a step of its address is one of ours. What lies below one of `rooms` (path
    prefixes without a slash at their end) was meant for people who post forms there, and is none.
    """
    below = tuple(f"{room}/" for room in rooms)

    def see(request: web.BaseRequest) -> None:
        path = origin_form(request.raw_path).partition("?")[0][:PATH_CHARACTERS_MAX]
        if path.startswith(below) or path in rooms:
            return
        steps = [unquote(step) for step in path.split("/")[:STEPS_TOLD_MAX]]
        ours = [step if step.lower() in OUR_STEPS else None for step in steps]
        if request.method != "POST" and not any(ours):
            return
        tried = "/".join(own or (intake.known(step) if step else "") for own, step in zip(ours, steps, strict=True))
        intake.turned_away.see(
            Kind.WRONG_ADDRESS, peer_of(request, trusted_proxies), tried=tried, method=_method(request)
        )

    return see


def _steps(path: str, intake: Intake) -> str:
    """What stood in the protocol's and the account's places of an address that leads nowhere; never what follows."""
    steps = path.removeprefix(PREFIX).split("/")[:2]
    return PREFIX + "/".join(intake.safe(unquote(step)) for step in steps)


def _method(request: web.BaseRequest) -> str:
    return word(request.method)


def _require_room(size: int, bytes_max: int, room: Room) -> None:
    if size > bytes_max:
        raise TooLarge
    room.require(size)


async def _invite(request: web.BaseRequest) -> None:
    """Say "go on" to a sender that waits for it before its body, as hubs on .NET do; not where it is too large.

    aiohttp does this in its router, which callbacks do not pass. RFC 9110, section 10.1.1.
    """
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The answer itself has not begun.
        request.writer.output_size = 0


async def _read(request: web.BaseRequest, bytes_max: int, room: Room) -> bytes:
    if not request.can_read_body:
        return b""
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            _require_room(size, bytes_max, room)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    finally:
        # A stream keeps the exception that it raised, and that this frame: what has come must not stay with them.
        chunks.clear()
        chunk = b""


def _headers(request: web.BaseRequest) -> dict[str, str]:
    headers = request.headers
    found = {name.lower(): value for name, value in headers.items()}
    if len(found) < len(headers):
        for name in found:
            found[name] = ", ".join(headers.getall(name))
    return found


def _is_forwarded(request: web.BaseRequest, trusted_proxies: Sequence[Network]) -> bool:
    """Whether `peer_of` believed a proxy."""
    if not trusted_proxies or not request.remote or "X-Forwarded-For" not in request.headers:
        return False
    peer = address(request.remote)
    return any(peer in network for network in trusted_proxies)


def _finished(response: web.Response, request_id: UUID) -> web.Response:
    response.headers.update(FINISH)
    response.headers[REQUEST_HEADER] = str(request_id)
    return response
