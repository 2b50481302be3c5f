"""The digests of days that are over, in a file of this machine: a hand in the database does not reach it.

The file bears a MAC that only the installation's own key can make. Whoever checks the invariants adds the days that
are missing, a few in each round, or compares one with the database; `verify` compares every day in it.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import structlog

from gateways.wire.mac import hmac_sha256
from metrics.day_digests import DayDigest, closed_days, digest_day
from metrics.invariant import DIFFERENCES_MAX, Difference
from service.live.high_water import select_identity
from service.runtime.files import write_durably
from service.runtime.keyring import Keyring
from service.runtime.refusals import Refused

log = structlog.get_logger("days")

SEALED_DAYS_HOLD = "sealed_days_hold"
"""The invariant's name."""
FORMAT = 1
FILE_BYTES_MAX = 64 * 1024 * 1024
DAYS_AT_ONCE = 7
"""Sealed in one round: years of an older release are caught up with in days, and the rounds go on."""
REST_FACTOR = 29.0
"""After each day so many times its length passes: a thirtieth of one core at most, as the rounds rest."""
REST_SECONDS_MAX = 30.0
"""Nor do the rests of one round add up to more, a last one aside: the newest hour is to be looked at again soon."""
LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL max_parallel_workers_per_gather = 0"

Days = dict[date, dict[str, DayDigest]]
SealedDays = dict[str, dict[str, tuple[int, str]]]
"""The same as it is written down: by the day in ISO 8601, and the kind of facts."""


def written(days: Days) -> SealedDays:
    """Days as a document holds them, the oldest first."""
    return {
        day.isoformat(): {kind: (digest.rows, digest.sha256) for kind, digest in days[day].items()}
        for day in sorted(days)
    }


def read_days(held: Mapping[str, Mapping[str, Sequence[Any]]]) -> Days:
    """Days from a document. Raises ValueError, TypeError, AttributeError."""
    return {
        date.fromisoformat(day): {kind: DayDigest(*each) for kind, each in kinds.items()}
        for day, kinds in held.items()
    }


class SealsUnusable(Refused):
    """The file cannot be read, written or trusted; the sentence says why and what to do."""


