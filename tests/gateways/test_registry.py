"""The list of protocols, and the stand-in for accounts we do not have."""

import pytest

from gateways.outcome import Outcome, Result
from gateways.registry import ADAPTERS, decoy
from tests.gateways.calls import RECEIVED_AT


def test_the_list_is_what_the_addresses_say() -> None:
    assert sorted(ADAPTERS) == ["kannel", "standard", "vn_soap_mo"]
    assert all(name == adapter.name for name, adapter in ADAPTERS.items())


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_two_decoys_share_no_secret(name: str) -> None:
    first, second = (decoy(name).settings.model_dump() for _ in range(2))
    secret = ADAPTERS[name].settings_model.SECRET_KEYS & first.keys()
    assert secret
    assert not [key for key in secret if first[key] is not None and first[key] == second[key]]


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_decoy_has_an_answer_for_every_outcome(name: str) -> None:
    for outcome in Outcome:
        assert decoy(name).respond(Result(outcome=outcome, now=RECEIVED_AT)).status >= 200


def test_a_protocol_we_do_not_speak_has_no_decoy() -> None:
    with pytest.raises(KeyError):
        decoy("smpp")
