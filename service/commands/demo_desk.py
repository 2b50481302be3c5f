"""What the demo's desk has to look at: an account for each role, proposals that wait, and gifts of earlier days."""

import asyncio
import random
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from campaigns.audit.entries import Who
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import VIETNAM, Book, Campaign
from campaigns.book.store import load_book
from campaigns.lifecycle.proposals import FILE_NAME, make, take_step
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.desk import second_factor
from service.desk.passwords import hash_password, one_time_password
from service.desk.people import add_person, change_password, reset_person, select_people
from service.desk.roles import Role
from service.postgres.database import Database
from service.runtime.clock import utc_now
from service.runtime.keyring import Keyring
from service.simulator.bundling import bundled
from service.simulator.forms import counted_text, units_texted
from service.simulator.links import links_of, timed
from service.simulator.message import Delivery, Planned
from service.simulator.options import RETRY_SECONDS
from service.simulator.playing import IN_FLIGHT_MAX, Player
from service.simulator.posting import Poster
from service.simulator.tally import Ledger
from service.simulator.traffic import SmsWriter

LAST_YEAR = "vi-nguoi-ngheo-nam-truoc"
EARLIER_GIFTS = 700
"""Of each campaign that has opened: enough for a curve, and some seconds of sending."""
EARLIER_DECAY = timedelta(hours=9)
"""In which the gifts after an opening become a third."""
CODES_SHOWN = 3
TESTER = Who("os:demo")
NAMES: Mapping[Role, str] = {
    Role.OPERATOR: "Điều hành (thử nghiệm)",
    Role.MANAGER: "Quản lý chiến dịch (thử nghiệm)",
    Role.FINANCE: "Tài chính (thử nghiệm)",
    Role.AUDITOR: "Kiểm toán (thử nghiệm)",
    Role.PRESS: "Báo chí (thử nghiệm)",
    Role.ADMIN: "Quản trị (thử nghiệm)",
}
"""The role's own name is the login."""
MANAGED = "mttq"
EXTENDED = "quy-vac-xin"


@dataclass(frozen=True, slots=True)
class Accounts:
    """How somebody enters the demo's desk as each of its roles: one password and one second factor for all."""

    password: str
    secret: str
    codes: Mapping[Role, list[str]]
    """Recovery codes, each of which opens once."""

    def lines(self, base: str) -> Iterator[str]:
        """What is printed."""
        yield f"The campaign desk is at {base}/desk. Every login has the password  {self.password}"
        yield "and as its second factor one of these codes, each of which opens once:"
        yield ""
        for role, codes in self.codes.items():
            yield f"  {role:26} {'  '.join(codes[:CODES_SHOWN])}"
        yield ""
        yield f"The design language is at {base}/desk/design."
        yield f"An authenticator application takes the key {self.secret} for all of them."


async def prepare_accounts(database: Database, keyring: Keyring) -> Accounts:
    """An account for each role, with a new password and second factor at each start of the demo."""
    password, secret = one_time_password(), second_factor.new_secret()
    phc = await asyncio.to_thread(hash_password, password)
    codes: dict[Role, list[str]] = {}
    async with database.borrow() as connection:
        is_first = not await select_people(connection)
        for role in Role:
            if is_first:
                organisations = [MANAGED] if role is Role.MANAGER else []
                await add_person(connection, TESTER, role.value, NAMES[role], role, organisations, phc)
            else:
                await reset_person(connection, TESTER, role.value, phc)
            (person,) = await select_people(connection, role.value)
            async with connection.transaction():
                await change_password(connection, TESTER, person, phc)
                codes[role] = await second_factor.enrol(connection, keyring, person, secret, 0)
        if is_first:
            await _propose(connection)
    return Accounts(password, secret, codes)


async def _propose(connection: asyncpg.Connection) -> None:
    """An extension that waits for a second person, and a draft of another goal."""
    book = await load_book(connection)
    vaccines = book.by_slug[EXTENDED]
    operator, manager = Who(Role.OPERATOR, Role.OPERATOR), Who(Role.MANAGER, Role.MANAGER)
    extension = {"decision": "DEMO-5", "closes_at": (vaccines.closes_at + timedelta(days=30)).astimezone(VIETNAM)}
    async with connection.transaction():
        number = await _draft(connection, operator, book, vaccines, extension)
        await take_step(connection, operator, number, "proposed")
        await _draft(connection, manager, book, vaccines, {"goal_vnd": 2_000_000_000})


async def _draft(
    connection: asyncpg.Connection, who: Who, book: Book, campaign: Campaign, changed: Mapping[str, object]
) -> int:
    content = toml_of({"campaign": [{**tables_of(campaign), **changed}]})
    return await make(connection, who, load(content.encode(), FILE_NAME), book, now=utc_now())


async def send_earlier_gifts(
    base: str, book_file: Path, before_file: Path, now: datetime, stop: asyncio.Event
) -> None:
    """Gifts since each campaign's opening, sent by the demo's carriers with their own times, once.

    Fewer where `stop` comes. Raises SimulateRefused where they cannot be sent.
    """
    book, before = book_from_file(load(book_file)), book_from_file(load(before_file))
    opened = [each for each in (*before.campaigns, *book.campaigns) if each.opens_at < now]
    chance = random.Random(1400)  # noqa: S311 -- gifts of a demo, no secret
    links, _ = links_of(timed(each.raw for each in load(book_file).gateways), (), {}, ())
    writer = SmsWriter(links, chance, str(10**12 + secrets.randbelow(9 * 10**12)))
    async with Poster(base, IN_FLIGHT_MAX, RETRY_SECONDS) as poster:
        totals = await poster.document(f"/api/v1/campaigns/{LAST_YEAR}/totals")
        if totals["messages"]:
            return
        senders = {link.account: link.sender() for link in links}
        whole = Book(1, (*before.campaigns, *book.campaigns), book.organisations.values())
        player = Player(poster, senders, Ledger(whole), stop, None)
        await player.play(_deliveries(opened, writer, chance, now))


def _deliveries(
    campaigns: list[Campaign], writer: SmsWriter, chance: random.Random, now: datetime
) -> Iterator[Delivery]:
    def planned() -> Iterator[Planned]:
        for campaign in campaigns:
            until = min(now, campaign.closes_at)
            for at in sorted(_moments(campaign.opens_at, until, chance)):
                carrier, link = writer.carrier_and_link()
                route = campaign.routes[0]
                units = units_texted(chance, route)
                text = counted_text(chance, route, route.keywords[0], units)
                yield Planned(writer.sms(carrier, link, route, route.keywords[0], text, at, units), link, 0.0)

    return bundled(planned(), chance)


def _moments(opens_at: datetime, until: datetime, chance: random.Random) -> Iterator[datetime]:
    """Half of them soon after the opening, half evenly until `until`."""
    span = until - opens_at
    for place in range(EARLIER_GIFTS):
        after = chance.expovariate(1) * EARLIER_DECAY if place % 2 else chance.random() * span
        yield (opens_at + min(after, span * chance.random())).astimezone(UTC)
