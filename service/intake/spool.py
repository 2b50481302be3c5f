"""The local outage log as the event loop sees it: verified callbacks go in, on disk before `keep` returns.

Callbacks that come together share one write (group commit). spool_file.py is the file,
replay.py takes the records out again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson
import structlog

from gateways.callback import Callback
from gateways.gateway import Gateway
from service.catalog.accounts import LoadedAccount
from service.intake.packing import pack_callback, unpack_callback
from service.intake.spool_file import Size, SpoolFile, SpoolRefused, Stored
from service.runtime.keyring import Seals

log = structlog.get_logger("spool")

BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""One write is of so many records, or fewer of so many bytes: none may take as long as WRITE_SECONDS_MAX."""
WAITING_RECORDS_MAX = 50_000
WAITING_BYTES_MAX = 64 * 1024 * 1024
WRITE_SECONDS_MAX = 2.0
"""A sender waits no longer for the disk than this."""
TOO_SLOW = "the spool's disk did not answer in time"
PROBE_SECONDS = 10.0
"""A write is tried this often while nobody writes: a full disk, or one that went read-only, is not met by a gift."""
RECORD_OVERHEAD_BYTES = 64
AHEAD_MAX = timedelta(minutes=10)
"""A record from further ahead is flagged: the clock was wrong when it came, or is wrong now."""
LONG_AGO = timedelta(days=7)
"""A record that is older is flagged: no outage should last that long, and a wrong clock may have dated it."""

TEST_MARK = "test:"
"""Before the code of a test account; no code begins so. A release that knows of no tests finds no such account, and
leaves the record where it is instead of counting it."""

Done = TypeVar("Done")


class Spooled(NamedTuple):
    """A callback that was verified and acknowledged while it could not be stored."""

    account_id: int
    code: str
    adapter: str
    callback: Callback
    answer: bytes | None
    """What the sender was told, packed, where that depends on the reading of the text."""
    is_test: bool = False
    """Whether its account was for tests when it came: whatever it is now, the callback stays what it was."""


class _Waiting(NamedTuple):
    row: tuple[bytes, int, bytes]
    answered: Sequence[bytes]
    done: "asyncio.Future[None]"


