"""Repliers: each call to the letter, free and charged; and what each hub's answer means."""

import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from gateways.adapters import jasmin as jasmin_adapter
from gateways.adapters import kannel as kannel_adapter
from gateways.registry import ADAPTERS, REPLIERS
from gateways.replier import Fate, OutgoingReply, Replier, ReplyingSettings
from gateways.repliers import jasmin, kannel
from tests.support.protocols import own_keys

KEYS: dict[str, dict[str, Any]] = {
    "kannel": {"reply_free": {"binfo": "0"}, "reply_charged": {"binfo": "20000", "smsc": "charged"}},
    "jasmin": {"reply_free": {"tags": "1"}, "reply_charged": {"tags": "2"}},
    "vcom_json": {},
    "vn_soap_mo": {"reply_namespace": "http://hub.example/mt"},
}
REPLY = OutgoingReply(
    reference="r01", message_ref="m/1", msisdn="84950000001", short_code="1408", keyword="VNN", carrier="vinaphone",
    text="Cam on 100.000 dong. Ma: A?", is_charged=True, is_counted=True,
    at=datetime(2026, 11, 21, 8, 30, tzinfo=UTC), report_address="https://p.example/gw/x/acc/dlr",
)  # fmt: skip
FREE = replace(REPLY, is_charged=False)
WRONG = replace(FREE, is_counted=False)


def replier(name: str) -> Replier[Any]:
    own: dict[str, Any] = tomllib.loads(own_keys(name, ["test-secure-key"])) | KEYS[name]
    own |= {"reply_url": "http://hub.example/send", "reply_user": "portal", "reply_password": "word"}
    return REPLIERS[name](ADAPTERS[name].settings_model.model_validate(own))


def said(name: str, reply: OutgoingReply) -> dict[str, str]:
    """What a call says, in the protocol's own words."""
    call = replier(name).call(reply)
    assert call.url == "http://hub.example/send"
    # The number and the password may stand in a header, and a call in a traceback.
    assert not any(secret in repr(call) for secret in (reply.msisdn, "word", reply.text))
    body = call.body.decode()
    if name == "kannel":
        return dict(call.headers) | {"text": body}
    if name == "jasmin":
        return {key: value[0] for key, value in parse_qs(body, strict_parsing=True).items()}
    if name == "vcom_json":
        return {key: str(value) for key, value in json.loads(body).items()}
    elements: list[Element] = list(fromstring(body).iter())
    assert elements[2].tag == "{http://hub.example/mt}SendMT"
    return {each.tag.rpartition("}")[2]: each.text or "" for each in elements[3:]}


@pytest.mark.parametrize("name", REPLIERS)
def test_the_page_names_every_field_of_a_call(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "replies.md").read_text(encoding="utf-8")
    section = page.partition("| what we post |")[2].partition("| what your hub answers |")[0]
    row = next(line for line in section.splitlines() if line.startswith(f"| `{name}` |"))
    own = {"text", "Content-Type", *(kannel.HEADERS[key] for key in kannel.HEADERS), "tags", "priority"}
    assert said(name, REPLY).keys() - own <= set(re.findall(r"`([^`]+)`", row))


CALLS: dict[str, tuple[dict[str, str], dict[str, str], dict[str, str]]] = {
    "kannel": (
        {
            "X-Kannel-To": "84950000001", "X-Kannel-From": "1408", "text": REPLY.text, "X-Kannel-BInfo": "20000",
            "X-Kannel-SMSC": "charged", "X-Kannel-Username": "portal", "X-Kannel-Password": "word",
            "X-Kannel-DLR-Mask": "19",
            "X-Kannel-DLR-Url": "https://p.example/gw/x/acc/dlr?ref=r01&msg=m%2F1&d=%d&ts=%T",
        },
        {"X-Kannel-BInfo": "0"},
        {"X-Kannel-BInfo": "0"},
    ),
    "jasmin": (
        {
            "to": "84950000001", "from": "1408", "content": REPLY.text, "tags": "2", "username": "portal",
            "password": "word", "dlr": "yes", "dlr-level": "2", "dlr-url": "https://p.example/gw/x/acc/dlr?msg=m%2F1",
        },
        {"tags": "1"},
        {"tags": "1"},
    ),
    "vcom_json": (
        {
            "client_id": "demo-cp", "request_id": "m/1", "service_id": "1408", "command_code": "VNN",
            "mt_code": "r01", "message": REPLY.text, "is_charged": "1", "time": "1795249800",
            "checksum": "LoLW6LCq5W66tj7TaVpg5fOCatK8kjJP6IIBMYaVVws=",
        },
        {"is_charged": "0"},
        {"is_charged": "0"},
    ),
    "vn_soap_mo": (
        {
            "User_ID": "84950000001", "Message": REPLY.text, "Service_ID": "1408", "Command_Code": "VNN",
            "Message_Type": "1", "Request_ID": "m/1", "Operator": "GPC", "UserName": "portal", "Password": "word",
        },
        {"Message_Type": "0"},
        {"Message_Type": "2"},
    ),
}  # fmt: skip
"""What each call says: charged and whole, then what is another where it is free, and where nothing counts."""


@pytest.mark.parametrize("name", sorted(REPLIERS))
def test_a_call_says_who_pays(name: str) -> None:
    charged, free, wrong = CALLS[name]
    assert charged.items() <= said(name, REPLY).items()
    assert free.items() <= said(name, FREE).items()
    assert wrong.items() <= said(name, WRONG).items()


