"""The accounts and senders in the pages for carriers: each is taken by the service as it stands there."""

import re
from pathlib import Path

import pytest

from campaigns.book.apply_entries import ApplyRefused, PreparedGateway
from campaigns.book.apply_file import load
from gateways.registry import ADAPTERS
from service.catalog.account_tables import prepare_gateways

PAGES = Path(__file__).parents[3] / "docs" / "carriers"


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_every_protocol_has_a_page_with_a_whole_account_and_all_its_keys(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    account = page[page.index("```toml\n") + 8 :].partition("```")[0]
    (prepared,) = prepared_of(account)
    assert prepared.adapter == name
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE))))
    assert set(ADAPTERS[name].settings_model.model_fields) - told == set()


def test_the_issuer_of_signed_tokens_on_the_page_is_taken_and_a_wrong_key_is_named() -> None:
    account, issuer = re.findall(r"```toml\n(.*?)```", (PAGES / "camara_billing.md").read_text("utf-8"), re.DOTALL)
    (prepared,) = prepared_of(account + issuer)
    assert prepared.settings["access_tokens"]["client_id"] == "op-billing"
    with pytest.raises(ApplyRefused) as caught:
        prepared_of(account + issuer.replace('y = "x_F', 'y = "y_F'))
    (problem,) = caught.value.problems
    assert problem.toml_path == "gateway[0].access_tokens.keys[0]"
    assert "is no public key" in problem.reason


def prepared_of(text: str) -> list[PreparedGateway]:
    """What `apply` makes of a file."""
    return prepare_gateways(load(text.encode(), "file"), seal=lambda plain, _: plain, digest_key=b"k" * 32)
