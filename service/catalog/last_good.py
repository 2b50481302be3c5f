"""The last good book and accounts, in a sealed file of DATA_DIR: what a worker starts from with the database away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from campaigns.book.book import Book, Campaign, Organisation
from service.catalog.account_rows import AccountRow
from service.runtime.files import write_durably
from service.runtime.keyring import SealBroken, Seals

NAME = "last-good.sealed"
ASSOCIATED = b"last-good v1"


@dataclass(frozen=True, slots=True)
class LastGood:
    """A book version, the accounts as stored (secrets sealed or by name), and whether the gifts are real."""

    kind: str
    version: int
    campaigns: tuple[Campaign, ...]
    organisations: tuple[Organisation, ...]
    accounts: tuple[AccountRow, ...]
    withdrawn: tuple[str, ...] = ()

    @property
    def book(self) -> Book:
        """The book."""
        return Book(self.version, self.campaigns, self.organisations, self.withdrawn)


COPY: TypeAdapter[Any] = TypeAdapter(LastGood)


def last_good_of(kind: str, book: Book, accounts: list[AccountRow]) -> LastGood:
    """What would be kept of `book` and `accounts`."""
    organisations = tuple(book.organisations.values())
    return LastGood(kind, book.version, book.campaigns, organisations, tuple(accounts), tuple(sorted(book.withdrawn)))


def keep_last_good(data_dir: Path, sealer: Seals, copy: LastGood) -> None:
    """Replace the file in one step; on disk when this returns. Raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(data_dir / NAME, sealer.seal(COPY.dump_json(copy), ASSOCIATED))


def find_last_good(data_dir: Path, sealer: Seals) -> LastGood | None:
    """The copy; None where there is none, or none that this key and this release can read."""
    try:
        sealed = (data_dir / NAME).read_bytes()
    except OSError:
        return None
    try:
        found = COPY.validate_json(sealer.unseal(sealed, ASSOCIATED))
    except (SealBroken, ValidationError):
        return None
    assert isinstance(found, LastGood)  # noqa: S101 -- what the adapter was made for
    return found
