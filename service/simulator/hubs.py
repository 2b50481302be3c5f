"""Hubs that take the portal's replies to donors: at the addresses that the book file has for them on this machine."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from campaigns.book.book import Book
from campaigns.book.grammar import Reading
from campaigns.book.replies import owes_reply
from gateways.sender import Sender, Sms
from service.simulator.links import Link
from service.simulator.refused import SimulateRefused

BODY_BYTES_MAX = 65_536
LOOK_SECONDS = 0.1
NUMBER_DIGITS = 9
"""Of a donor's number, at its end: the same in every form in which it is written."""


@dataclass(frozen=True, slots=True)
class Replied:
    """What became of the replies of one account. All but the names count messages, `unasked` counts replies."""

    account: str
    protocol: str
    owed: int
    answered: int
    twice: int
    unasked: int

    @property
    def is_right(self) -> bool:
        """Whether each message that is owed a reply had one, and nobody had any other."""
        return self.owed == self.answered and not self.twice and not self.unasked

    def line(self) -> str:
        """In a sentence."""
        return (
            f"{self.account} ({self.protocol}): {self.answered} of {self.owed} messages that are owed a reply were "
            f"answered, {self.twice} more than once; {self.unasked} replies belong to none"
        )

    def document(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "account": self.account, "protocol": self.protocol, "owed": self.owed, "answered": self.answered,
            "more_than_once": self.twice, "unasked": self.unasked,
        }  # fmt: skip


class Hubs:
    """The hubs of those links whose replies come to this machine. An asynchronous context: inside they listen."""

    def __init__(self, book: Book, links: Sequence[Link], senders: Mapping[str, Sender[Any]]) -> None:
        self._book, self._senders = book, senders
        self._links = {link.account: link for link in links if link.hub is not None}
        self._places: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for link in links:
            if link.hub is not None:
                host, port, path = link.hub
                self._places[host, port][path] = link.account
        self._owed: dict[str, list[Sms]] = {account: [] for account in self._links}
        self._came: dict[str, Counter[str]] = {account: Counter() for account in self._links}
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> "Hubs":
        try:
            for (host, port), accounts in self._places.items():
                await self._listen(host, port, accounts)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, host: str, port: int, accounts: Mapping[str, str]) -> None:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for path, account in accounts.items():
            app.router.add_post(path, self._taking(account))
        runner = web.AppRunner(app, access_log=None)
        self._runners.append(runner)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            account = next(iter(accounts.values()))
            raise SimulateRefused(
                f"replies of account {account} would be counted at its reply_url, {host}:{port}, and something "
                "listens there: end it, or choose another reply_url"
            ) from None

    def _taking(self, account: str) -> Callable[[web.Request], Any]:
        async def take(request: web.Request) -> web.Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            whose, said = self._senders[account].take_reply(headers, await request.read())
            self._came[account][_key(whose)] += 1
            return web.Response(status=said.status, body=said.body, content_type=said.content_type)

        return take

    def owe(self, account: str, sms: Sms, reading: Reading) -> None:
        """Note a message that the target has acknowledged: it may be owed a reply."""
        if account not in self._owed or reading.campaign is None:
            return
        replies = self._book.by_slug[reading.campaign].replies
        if owes_reply(replies, reading.outcome, is_charged=self._links[account].charges_by_reply):
            self._owed[account].append(sms)

    async def until_answered(self, limit_seconds: float) -> tuple[Replied, ...]:
        """What became of the replies, once all is right or after `limit_seconds`."""
        until = asyncio.get_running_loop().time() + limit_seconds
        while True:
            found = tuple(self._replied())
            if all(each.is_right for each in found) or asyncio.get_running_loop().time() >= until:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    def _replied(self) -> Iterator[Replied]:
        for account, owed in self._owed.items():
            sender, came = self._senders[account], self._came[account]
            # A protocol's call names either its message or the donor.
            counts = [came[_key(sender.native_id(sms))] + came[_key(sms.msisdn)] for sms in owed]
            yield Replied(
                account, sender.name, len(owed), sum(count > 0 for count in counts),
                sum(count > 1 for count in counts), came.total() - sum(counts),
            )  # fmt: skip


def _key(whose: str) -> str:
    """A message's id as it is; of a number in any form what is the same in all."""
    digits = whose.removeprefix("+")
    return digits[-NUMBER_DIGITS:] if digits.isdecimal() and len(digits) <= NUMBER_DIGITS + 4 else whose
