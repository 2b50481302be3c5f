"""Which spool file a worker has: the first that nobody has and that is whole, and those that others left behind.

A file belongs to whoever holds the lock file beside it. The kernel frees the lock when its holder dies, so a
file that nobody has locked may be adopted.
"""

import asyncio
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from pathlib import Path

import structlog

from service.intake.spool import Spool
from service.intake.spool_answers import has_said_yes
from service.intake.spool_file import SpoolDamaged, SpoolFile, SpoolRefused, describe
from service.intake.spool_lock import MarkBroken, SpoolLock, read_mark
from service.runtime.keyring import Keyring

log = structlog.get_logger("spool")

_State = tuple[tuple[int, int, int] | None, ...]

FILES_MAX = 100
"""Numbers a folder has for files, and so the most processes that may share it."""


def claim_own(folder: Path, *, key_check: bytes, former_checks: Container[bytes] = (), bytes_max: int) -> SpoolFile:
    """The first file of `folder` that nobody has, made if need be. Raises SpoolRefused.

    A damaged file is passed over: whoever adopts what was left behind says so, and gifts go on being taken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(FILES_MAX):
            lock = SpoolLock.claim(folder / f"{number:02}.lock")
            if lock is None:
                continue
            try:
                return SpoolFile(
                    folder / f"{number:02}.sqlite", lock,
                    key_check=key_check, former_checks=former_checks, bytes_max=bytes_max,
                )  # fmt: skip
            except SpoolDamaged:
                continue
    except OSError as error:
        raise SpoolRefused(
            f"the spool's folder {folder} cannot be used ({describe(error)}): make PORTAL1400_DATA_DIR a folder that "
            "this user can write"
        ) from None
    raise SpoolRefused(
        f"all {FILES_MAX} spool files of {folder} are in use or damaged: stop some of the processes there, and set "
        "damaged files apart as docs/outages.md tells"
    )


def _stems(folder: Path) -> list[str]:
    """The numbers of its files; one that is gone has left its lock, and in it how much was in it."""
    return sorted({path.stem for suffix in ("sqlite", "lock") for path in folder.glob(f"[0-9][0-9].{suffix}")})


def claim_left(
    folder: Path,
    *,
    key_check: bytes,
    former_checks: Container[bytes] = (),
    bytes_max: int,
    leave: Container[str] = (),
) -> tuple[list[SpoolFile], dict[str, str]]:
    """Every file of `folder` that somebody left behind, and for each that cannot be used, by its number, a sentence.

    Numbers in `leave` are not looked at.
    """
    found: list[SpoolFile] = []
    problems: dict[str, str] = {}
    for stem in (stem for stem in _stems(folder) if stem not in leave):
        path = folder / f"{stem}.sqlite"
        try:
            # Not even claimed for a moment, in which a worker that starts would take another number.
            if not path.exists() and not path.with_suffix(".lock").stat().st_size:
                continue
            lock = SpoolLock.claim(path.with_suffix(".lock"))
            if lock is None:
                continue
            if not path.exists() and not lock.has_mark:
                lock.free()
                continue
            found.append(SpoolFile(path, lock, key_check=key_check, former_checks=former_checks, bytes_max=bytes_max))
        except SpoolRefused as refused:
            problems[stem] = str(refused)
        except OSError as error:
            problems[stem] = f"the spool file {path} cannot be claimed ({describe(error)})"
    return found, problems


def waiting_in(folder: Path) -> list[str]:
    """A sentence for each file of `folder` in which acknowledged callbacks wait, or may; some process may have it.

    By the mark beside it, which is written before a sender is answered. Nothing is changed or claimed.
    """
    found: list[str] = []
    for stem in _stems(folder):
        path = folder / f"{stem}.sqlite"
        try:
            mark = read_mark(path.with_suffix(".lock"))
            if mark is None and path.exists() and path.stat().st_size:
                found.append(f"callbacks may wait in the spool file {path}, which has no mark")
            elif mark is not None and mark.taken > mark.let_go:
                found.append(f"{mark.taken - mark.let_go} callbacks wait in the spool file {path}")
        except MarkBroken:
            found.append(f"callbacks may wait in the spool file {path}: its mark cannot be read")
        except OSError as error:
            found.append(f"callbacks may wait in the spool file {path}, which cannot be read ({describe(error)})")
    return found


class SpoolFolder:
    """The spool files of a machine: this worker claims one of its own, and adopts those that nobody has any more."""

    def __init__(
        self,
        folder: Path,
        keyring: Keyring,
        *,
        bytes_max: int,
        age_seconds_max: float,
        clock: Callable[[], datetime],
    ) -> None:
        """`bytes_max` and `age_seconds_max` bound each file; beyond them it takes nothing more."""
        self._folder = folder
        self._keyring = keyring
        self._bytes_max = bytes_max
        self._age_seconds_max = age_seconds_max
        self._clock = clock
        self._refused: dict[str, tuple[_State, str]] = {}

    def claim_own(self) -> Spool:
        """A spool that nobody else has. Raises SpoolRefused."""
        own, *former = self._keyring.key_checks
        return self._spool(claim_own(self._folder, key_check=own, former_checks=former, bytes_max=self._bytes_max))

    async def claim_left(self, *, again: bool = True) -> tuple[list[Spool], list[str], list[str]]:
        """Every spool that somebody left behind, a sentence for each that cannot be used, and those new among these.

        Nobody's file is found by its lock, which costs little. One that could not be used is read again, which costs
        much, where it has changed since, and with `again`.
        """
        return await asyncio.to_thread(self._claim_left, again)

    def _claim_left(self, again: bool) -> tuple[list[Spool], list[str], list[str]]:
        known = {
            stem: (state, sentence)
            for stem, (state, sentence) in self._refused.items()
            if not again and state == self._state(stem)
        }
        own, *former = self._keyring.key_checks
        files, problems = claim_left(
            self._folder, key_check=own, former_checks=former, bytes_max=self._bytes_max, leave=known
        )
        self._refused = known | {stem: (self._state(stem), sentence) for stem, sentence in problems.items()}
        sentences = [sentence for _, (_, sentence) in sorted(self._refused.items())]
        return [self._spool(file) for file in files], sentences, list(problems.values())

    def _state(self, stem: str) -> _State:
        """What tells that somebody touched a file, its log or its mark."""
        found: list[tuple[int, int, int] | None] = []
        for suffix in (".sqlite", ".sqlite-wal", ".lock"):
            try:
                stat = (self._folder / f"{stem}{suffix}").stat()
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)

    async def has_said_yes(self, keys: Sequence[bytes]) -> bool:
        """Whether a spool of this machine that is not empty yet has acknowledged a message with one of `keys`."""
        return await asyncio.to_thread(has_said_yes, self._folder, keys)

    def _spool(self, file: SpoolFile) -> Spool:
        if file.is_unmarked:
            log.error("spool_without_mark", file=file.path.name, records=file.size().records)
        return Spool(
            file,
            self._keyring.local,
            bytes_max=self._bytes_max,
            age_seconds_max=self._age_seconds_max,
            clock=self._clock,
        )
