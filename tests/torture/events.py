"""What carriers of the torture send: events with ids from the seed, and what each must become if it is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from campaigns.book.book import Book
from campaigns.book.grammar import ReadingOutcome, read
from gateways.adapters.standard.adapter import StandardSettings
from gateways.sender import Request, Sms
from gateways.wire.signatures import sign, signing_key
from service.simulator.links import Link


class Kind(StrEnum):
    """The table an event is kept in, in the portal's words."""

    MESSAGE = "message"
    CHARGE = "charge"
    REVERSAL = "reversal"


ON_REPORT = frozenset({"reports", "appota"})
"""The accounts whose gifts count when their charge is reported."""
UNIT_VND = 20_000
"""What a message that does not count is charged all the same."""

Key = tuple[str, Kind, str]
"""What an event is once for ever: account, kind, native id."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the stored row must say: for a message its reading, for a charge or a reversal its amount."""

    reading: str = ""
    campaign: str | None = None
    units: int | None = None
    vnd: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One event as one sender writes it. `data` is the standard protocol's event; `sms` what other protocols carry.

    `gift` is the message id that a charge or reversal speaks of; `scope` the scope of a reversal.
    """

    account: str
    kind: Kind
    native_id: str
    meaning: Meaning
    data: Mapping[str, Any]
    sms: Sms | None = None
    gift: str = ""
    scope: str = ""

    @property
    def key(self) -> Key:
        """Under which the portal keeps it."""
        return self.account, self.kind, self.native_id


class Clerk:
    """Writes events for the links of a book."""

    def __init__(self, book: Book, links: Sequence[Link]) -> None:
        self._book = book
        self.links = {link.account: link for link in links}

    def message(self, sms: Sms, account: str) -> Event:
        """A message with what its text says by the book."""
        link = self.links[account]
        reading = read(self._book, sms.short_code, sms.text, sms.at or datetime.now(UTC))
        meaning = Meaning(reading.outcome.value, reading.campaign, reading.units, reading.amount_vnd)
        sms = replace(sms, amount_vnd=reading.amount_vnd or UNIT_VND)
        data: dict[str, Any] = {
            "message_id": sms.native_id,
            "msisdn": sms.msisdn,
            "short_code": sms.short_code,
            "text": sms.text,
        }
        if sms.said is not None:
            data["carrier"] = sms.said
        if sms.at is not None:
            data["operator_time"] = sms.at.isoformat()
        native_id = link.sender().native_id(sms)
        return Event(account, Kind.MESSAGE, native_id, meaning, _standard("message.received", data), sms)

    def charge_with(self, about: Event) -> Event:
        """The charge that a message's own callback carries, under the message's id."""
        assert about.sms is not None
        vnd = about.sms.amount_vnd
        meaning = Meaning(reading="succeeded", vnd=vnd)
        return Event(about.account, Kind.CHARGE, about.native_id, meaning, {"vnd": vnd}, gift=about.native_id)

    def charge(self, about: Event, charge_id: str, status: str, vnd: int) -> Event:
        """A notice about the charge of a message."""
        data = {"charge_id": charge_id, "amount": vnd, "currency": "VND", "message_id": about.native_id}
        written = _standard(f"charge.{status}", data)
        meaning = Meaning(reading=status, vnd=vnd)
        return Event(about.account, Kind.CHARGE, f"{charge_id}:{status}", meaning, written, gift=about.native_id)

    def reversal(self, about: Event, reversal_id: str, vnd: int, scope: str) -> Event:
        """Money of a message taken back."""
        data = {"reversal_id": reversal_id, "amount": vnd, "message_id": about.native_id, "scope": scope}
        return Event(
            about.account,
            Kind.REVERSAL,
            reversal_id,
            Meaning(reading=scope, vnd=vnd),
            _standard("charge.reversed", data),
            gift=about.native_id,
            scope=scope,
        )

    def standard_request(self, account: str, documents: Sequence[Mapping[str, Any]], at: datetime) -> Request:
        """One attempt of the standard protocol, signed as of `at`; several events travel as a batch."""
        settings = self.links[account].settings
        assert isinstance(settings, StandardSettings)
        body = orjson.dumps(
            documents[0]
            if len(documents) == 1
            else {"type": "batch", "timestamp": at.isoformat(timespec="seconds"), "data": list(documents)},
        )
        attempt_id, stamp = f"msg_{at.timestamp():.6f}", str(int(at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": attempt_id,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(
                sign(signing_key(each), attempt_id, stamp, body) for each in settings.secrets
            ),
        }
        return Request("POST", f"/gw/standard/{account}", headers, body)


def _standard(type_: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": type_, "timestamp": "2026-10-17T20:00:00+07:00", "data": dict(data)}


def is_counted(event: Event) -> bool:
    """Whether a message is money by its text."""
    return event.kind is Kind.MESSAGE and event.meaning.reading == ReadingOutcome.COUNTED
