"""One file of the spool: SQLite, write-ahead log, every append on disk before it returns. Blocking; no event loop.

A file belongs to whoever holds the lock file beside it. The kernel frees the lock when its holder dies, so a
file that nobody has locked may be adopted. Records are sealed by the caller; nothing here can open one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from service.runtime.files import sync
from service.runtime.refusals import Refused

FILES_MAX = 100
"""Numbers a folder has for files, and so the most processes that may share it."""
PAGE_BYTES = 4096
READ_BYTES_MAX = 4 * 1024 * 1024
"""What is read at once, in bytes: a record may be of 1 MiB."""
KEPT_BYTES = 8 * 1024 * 1024
"""An empty file larger than this is made small again."""
OVERHEAD = 1.5
"""How much larger the file may grow than its records: pages half filled, and the index."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    received_us INTEGER NOT NULL,
    sealed BLOB NOT NULL
);
"""
KEEP_ABOUT = "INSERT INTO about (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
SELECT_ABOUT = "SELECT value FROM about WHERE name = ?"
INSERT_RECORD = "INSERT INTO record (id, received_us, sealed) VALUES (?, ?, ?)"
SELECT_OLDEST = "SELECT number, id, sealed FROM record WHERE number > ? ORDER BY number LIMIT ?"
SELECT_FIRST = "SELECT received_us FROM record ORDER BY number LIMIT 1"
DELETE_RECORD = "DELETE FROM record WHERE number = ?"
SELECT_SIZE = "SELECT count(*), coalesce(sum(length(sealed)), 0), min(received_us) FROM record"
TOUCH = "INSERT INTO about (name, value) VALUES ('touched', x'00') ON CONFLICT (name) DO UPDATE SET value = x'00'"


class SpoolRefused(Refused):
    """The spool cannot be used, or cannot take a record; the sentence says why and what to do."""


class Stored(NamedTuple):
    """A record as the file holds it. `number` rises with its arrival."""

    number: int
    id: bytes
    sealed: bytes


class Size(NamedTuple):
    """How much waits: records, their sealed bytes, and when the oldest arrived (microseconds since 1970)."""

    records: int
    bytes: int
    oldest_us: int | None


class SpoolFile:
    """A claimed file. Raises SpoolRefused for whatever the disk or SQLite refuses; a refused append left nothing."""

    def __init__(self, path: Path, lock: int, *, key_check: bytes, bytes_max: int) -> None:
        """Open `path`, whose `lock` the caller holds. `key_check` tells whether its records can be opened."""
        self.path = path
        self._lock = lock
        try:
            self._database = self._opened(key_check, bytes_max)
        except BaseException:
            os.close(lock)
            raise

    def _opened(self, key_check: bytes, bytes_max: int) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            # Nobody else opens the file, so its index of the log lives in our memory and not in a mapped file,
            # which on a full disk would end the process with a bus error.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute(f"PRAGMA max_page_count = {int(bytes_max * OVERHEAD) // PAGE_BYTES + 64}")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError("its pages contradict one another")
            connection.executescript(SCHEMA)
            connection.execute(KEEP_ABOUT, ("key_check", key_check))
            (held,) = connection.execute(SELECT_ABOUT, ("key_check",)).fetchone()
            self.path.chmod(0o600)
            # A file that is there after a loss of power needs its name on disk too.
            sync(self.path.parent)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            raise SpoolRefused(
                f"the spool file {self.path} cannot be used ({describe(error)}): acknowledged gifts may be in it, so "
                "it is not replaced; see that the disk is writable and has room, or move the file away to have it "
                "looked at, and start again"
            ) from None
        if held != key_check:
            connection.close()
            raise SpoolRefused(
                f"the spool file {self.path} was written with another PORTAL1400_SECRET_KEY: set that key, so that "
                "the gifts in it are not lost"
            )
        return connection

    def append(self, records: Sequence[tuple[bytes, int, bytes]]) -> None:
        """Write (id, received_us, sealed) of each record in one transaction; on disk when this returns."""
        with self._writing() as database:
            database.executemany(INSERT_RECORD, records)

    def touch(self) -> None:
        """A small write, to learn whether the file can be written again. Raises SpoolRefused."""
        try:
            self._database.execute(TOUCH)
        except (sqlite3.Error, OSError) as error:
            raise SpoolRefused(f"the spool cannot write ({describe(error)})") from None

    def oldest(self, count: int, after: int = 0, bytes_max: int = READ_BYTES_MAX) -> list[Stored]:
        """The first `count` records whose number is greater than `after`, or fewer of `bytes_max` together.

        The first is among them whatever it weighs. Raises SpoolRefused.
        """
        found: list[Stored] = []
        size = 0
        try:
            for row in self._database.execute(SELECT_OLDEST, (after, count)):
                stored = Stored(*row)
                size += len(stored.sealed)
                if found and size > bytes_max:
                    break
                found.append(stored)
        except (sqlite3.Error, OSError) as error:
            raise SpoolRefused(f"the spool cannot be read ({describe(error)})") from None
        return found

    def remove(self, numbers: Sequence[int]) -> int | None:
        """Forget records that are in the database now; returns when the oldest that is left arrived.

        Raises SpoolRefused; then they are replayed once more, and found to be there.
        """
        with self._writing() as database:
            database.executemany(DELETE_RECORD, [(number,) for number in numbers])
            first = database.execute(SELECT_FIRST).fetchone()
        if first is None:
            self._shrink()
            return None
        return int(first[0])

    def size(self) -> Size:
        """What waits. Raises SpoolRefused."""
        try:
            return Size(*self._database.execute(SELECT_SIZE).fetchone())
        except (sqlite3.Error, OSError) as error:
            raise SpoolRefused(f"the spool cannot be read ({describe(error)})") from None

    def _shrink(self) -> None:
        """Give the disk back what a long outage took. The file is empty, so there is nothing to copy."""
        with suppress(sqlite3.Error, OSError):
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            if pages * PAGE_BYTES > KEPT_BYTES:
                self._database.execute("VACUUM")
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk after the block, or nothing of it. Raises SpoolRefused."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise SpoolRefused(f"the spool cannot write ({describe(error)})") from None

    def close(self, *, and_delete: bool = False) -> None:
        """Give the file back; `and_delete` an empty one. The lock file stays: deleting one is a race."""
        with suppress(sqlite3.Error):
            self._database.close()
        if and_delete:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        os.close(self._lock)


def claim_own(folder: Path, *, key_check: bytes, bytes_max: int) -> SpoolFile:
    """The first file of `folder` that nobody has, made if need be. Raises SpoolRefused."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(FILES_MAX):
            lock = _claim(folder / f"{number:02}.lock")
            if lock is not None:
                path = folder / f"{number:02}.sqlite"
                return SpoolFile(path, lock, key_check=key_check, bytes_max=bytes_max)
    except OSError as error:
        raise SpoolRefused(
            f"the spool's folder {folder} cannot be used ({describe(error)}): make PORTAL1400_DATA_DIR a folder that "
            "this user can write"
        ) from None
    raise SpoolRefused(f"all {FILES_MAX} spool files of {folder} are in use: stop some of the processes there")


def claim_left(folder: Path, *, key_check: bytes, bytes_max: int) -> tuple[list[SpoolFile], list[str]]:
    """Every file of `folder` that somebody left behind, and a sentence for each that cannot be used."""
    found: list[SpoolFile] = []
    problems: list[str] = []
    for path in sorted(folder.glob("[0-9][0-9].sqlite")):
        try:
            lock = _claim(path.with_suffix(".lock"))
            if lock is None:
                continue
            if not path.exists():
                os.close(lock)
                continue
            found.append(SpoolFile(path, lock, key_check=key_check, bytes_max=bytes_max))
        except SpoolRefused as refused:
            problems.append(str(refused))
        except OSError as error:
            problems.append(f"the spool file {path} cannot be claimed ({describe(error)})")
    return found, problems


def describe(error: Exception) -> str:
    """What the disk or SQLite said. Their sentences quote no value of a record."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def _claim(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
