"""The desk made for one worker: what it lives on, and every address with its row."""

from collections.abc import Callable

from aiohttp import web

from campaigns.book.book import Book
from metrics.board import Board
from service.desk import account, entrance, figures, records
from service.desk.desk import Desk
from service.desk.door import Row, application
from service.postgres.database import Database
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings

PREFIX = "/desk"


class DeskPart:
    """The desk of one worker. `application` may be made again; `stop` ends what it started."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        board: Board,
        book: Callable[[], Book],
        clock: Clock,
    ) -> None:
        self.desk = Desk(settings, database, keyring, board, book, clock)
        self.rows: tuple[Row, ...] = tuple(
            row for room in (entrance, figures, account, records) for row in room.rows(self.desk)
        )

    def application(self) -> web.Application:
        """What stands below /desk. Raises RowMissing."""
        return application(self.desk, self.rows)

    async def stop(self) -> None:
        """Let threads go."""
        self.desk.close()
