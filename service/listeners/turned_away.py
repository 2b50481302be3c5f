"""Requests that are no callback of anybody although their senders may think so: counted each, and logged at a bounded
rate.

A carrier with a misspelt address would otherwise lose everything while our side is silent.
"""

import re
import time
from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

import structlog

from metrics.families.listeners import NO_PROTOCOL
from metrics.instruments import Instruments
from service.listeners.bad_http import HttpFault
from service.runtime.addresses import NOBODY, Address, address, site_of
from service.runtime.phone_numbers import CHARACTERS_MIN, digits_of

log = structlog.get_logger("http")

LINE_SECONDS = 60.0
"""One line in so long for each peer and fault; the next one says how many were between them."""
PEERS_MAX = 1_000
"""Peers and kinds of whom that is remembered; beyond it the oldest is forgotten, and has a line again."""
LINES_PER_MINUTE_MAX = 600
"""However many peers there are: an address costs a stranger nothing."""
WORD_CHARACTERS_MAX = 60
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]")


class Kind(StrEnum):
    """Why a request is no callback."""

    WRONG_ADDRESS = "wrong_address"
    UNKNOWN_ACCOUNT = "unknown_account"
    """Refused as a callback is, which has a line of its own."""
    WRONG_METHOD = "wrong_method"
    BAD_HTTP = "bad_http"
    TLS = "tls"
    """https spoken to a port that speaks http."""
    INCOMPLETE = "incomplete"
    """A body that did not come."""
    CHALLENGED = "challenged"
    """The first request of a client that shows its credentials only when it is asked to (RFC 9110, 11.6.1)."""
    DESCRIPTION = "description"
    """No fault: a protocol's description was asked for and given."""
    PING = "ping"
    """No fault: a sender has proved its link."""
    SENT_TO_PING = "sent_to_ping"
    """What its sender proved and sent to `/ping`, where nothing is stored: at the account's own address it counts."""
    RECEIVED = "received"
    """No fault: a sender has asked which of its ids we have."""


NO_FAULT = frozenset({Kind.CHALLENGED, Kind.DESCRIPTION, Kind.PING, Kind.RECEIVED})


class TurnedAway:
    """Counts and logs. One per worker; holds nothing but when each peer had its last line."""

    def __init__(
        self,
        instruments: Instruments,
        is_listed: Callable[[Address], bool],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_listed`: whether an address lies in the networks of an account, and so is a carrier's."""
        self._instruments = instruments
        self._is_listed = is_listed
        self._steady = steady
        self._lines: dict[tuple[Address, Kind, tuple[str, ...]], tuple[float, int]] = {}
        self._minute, self._lines_in_minute = 0, 0

    def see(
        self,
        kind: Kind,
        peer: Address,
        request_id: UUID | None = None,
        *,
        adapter: str = NO_PROTOCOL,
        tried: str = "",
        **fields: str,
    ) -> None:
        """One such request; it has an id of ours where it was one. `adapter` is a protocol we speak or NO_PROTOCOL.

        `tried` holds no secret: what stood in the protocol's and the account's places of the address. Lines of one
        peer are told apart by account and fault, and a carrier's by `tried` as well: it may be mending its address.
        """
        is_listed = self.count(kind, peer, adapter)
        apart = fields.get("account", ""), fields.get("fault", ""), tried if is_listed else ""
        key = (site_of(peer), kind, apart)
        now = self._steady()
        last, left_out = self._lines.pop(key, (float("-inf"), 0))
        if now - last < LINE_SECONDS or not self._may_write(now):
            self._lines[key] = (last, left_out + 1)
        else:
            self._lines[key] = (now, 0)
            write = log.info if kind in NO_FAULT else log.warning
            where = {"peer": str(peer), "listed": is_listed, "adapter": adapter}
            if tried:
                where["address"] = tried
            name = {} if request_id is None else {"request": request_id}
            write(kind.value, **name, **where, **fields, left_out=left_out)
        if len(self._lines) > PEERS_MAX:
            del self._lines[next(iter(self._lines))]

    def count(self, kind: Kind, peer: Address, adapter: str) -> bool:
        """Count one without a line; returns whether its sender is listed."""
        is_listed = self._is_listed(peer)
        self._instruments.listeners.count_turned_away(adapter, kind, is_listed=is_listed)
        return is_listed

    def is_listed(self, peer: Address) -> bool:
        """Whether `peer` is a carrier's address."""
        return self._is_listed(peer)

    def see_bad_http(self, fault: HttpFault, remote: str) -> None:
        """Bytes that are no request; `remote` is the connection's other side, behind a proxy the proxy."""
        kind = Kind.TLS if fault is HttpFault.TLS else Kind.BAD_HTTP
        self.see(kind, address(remote) if remote else NOBODY, fault=fault.value)

    def _may_write(self, now: float) -> bool:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._lines_in_minute = minute, 0
        self._lines_in_minute += 1
        return self._lines_in_minute <= LINES_PER_MINUTE_MAX


def word(part: str) -> str:
    """A part of an address for the log: bounded, of the characters that codes have, no number and no sentence."""
    if len(digits_of(part)) >= CHARACTERS_MIN:
        return "[a number]"
    if len(part.split()) > 1:
        return "[words]"
    return _UNUSUAL.sub("?", part[:WORD_CHARACTERS_MAX])
