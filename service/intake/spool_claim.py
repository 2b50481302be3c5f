"""Which spool file a worker has: the first that nobody has and that is whole, and those that others left behind.

A file belongs to whoever holds the lock file beside it. The kernel frees the lock when its holder dies, so a
file that nobody has locked may be adopted.
"""

from pathlib import Path

from service.intake.spool_file import SpoolDamaged, SpoolFile, SpoolRefused, describe
from service.intake.spool_lock import SpoolLock

FILES_MAX = 100
"""Numbers a folder has for files, and so the most processes that may share it."""


def claim_own(folder: Path, *, key_check: bytes, bytes_max: int) -> SpoolFile:
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
                return SpoolFile(folder / f"{number:02}.sqlite", lock, key_check=key_check, bytes_max=bytes_max)
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


def claim_left(folder: Path, *, key_check: bytes, bytes_max: int) -> tuple[list[SpoolFile], list[str]]:
    """Every file of `folder` that somebody left behind, and a sentence for each that cannot be used."""
    found: list[SpoolFile] = []
    problems: list[str] = []
    # A file that is gone has left its lock, and in it how much was in it.
    stems = {path.stem for suffix in ("sqlite", "lock") for path in folder.glob(f"[0-9][0-9].{suffix}")}
    for stem in sorted(stems):
        path = folder / f"{stem}.sqlite"
        try:
            lock = SpoolLock.claim(path.with_suffix(".lock"))
            if lock is None:
                continue
            if not path.exists() and not lock.has_mark:
                lock.free()
                continue
            found.append(SpoolFile(path, lock, key_check=key_check, bytes_max=bytes_max))
        except SpoolRefused as refused:
            problems.append(str(refused))
        except OSError as error:
            problems.append(f"the spool file {path} cannot be claimed ({describe(error)})")
    return found, problems
