"""What hubs read out of our answers, our description, and the settings that decide it."""

import re
from dataclasses import replace
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from gateways.adapters.vn_soap_mo.dialects import DIALECTS, SUCCESS_VALUES
from gateways.gateway import MalformedCallback, SignatureRejected
from gateways.outcome import Outcome
from tests.gateways.adapters.soap_calls import PASSWORD, SETTINGS, USER, basic
from tests.gateways.calls import KEY, STRANGER, gateway, request, result


def scanned(body: bytes) -> int | None:
    """What the hubs' generic reader takes for the result: it looks for these, in this order, anywhere."""
    found = [digit for digit in (1, -1, 0, 2, 3, 4, 5, 6) if f">{digit}<".encode() in body]
    return found[0] if found else None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_digit_scan_finds_the_result_and_nothing_else(dialect: str) -> None:
    ours = gateway("vn_soap_mo", {"dialect": dialect})
    answers = {outcome: ours.respond(result(outcome)).body for outcome in Outcome}
    success = {"receiverMO": 1, "moReceiver": 0, "GetMOData": None}[dialect]
    for outcome, body in answers.items():
        is_taken = outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.UNALLOCATED, Outcome.CONFLICT)
        assert scanned(body) == (success if is_taken or outcome is Outcome.REJECTED_POLICY else None), outcome
    name = DIALECTS[dialect].result
    cut = re.search(f"<{name}>(.*)</{name}>".encode(), answers[Outcome.ACCEPTED])
    assert cut is not None
    assert cut[1].decode() == SUCCESS_VALUES[dialect]


def test_an_answer_depends_on_the_reading_in_reply_style_only() -> None:
    refusing = {"dialect": "receiverMO", "refuse_value": "2"}
    reply = refusing | {"style": "reply"}
    assert gateway("vn_soap_mo", reply).answer_depends_on_reading
    assert not gateway("vn_soap_mo", refusing).answer_depends_on_reading
    refused = result(Outcome.REJECTED_POLICY)
    assert b">2<" in gateway("vn_soap_mo", reply).respond(refused).body
    assert b">1<" in gateway("vn_soap_mo", refusing).respond(refused).body


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_description_is_the_accounts_own_dialect(dialect: str) -> None:
    ours = gateway("vn_soap_mo", {"dialect": dialect, "path_secret": "p", "user": USER, "password": PASSWORD})
    asked = request(method="GET", query="WSDL", path_secret="p", headers={"host": "gw.example:8443"})
    answer = ours.describe(asked)
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "text/xml; charset=utf-8")
    wsdl = "{http://schemas.xmlsoap.org/wsdl/}"
    root = fromstring(answer.body)
    assert [operation.get("name") for operation in root.iter(f"{wsdl}operation")] == [dialect, dialect]
    (address,) = root.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
    assert address.get("location") == "https://gw.example:8443/gw/vn_soap_mo/acc/p"
    text = answer.body.decode()
    assert all(f'name="{name}"' in text for name in (*DIALECTS[dialect].fields, DIALECTS[dialect].result))
    public = ours.describe(replace(asked, public_url="http://portal.example"))
    assert public is not None
    assert b'location="http://portal.example/gw/vn_soap_mo/acc/p"' in public.body
    strange = ours.describe(replace(asked, headers={"host": '"><x>'}))
    assert strange is not None
    assert b'location="/gw/vn_soap_mo/acc/p"' in strange.body


def test_a_description_is_for_those_who_pass_the_other_factors() -> None:
    ours = gateway("vn_soap_mo", {"dialect": "receiverMO", "path_secret": "p", "user": USER, "password": PASSWORD})
    asked = request(method="GET", query="wsdl", path_secret="p")
    for stranger in (replace(asked, peer=STRANGER), replace(asked, path_secret=None)):
        with pytest.raises(SignatureRejected):
            ours.describe(stranger)
    assert ours.describe(replace(asked, query="")) is None
    with pytest.raises(MalformedCallback, match="a message is posted"):
        ours.open(replace(asked, query="", headers=basic(USER, PASSWORD)), KEY)
    assert ours.describe(replace(asked, method="POST")) is None


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no dialect": ({}, "dialect"),
    "a dialect nobody speaks": ({"dialect": "receiverMo"}, "dialect"),
    "a style nobody has": ({"dialect": "receiverMO", "style": "both"}, "style"),
    "reply without a refusal": ({"dialect": "receiverMO", "style": "reply"}, "refuse_value is required"),
    "a refusal that is a success": (
        {"dialect": "receiverMO", "style": "reply", "refuse_value": "1"},
        "neither the success value",
    ),
    "a refusal that is only filed": (
        {"dialect": "receiverMO", "style": "reply", "refuse_value": "-1"},
        "neither the success value nor -1",
    ),
    "GetMOData with a bare 0": ({"dialect": "GetMOData", "success_value": "0"}, "begins with 0"),
    "GetMOData that refuses with 0": (
        {"dialect": "GetMOData", "style": "reply", "refuse_value": "0|x"},
        "must not begin with 0",
    ),
    "a value that would be escaped": ({"dialect": "GetMOData", "success_value": "0|A&B"}, "success_value"),
    "a user alone": ({"dialect": "receiverMO", "user": "u"}, "go together"),
    "a password alone": ({"dialect": "receiverMO", "password": "hunter-2"}, "go together"),
    "a user with a colon": ({"dialect": "receiverMO", "user": "a:b", "password": "hunter-2"}, "user"),
}


@pytest.mark.parametrize("label", WRONG_SETTINGS)
def test_wrong_settings_are_refused_without_being_shown(label: str) -> None:
    wrong, hint = WRONG_SETTINGS[label]
    with pytest.raises(ValueError, match=hint) as caught:
        gateway("vn_soap_mo", wrong)
    assert "hunter-2" not in str(caught.value)


def test_factors_are_the_password_and_the_path() -> None:
    assert gateway("vn_soap_mo", SETTINGS).settings.factors() == {"password"}
    assert gateway("vn_soap_mo", {"dialect": "receiverMO", "path_secret": "p"}).settings.factors() == {"path_secret"}
    assert gateway("vn_soap_mo", {"dialect": "receiverMO"}).settings.factors() == frozenset()
