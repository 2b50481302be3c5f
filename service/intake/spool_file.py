"""One file of the spool: SQLite, write-ahead log, every append on disk before it returns. Blocking; no event loop.

Records are sealed by the caller; nothing here can open one. Before a file is used it is read without changing a
byte of it: whether its pages agree, whether as many records are there as were taken and not let go, and whether it
holds what the mark beside it says. Only the last write may be missing, and that was never acknowledged.
"""

import os
import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from service.intake.spool_answers import AnswerList
from service.intake.spool_lock import Mark, MarkBroken, SpoolLock
from service.runtime.files import sync
from service.runtime.refusals import Refused
from service.runtime.uuid7 import uuid_of

PAGE_BYTES = 4096
READ_BYTES_MAX = 4 * 1024 * 1024
"""What is read at once, in bytes: a record may be of 1 MiB."""
TRIAL_BYTES = 64 * 1024
"""What has to fit on the disk: a hundred records of a busy second."""
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
CHANGE_KEY = "UPDATE about SET value = ? WHERE name = 'key_check'"
SELECT_ABOUT = "SELECT value FROM about WHERE name = ?"
INSERT_RECORD = "INSERT INTO record (id, received_us, sealed) VALUES (?, ?, ?)"
SELECT_TABLES = "SELECT count(*) FROM sqlite_schema WHERE name IN ('about', 'record')"
SELECT_TAKEN = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'record'"
COUNT_LET_GO = "UPDATE about SET value = value + ? WHERE name = 'let_go'"
COUNT_RECORDS = "SELECT count(*) FROM record"
SELECT_OLDEST = "SELECT number, id, sealed FROM record WHERE number > ? ORDER BY number LIMIT ?"
SELECT_FIRST = "SELECT received_us FROM record ORDER BY number LIMIT 1"
DELETE_RECORD = "DELETE FROM record WHERE number = ?"
SELECT_SIZE = "SELECT count(*), coalesce(sum(length(sealed)), 0), min(received_us) FROM record"
TOUCH = "INSERT INTO about (name, value) VALUES ('touched', x'00') ON CONFLICT (name) DO UPDATE SET value = x'00'"


class SpoolRefused(Refused):
    """The spool cannot be used, or cannot take a record; the sentence says why and what to do."""


class SpoolDamaged(SpoolRefused):
    """The file does not hold what it held: acknowledged gifts are missing from it or cannot be read."""


class Stored(NamedTuple):
    """A record as the file holds it. `number` rises with its arrival."""

    number: int
    id: bytes
    sealed: bytes

    @property
    def request_id(self) -> UUID:
        """The id of the callback in it."""
        return uuid_of(self.id)


class Size(NamedTuple):
    """How much waits: records, their sealed bytes, and when the oldest was taken (microseconds since 1970)."""

    records: int
    bytes: int
    oldest_us: int | None


