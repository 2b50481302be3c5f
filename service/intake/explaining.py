"""One callback told step by step, for whoever looks: what we understood, without secrets and numbers.

Made only while somebody looks. Texts stand in it for test accounts alone; of a donor's there is only how it was read.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from campaigns.book.book import Book
from campaigns.book.grammar import read
from gateways.callback import Callback
from gateways.events import Event, Message
from gateways.gateway import MalformedCallback
from gateways.outcome import Outcome
from service.catalog.catalog import Party
from service.intake.ending import Ending, forwarding
from service.runtime.phone_numbers import without_numbers, without_numbers_of_people

LETTERS_MAX = 400
HIDDEN = frozenset({"digest", "msisdn"})
REPLIED = frozenset(
    {Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.UNALLOCATED, Outcome.REJECTED_POLICY}
)
"""Endings whose answer may hold the reply to a donor, where the protocol's does."""
Step = dict[str, Any]


def explained(
    party: Party, callback: Callback, ending: Ending, seconds: float, book: Book, digest_key: bytes
) -> Mapping[str, Any]:
    """What happened to `callback`, in the order in which it did; it is verified and parsed once more for this."""
    return {
        "at": callback.received_at.isoformat(timespec="milliseconds"),
        "request": str(callback.request_id),
        "account": party.label,
        "test": party.is_test,
        "milliseconds": round(seconds * 1000, 2),
        "steps": [
            *_arrival(party, callback),
            *_factors(party, callback),
            *_understood(party, callback, book, digest_key),
            {"step": "outcome", "says": ending.outcome.value, "reason": ending.reason},
            _answer(party, ending),
        ],
    }


def _arrival(party: Party, callback: Callback) -> list[Step]:
    size = f"{len(callback.query)} bytes of query, {len(callback.body)} of body"
    headers = ", ".join(sorted(callback.headers))
    request = {
        "step": "request",
        "says": f"{callback.method} from {callback.peer}, {size}; X-Forwarded-For {forwarding(callback)}",
        "headers": without_numbers(headers)[:LETTERS_MAX],
    }
    content_type = callback.headers.get("content-type")
    if content_type is not None:
        request["content_type"] = without_numbers(content_type)[:LETTERS_MAX]
    says = f"account {party.label}, {party.adapter}" if party.account is not None else party.fault
    return [request, {"step": "address", "passed": party.account is not None, "says": says}]


def _factors(party: Party, callback: Callback) -> list[Step]:
    if party.account is None:
        return []
    if not party.account.is_usable:
        return [{"step": "account", "passed": False, "says": "cannot serve now: `portal1400 check` says why"}]
    return [
        {"step": each.factor, "passed": each.passed, "says": each.says} for each in party.gateway.checked(callback)
    ]


def _understood(party: Party, callback: Callback, book: Book, digest_key: bytes) -> list[Step]:
    """The fields and their reading; nothing of a callback that was not proved."""
    account, gateway = party.account, party.gateway
    if account is None or not account.is_usable or any(e.passed is False for e in gateway.checked(callback)):
        return []
    try:
        events = gateway.parse(callback, digest_key)
    except MalformedCallback as malformed:
        return [
            {"step": "field", "passed": False, "says": f"{without_numbers(each.path)}: {each.reason}"}
            for each in malformed.errors
        ]
    steps: list[Step] = []
    for event in events:
        steps.append({"step": type(event).__name__.lower(), "fields": _fields(event, party.is_test)})
        if isinstance(event, Message):
            steps.append(_reading(event, callback.received_at, book, party.is_test))
    return steps or [{"step": "event", "says": "none: a question, or a trial"}]


def _fields(event: Event, is_test: bool) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name in (each.name for each in fields(event)):
        value = getattr(event, name)
        if value in (None, (), "") and name != "text":
            continue
        if name == "msisdn":
            shown[name] = f"84 and {len(value) - 2} digits"
        elif name == "text":
            shown[name] = without_numbers_of_people(value)[:LETTERS_MAX] if is_test else f"{len(value)} characters"
        elif name in ("reason", "kind"):
            # A carrier's own sentence, as it is kept.
            shown[name] = without_numbers_of_people(str(value))[:LETTERS_MAX]
        elif name not in HIDDEN:
            written = ", ".join(value) if isinstance(value, tuple) else str(value)
            shown[name] = without_numbers(written)[:LETTERS_MAX]
    return shown


def _reading(message: Message, received_at: datetime, book: Book, is_test: bool) -> Step:
    reading = read(book, message.short_code, message.text, message.message_at or received_at)
    step: Step = {"step": "reading", "says": reading.outcome.value}
    for name in ("campaign", "keyword", "units", "amount_vnd"):
        if (value := getattr(reading, name)) is not None:
            step[name] = value
    if is_test:
        step["folded"] = without_numbers_of_people(reading.folded)[:LETTERS_MAX]
    return step


def _answer(party: Party, ending: Ending) -> Step:
    """The answer; but of a real account never the SMS in it, which has the donor's amount and receipt code."""
    answer = ending.answer
    body = answer.body.decode("utf-8", "replace")
    if party.gateway.carries_reply and not party.is_test and ending.aside is None and ending.outcome in REPLIED:
        body = f"{len(body)} characters, with the reply to the donor"
    return {
        "step": "answer",
        "says": f"{answer.status} {answer.content_type or ''}".strip(),
        "body": without_numbers(body)[:LETTERS_MAX],
    }
