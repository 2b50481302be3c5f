"""/gw/: carriers' callbacks in, the protocol's answers out."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from gateways.callback import Callback
from gateways.outcome import Answer, Outcome
from gateways.registry import ADAPTERS
from service.intake import Intake
from service.problems import problem

Network = IPv4Network | IPv6Network
CHUNK_BYTES = 64 * 1024
CODE_CHARACTERS_MAX = 60


class TooLarge(Exception):
    """The body is larger than the adapter takes."""


def routes(
    intake: Intake, *, clock: Callable[[], datetime], trusted_proxies: Sequence[Network], body_read_seconds: float
) -> list[web.RouteDef]:
    """The addresses of carriers."""

    async def take(request: web.Request) -> web.Response:
        adapter, code = request.match_info["adapter"], request.match_info["account"]
        if adapter not in ADAPTERS:
            return _no_store(problem(404, "not-found", "Not found", "no such protocol; the documentation lists them"))
        tail = [part for part in (request.match_info.get("tail") or "").split("/") if part]
        is_report = bool(tail) and tail[-1] == "dlr"
        secrets = tail[:-1] if is_report else tail
        gateway = intake.gateway(adapter, code)
        if request.method not in gateway.methods or len(secrets) > 1 or len(code) > CODE_CHARACTERS_MAX:
            return _method_not_allowed(gateway.methods) if len(secrets) <= 1 else _not_found()
        peer = peer_of(request, trusted_proxies)
        _, _, query = request.raw_path.partition("?")

        def callback(body: bytes) -> Callback:
            return Callback(
                method=request.method,
                query=query,
                headers=_headers(request),
                body=body,
                peer=peer,
                received_at=clock(),
                path_secret=secrets[0] if secrets else None,
                is_delivery_report=is_report,
            )

        if len(query) > gateway.query_bytes_max:
            return _response(intake.refuse(adapter, code, callback(b""), Outcome.TOO_LARGE))
        try:
            if request.content.is_eof():
                # The body came with the head, as nearly all do.
                body = _checked(request.content.read_nowait(), gateway.body_bytes_max)
            else:
                async with asyncio.timeout(body_read_seconds):
                    body = await _read(request, gateway.body_bytes_max)
        except TooLarge:
            response = _response(intake.refuse(adapter, code, callback(b""), Outcome.TOO_LARGE))
            response.force_close()
            return response
        except TimeoutError:
            response = _no_store(problem(408, "timeout", "Request timeout", "the body did not arrive in time"))
            response.force_close()
            return response
        return _response(await intake.take(adapter, code, callback(body)))

    pattern = "/gw/{adapter}/{account}"
    return [web.route("*", path, take) for path in (pattern, pattern + "/{tail:.+}")]


def _checked(body: bytes, bytes_max: int) -> bytes:
    if len(body) > bytes_max:
        raise TooLarge
    return body


async def _read(request: web.Request, bytes_max: int) -> bytes:
    if request.content_length is not None and request.content_length > bytes_max:
        raise TooLarge
    if not request.can_read_body:
        return b""
    chunks, size = [], 0
    while chunk := await request.content.readany():
        size += len(chunk)
        if size > bytes_max:
            raise TooLarge
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _headers(request: web.Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found


@lru_cache(maxsize=4096)
def _address(remote: str) -> IPv4Address | IPv6Address:
    """A connection's address as listed networks name it. Few senders, many callbacks: remembered."""
    peer = ip_address(remote.partition("%")[0])
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        return peer.ipv4_mapped
    return peer


def peer_of(request: web.Request, trusted_proxies: Sequence[Network]) -> IPv4Address | IPv6Address:
    """The sender's address: the connection's, or behind trusted proxies the last one they saw."""
    peer = _address(request.remote or "0.0.0.0")  # noqa: S104 -- no address: none is listed
    if not trusted_proxies:
        return peer
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
    for hop in reversed([hop.strip() for hop in forwarded.split(",") if hop.strip()]):
        if not any(peer in network for network in trusted_proxies):
            break
        try:
            peer = ip_address(hop)
        except ValueError:
            break
    return peer


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body)
    if answer.content_type is not None:
        response.headers["Content-Type"] = answer.content_type
    elif "Content-Type" in response.headers:
        del response.headers["Content-Type"]
    for name, value in answer.headers:
        response.headers[name] = value
    return _no_store(response)


def _no_store(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _not_found() -> web.Response:
    return _no_store(problem(404, "not-found", "Not found", "there is nothing at this address"))


def _method_not_allowed(methods: frozenset[str]) -> web.Response:
    response = problem(405, "method-not-allowed", "Method not allowed", "the header Allow names the methods")
    response.headers["Allow"] = ", ".join(sorted(methods))
    return _no_store(response)