class SpoolFile:
    """A claimed file. Raises SpoolRefused for whatever the disk or SQLite refuses; a refused append left nothing."""

    def __init__(
        self, path: Path, lock: SpoolLock, *, key_check: bytes, former_checks: Container[bytes] = (), bytes_max: int
    ) -> None:
        """Open `path`, whose `lock` the caller holds. `key_check` tells whether its records can be opened; those of
        `former_checks` can be too.

        Raises SpoolDamaged, with every byte as it was.
        """
        self.path = path
        self._lock = lock
        try:
            self.is_unmarked = self._examine()
            """Whether nothing beside the file tells that it is whole: its lock file is another one, or was lost."""
            self._database = self._opened(key_check, former_checks, bytes_max)
            self._answers = AnswerList(path)
        except BaseException:
            lock.free()
            raise

    def _examine(self) -> bool:
        """Read the whole file without writing to it; True when it has records and no mark. Raises SpoolRefused."""
        try:
            mark = self._lock.read()
        except MarkBroken:
            raise self._damaged(f"its mark in {self.path.stem}.lock cannot be read") from None
        log = Path(f"{self.path}-wal")
        if not self.path.exists() or not self.path.stat().st_size:
            # SQLite would begin anew, and delete the log.
            if mark is not None and mark.taken > mark.let_go:
                raise self._damaged(f"it is empty or gone, with {mark.taken - mark.let_go} records")
            if self.path.exists() and log.exists() and log.stat().st_size:
                raise self._damaged("it is empty, and has a log")
            return False
        try:
            found = self._read_marks()
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):
                raise self._damaged(describe(error)) from None
            raise self._unusable(error) from None
        if mark is None:
            return found is not None and found.taken > found.let_go
        if found is None or found.taken < mark.taken or found.let_go < mark.let_go:
            lost = mark.taken - (0 if found is None else found.taken)
            raise self._damaged(f"the last {max(lost, 0)} records it took are missing")
        return False

    def _read_marks(self) -> Mark | None:
        """What the file itself says; None when it was only just made. Raises sqlite3.Error, SpoolDamaged."""
        with self._second_names() as view, closing(_read_only(view)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise self._damaged("its pages contradict one another")
            (tables,) = connection.execute(SELECT_TABLES).fetchone()
            if tables < 2:
                return None
            (taken,) = connection.execute(SELECT_TAKEN).fetchone()
            (records,) = connection.execute(COUNT_RECORDS).fetchone()
            let_go = connection.execute(SELECT_ABOUT, ("let_go",)).fetchone()
        # A file of a release that did not count yet holds what it holds.
        found = Mark(taken, taken - records if let_go is None else let_go[0])
        if found.taken - found.let_go != records:
            raise self._damaged(f"{records} records are there of {found.taken - found.let_go}")
        return found

    @contextmanager
    def _second_names(self) -> Iterator[Path]:
        """File and log under other names for a while: even a reader deletes a log of which no frame is valid."""
        view = self.path.with_suffix(".view")
        links = {Path(f"{self.path}{suffix}"): Path(f"{view}{suffix}") for suffix in ("", "-wal")}
        try:
            for name, link in links.items():
                link.unlink(missing_ok=True)
                if name.exists():
                    link.hardlink_to(name)
            yield view
        finally:
            for link in links.values():
                link.unlink(missing_ok=True)

    def _damaged(self, what: str) -> SpoolDamaged:
        return SpoolDamaged(
            f"the spool file {self.path} is damaged ({what}): acknowledged gifts may be in it, so it is neither used "
            f"nor replaced; move {self.path.stem}.sqlite, {self.path.stem}.sqlite-wal and {self.path.stem}.lock to "
            "another folder, as docs/outages.md tells, and have them looked at"
        )

    def _unusable(self, error: Exception) -> SpoolRefused:
        return SpoolRefused(
            f"the spool file {self.path} cannot be used ({describe(error)}): acknowledged gifts may be in it, so "
            "it is not replaced; see that the disk is writable and has room, and start again"
        )

    def _opened(self, key_check: bytes, former_checks: Container[bytes], bytes_max: int) -> sqlite3.Connection:
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
            connection.executescript(SCHEMA)
            connection.execute(KEEP_ABOUT, ("key_check", key_check))
            (held,) = connection.execute(SELECT_ABOUT, ("key_check",)).fetchone()
            (records,) = connection.execute(COUNT_RECORDS).fetchone()
            if held != key_check and not records:
                # Nothing is in it that the other key would open.
                connection.execute(CHANGE_KEY, (key_check,))
                held = key_check
            is_ours = held == key_check or held in former_checks
            if is_ours:
                (taken,) = connection.execute(SELECT_TAKEN).fetchone()
                connection.execute(KEEP_ABOUT, ("let_go", taken - records))
                self._mark = Mark(taken, taken - records)
                self._lock.write(self._mark)
            self.path.chmod(0o600)
            # A file that is there after a loss of power needs its name on disk too.
            sync(self.path.parent)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            raise self._unusable(error) from None
        if not is_ours:
            connection.close()
            raise SpoolRefused(
                f"the spool file {self.path} was written with another PORTAL1400_SECRET_KEY: set that key, so that "
                "the gifts in it are not lost"
            )
        return connection

    @property
    def taken(self) -> int:
        """The number of the newest record it has ever taken."""
        return self._mark.taken

    def append(self, records: Sequence[tuple[bytes, int, bytes]], answered: Sequence[bytes] = ()) -> None:
        """Write (id, received_us, sealed) of each record in one transaction; on disk when this returns.

        `answered`: what of it belongs on the list of messages that hear yes.
        """
        with self._writing() as database:
            database.executemany(INSERT_RECORD, records)
        self._count(len(records), 0)
        self._answers.add(answered)

    def touch(self) -> None:
        """Try whether records can be written: room on the disk, and a write in the file. Raises SpoolRefused."""
        trial = self.path.with_suffix(".trial")
        try:
            # The log is written over once it has its size, and so would not notice a disk that is full.
            try:
                with trial.open("wb") as file:
                    file.write(bytes(TRIAL_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                # What there is room for belongs to gifts.
                trial.unlink(missing_ok=True)
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

    def remove(self, numbers: Iterable[int]) -> tuple[int, int | None]:
        """Forget records that are in the database now; returns how many, and when the oldest that is left arrived.

        Raises SpoolRefused; then they are replayed once more, and found to be there.
        """
        with self._writing() as database:
            gone = database.executemany(DELETE_RECORD, [(number,) for number in numbers]).rowcount
            database.execute(COUNT_LET_GO, (gone,))
            first = database.execute(SELECT_FIRST).fetchone()
        self._count(0, gone)
        if first is None:
            self._answers.clear()
            self._shrink()
            return gone, None
        return gone, int(first[0])

    def _count(self, taken: int, let_go: int) -> None:
        """Raise the mark, after the commit: it never asks for what may not be there."""
        self._mark = Mark(self._mark.taken + taken, self._mark.let_go + let_go)
        self._lock.write(self._mark)

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
        """Give the file back; `and_delete` one that is no longer needed, if it is empty indeed."""
        is_empty = and_delete and self._is_empty()
        with suppress(sqlite3.Error):
            self._database.close()
        if is_empty:
            # The mark first: a file that is gone with a mark is one that was lost.
            with suppress(OSError):
                self._lock.clear()
                self._answers.clear()
                for suffix in ("-wal", "-shm", ""):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._lock.free()

    def _is_empty(self) -> bool:
        try:
            (records,) = self._database.execute(COUNT_RECORDS).fetchone()
        except sqlite3.Error:
            return False
        return not records


def _read_only(path: Path) -> sqlite3.Connection:
    """A reader that changes no byte. Without SQLite's locks (ours counts) its index of the log stays in memory."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&vfs=unix-none", uri=True)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def describe(error: Exception) -> str:
    """What the disk or SQLite said. Their sentences quote no value of a record."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
