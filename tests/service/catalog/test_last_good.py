"""The last good copy is sealed, replaced in one step, and none where it cannot be read."""

from pathlib import Path

import pytest

from campaigns.book.book import Book
from campaigns.book.grammar import read
from service.catalog.account_rows import load_account_rows
from service.catalog.last_good import find_last_good, keep_last_good, last_good_of
from service.runtime.clock import utc_now
from service.runtime.keyring import Keyring
from tests.support.portal import SECRET_KEY, SIGNING_SECRET, Portal

SEALER = Keyring(SECRET_KEY).local


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_copy_reads_texts_and_binds_accounts_as_the_original_does(portal: Portal, tmp_path: Path) -> None:
    found = find_last_good(tmp_path, SEALER)
    assert found is not None
    shelf = portal.service.catalog
    assert (found.kind, found.version) == ("live", shelf.book.version)
    now = utc_now()
    for text in ("VNN 5", "VNN 500", "UH", "nothing"):
        assert read(found.book, "1408", text, now) == read(shelf.book, "1408", text, now)
    async with portal.opened.database.borrow() as connection:
        assert list(found.accounts) == await load_account_rows(connection)
    assert found.book.organisations == shelf.book.organisations
    gone = Book(3, (), (), ("one", "another"))
    assert last_good_of("live", gone, []).book.withdrawn == gone.withdrawn


async def test_a_copy_holds_no_secret_in_clear(portal: Portal, tmp_path: Path) -> None:
    sealed = (tmp_path / "last-good.sealed").read_bytes()
    assert SIGNING_SECRET.encode() not in sealed
    assert b"mttq" not in sealed


async def test_what_cannot_be_read_is_no_copy(portal: Portal, tmp_path: Path) -> None:
    path = tmp_path / "last-good.sealed"
    assert find_last_good(tmp_path / "elsewhere", SEALER) is None
    assert find_last_good(tmp_path, Keyring("another key that is long enough to be one").local) is None
    held = bytearray(path.read_bytes())
    held[40] ^= 1
    path.write_bytes(held)
    assert find_last_good(tmp_path, SEALER) is None
    copy = last_good_of("live", portal.service.catalog.book, [])
    keep_last_good(tmp_path, SEALER, copy)
    assert find_last_good(tmp_path, SEALER) == copy
    assert [name for name in names_in(tmp_path) if "good" in name] == ["last-good.sealed"]


def test_what_is_kept_last_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    keep_last_good(tmp_path, SEALER, last_good_of("live", Book(0, ()), []))
    assert [path.suffix or path.name for path in synced] == [".new", tmp_path.name]
