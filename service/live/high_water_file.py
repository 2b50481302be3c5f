"""The file that remembers what this machine has published: versions that only rise, for one installation.

Several workers share it: whoever writes holds `published.lock`, takes the higher of both, and replaces the file in
one step that survives a power cut.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from service.postgres.embedded.data_folder import open_lock, try_lock
from service.runtime.files import write_durably
from service.runtime.refusals import Refused

FORMAT = 1
FILE_BYTES_MAX = 16 * 1024 * 1024
LOCK_SECONDS_MAX = 5.0
POLL_SECONDS = 0.02


class HighWaterFileUnusable(Refused):
    """The file cannot be read or written; the sentence says which and what to do."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The highest versions published of one installation, by campaign slug."""

    installation: str
    campaigns: Mapping[str, int]
    unallocated: int

    @property
    def says_something(self) -> bool:
        """Whether any figure but zero was ever published."""
        return self.unallocated > 0 or any(self.campaigns.values())

    def joined(self, other: "Versions") -> "Versions":
        """The higher of both, campaign by campaign."""
        slugs = [*self.campaigns, *other.campaigns]
        highest = {slug: max(self.campaigns.get(slug, 0), other.campaigns.get(slug, 0)) for slug in slugs}
        return Versions(other.installation, highest, max(self.unallocated, other.unallocated))


class HighWaterFile:
    """`published.json` in a data folder. Its calls wait for the disk: keep them off the event loop."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.expanduser().resolve() / "published.json"
        self._lock = self.path.with_suffix(".lock")

    def read(self) -> Versions | None:
        """What was remembered, or None before the first time. Raises MarkUnusable."""
        try:
            with self.path.open("rb") as file:
                document = json.loads(file.read(FILE_BYTES_MAX))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']}")
            campaigns = {str(slug): int(version) for slug, version in document["campaigns"].items()}
            return Versions(str(document["installation"]), campaigns, int(document["unallocated"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise HighWaterFileUnusable(
                f"{self.path}, which remembers what this machine has published, cannot be read "
                f"({type(error).__name__}): make it readable for this account; if it is damaged, compare the totals "
                "with what was last shown and move the file away"
            ) from None

    def change(self, make: Callable[[Versions | None], Versions | None]) -> Versions | None:
        """Replace the mark by what `make` makes of the present one; None leaves it. Raises MarkUnusable."""
        try:
            self.path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            with self._locked():
                present = self.read()
                made = make(present)
                if made is not None and made != present:
                    self._replace(made)
                return made
        except OSError as error:
            raise HighWaterFileUnusable(
                f"{self.path}, which remembers what this machine has published, cannot be written "
                f"({error.strerror}): free space, or let this account write there"
            ) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = open_lock(self._lock)
        try:
            deadline = time.monotonic() + LOCK_SECONDS_MAX
            while not try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise HighWaterFileUnusable(
                        f"{self._lock} has been held for {LOCK_SECONDS_MAX:g} s by another process: see which "
                        "service on this machine hangs"
                    )
                time.sleep(POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, mark: Versions) -> None:
        write_durably(self.path, json.dumps({"format": FORMAT, **asdict(mark)}, indent=1).encode())