class DaySeals:
    """`sealed-days.json` in a data folder."""

    def __init__(self, data_dir: Path, keyring: Keyring) -> None:
        self.path = data_dir.expanduser().resolve() / "sealed-days.json"
        self._keys = keyring.manifest_keys
        self._checked_last = date.min
        self._broken: dict[date, int] = {}

    def read(self, installation: str) -> Days:
        """The days of `installation` that are sealed here; none where there is no file. Raises SealsUnusable."""
        try:
            with self.path.open("rb") as file:
                document = orjson.loads(file.read(FILE_BYTES_MAX))
            body, mac = document["days"], bytes.fromhex(document["mac"])
            is_ours = any(hmac.compare_digest(mac, each) for each in self._macs(document["installation"], body))
            if document["format"] != FORMAT or not is_ours:
                raise ValueError("another format, or changed")
            if document["installation"] != installation:
                raise SealsUnusable(
                    f"{self.path} holds the sealed days of another database: PORTAL1400_DATABASE_URL or "
                    "PORTAL1400_DATA_DIR names the wrong one"
                )
            return read_days(body)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SealsUnusable(
                f"{self.path}, which holds the digests of past days, cannot be trusted ({type(error).__name__}): it "
                "was damaged, or changed by somebody without the key; put it back from a copy of the data folder, or "
                "move it away once the facts are proved by a backup"
            ) from None

    def write(self, installation: str, days: Days) -> None:
        """Replace the file. Raises OSError."""
        body = written(days)
        mac = self._macs(installation, body)[0].hex()
        document = {"format": FORMAT, "installation": installation, "days": body, "mac": mac}
        write_durably(self.path, orjson.dumps(document, option=orjson.OPT_INDENT_2))

    def _macs(self, installation: str, body: object) -> list[bytes]:
        """By our own key, and by the one before while the secret is changed."""
        said = b"sealed days:" + orjson.dumps([installation, body])
        return [hmac_sha256(key, said) for key in self._keys]

    async def add_missing(
        self, connection: asyncpg.Connection, rest: Callable[[float], Awaitable[None]]
    ) -> tuple[date, ...]:
        """Seal days that are over and not sealed here, the oldest first; returns them. Raises what the database does.

        A day that is sealed stays as it is. A file that cannot be used is told in the log, and left alone.
        """
        installation = await select_identity(connection)
        try:
            days = await asyncio.to_thread(self.read, installation)
            first, until = await closed_days(connection)
            missing = [
                day for day in (first + timedelta(days=n) for n in range((until - first).days)) if day not in days
            ]
            rested, sealed = 0.0, list[date]()
            for day in missing[:DAYS_AT_ONCE]:
                started = time.monotonic()
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(LIMITS)
                    days[day] = await digest_day(connection, day)
                sealed.append(day)
                seconds = min((time.monotonic() - started) * REST_FACTOR, REST_SECONDS_MAX)
                await rest(seconds)
                rested += seconds
                if rested >= REST_SECONDS_MAX:
                    break
            if sealed:
                await asyncio.to_thread(self.write, installation, days)
        except (SealsUnusable, OSError) as unusable:
            # A lost connection is an OSError too, and is told by whoever holds it.
            if connection.is_closed():
                raise
            log.error("days_not_sealed", file=self.path.name, reason=type(unusable).__name__)
            return ()
        return tuple(sealed)

    async def check_next(
        self, connection: asyncpg.Connection, rest: Callable[[float], Awaitable[None]]
    ) -> int | None:
        """Compare one sealed day, after the last one the next, and again from the first; None where there is none.

        Returns how many kinds of facts differ in all days compared so far. Raises what the database does. A file
        that cannot be used is told by `add_missing`.
        """
        try:
            days = await asyncio.to_thread(self.read, await select_identity(connection))
        except SealsUnusable:
            return None
        if not days:
            return None
        day = min((each for each in days if each > self._checked_last), default=min(days))
        started = time.monotonic()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(LIMITS)
            differences = await _differences(connection, day, days[day])
        self._checked_last = day
        self._broken = {each: count for each, count in self._broken.items() if each in days and each != day}
        if differences:
            self._broken[day] = len(differences)
            log.error("sealed_day_differs", day=day.isoformat(), facts=[each.place for each in differences])
        await rest(min((time.monotonic() - started) * REST_FACTOR, REST_SECONDS_MAX))
        return sum(self._broken.values())

    async def compare(self, connection: asyncpg.Connection) -> tuple[int, list[Difference]]:
        """How many days are sealed here, and which hold other facts than then. Raises SealsUnusable."""
        days = await asyncio.to_thread(self.read, await select_identity(connection))
        return len(days), await compare_days(connection, days)

    def keep_restored(self, installation: str, restored: Days) -> None:
        """Take over days that were sealed before a backup was made; what is sealed here already stays.

        Raises SealsUnusable, OSError.
        """
        days = self.read(installation)
        if any(day not in days for day in restored):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write(installation, restored | days)


async def compare_days(connection: asyncpg.Connection, days: Days) -> list[Difference]:
    """Which of `days` hold other facts now, by day and kind, in the caller's snapshot."""
    differences: list[Difference] = []
    for day, sealed in days.items():
        differences += await _differences(connection, day, sealed)
    return differences[:DIFFERENCES_MAX]


async def _differences(connection: asyncpg.Connection, day: date, sealed: dict[str, DayDigest]) -> list[Difference]:
    found = await digest_day(connection, day)
    return [
        Difference(f"day {day} (UTC), {kind}", _said(then), _said(found[kind]))
        for kind, then in sealed.items()
        if found[kind] != then
    ]


def _said(digest: DayDigest) -> str:
    return f"{digest.rows} facts, SHA-256 {digest.sha256[:16]}"