class Spool:
    """A claimed file behind a thread of its own. Bounded in bytes and in the age of its oldest record."""

    def __init__(
        self,
        file: SpoolFile,
        sealer: Seals,
        *,
        bytes_max: int,
        age_seconds_max: float,
        clock: Callable[[], datetime],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`steady` tells how time goes on, whatever becomes of `clock`."""
        self._file = file
        self._sealer = sealer
        self._bytes_max = bytes_max
        self._age_seconds_max = age_seconds_max
        self._clock = clock
        self._steady = steady
        self._opened_at = steady()
        self._opened_us = _microseconds(clock())
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._size = file.size()
        self._inherited = self._size.records
        self._inherited_last = file.taken
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._flushing: asyncio.Task[None] | None = None
        self._is_closed = False
        self._probing: asyncio.Future[None] | None = None
        self._probe_at = 0.0
        self.problem: str | None = None
        """Why the last write failed; None while writes succeed."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self._file.path.name

    @property
    def records(self) -> int:
        """How many records wait to be replayed."""
        return self._size.records

    @property
    def size_bytes(self) -> int:
        """What they take, and what is about to be written."""
        return self._size.bytes + self._waiting_bytes

    @property
    def oldest_seconds(self) -> float:
        """How long ago the oldest of them arrived; 0 when none waits.

        A clock that is set meanwhile changes nothing. What was there before we came bears the time of a clock that
        may have been wrong, but has waited at least since then.
        """
        if self._size.oldest_us is None:
            return 0.0
        age = (self._now_us() - self._size.oldest_us) / 1e6
        return max(age, self._open_seconds if self._inherited else 0.0)

    @property
    def _open_seconds(self) -> float:
        return self._steady() - self._opened_at

    def _now_us(self) -> int:
        return self._opened_us + int(self._open_seconds * 1_000_000)

    @property
    def refusal(self) -> str | None:
        """Why a record would not be taken now; None when it would."""
        if self.problem is not None:
            return self.problem
        if self.size_bytes >= self._bytes_max:
            return "the spool is full: bring the database back, or raise PORTAL1400_SPOOL_BYTES_MAX"
        # Only what was seen to wait: a clock that is wrong, or was, refuses nobody.
        if min(self.oldest_seconds, self._open_seconds) > self._age_seconds_max:
            return "the spool's oldest record is too old: bring the database back"
        if len(self._waiting) >= WAITING_RECORDS_MAX or self._waiting_bytes >= WAITING_BYTES_MAX:
            return "too many callbacks wait for the spool's disk"
        return None

    async def keep(
        self,
        account: LoadedAccount,
        callback: Callback,
        answer: bytes | None = None,
        answered: Sequence[bytes] = (),
    ) -> None:
        """Return when `callback` is on disk. Raises SpoolRefused: then it must not be acknowledged.

        `answer`: what its sender is told, where that depends on the reading; `answered`, its messages' keys then.
        """
        if self._is_closed:
            raise SpoolRefused("the service stops")
        # After a failed write every callback tries: that is how a disk with room again is noticed.
        refusal = self.refusal
        if refusal is not None and refusal is not self.problem:
            raise SpoolRefused(refusal)
        identity = callback.request_id.bytes
        spooled = Spooled(account.id, account.code, account.adapter, callback, answer, account.is_test)
        packed = _pack(spooled, account.gateway)
        sealed = self._sealer.seal(packed, b"spool.sealed:" + identity)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row = (identity, self._now_us(), sealed)
        self._waiting.append(_Waiting(row, answered, done))
        self._waiting_bytes += len(sealed) + RECORD_OVERHEAD_BYTES
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="spool-flush")
        try:
            # The write itself goes on behind a sender that was sent away: its record is then replayed, unanswered.
            await asyncio.wait_for(asyncio.shield(done), WRITE_SECONDS_MAX)
        except TimeoutError:
            done.add_done_callback(_look_at)
            raise SpoolRefused(TOO_SLOW) from None

    async def _flush(self) -> None:
        while self._waiting:
            count = self._fitting()
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            rows = [each.row for each in batch]
            answered = [key for each in batch for key in each.answered]
            try:
                await self._in_thread(self._file.append, rows, answered)
            except Exception as error:  # noqa: BLE001 -- whatever it was: nobody in the batch may be left waiting
                self._note(error)
                for *_, done in batch:
                    if not done.done():
                        done.set_exception(SpoolRefused(self.problem or ""))
                continue
            finally:
                self._waiting_bytes -= sum(len(row[2]) + RECORD_OVERHEAD_BYTES for row in rows)
            self._note(None)
            added = sum(len(row[2]) for row in rows)
            oldest = min(row[1] for row in rows)
            held = self._size
            self._size = Size(
                held.records + len(rows),
                held.bytes + added,
                oldest if held.oldest_us is None else min(held.oldest_us, oldest),
            )
            for *_, done in batch:
                if not done.done():
                    done.set_result(None)

    def _fitting(self) -> int:
        """How many of the waiting records go into one write: at least one."""
        size = 0
        for count, each in enumerate(self._waiting[:BATCH_RECORDS_MAX]):
            size += len(each.row[2])
            if count and size > BATCH_BYTES_MAX:
                return count
        return min(len(self._waiting), BATCH_RECORDS_MAX)

    def _note(self, error: Exception | None) -> None:
        problem = None if error is None else str(error) or type(error).__name__
        # A full disk is met in several ways, in turns, by each callback: the first of them is told.
        if problem is not None and self.problem is None:
            log.error("spool_cannot_write", file=self.name, reason=problem)
        elif problem is None and self.problem is not None:
            log.warning("spool_writes_again", file=self.name)
        self.problem = problem

    async def oldest(self, count: int, after: int = 0) -> list[Stored]:
        """The first `count` records after number `after`. Raises SpoolRefused."""
        return await self._in_thread(self._file.oldest, count, after)

    async def remove(self, stored: Sequence[Stored]) -> None:
        """Forget records that are stored elsewhere now. Raises SpoolRefused."""
        gone = {each.number: each for each in stored}
        count, oldest_us = await self._in_thread(self._file.remove, gone)
        self._inherited -= sum(number <= self._inherited_last for number in gone)
        held = self._size
        # Appends run in the same thread, one after the other: what came since made `_size` larger already.
        self._size = Size(
            held.records - count,
            held.bytes - sum(len(each.sealed) for each in gone.values()),
            oldest_us if held.records > count else None,
        )

    async def probe(self) -> None:
        """Now and then, and after a failed write at once, try one: readiness tells the truth before a callback."""
        if self.problem is None and self._steady() < self._probe_at:
            return
        self._probe_at = self._steady() + PROBE_SECONDS
        if self._probing is None or self._probing.done():
            self._probing = asyncio.ensure_future(self._in_thread(self._file.touch))
            self._probing.add_done_callback(_look_at)
        done, _ = await asyncio.wait({self._probing}, timeout=WRITE_SECONDS_MAX)
        if not done:
            self._note(SpoolRefused(TOO_SLOW))
            return
        error = self._probing.exception()
        self._note(error if isinstance(error, Exception) else None)

    def opened(self, stored: Stored) -> Spooled:
        """The record in clear. Raises SealBroken, ValueError."""
        return _unpack(self._sealer.unseal(stored.sealed, b"spool.sealed:" + stored.id), stored.request_id)

    def doubts_about(self, callback: Callback) -> tuple[str, ...]:
        """The flag of a record whose time of arrival cannot be right, or is to be looked at, by the clock of now."""
        age = self._clock() - callback.received_at
        if age < -AHEAD_MAX:
            return ("received_in_future",)
        return ("received_long_ago",) if age > LONG_AGO else ()

    async def close(self, *, and_delete: bool = False) -> None:
        """Finish what is being written and give the file back. Once is enough."""
        if self._is_closed:
            return
        self._is_closed = True
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait({self._flushing})
        await self._in_thread(lambda: self._file.close(and_delete=and_delete))
        self._thread.shutdown(wait=False)

    async def _in_thread(self, act: Callable[..., Done], *arguments: object) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *arguments)


def _pack(spooled: Spooled, gateway: Gateway[Any]) -> bytes:
    about = {
        "account_id": spooled.account_id,
        "code": TEST_MARK + spooled.code if spooled.is_test else spooled.code,
        "adapter": spooled.adapter,
        "peer": str(spooled.callback.peer),
        "answer": None if spooled.answer is None else spooled.answer.decode("latin-1"),
    }
    return orjson.dumps(about) + b"\n" + pack_callback(spooled.callback, gateway)


def _unpack(packed: bytes, request_id: UUID) -> Spooled:
    head, _, rest = packed.partition(b"\n")
    about = orjson.loads(head)
    answer = about["answer"]
    code = about["code"]
    return Spooled(
        about["account_id"],
        code.removeprefix(TEST_MARK),
        about["adapter"],
        unpack_callback(rest, ip_address(about["peer"]), request_id),
        None if answer is None else answer.encode("latin-1"),
        code.startswith(TEST_MARK),
    )


def _microseconds(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1_000_000)


def _look_at(done: "asyncio.Future[None]") -> None:
    # Nobody waits for it any more; an exception that is not looked at would be reported as forgotten.
    if not done.cancelled():
        done.exception()
