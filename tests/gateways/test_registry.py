"""The list of protocols, and the stand-in for accounts we do not have."""

import re
import tomllib
from pathlib import Path

import pytest

from gateways.events import Message
from gateways.outcome import Outcome, Result
from gateways.registry import ADAPTERS, SENDERS, decoy
from gateways.sender import Sms
from tests.gateways.calls import KEY, RECEIVED_AT, gateway, received
from tests.support.protocols import ACCOUNT_KEYS, own_keys


def test_the_list_is_what_the_document_for_carriers_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "carriers.md").read_text(encoding="utf-8")
    table = text[text.index("| protocol | what it is |") :].partition("\n\n")[0]
    assert sorted(ADAPTERS) == sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert all(name == adapter.name for name, adapter in ADAPTERS.items())


def test_no_protocol_keeps_a_header_in_which_another_has_its_credentials() -> None:
    assert not {"authorization", "proxy-authorization", "cookie"} & {
        header for adapter in ADAPTERS.values() for header in adapter.kept_headers
    }


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_two_decoys_share_no_secret(name: str) -> None:
    first, second = (decoy(name).settings.model_dump() for _ in range(2))
    secret = ADAPTERS[name].settings_model.SECRET_KEYS & first.keys()
    assert secret
    assert not [key for key in secret if first[key] and first[key] == second[key]]


@pytest.mark.parametrize("name", sorted(ACCOUNT_KEYS.keys() - {"generic"}))
def test_a_protocol_tells_who_charges_the_donor_exactly_where_its_messages_do(name: str) -> None:
    secret = "whsec_" + "QUJD" * 10 if name == "standard" else "word"
    keys = tomllib.loads(own_keys(name, [secret])) | {"carriers": {"zz": "mobifone"}}
    ours = gateway(name, keys, "from_message")
    sender = SENDERS[name]("acc", ours.settings)
    sms = Sms(0, "900000001", "84950000001", "1408", "VNN 5", "VNN", "mobifone", "zz", RECEIVED_AT)
    events = ours.open(received(sender.request([sms], RECEIVED_AT)), KEY)
    told = {event.carrier for event in events if isinstance(event, Message)}
    unnamed = {"unknown"} if sender.carries_messages else set()
    assert told == ({"mobifone"} if ADAPTERS[name].tells_carrier else unnamed)


@pytest.mark.parametrize("name", sorted(ADAPTERS))
def test_a_decoy_has_an_answer_for_every_outcome(name: str) -> None:
    for outcome in Outcome:
        assert decoy(name).respond(Result(outcome=outcome, now=RECEIVED_AT)).status >= 200


def test_a_protocol_we_do_not_speak_has_no_decoy() -> None:
    with pytest.raises(KeyError):
        decoy("smpp")
