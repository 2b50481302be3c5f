"""The hub SOAP family: every dialect, both styles, both places of a password, broken and encoded texts."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from gateways.callback import Callback
from gateways.outcome import Answer, Outcome
from tests.gateways.adapters.soap_calls import (
    HEAD,
    PASSWORD,
    PLACES,
    SETTINGS,
    USER,
    basic,
    called,
    elements,
    envelope,
)
from tests.gateways.calls import PLAIN, Sms, flipped_bits, request
from tests.gateways.contract import AdapterContract

ENVELOPE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>{}</soap:Body></soap:Envelope>'
)
OWN = "urn:portal1400:vn_soap_mo"


def fault(status: int, code: str, sentence: str, *headers: tuple[str, str]) -> Answer:
    """A golden fault."""
    body = f"<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{sentence}</faultstring></soap:Fault>"
    return Answer(status, (HEAD + ENVELOPE.format(body)).encode(), "text/xml; charset=utf-8", headers)


def answers(success: str, refused: str | None = None) -> dict[Outcome, Answer]:
    """The golden table of an account; `success` and `refused` are what stands inside the SOAP body."""
    ok = Answer(200, (HEAD + ENVELOPE.format(success)).encode(), "text/xml; charset=utf-8")
    challenge = ("www-authenticate", 'Basic realm="portal1400", charset="UTF-8"')
    later = fault(503, "Server", "try again later", ("retry-after", "5"))
    return {
        Outcome.ACCEPTED: ok,
        Outcome.DUPLICATE: ok,
        Outcome.CONFLICT: ok,
        Outcome.UNALLOCATED: ok,
        Outcome.REJECTED_POLICY: replace(ok, body=(HEAD + ENVELOPE.format(refused or success)).encode()),
        Outcome.MALFORMED: fault(500, "Client", "malformed; data.text is missing"),
        Outcome.UNAUTHENTICATED: fault(401, "Client", "unauthenticated", challenge),
        Outcome.STALE: fault(401, "Client", "unauthenticated", challenge),
        Outcome.TOO_LARGE: fault(413, "Client", "too large"),
        Outcome.OVERLOADED: later,
        Outcome.UNAVAILABLE: later,
    }


class SoapContract(AdapterContract):
    adapter = "vn_soap_mo"
    methods = frozenset({"POST", "GET"})
    mutations = 800  # the dialects share one reader, which the first of them gives the full number
    operation: ClassVar[str]
    places: ClassVar[dict[str, str]] = PLACES

    def inner(self, sms: Sms) -> str:
        written = {place: getattr(sms, meaning) for meaning, place in self.places.items()}
        return elements({**written, "Command_Code": "VNN", "Operator": "VIETTEL"})

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return called(self.operation, self.inner(sms))

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, headers=basic())

    def flipped(self) -> Iterator[Callback]:
        for password in flipped_bits(PASSWORD):
            yield replace(self.callback(), headers=basic(password=password))
        for user in flipped_bits(USER):
            yield replace(self.callback(), headers=basic(user=user))
        for encoded in flipped_bits(basic()["authorization"].removeprefix("Basic ")):
            if encoded.strip() != encoded:
                continue
            yield replace(self.callback(), headers={"authorization": f"Basic {encoded}"})

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        for label, headers in {
            "no credentials": {},
            "another password": basic(password="x"),
            "another user": basic(user="x"),
            "no colon": {"authorization": "Basic " + base64.b64encode(b"hub-1").decode()},
            "not base64": {"authorization": "Basic !"},
            "half a character": {"authorization": "Basic \udcff\ud800"},
            "another scheme": {"authorization": basic()["authorization"].replace("Basic", "Bearer")},
            "empty": {"authorization": ""},
        }.items():
            yield label, replace(self.callback(), headers=headers)
        both = self.inner(Sms()) + elements({"username": USER, "password": PASSWORD})
        yield (
            "right in the body, wrong in the header",
            replace(called(self.operation, both), headers=basic(password="x")),
        )


class TestReceiverMo(SoapContract):
    mutations = 10_000
    operation = "receiverMO"
    settings: ClassVar[dict[str, Any]] = SETTINGS
    answers = answers(
        f'<receiverMOResponse xmlns="{OWN}"><receiverMOResult>1</receiverMOResult></receiverMOResponse>'
    )


class TestMoReceiver(SoapContract):
    operation = "moReceiver"
    settings: ClassVar[dict[str, Any]] = {"dialect": "moReceiver", "user": USER, "password": PASSWORD}
    answers = answers(
        '<ns:moReceiverResponse xmlns:ns="Receiver"><moReceiverResult>0</moReceiverResult></ns:moReceiverResponse>'
    )


class TestMoReceiverStandard(TestMoReceiver):
    operation = "moReceiverStandard"


class TestGetMoData(SoapContract):
    operation = "GetMOData"
    places: ClassVar[dict[str, str]] = {
        "id": "RequestID",
        "msisdn": "UserID",
        "short_code": "ServiceID",
        "text": "Content",
    }
    settings: ClassVar[dict[str, Any]] = {"dialect": "GetMOData", "user": USER, "password": PASSWORD}
    answers = answers(f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>0|</GetMODataResult></GetMODataResponse>')


class TestReplyStyle(TestGetMoData):
    settings: ClassVar[dict[str, Any]] = {
        "dialect": "GetMOData",
        "style": "reply",
        "success_value": "0|Cam on ban",
        "refuse_value": "1|Sai cu phap",
        "user": USER,
        "password": PASSWORD,
    }
    answers = answers(
        f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>0|Cam on ban</GetMODataResult></GetMODataResponse>',
        f'<GetMODataResponse xmlns="{OWN}"><GetMODataResult>1|Sai cu phap</GetMODataResult></GetMODataResponse>',
    )


class TestBase64(TestReceiverMo):
    """A hub that encodes its texts."""

    mutations = 800
    settings: ClassVar[dict[str, Any]] = {**SETTINGS, "base64": True}

    def inner(self, sms: Sms) -> str:
        encoded = None if sms.text is None else base64.b64encode(sms.text.encode()).decode()
        return super().inner(replace(sms, text=encoded))


class TestPathSecret(TestReceiverMo):
    """A hub that can only be given an address."""

    mutations = 800
    settings: ClassVar[dict[str, Any]] = {"dialect": "receiverMO", "path_secret": "duong-rieng-1"}

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return request(body=envelope(self.operation, self.inner(sms)), path_secret="duong-rieng-1")

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, path_secret="duong-rieng-1")

    def flipped(self) -> Iterator[Callback]:
        for secret in flipped_bits("duong-rieng-1"):
            yield replace(self.callback(), path_secret=secret)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from AdapterContract.strangers(self)


class TestPasswordInTheBody(TestReceiverMo):
    """Credentials as elements beside the message; nothing of what is read counts before they are right."""

    mutations = 2_000

    def callback(self, sms: Sms = PLAIN) -> Callback:
        return self.with_credentials(USER, PASSWORD, sms)

    def with_credentials(self, user: str, password: str, sms: Sms = PLAIN) -> Callback:
        inner = self.inner(sms) + elements({"UserName": user, "Password": password})
        return request(body=envelope(self.operation, inner))

    def with_content(self, content: bytes) -> Callback:
        return request(body=content)

    def flipped(self) -> Iterator[Callback]:
        for password in flipped_bits(PASSWORD):
            yield self.with_credentials(USER, password)
        for user in flipped_bits(USER):
            yield self.with_credentials(user, PASSWORD)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from AdapterContract.strangers(self)
        yield "no elements", request(body=envelope(self.operation, self.inner(Sms())))
        yield "not XML", request(body=b"<soap")
        yield "empty header", replace(self.callback(), headers={"authorization": ""})
