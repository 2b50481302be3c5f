"""The accounts and senders in the pages for carriers: each is taken by the service as it stands there."""

import re
from pathlib import Path

import pytest

from campaigns.book.apply_file import load
from gateways.registry import ADAPTERS
from service.catalog.account_tables import prepare_gateways

PAGES = Path(__file__).parents[3] / "docs" / "carriers"


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_protocol_has_a_page_with_a_whole_account_and_all_its_keys(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    account = page[page.index("```toml\n") + 8 :].partition("```")[0]
    (prepared,) = prepare_gateways(load(account.encode(), name), seal=lambda plain, _: plain, digest_key=b"k" * 32)
    assert prepared.adapter == name
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE))))
    assert set(ADAPTERS[name].settings_model.model_fields) - told == set()
