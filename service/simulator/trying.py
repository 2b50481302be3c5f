"""A link tried from our own side: one ping over its own address, written by its protocol's sender."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from gateways.registry import SENDERS
from gateways.sender import Request, Sms
from service.simulator.posting import Poster

PROVEN = frozenset({200, 409})
"""What a ping that passes every factor is answered; 409 where it carried a message, of which nothing is stored."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How it ended: `status` None where nobody answered. `told` is what the answer says, if it is JSON."""

    status: int | None
    is_proven: bool
    told: dict[str, Any]


async def try_link(target: str, account: str, protocol: str, settings: Any) -> Tried:
    """Send what a carrier would send, to the address that stores nothing."""
    async with Poster(target, connections=1, retry_seconds=0.0) as poster:
        reply = await poster.attempt(_ping(account, protocol, settings))
    if reply is None:
        return Tried(None, False, {})
    try:
        told = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        told = {}
    told = told if isinstance(told, dict) else {}
    return Tried(reply.status, reply.status in PROVEN and told.get("proven") is True, told)


def _ping(account: str, protocol: str, settings: Any) -> Request:
    now = datetime.now(UTC)
    messages: Sequence[Sms] = [
        Sms(0, f"ping-{now:%Y%m%d%H%M%S}", "84950000001", "1408", "PING", "PING", "viettel", None, now, 0)
    ]
    request = SENDERS[protocol](account, settings).request(messages, now)
    path, mark, query = request.address.partition("?")
    return Request(request.method, f"{path}/ping{mark}{query}", request.headers, request.body)
