"""What all addresses of the desk share: database, keys, limits, words and the way pages are made."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
from aiohttp import web
from markupsafe import Markup

from campaigns.book.book import Book
from campaigns.totals.totals import CARRIERS, UNCOUNTED_REASONS, CampaignTotals
from metrics.board import Board
from service.catalog.accounts import LoadedAccount
from service.desk import passwords
from service.desk.limits import Pace
from service.desk.passkeys import relying_party_of
from service.desk.roles import Act
from service.desk.sessions import Cookies, Tokens
from service.postgres.database import Database
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings
from service.web.assets import Assets
from service.web.compiled import Templates, load_templates
from service.web.words import Language, Words, load_words

if TYPE_CHECKING:
    from service.desk.door import Visit

BORROW_SECONDS = 5.0
"""As long as a new connection may take: on a busy machine a person rather waits than is refused."""
BORROWED_MAX = 3
"""Of the readers' connections so many are the desk's at most: the others are left to those who read totals."""
ROOMS = (
    (Act.SEE_FIGURES, "/desk", "figures"),
    (Act.SEE_FIGURES, "/desk/charts", "charts"),
    (Act.SEE_PROPOSALS, "/desk/proposals", "proposals"),
    (Act.SEE_LISTS, "/desk/lists", "lists"),
    (Act.EXPORT_TOTALS, "/desk/exports", "exports"),
    (Act.SEE_AUDIT, "/desk/audit", "audit"),
    (Act.SEE_PEOPLE, "/desk/people", "people"),
    (Act.OWN_ACCOUNT, "/desk/account", "account"),
)
"""What the head of every page leads to, for those who may."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    # Not `no-referrer`: then a form would come without its Origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def see_other(path: str) -> web.Response:
    """On to another page of the desk, by GET."""
    return web.Response(status=303, headers={**HEADERS, "Location": path})


class Desk:
    """The parts that live as long as the worker. `close` when it ends."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        board: Board,
        book: Callable[[], Book],
        accounts: Callable[[], Iterable[LoadedAccount]],
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.keyring = keyring
        self.board = board
        self.book = book
        self.accounts = accounts
        self.clock = clock
        self.origin = settings.public_url
        self.relying_party = relying_party_of(settings.public_url)
        self.tokens = Tokens(keyring)
        self.cookies = Cookies(is_secure=bool(self.origin and self.origin.startswith("https://")))
        self.hasher = passwords.Hasher()
        self.words: Mapping[Language, Words] = load_words()
        self.of_site = Pace(20, 6.0)
        """Passwords tried from one address."""
        self.of_login = Pace(5, 60.0)
        """Passwords tried for one person from one address."""
        self.of_device = Pace(10, 30.0)
        """Passwords tried by a browser that let this person in before: nobody else can use these up."""
        self.of_code = Pace(5, 600.0)
        """Second factors tried for one person whose password was right, by browsers that are new."""
        self.of_provider = Pace(20, 6.0)
        """Questions to the provider of logins for one address: nobody makes us ask it without end."""
        self.of_challenge = Pace(60, 1.0)
        """Challenges for passkeys, of one address."""
        self.of_refusal = Pace(20, 6.0)
        """Refused logins by the provider that are recorded, of one address."""
        self._database = database
        self._borrowing = asyncio.Semaphore(BORROWED_MAX)
        self._assets = Assets()
        self._templates: Templates | None = None
        self._loading = asyncio.Lock()

    def close(self) -> None:
        """Let threads go."""
        self.hasher.close()

    def borrow(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection for one request. Raises DATABASE_ERRORS, TimeoutError."""
        return self._borrow()

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[asyncpg.Connection]:
        async with asyncio.timeout(BORROW_SECONDS):
            await self._borrowing.acquire()
        try:
            async with self._database.borrow(BORROW_SECONDS) as connection:
                yield connection
        finally:
            self._borrowing.release()

    async def connect(self, application: str) -> asyncpg.Connection:
        """A connection of one's own, for what may take minutes. Raises what the database raises."""
        return await self._database.connect(application, may_take_long=True)

    async def page(self, template: str, visit: "Visit", status: int = 200, **values: Any) -> web.Response:
        """A page of the desk for this visit."""
        body = await self.fill(template, visit, **values)
        return web.Response(
            body=body.encode(), status=status, content_type="text/html", charset="utf-8",
            headers={**HEADERS, "Content-Language": visit.words.language.value},
        )  # fmt: skip

    async def fill(self, template: str, visit: "Visit", **values: Any) -> str:
        """A template's text."""
        async with self._loading:
            if self._templates is None:
                self._templates = await asyncio.to_thread(load_templates, for_desk=True)
        templates = self._templates
        return templates.by_name[template].render(
            w=visit.words,
            parts=templates.parts,
            visit=visit,
            assets=self._assets,
            Act=Act,
            rooms=ROOMS,
            csrf=_csrf(visit),
            uncounted=_uncounted,
            known_carriers=CARRIERS,
            by_provider=self.settings.oidc_issuer is not None,
            by_passkey=self.relying_party is not None,
            **values,
        )


def _uncounted(words: Words, totals: CampaignTotals) -> dict[str, str]:
    return dict(zip(UNCOUNTED_REASONS, map(words.number, totals.uncounted), strict=True))


def _csrf(visit: "Visit") -> Markup:
    return Markup('<input type="hidden" name="csrf" value="{}">').format(visit.csrf)
