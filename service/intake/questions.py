"""What a sender may ask at its own address, by its own factors, without handing over anything.

`/ping` proves address, networks, secrets and clock; `/received` tells which of its ids we have. Whoever does not pass
every factor is refused as a callback is, with the same bytes and the same work.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
import structlog

from campaigns.book.book import VIETNAM
from campaigns.gifts.received import select_received
from gateways.callback import Callback
from gateways.gateway import CredentialsAbsent, MalformedCallback, Rejected
from gateways.outcome import Answer, Outcome
from service.catalog.accounts import LoadedAccount
from service.catalog.catalog import Party
from service.intake.bodies import LARGE_BYTES, Sender
from service.intake.ending import Ending, end, why
from service.intake.intake import TEST_HEADER, Intake, Verified
from service.listeners.turned_away import Kind
from service.postgres.database import DATABASE_ERRORS, Database, is_away
from service.runtime.logs import describe_failure
from service.runtime.tasks import Unhurried

log = structlog.get_logger("questions")

PING, RECEIVED = "ping", "received"
WINDOW_MAX = timedelta(hours=1)
IDS_MAX = 1_000
WAIT_SECONDS = 2.0
"""A sender waits no longer for a page of ids."""
JSON = "application/json"


class _Wrong(Exception):
    """A question cannot be understood: where, and why. Never a value that was sent."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class Questions:
    """Answers them, one page of ids at a time in a worker."""

    def __init__(self, intake: Intake, database: Database, digest_key: bytes) -> None:
        self._intake = intake
        self._database = database
        self._digest_key = digest_key
        self._asking = Unhurried(WAIT_SECONDS)

    async def stop(self) -> None:
        """Wait a little for what is still being looked up."""
        await self._asking.finish()

    async def take(
        self,
        question: str,
        party: Party,
        callback: Callback,
        *,
        sender: Sender | None = None,  # noqa: ARG002 -- a large body is not waited for: it is no question
        verified: Verified = lambda: None,
        tried: str = "",
    ) -> Answer:
        """One question from bytes to answer, counted and logged; raises nothing. As `Intake.take`."""
        started = time.perf_counter()
        try:
            ending = await self._answered(question, party, callback, verified)
        except Exception as error:  # noqa: BLE001 -- whatever it was, its sender hears "later"
            log.error(
                "question_failed", request=callback.request_id, account=party.label, adapter=party.adapter,
                **describe_failure(error),
            )  # fmt: skip
            ending = end(party.gateway, callback, Outcome.UNAVAILABLE, reason="internal error")
        self._intake.finish(party, ending, time.perf_counter() - started, callback, tried)
        return ending.answer

    async def _answered(self, question: str, party: Party, callback: Callback, verified: Verified) -> Ending:
        gateway, account = party.gateway, party.account
        if len(callback.body) > LARGE_BYTES:
            return end(gateway, callback, Outcome.TOO_LARGE)
        if account is not None and not account.is_usable:
            if account.knows(callback):
                return end(gateway, callback, Outcome.UNAVAILABLE, reason="account not usable")
            gateway, account = self._intake.stranger(account.adapter).gateway, None
        try:
            gateway.prove(callback)
        except Rejected as rejected:
            ending = end(gateway, callback, rejected.outcome, reason=why(party, rejected.reason))
            if account is not None and gateway.challenges and isinstance(rejected, CredentialsAbsent):
                ending.aside = Kind.CHALLENGED
            return ending
        if account is None:
            return end(gateway, callback, Outcome.UNAUTHENTICATED, reason=why(party, ""))
        verified()
        ending = self._ping(account, callback) if question == PING else await self._ids(account, callback)
        if account.is_test:
            ending.answer = replace(ending.answer, headers=(*ending.answer.headers, TEST_HEADER))
        return ending

    def _ping(self, account: LoadedAccount, callback: Callback) -> Ending:
        attempt_at = account.gateway.attempt_at(callback)
        told: dict[str, object] = {
            "proven": True,
            "account": account.code,
            "protocol": account.adapter,
            "test": account.is_test,
            "peer": str(callback.peer),
            "server_time": callback.received_at.astimezone(VIETNAM).isoformat(),
        }
        if attempt_at is not None:
            told["clock_ahead_seconds"] = round((attempt_at - callback.received_at).total_seconds(), 3)
        events: Sequence[object] = ()
        is_empty = not (callback.body or callback.query)
        try:
            events = () if is_empty else account.gateway.parse(callback, self._digest_key)
        except MalformedCallback:
            pass
        else:
            if not events:
                return _told(200, told, Kind.PING)
        # A gateway that was left pointing here would otherwise lose every gift, and hear success: also one whose
        # gifts nobody can read, which its own address refuses, or keeps for a person.
        error, reason = ("carries_a_message", "a message") if events else ("not_understood", "what cannot be read")
        told |= {"error": error, "detail": "nothing was stored: a ping is no place for a gift"}
        return Ending(
            Outcome.MALFORMED, _json(409, told), len(events), reason=f"a ping that carries {reason}",
            aside=Kind.SENT_TO_PING,
        )  # fmt: skip

    async def _ids(self, account: LoadedAccount, callback: Callback) -> Ending:
        try:
            since, until, rows_max, after = _asked(callback)
        except _Wrong as wrong:
            errors = [{"path": wrong.path, "reason": wrong.reason}]
            answer = _json(400, {"error": "malformed", "errors": errors})
            return Ending(Outcome.MALFORMED, answer, reason=str(wrong), aside=Kind.RECEIVED)
        if len(self._asking):
            return _later(429, "another question is being answered")
        page = await self._asking.wait(self._page(account, since, until, rows_max, after), None)
        if page is None:
            return _later(503, "the database is away, or too slow")
        return _told(200, page, Kind.RECEIVED)

    async def _page(
        self, account: LoadedAccount, since: datetime, until: datetime, rows_max: int, after: UUID | None
    ) -> dict[str, object] | None:
        try:
            async with self._database.borrow(1) as connection:
                found = await select_received(
                    connection, account.id, account.events_id, since, until, rows_max=rows_max, after=after
                )
        except (*DATABASE_ERRORS, TimeoutError) as error:
            if not isinstance(error, TimeoutError) and not is_away(error):
                raise
            return None
        ids = [
            {
                "kind": each.kind,
                "id": each.native_id,
                "received_at": each.received_at.astimezone(VIETNAM).isoformat(),
                "said": each.said,
                "request": str(each.request),
                **({"test": True} if each.is_test else {}),
            }
            for each in found.events
        ]
        return {
            "account": account.code,
            "from": since.astimezone(VIETNAM).isoformat(),
            "to": until.astimezone(VIETNAM).isoformat(),
            "ids": ids,
            "next": None if found.next is None else str(found.next),
            "quarantined": found.quarantined,
        }


