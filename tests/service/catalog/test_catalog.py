"""The catalog: who posts to an address, and a book with its accounts that is replaced whole."""

from pathlib import Path

import pytest

from campaigns.book.apply_file import load
from campaigns.book.recording import apply_changes
from metrics.families.intake import UNKNOWN_ACCOUNT
from service.catalog.account_tables import prepare_gateways
from service.runtime.clock import utc_now
from tests.support.portal import BOOK, Portal, eventually


def test_an_address_is_resolved_to_its_enabled_account_and_every_other_to_a_stranger(lasting_portal: Portal) -> None:
    catalog = lasting_portal.service.catalog
    party = catalog.resolve("standard", "hub")
    assert party.account is catalog.accounts.by_code["hub"]
    assert party.gateway is catalog.accounts.by_code["hub"].gateway
    assert (party.label, party.adapter) == ("hub", "standard")
    assert catalog.resolve("standard", "hub") is party
    for adapter, code, fault in (
        ("kannel", "hub", "account of another protocol (hub)"),
        ("standard", "vina", "account of another protocol (vina)"),
        ("standard", "nobody", "unknown account"),
    ):
        stranger = catalog.resolve(adapter, code)
        assert (stranger.label, stranger.adapter, stranger.account) == (UNKNOWN_ACCOUNT, adapter, None)
        # One gateway answers all of them; only the log hears why.
        assert stranger.gateway is catalog.stranger(adapter).gateway
        assert stranger.fault == fault
    with pytest.raises(KeyError):
        catalog.resolve("carrier-pigeon", "hub")


async def test_a_disabled_account_is_a_stranger_from_the_next_book_on(portal: Portal, tmp_path: Path) -> None:
    catalog, keyring = portal.service.catalog, portal.opened.keyring
    assert catalog.resolve("standard", "hub").account is not None
    path = tmp_path / "disabled.toml"
    path.write_text(BOOK.replace('code = "hub"\n', 'code = "hub"\nenabled = false\n'), encoding="utf-8")
    file = load(path)
    prepared = prepare_gateways(file, seal=keyring.settings.seal, digest_key=keyring.digest_key)
    before = catalog.book.version
    async with portal.opened.database.borrow() as connection:
        assert (await apply_changes(connection, file, prepared, now=utc_now())).changes.lines

    async def is_replaced() -> bool:
        return catalog.book.version > before

    await eventually(is_replaced)
    assert catalog.resolve("standard", "hub").account is None
    assert not catalog.accounts.by_code["hub"].enabled
    assert catalog.codes[catalog.accounts.by_code["hub"].id] == "hub"
