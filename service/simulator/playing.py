"""The run itself: callbacks go out when they are due, whatever the earlier ones do, and what was taken is noted."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from campaigns.book.grammar import Reading
from gateways.sender import Reply, Sender, Sms, Verdict
from service.simulator.message import Delivery, Fault
from service.simulator.posting import Poster
from service.simulator.refused import SimulateRefused
from service.simulator.tally import Ledger

IN_FLIGHT_MAX = 128
"""Callbacks without an answer at one time; below the portal's own limit for one account."""
REFUSED_MAX = 20
"""So many refusals of one account without any success, and the run ends: something is set up wrongly."""
PROGRESS_SECONDS = 1.0
LINGER_SECONDS = (0.0, 0.001, 0.005, 0.02)
"""How long a connection lives after its request, before it breaks."""
EARLY_EVERY = 4
"""Of the charges that are reported apart, one in so many comes before its message."""
ACKNOWLEDGED = frozenset({Verdict.TAKEN, Verdict.DECLINED})
OTHER_TEXT = " 7 ban khac"


@dataclass(slots=True)
class Progress:
    """How far a run is. All count callbacks, but for `messages`: what was acknowledged so far."""

    seconds: float = 0.0
    due: int = 0
    messages: int = 0
    repeats: int = 0
    conflicts: int = 0
    cut: int = 0
    reports: int = 0
    latest_seconds: float = 0.0
    """The greatest time by which a callback went out later than it was due."""
    trouble: Counter[str] = field(default_factory=Counter)
    """What went wrong, in words, and how often; any of it makes the run fail."""


