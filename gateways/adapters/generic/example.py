"""A dialect tried by the callbacks that it carries, before it serves."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from gateways.adapters.generic.dialect import Dialect, Written
from gateways.callback import Callback
from gateways.events import Charge, Event, Message
from gateways.gateway import Gateway, Rejected, SignatureRejected
from gateways.wire.digest import WEAK_ID

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_FROM = IPv4Address("127.0.0.1")
_KEY = bytes(32)

Tried = Callable[[tuple[str, ...]], Gateway[Any]]
"""A gateway of the dialect with no other factor than these secrets."""


def fault_of_example(dialect: Dialect, tried: Tried) -> str | None:
    """What is wrong with a dialect by its own example; None where that says what it means, by its secret alone."""
    events = _opened(dialect, dialect.example, tried)
    if isinstance(events, str):
        return events
    if not events:
        return "is a trial or a question: give one that says something"
    doubts = [flag for event in events for flag in event.flags if flag != WEAK_ID]
    if doubts:
        return f"is read with a doubt: {', '.join(doubts)}"
    wrong = _misread(dialect, events)
    return f"does not say what its means.{wrong} says" if wrong else None


def fault_of_question(dialect: Dialect, tried: Tried) -> str | None:
    """The same of the example of a question, which must be one."""
    if dialect.question is None:
        return None
    events = _opened(dialect, dialect.question.example, tried)
    return events if isinstance(events, str) else "is no question: it says something" if events else None


def _opened(dialect: Dialect, example: Written, tried: Tried) -> tuple[Event, ...] | str:
    """What an example says by its secret and by no other; or what is wrong with it."""
    callback, secret = callback_of(dialect, example), dialect.example.secret
    try:
        events = tried((secret,) if secret else ()).open(callback, _KEY)
    except Rejected as rejected:
        return f"is refused: {rejected.reason}"
    if secret is not None and not _is_refused(tried, callback):
        return "is taken whatever the secret: the signature signs nothing with it"
    return events


def callback_of(dialect: Dialect, example: Written) -> Callback:
    """An example as it would come."""
    return Callback(
        method="GET" if dialect.format == "query" else "POST",
        query=example.query,
        headers=example.headers,
        body=example.body.encode(),
        peer=_FROM,
        received_at=_AT,
    )


def _misread(dialect: Dialect, events: tuple[Event, ...]) -> str | None:
    """Which fact of the example was read otherwise than it is meant."""
    meant, names = dialect.example.means, dialect.fields
    was_read: dict[str, object] = {}
    for event in events:
        if isinstance(event, Message):
            was_read |= {
                "id": None if names.id is None else event.native_id,
                "msisdn": event.msisdn,
                "short_code": event.short_code,
                "text": event.text,
                "carrier": None if names.carrier is None else event.carrier,
                "at": event.message_at,
            }
        elif isinstance(event, Charge):
            was_read |= {"charge": event.status, "amount_vnd": event.amount_vnd}
    is_meant = meant.model_dump()
    return next((name for name, value in is_meant.items() if was_read.get(name) != value), None)


def _is_refused(tried: Tried, callback: Callback) -> bool:
    try:
        tried((secrets.token_urlsafe(32),)).open(callback, _KEY)
    except SignatureRejected:
        return True
    return False
