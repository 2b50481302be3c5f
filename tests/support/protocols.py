"""One message as each protocol's sender posts it to a running service, for tests that go over all protocols."""

import json
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

import aiohttp
from yarl import URL

from gateways.account import AccountSettings
from gateways.registry import ADAPTERS
from gateways.registry import SENDERS as WIRE_SENDERS
from gateways.sender import Sender as WireSender
from gateways.wire.signatures import new_secret
from tests.support.portal import PATH_SECRET, Portal, Reply, message

NUMBER = "84950000001"
SOAP_LOGIN = aiohttp.encode_basic_auth("portal", "a-password-for-tests")


async def fetch(portal: Portal, method: str, path: str, **changes: Any) -> Reply:
    """One request to the public listener, its address sent as it stands."""
    url = URL(portal.base + path, encoded=True)
    async with portal.http.request(method, url, **changes) as answer:
        return Reply(answer.status, answer.headers, await answer.read())


async def post_standard(
    portal: Portal, native_id: str, text: str = "VNN 5", number: str = NUMBER, code: str = "1408"
) -> Reply:
    """Over the account `hub`."""
    return await portal.post(message(native_id, text, msisdn=number, short_code=code))


async def get_kannel(
    portal: Portal,
    native_id: str,
    text: str = "VNN 5",
    number: str = NUMBER,
    code: str = "1408",
    *,
    path_secret: str = PATH_SECRET,
    account: str = "vina",
) -> Reply:
    """Over the account `vina`, as smsbox fetches it."""
    query = urlencode(
        {"id": native_id, "from": number, "to": code, "smsc": "vnp1", "coding": "0", "charset": "UTF-8", "text": text}
    )
    return await fetch(portal, "GET", f"/gw/kannel/{account}/{quote(path_secret)}?{query}")


def envelope(native_id: str, text: str, number: str, code: str) -> bytes:
    """A call in the dialect of the account `soap`."""
    values = {"UserID": number, "ServiceID": code, "CommandCode": "VNN", "Content": text, "RequestID": native_id}
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    return (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><GetMOData>'
        f"{inner}<Operator>VMS</Operator></GetMOData></soap:Body></soap:Envelope>"
    ).encode()


async def post_soap(
    portal: Portal,
    native_id: str,
    text: str = "VNN 5",
    number: str = NUMBER,
    code: str = "1408",
    *,
    login: str = SOAP_LOGIN,
    account: str = "soap",
) -> Reply:
    """Over the account `soap`, in reply style."""
    return await fetch(
        portal,
        "POST",
        f"/gw/vn_soap_mo/{account}",
        data=envelope(native_id, text, number, code),
        headers={"content-type": "text/xml; charset=utf-8", "authorization": login},
    )


@dataclass(frozen=True)
class Sender:
    """A protocol: the account that speaks it, the carrier it names, and what it is answered."""

    account: str
    adapter: str
    carrier: str
    send: Callable[..., Awaitable[Reply]]
    conflict_status: int = 200
    unauthenticated_status: int = 403


SENDERS = {
    "standard": Sender("hub", "standard", "viettel", post_standard, 409, 401),
    "kannel": Sender("vina", "kannel", "vinaphone", get_kannel),
    "vn_soap_mo": Sender("soap", "vn_soap_mo", "mobifone", post_soap, 200, 401),
}


GENERIC_KEYS = """secrets = {secrets}
dialect.format = "form"
dialect.fields = {{ id = "id", msisdn = "from", short_code = "to", text = "text" }}
dialect.signature = {{ place = "sign", kind = "plain", hash = "md5", parts = ["sorted", "secret"] }}
dialect.answers.accepted.body = "OK"
dialect.example.body = "id=1&from=84950000001&to=1408&text=VNN&sign=6017e1e89fcb5b9bd685856c8686ddb4"
dialect.example.secret = "nobody-s"
dialect.example.means = {{ id = "1", msisdn = "84950000001", short_code = "1408", text = "VNN" }}"""

ACCOUNT_KEYS: dict[str, tuple[str, str]] = {
    "standard": ("secrets = {secrets}", "secrets"),
    "kannel": ("path_secret = {secrets}", "path_secret"),
    "oneapi_sms": ("path_secret = {secrets}", "path_secret"),
    "generic": (GENERIC_KEYS, "secrets"),
    "camara_billing": ("secrets = {secrets}", "secrets"),
    "parlayx_sms": ('password_form = "md5_spId"\npassword = {secrets}', "password"),
    "jasmin": ("path_secret = {secrets}", "path_secret"),
    "esms_get": ('cpid = "CP01"\nsecrets = {secrets}', "secrets"),
    "onepay": (
        'product = "smsplus"\naccess_key = "ak"\nshort_code = "1408"\nsuccess_codes = ["OK"]\nsecrets = {secrets}',
        "secrets",
    ),
    "appota_ipn": ("secrets = {secrets}", "secrets"),
    "vascloud": ('services = {{ S1408 = "1408" }}\npath_secret = {secrets}', "path_secret"),
    "vcom_json": ('client_id = "demo-cp"\nsecrets = {secrets}', "secrets"),
    "vn_http_get": ('dialect = "ddviet"\npath_secret = {secrets}', "path_secret"),
    "vn_soap_mo": ('dialect = "receiverMO"\nuser = "hub"\npassword = {secrets}', "password"),
}
"""What an account of each protocol writes beside the common keys, the secrets going in; and under which key."""


def own_keys(name: str, secrets: Sequence[str]) -> str:
    """The lines of an account of protocol `name` beside the common ones."""
    return ACCOUNT_KEYS[name][0].format(secrets=json.dumps(list(secrets)))


def settings_of(name: str, secrets: Sequence[str]) -> AccountSettings:
    """The same as the adapter reads it."""
    return ADAPTERS[name].settings_model.model_validate(tomllib.loads(own_keys(name, secrets)))


def code_of(name: str) -> str:
    """The account of protocol `name` in a book of all protocols."""
    return name.replace("_", "-")


def account_table(name: str, secrets: Sequence[str]) -> str:
    """That account, whole."""
    # References in the places of secrets are no values: what decides is beside them.
    possible = settings_of(name, [new_secret() if name == "standard" else "word"]).chargings()
    charging = "on_message" if "on_message" in possible else "on_report"
    return (
        f'[[gateway]]\ncode = "{code_of(name)}"\nadapter = "{name}"\ncarrier = "viettel"\n'
        f'charging = "{charging}"\nnetworks = ["127.0.0.0/8"]\n{own_keys(name, secrets)}\n'
    )


def speaker(name: str, secret: str) -> WireSender[Any]:
    """Who posts over it, with this secret."""
    return WIRE_SENDERS[name](code_of(name), settings_of(name, [secret]))