@pytest.mark.parametrize("name", ["kannel", "jasmin"])
def test_no_report_is_asked_of_what_is_free_or_has_no_address(name: str) -> None:
    for reply in (FREE, replace(REPLY, report_address=None)):
        assert not any("dlr" in key.lower() for key in said(name, reply)), reply


def soap(value: str) -> bytes:
    return f'<e:Envelope xmlns:e="x"><e:Body><n:SendMTResult t="i">{value}</n:SendMTResult></e:Body>'.encode()


# protocol, status, body, what it means
ANSWERS = [
    ("kannel", 202, b"0: Accepted for delivery", Fate.ACCEPTED),
    ("kannel", 202, b"3: Queued for later delivery", Fate.ACCEPTED),
    ("kannel", 200, b"0: Accepted for delivery", Fate.ACCEPTED),
    ("kannel", 200, b"<html>a proxy</html>", Fate.UNKNOWN),
    ("kannel", 403, b"Authorization failed", Fate.LATER),
    ("kannel", 503, b"Temporal failure", Fate.LATER),
    ("kannel", 400, b"Missing receiver", Fate.REFUSED),
    ("kannel", 500, b"", Fate.UNKNOWN),
    ("kannel", 302, b"", Fate.UNKNOWN),
    ("jasmin", 200, b'Success "9ab2867c-96ce-4405-b890-8d35d52c8e01"', Fate.ACCEPTED),
    ("jasmin", 200, b"<html>a proxy</html>", Fate.UNKNOWN),
    ("jasmin", 400, b'Error "Mandatory argument"', Fate.REFUSED),
    ("jasmin", 403, b'Error "Authentication failure"', Fate.LATER),
    ("jasmin", 412, b'Error "No route found"', Fate.LATER),
    ("jasmin", 500, b'Error "Cannot send"', Fate.UNKNOWN),
    ("vcom_json", 200, b'{"data":{"code":200,"status":"success"}}', Fate.ACCEPTED),
    ("vcom_json", 200, b'{"errors":{"code":104}}', Fate.ACCEPTED),
    ("vcom_json", 200, b'{"errors":{"code":106}}', Fate.LATER),
    ("vcom_json", 200, b'{"errors":{"code":"104"}}', Fate.UNKNOWN),
    ("vcom_json", 200, b"[1]", Fate.UNKNOWN),
    ("vcom_json", 200, b"\xff", Fate.UNKNOWN),
    ("vcom_json", 500, b"", Fate.LATER),
    ("vn_soap_mo", 200, soap("1"), Fate.ACCEPTED),
    ("vn_soap_mo", 200, soap("2"), Fate.LATER),
    ("vn_soap_mo", 200, soap("9"), Fate.REFUSED),
    ("vn_soap_mo", 200, soap("-7"), Fate.UNKNOWN),
    ("vn_soap_mo", 200, b"<x>1</x>", Fate.UNKNOWN),
    ("vn_soap_mo", 500, soap("1"), Fate.UNKNOWN),
    ("vn_soap_mo", 503, b"", Fate.LATER),
]


@pytest.mark.parametrize(("name", "status", "body", "fate"), ANSWERS)
def test_an_answer_means_what_its_protocol_says_and_all_else_is_unknown(
    name: str, status: int, body: bytes, fate: Fate
) -> None:
    judged = replier(name).judge(status, body)
    assert judged.fate is fate
    assert (judged.reason is None) == (fate is Fate.ACCEPTED and b"104" not in body)


def test_only_a_hub_that_drops_repeats_is_said_to() -> None:
    assert [name for name in sorted(REPLIERS) if REPLIERS[name].drops_repeats] == ["vcom_json"]
    assert len(f"r{'0' * 32}") <= 50


def test_what_stands_on_both_sides_of_a_protocol_is_the_same() -> None:
    assert kannel.HEADERS.keys() == kannel_adapter.REPLY_PARAMETERS
    assert jasmin_adapter.REPLY_PARAMETERS == jasmin.PARAMETERS
    for name in REPLIERS:
        assert issubclass(ADAPTERS[name].settings_model, ReplyingSettings), name
        assert "reply_password" in ADAPTERS[name].settings_model.SECRET_KEYS


UNFIT = [
    ("kannel", {"reply_charged": {"tags": "1"}}, "smsc, account, binfo"),
    ("jasmin", {"reply_free": {"binfo": "1"}}, "tags and priority"),
    ("kannel", {"reply_url": "ftp://hub"}, "pattern"),
    ("kannel", {"reply_url": "http://portal:word@hub/"}, "pattern"),
    ("vn_soap_mo", {"style": "reply", "refuse_value": "2", "reply_url": "http://hub"}, "style = ack"),
]


@pytest.mark.parametrize(("name", "changes", "reason"), UNFIT)
def test_keys_that_do_not_go_together_are_refused(name: str, changes: dict[str, Any], reason: str) -> None:
    own = tomllib.loads(own_keys(name, ["word"]))
    with pytest.raises(ValueError, match=reason):
        ADAPTERS[name].settings_model.model_validate(own | changes)


def test_money_by_reply_needs_a_reply_that_charges() -> None:
    own, url = tomllib.loads(own_keys("kannel", ["word"])), {"reply_url": "http://hub"}
    model = ADAPTERS["kannel"].settings_model
    assert "on_reply" not in model.model_validate(own).chargings()
    assert model.model_validate(own | url).chargings() & {"on_reply", "on_report"} == set()
    charging = model.model_validate(own | url | {"reply_charged": {"binfo": "1"}})
    assert {"on_reply", "on_report"} <= charging.chargings()
