"""A carrier's answer as it goes over the wire."""

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from uuid import UUID

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

from gateways.outcome import Answer

FINISH = {"Cache-Control": "no-store", "Server": "portal1400"}
"""On every answer below /gw/."""
REQUEST_HEADER = "x-portal1400-request"
"""The id under which log, store and quarantine know the callback. A name of our own: proxies set X-Request-Id."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class WireAnswer(web.StreamResponse):
    """An answer with a typed body, sent in one piece over a connection that stays open.

    The bytes are those of web.Response, which works out and checks its headers anew for each answer: that was a
    tenth of a callback's CPU time. Where the sender wants the connection to end, `response_of` takes web.Response.
    """

    def __init__(self, answer: Answer, request_id: UUID) -> None:
        super().__init__(status=answer.status)
        self._request_id = request_id
        self._head = _head(answer.status, answer.content_type, answer.headers)
        self._answer_body = answer.body
        self._is_last = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return not self._is_last

    def force_close(self) -> None:
        """Make this the connection's last answer, and say so."""
        self._is_last = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send everything."""
        body = self._answer_body
        end = "\r\nConnection: close\r\n\r\n" if self._is_last else "\r\n\r\n"
        rest = f"{self._request_id}\r\nContent-Length: {len(body)}\r\nDate: {_date(int(time.time()))}{end}"
        await request.writer.write_eof(self._head + rest.encode() + body)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


def response_of(request: web.BaseRequest, answer: Answer, request_id: UUID) -> web.StreamResponse:
    """`answer` for the connection that `request` came over."""
    if answer.body and answer.content_type and request.keep_alive and request.version == HttpVersion11:
        return WireAnswer(answer, request_id)
    return plain_response_of(answer, request_id)


def plain_response_of(answer: Answer, request_id: UUID) -> web.Response:
    """`answer` as aiohttp sends it, whatever becomes of the connection."""
    headers = CIMultiDict(_headers(answer.content_type, answer.headers))
    headers.add(REQUEST_HEADER, str(request_id))
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _headers(content_type: str | None, own: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    typed = [("Content-Type", content_type)] if content_type is not None else []
    return [*FINISH.items(), *typed, *own]


# Few kinds of answers, many of each. Some have a header of their own making: hence a bound.
@lru_cache(maxsize=1024)
def _head(status: int, content_type: str | None, own: tuple[tuple[str, str], ...]) -> bytes:
    """The head up to the request's id. Raises ValueError for a header that would end before its end."""
    headers = _headers(content_type, own)
    if any(_CONTROL.search(name + value) for name, value in headers):
        raise ValueError("a header holds a control character")
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"{REQUEST_HEADER}: "]).encode()


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
