"""The desk made for one worker: what it lives on, and every address with its row."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from campaigns.book.book import Book
from metrics.board import Board
from service.catalog.accounts import LoadedAccount
from service.desk import (
    account,
    approvals,
    charts,
    decisions,
    decisions_api,
    design,
    emergencies,
    entrance,
    exports,
    figures,
    figures_api,
    list_rows,
    lists,
    page_preview,
    passkey_account,
    passkey_entrance,
    personal,
    proposals_api,
    provider_entrance,
    quarantine,
    reattributions,
    reattributions_api,
    records,
    records_api,
    report,
    tokens,
)
from service.desk.api_door import api_application
from service.desk.desk import Desk
from service.desk.door import Row, application
from service.desk.pulse import Pulse
from service.postgres.database import Database
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings

PREFIX = "/desk"
API_PREFIX = "/api/v1/desk"
PREFIXES = (PREFIX, API_PREFIX)
API_ROOMS = (lists, list_rows, reattributions_api, proposals_api, decisions_api, records_api)


class DeskPart:
    """The desk of one worker. `stop` ends what it started."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        board: Board,
        book: Callable[[], Book],
        accounts: Callable[[], Iterable[LoadedAccount]],
        clock: Clock,
        replays: quarantine.Replays,
        page_values: page_preview.PageValues,
        *,
        is_demo: bool = False,
    ) -> None:
        """`replays` opens what reads quarantined callbacks again; `page_values` fills a preview."""
        self.desk = Desk(settings, database, keyring, board, book, accounts, clock)
        self.rows: tuple[Row, ...] = tuple(
            row
            for room in (
                entrance,
                provider_entrance,
                passkey_entrance,
                approvals,
                emergencies,
                decisions,
                reattributions,
                lists,
                list_rows,
                personal,
                account,
                passkey_account,
                tokens,
                records,
                report,
            )
            for row in room.rows(self.desk)
        )
        taken = exports.Exports(self.desk)
        self.rows += tuple(taken.rows())
        self.pulse = Pulse(self.desk)
        self.rows = (
            *figures.rows(self.desk, self.pulse), *charts.rows(self.desk, self.pulse), *self.rows,
            *page_preview.rows(self.desk, page_values), *quarantine.rows(self.desk, replays),
        )  # fmt: skip
        if is_demo:
            self.rows = (*self.rows, *design.rows(self.desk))
        self.api_rows: tuple[Row, ...] = (
            *(row for room in API_ROOMS for row in room.api_rows(self.desk)),
            *taken.api_rows(),
            *quarantine.api_rows(self.desk, replays),
            *figures_api.api_rows(self.desk, self.pulse),
            *page_preview.api_rows(self.desk, page_values),
        )

    def described(self) -> Mapping[str, Any]:
        """The API's addresses, as paths of an OpenAPI document."""
        from service.desk.api_description import described

        return described(API_PREFIX, self.api_rows)

    def join(self, public: web.Application) -> None:
        """Put the desk below /desk and its API below /api/v1/desk of the public side. Raises RowMissing."""
        public.add_subapp(PREFIX, application(self.desk, self.rows))
        public.add_subapp(API_PREFIX, api_application(self.desk, self.api_rows))

    def end(self) -> None:
        """Let those who watch go, so that the listener can end."""
        self.pulse.end()

    async def stop(self) -> None:
        """Read no more, let threads go."""
        await self.pulse.stop()
        self.desk.close()
