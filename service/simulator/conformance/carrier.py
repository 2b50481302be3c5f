"""The carrier that is played: its messages, how it sends them, what it must hear, what must be understood."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from campaigns.book.book import Grammar, Route
from gateways.registry import SENDERS
from gateways.sender import Reply, Request, Sender, Sms, Verdict
from gateways.wire.signatures import SECRET_PREFIX, new_secret
from service.simulator.conformance.masking import Mask
from service.simulator.conformance.report import Exchange
from service.simulator.conformance.wire import PLAIN, Heard, NoAnswer, Way, Wire
from service.simulator.links import Link

NUMBER_FORMS = 12
"""A sender may write its messages in several ways by turns; so many in a row have met all of them."""
YES = frozenset({Verdict.TAKEN})
YES_OR_NOT_CHARGED = frozenset({Verdict.TAKEN, Verdict.DECLINED})
"""Of a text that does not count: a hub in reply style may be told not to charge it."""
AMOUNTS = {Grammar.FIXED: ("{key}", 1), Grammar.UNITS: ("{key} 2", 2), Grammar.THOUSANDS: ("{key} 20K", 20)}


STORE_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.05


class CaseFailed(Exception):
    """The service did not do what the case wants; the text says what it did."""


class NotApplicable(Exception):
    """The case has no meaning for this protocol or account; the text says why."""


class Arrival(NamedTuple):
    """An event as the service stored it, under the sender's id; `reading` is None where it is no message."""

    native_id: str
    outcome: str
    reading: str | None
    units: int | None
    amount_vnd: int | None


Witness = Callable[[], Awaitable[Sequence[Arrival]]]
"""What the service has stored of the account since it was asked last, in order."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is texted: the keyword, one text that counts, and what that is worth."""

    short_code: str
    keyword: str
    counted: str
    units: int
    amount_vnd: int


def texts_of(route: Route) -> Texts:
    """What counts on `route`."""
    form, units = AMOUNTS[route.grammar]
    units = min(units, route.max_units)
    key = route.keywords[0]
    counted = key if units == 1 and route.grammar is not Grammar.THOUSANDS else form.format(key=key)
    if route.grammar is Grammar.THOUSANDS:
        counted = f"{key} {units}K"
    return Texts(route.short_code, key, counted, units, units * route.unit_vnd)


