"""Callbacks and accounts that the tests of gateways play with."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from gateways.account import Account
from gateways.callback import Callback
from gateways.events import CARRIERS, Charge, Event, Message, Reversal
from gateways.gateway import Gateway
from gateways.outcome import Answer, FieldError, Outcome, Result
from gateways.registry import ADAPTERS
from gateways.sender import Reply, Request
from gateways.wire.fields import AMOUNT_VND_MAX

KEY = b"a digest key for tests, 32 bytes"
LOOPBACK = (IPv4Network("127.0.0.0/8"),)
LISTED = IPv4Address("127.0.0.1")
STRANGER = IPv4Address("192.0.2.1")
RECEIVED_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
LATER = Answer(503, b"", "text/plain", (("retry-after", "5"),))
STATUS_ALONE: dict[Outcome, Answer] = {
    Outcome.MALFORMED: Answer(400, b"", "text/plain"),
    Outcome.UNAUTHENTICATED: Answer(403, b"", "text/plain"),
    Outcome.STALE: Answer(403, b"", "text/plain"),
    Outcome.TOO_LARGE: Answer(413, b"", "text/plain"),
    Outcome.OVERLOADED: LATER,
    Outcome.UNAVAILABLE: LATER,
}
"""What is owed by protocols that have no words for it."""
ACCIDENTS = (b'"', b"<", b"&", b"\x00", b"{", b"%", b"+", b"\xff", b"\\ud800", b"=")


@dataclass(frozen=True)
class Sms:
    """What a donor sent, before a protocol puts it into its words; None is left out."""

    id: str | None = "900000001"
    msisdn: str | None = "84950000001"
    short_code: str | None = "1408"
    text: str | None = "VNN 5"


PLAIN = Sms()


def gateway(
    adapter: str,
    settings: Mapping[str, Any],
    carrier: str = "viettel",
    networks: tuple[IPv4Network, ...] = LOOPBACK,
) -> Gateway[Any]:
    """A gateway of an account `acc` with these settings."""
    kind = ADAPTERS[adapter]
    model = kind.settings_model.model_validate(dict(settings))
    return kind(Account(code="acc", carrier=carrier, networks=networks, settings=model))


def request(**changes: Any) -> Callback:
    """A callback from the listed network; `changes` are its fields."""
    plain: dict[str, Any] = {
        "method": "POST",
        "query": "",
        "headers": {},
        "body": b"",
        "peer": LISTED,
        "received_at": RECEIVED_AT,
    }
    return Callback(**(plain | changes))


def received(sent: Request, **changes: Any) -> Callback:
    """The callback that a sender's request becomes; the last of five steps of its path is the path secret."""
    path, _, query = sent.address.partition("?")
    steps = path.split("/")
    read: dict[str, Any] = {
        "method": sent.method,
        "query": query,
        "headers": {name.lower(): value for name, value in sent.headers.items()},
        "body": sent.body,
        "path_secret": steps[4] if len(steps) > 4 else None,
    }
    return request(**(read | changes))


def replied(answer: Answer) -> Reply:
    """An answer as its sender gets it."""
    return Reply(answer.status, (answer.content_type or "").partition(";")[0], answer.body)


class HeadersAskedFor(Mapping[str, str]):
    """Headers that note which of them somebody asked for; to look at them all is to ask for `*`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        self.asked.add("*")
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def result(outcome: Outcome, events: tuple[Event, ...] = (), **more: Any) -> Result:
    """What the pipeline tells an adapter."""
    if outcome is Outcome.MALFORMED:
        more.setdefault("errors", (FieldError("data.text", "is missing"),))
    return Result(outcome=outcome, now=RECEIVED_AT, events=events, **more)


def flipped_bits(text: str) -> Iterator[str]:
    """`text` with each of its bits flipped once."""
    raw = text.encode()
    for position in range(len(raw)):
        for bit in range(7):
            changed = bytearray(raw)
            changed[position] ^= 1 << bit
            yield changed.decode()


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """`raw` after one to four small accidents."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + rng.randint(1, 12)]
            case 2:
                changed[at:at] = rng.choice(ACCIDENTS) * rng.randint(1, 3)
            case 3:
                changed[at:at] = changed[at : at + rng.randint(1, 40)]
            case _:
                other = rng.randrange(len(changed) + 1)
                changed[at : at + 6], changed[other : other + 6] = changed[other : other + 6], changed[at : at + 6]
    return bytes(changed)


def require_storable(event: Event) -> None:
    """What the database and the rest of the house may rely on."""
    shorts = [event.native_id]
    if isinstance(event, Message):
        assert len(event.msisdn) == 11
        assert event.msisdn.startswith("84")
        assert event.carrier in CARRIERS
        assert len(event.text) <= 1000
        assert "\x00" not in event.text
        event.text.encode()
        shorts += [event.short_code, event.operator_time or "-"]
        assert event.short_code.isdigit()
        assert 0 <= (event.claimed_vnd or 0) <= AMOUNT_VND_MAX
        assert 1 <= (event.parts or 1) <= 255
    if isinstance(event, Charge):
        assert 0 <= (event.amount_vnd or 0) <= AMOUNT_VND_MAX
        shorts += [event.charge_id, event.message_ref or "-", event.reason or "-"]
    if isinstance(event, Reversal):
        assert 0 <= event.amount_vnd <= AMOUNT_VND_MAX
        shorts += [event.charge_ref or "-", event.message_ref or "-", event.kind or "-"]
    for short in shorts:
        assert 1 <= len(short) <= 210
        assert all(ord(character) > 31 for character in short)
        short.encode()
    assert len(event.digest) == 32


def as_json(answer: Answer) -> Any:
    """The body of a JSON answer."""
    return json.loads(answer.body)
