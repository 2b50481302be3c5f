"""The data key of a day, opened while a callback waits for it, but not for long."""

from datetime import date

from service.postgres.database import DATABASE_ERRORS, Database, is_away
from service.runtime.keyring import Keyring, Sealer
from service.runtime.tasks import Unhurried

WAIT_SECONDS = 2.0
"""A sender waits no longer for the database than this; the key is then there for the next one."""


class DataKeys:
    """Opens the keys of days that the keyring has not opened yet."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._opening = Unhurried(WAIT_SECONDS)

    async def of(self, day: date) -> Sealer | None:
        """The sealer of `day`, made if there is none; None while the database is away."""
        return self._keyring.day(day) or await self._opening.wait(self._open(day), None)

    async def _open(self, day: date) -> Sealer | None:
        try:
            async with self._database.borrow(1) as connection:
                return await self._keyring.open_day(connection, day)
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            return None

    async def stop(self) -> None:
        """Wait a little for keys that are being opened."""
        await self._opening.finish()