class Carrier:
    """One run over one link. `exchanges` are those of the case that is played."""

    def __init__(self, wire: Wire, link: Link, texts: Texts, run: str, witness: Witness | None) -> None:
        self.wire, self.link, self.texts = wire, link, texts
        self.sender: Sender[Any] = link.sender()
        self.exchanges: list[Exchange] = []
        self.began_at = datetime.now(UTC).replace(microsecond=0)
        self._run = run
        self._number = 0
        self._mask = Mask(link.settings)
        self._witness = witness
        self._ids: set[str] = set()
        self._past_ids: set[str] = set()
        self._arrived: list[Arrival] = []
        self._carrier, self._said = next(iter(link.carriers.items()))

    def begin(self) -> None:
        """A new case: what an earlier one left behind is not this one's."""
        self.exchanges = []
        self._arrived = []
        self._past_ids |= self._ids
        self._ids = set()

    def sms(self, text: str | None = None, **changes: Any) -> Sms:
        """A message nobody sent before: its own id, number and second."""
        self._number += 1
        made = Sms(
            number=self._number,
            native_id=f"{self._run}{self._number:03}",
            msisdn=f"8495{int(self._run[-4:]) % 1000:03}{self._number:04}",
            short_code=self.texts.short_code,
            text=self.texts.counted if text is None else text,
            keyword=self.texts.keyword,
            carrier=self._carrier,
            said=self._said,
            at=self.began_at - timedelta(seconds=self._number),
            amount_vnd=self.texts.amount_vnd,
        )
        return replace(made, **changes)

    def posted(self) -> tuple[Sms, Request]:
        """A message that goes in a body. Raises NotApplicable where this sender has none."""
        for _ in range(NUMBER_FORMS):
            sms = self.sms()
            request = self.request(sms)
            if request.method == "POST" and request.body:
                return sms, request
        raise NotApplicable("this account's sender posts no body")

    def request(self, *messages: Sms, attempt_at: datetime | None = None) -> Request:
        """The callback that carries `messages`."""
        self._ids.update(self.sender.native_id(sms) for sms in messages)
        return self.sender.request(messages, attempt_at or datetime.now(UTC))

    async def send(self, *messages: Sms, way: Way = PLAIN, attempt_at: datetime | None = None) -> Reply:
        """Send them; what was answered."""
        return (await self.exchange(self.request(*messages, attempt_at=attempt_at), way)).reply

    async def exchange(self, request: Request, way: Way = PLAIN) -> Heard:
        """Send a request; what was answered. Raises CaseFailed where nothing was."""
        try:
            heard = await self.wire.exchange(request, way)
        except NoAnswer as none:
            self.note(request, str(none))
            raise CaseFailed(str(none)) from None
        self.note(request, heard.reply)
        return heard

    def note(self, request: Request, answer: Reply | str) -> None:
        """Keep what was sent and answered for the report, without secrets and numbers."""
        answered = answer if isinstance(answer, str) else self._mask.reply(answer)
        self.exchanges.append(Exchange(self._mask.request(request), answered))

    def require(self, reply: Reply, allowed: Collection[Verdict], *messages: Sms) -> None:
        """Raises CaseFailed where the sender would understand the answer otherwise."""
        verdict = self.sender.judge(messages, reply)
        if verdict not in allowed:
            raise CaseFailed(f"the answer means {verdict.value}, not {' or '.join(sorted(allowed))}")

    async def require_taken(self, *messages: Sms, way: Way = PLAIN, attempt_at: datetime | None = None) -> Reply:
        """Send `messages`, and hear the protocol's yes."""
        reply = await self.send(*messages, way=way, attempt_at=attempt_at)
        self.require(reply, YES, *messages)
        return reply

    async def stored(self, is_enough: Callable[[Sequence[Arrival]], bool]) -> Sequence[Arrival] | None:
        """What the service has stored in this case; None where that cannot be seen.

        A service may say yes before it has stored, out of its spool: it has STORE_SECONDS to come to `is_enough`.
        """
        if self._witness is None:
            return None
        until = time.monotonic() + STORE_SECONDS
        while True:
            self._arrived += [each for each in await self._witness() if each.native_id not in self._past_ids]
            found = self._main(self._arrived)
            if is_enough(found) or time.monotonic() > until:
                return found
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def require_understood(self, reading: str, units: int | None = None) -> None:
        """Raises CaseFailed where the one message sent was read otherwise."""
        if not self.sender.carries_messages:
            return
        found = await self.stored(lambda arrived: bool(arrived))
        read = None if found is None else [(each.reading, each.units) for each in found]
        if read not in (None, [(reading, units)]):
            raise CaseFailed(f"it was read as {_told(read or [])}, not as {_told([(reading, units)])}")

    async def require_stored(self, *outcomes: str) -> None:
        """Raises CaseFailed where the service stored other arrivals, in whatever order."""
        found = await self.stored(lambda arrived: len(arrived) >= len(outcomes))
        told = None if found is None else sorted(each.outcome for each in found)
        if told not in (None, sorted(outcomes)):
            raise CaseFailed(f"stored were {', '.join(told or []) or 'none'}, not {', '.join(sorted(outcomes))}")

    def _main(self, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Those of the events this protocol is there for: messages, without charges that come with them."""
        is_message = self.sender.carries_messages
        return [each for each in arrivals if (each.reading is not None) == is_message]

    def impostor(self, account: str) -> Sender[Any]:
        """The same sender with other secrets, over `account`. Raises NotApplicable where there are no secrets."""
        settings = self.link.settings
        wrong: dict[str, object] = {}
        for key in settings.SECRET_KEYS:
            value = getattr(settings, key, None)
            if value:
                first = value if isinstance(value, str) else str(value[0])
                # One of the same form, for the sender has to be able to use it.
                other = new_secret() if first.startswith(SECRET_PREFIX) else "nobody-s-secret"
                wrong[key] = other if isinstance(value, str) else (other,)
        if not wrong:
            raise NotApplicable("the account has no secret")
        return SENDERS[self.link.protocol](account, settings.model_copy(update=wrong))

    async def together(self, requests: Sequence[Request]) -> list[Reply]:
        """Send all at once, each over a connection of its own."""
        return [heard.reply for heard in await asyncio.gather(*map(self.exchange, requests))]


def _told(found: Sequence[tuple[str | None, int | None]]) -> str:
    return (
        ", ".join(f"{reading} {units}" if units is not None else str(reading) for reading, units in found)
        or "nothing"
    )