class Player:
    """Plays deliveries over the senders of their accounts. `stop` ends the run early; what is out is awaited.

    `acknowledged` hears of each message that the target has taken, once.
    """

    def __init__(
        self,
        poster: Poster,
        senders: Mapping[str, Sender[Any]],
        ledger: Ledger,
        stop: asyncio.Event,
        report: Callable[[Progress], None] | None,
        acknowledged: Callable[[str, Sms, Reading], None] = lambda *_: None,
    ) -> None:
        self._poster, self._senders, self._ledger, self._stop, self._report = poster, senders, ledger, stop, report
        self._acknowledged = acknowledged
        self.progress = Progress()
        self._free = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._failure: SimulateRefused | None = None
        self._unanswered = 0
        self._began = 0.0

    async def play(self, deliveries: Iterable[Delivery]) -> None:
        """Send every delivery when it is due. Raises SimulateRefused where an account is always refused."""
        loop = asyncio.get_running_loop()
        self._began = told = loop.time()
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                await self._until(self._began + delivery.due_seconds)
                await self._free.acquire()
                if self._stop.is_set():
                    break
                self.progress.due += 1
                late = loop.time() - self._began - delivery.due_seconds
                self.progress.latest_seconds = max(self.progress.latest_seconds, late)
                group.create_task(self._deliver(delivery))
                if loop.time() - told >= PROGRESS_SECONDS:
                    told = loop.time()
                    self._tell()
        self._tell()
        if self._failure is not None:
            raise self._failure

    async def _until(self, moment: float) -> None:
        wait = moment - asyncio.get_running_loop().time()
        if wait <= 0:
            return
        try:
            async with asyncio.timeout(wait):
                await self._stop.wait()
        except TimeoutError:
            return

    def _tell(self) -> None:
        progress = self.progress
        progress.seconds = asyncio.get_running_loop().time() - self._began
        progress.messages = self._ledger.messages
        if self._report is not None:
            self._report(progress)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._play_one(delivery)
        finally:
            self._free.release()

    async def _play_one(self, delivery: Delivery) -> None:
        sender, messages, fault = self._senders[delivery.link.account], delivery.messages, delivery.fault
        reporter = delivery.link.reporter
        # Some reports overtake their message.
        is_early = fault is None and messages[0].number % EARLY_EVERY == 0
        if reporter is not None and is_early:
            await self._report_charges(sender, reporter.sender(), messages)
        if fault is Fault.DISCONNECT:
            linger = LINGER_SECONDS[messages[0].number % len(LINGER_SECONDS)]
            self.progress.cut += 1
            await self._poster.cut(sender.request(messages, datetime.now(UTC)), linger)
        is_at_once = fault is Fault.DUPLICATES and messages[0].number % 2 == 0
        if is_at_once:
            first, again = await asyncio.gather(
                self._poster.post(sender, messages), self._poster.post(sender, messages)
            )
            self._require_same(sender, first, again)
            verdict, reply = first if first[0] in ACKNOWLEDGED else again
        else:
            verdict, reply = await self._poster.post(sender, messages)
        if not self._enter(sender, messages, verdict, reply):
            return
        if reporter is not None and not is_early:
            for _ in range(2 if fault is Fault.DUPLICATES else 1):
                await self._report_charges(sender, reporter.sender(), messages)
        if fault is Fault.DUPLICATES and not is_at_once:
            self._require_same(sender, (verdict, reply), await self._poster.post(sender, messages))
        elif fault is Fault.CONFLICTS:
            await self._contradict(sender, messages[0], verdict)

    async def _report_charges(self, sender: Sender[Any], reporter: Sender[Any], messages: tuple[Sms, ...]) -> None:
        now = datetime.now(UTC)
        for sms in dict.fromkeys(messages):
            # Without its message's name a charge of what does not count would look for another gift.
            if not reporter.reports_name_messages and self._ledger.reading(sms, now).units is None:
                continue
            self.progress.reports += 1
            verdict = await self._poster.report(reporter, sms, sender.native_id(sms))
            if verdict is not Verdict.TAKEN:
                name = f"{reporter.account} ({reporter.name})"
                self.progress.trouble[f"{name}: the report of a charge was not acknowledged, {verdict}"] += 1

    def _enter(self, sender: Sender[Any], messages: tuple[Sms, ...], verdict: Verdict, reply: Reply | None) -> bool:
        """Note what the answer acknowledged; says whether it was an acknowledgement."""
        protocol, account = sender.name, sender.account
        if verdict not in ACKNOWLEDGED:
            status = "no answer" if reply is None else f"status {reply.status}"
            self.progress.trouble[f"{account} ({protocol}): not acknowledged, {verdict} ({status})"] += len(messages)
            self._note_refusal(account, status)
            return False
        self._taken[account] += 1
        self._unanswered = 0
        now = datetime.now(UTC)
        # One message may stand twice in a batch, and is one message all the same.
        for sms in dict.fromkeys(messages):
            reading = self._ledger.reading(sms, now)
            if verdict is Verdict.DECLINED and reading.units is not None:
                self.progress.trouble[f"{account} ({protocol}): a gift that counts was declined"] += 1
            self._ledger.enter(sms, reading)
            self._acknowledged(account, sms, reading)
        self.progress.repeats += len(messages) - len(set(messages))
        return True

    def _note_refusal(self, account: str, status: str) -> None:
        self._refused[account] += 1
        self._unanswered += 1
        if self._unanswered >= IN_FLIGHT_MAX:
            # All that was out came back with nothing: the rest would only wait as long, each in its turn.
            self._stop.set()
        if self._refused[account] >= REFUSED_MAX and not self._taken[account]:
            self._failure = SimulateRefused(
                f"the target refuses every callback of account {account} ({status}): apply the book file there, "
                "with the same secrets and with networks that hold this machine's address"
            )
            self._stop.set()

    def _require_same(
        self, sender: Sender[Any], first: tuple[Verdict, Reply | None], again: tuple[Verdict, Reply | None]
    ) -> None:
        self.progress.repeats += 1
        name = f"{sender.account} ({sender.name})"
        if again[0] is not first[0]:
            self.progress.trouble[f"{name}: a repeat was answered otherwise than the first ({again[0]})"] += 1
        elif first[1] is not None and again[1] is not None and first[1].body != again[1].body:
            self.progress.trouble[f"{name}: a repeat was not answered with the bytes of the first answer"] += 1

    async def _contradict(self, sender: Sender[Any], sms: Sms, first: Verdict) -> None:
        """The same id with another text: it must change no money, and hurt no donor."""
        self.progress.conflicts += 1
        verdict, _ = await self._poster.post(sender, (replace(sms, text=sms.text + OTHER_TEXT),))
        # Where the protocol has no word for it, the sender hears what the first message heard.
        expected = Verdict.CONFLICT if sender.has_word_for_conflicts else first
        if verdict is not expected:
            name = f"{sender.account} ({sender.name})"
            self.progress.trouble[f"{name}: a conflict was answered {verdict} instead of {expected}"] += 1