def _asked(callback: Callback) -> tuple[datetime, datetime, int, UUID | None]:
    """From, to, how many, after which. Of the query, or of a JSON object in the body, which wins. Raises _Wrong."""
    asked: dict[str, Any] = dict(parse_qsl(callback.query))
    try:
        body = orjson.loads(callback.body) if callback.body else {}
    except orjson.JSONDecodeError:
        body = {}
    if isinstance(body, dict):
        asked |= body
    since, until = _time(asked, "from"), _time(asked, "to")
    if not since < until <= since + WINDOW_MAX:
        raise _Wrong("to", f"must lie after `from`, at most {int(WINDOW_MAX.total_seconds() // 60)} minutes")
    limit = str(asked.get("limit", IDS_MAX))
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:6]) <= IDS_MAX):
        raise _Wrong("limit", f"must be 1 to {IDS_MAX}")
    after = asked.get("after")
    try:
        return since, until, int(limit), None if after is None else UUID(str(after))
    except ValueError:
        raise _Wrong("after", "must be what `next` said") from None


def _time(asked: Mapping[str, Any], name: str) -> datetime:
    value = asked.get(name)
    if not isinstance(value, str):
        raise _Wrong(name, "is missing")
    try:
        # A plus that was not percent-encoded in a query has come as a blank.
        at = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        at = at if at.tzinfo else at.replace(tzinfo=VIETNAM)
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Wrong(name, "is not a time, as 2026-10-17T20:00:00+07:00") from None
    if not 2000 <= at.year < 2100:
        raise _Wrong(name, "is not a time, as 2026-10-17T20:00:00+07:00")
    return at


def _json(status: int, body: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, orjson.dumps(body), JSON, headers)


def _told(status: int, body: Mapping[str, object], kind: Kind) -> Ending:
    return Ending(Outcome.ACCEPTED, _json(status, body), aside=kind)


def _later(status: int, reason: str) -> Ending:
    answer = _json(status, {"error": "later", "detail": reason}, (("retry-after", "5"),))
    return Ending(Outcome.UNAVAILABLE, answer, reason=reason, aside=Kind.RECEIVED)
