"""What adapters of signed forms have in common: `name=value` pairs, one of which is a checksum over others."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import pytest

from gateways.callback import Callback
from gateways.gateway import Gateway, MalformedCallback, SignatureRejected
from tests.gateways.calls import KEY, PLAIN, Sms, flipped_bits, gateway, request
from tests.gateways.contract import AdapterContract

Call = Mapping[str, str]

FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


class SignedFormContract(AdapterContract):
    """The contract of an adapter whose callback is such a form, fetched as a query or posted as a body."""

    fuzzed = "query"
    mutations = 3_000

    secret: ClassVar[str]
    plain_call: ClassVar[dict[str, str]]
    """A call without its signature."""
    names: ClassVar[dict[str, str]]
    """Where each of `id`, `msisdn`, `short_code` and `text` stands, as far as the call has it."""
    signed: ClassVar[tuple[str, ...]]
    """The pairs of which each bit is signed."""
    signature_name: ClassVar[str]
    vector: ClassVar[str]
    """The signature of `plain_call` as the protocol's documentation, or who read it, has it."""

    @classmethod
    @abstractmethod
    def signature(cls, call: Call, secret: str) -> str:
        """As the protocol's document says, written anew."""

    @classmethod
    def sent(cls, call: Call, sign: str | None = None) -> Callback:
        """A call with its signature, unless another is given."""
        made = cls.signature(call, cls.secret) if sign is None else sign
        form = urlencode({**call, cls.signature_name: made}, errors="surrogateescape")
        if cls.fuzzed == "query":
            return request(method="GET", query=form)
        return request(body=form.encode(), headers=FORM_TYPE)

    def callback(self, sms: Sms = PLAIN) -> Callback:
        call = dict(self.plain_call)
        for meaning, name in self.names.items():
            value = getattr(sms, meaning)
            if value is None:
                del call[name]
            else:
                call[name] = value
        return self.sent(call)

    def with_content(self, content: bytes) -> Callback:
        pairs = parse_qsl(
            content.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape"
        )
        call: dict[str, str] = {}
        for name, value in pairs:
            call.setdefault(name, value)
        call.pop(self.signature_name, None)
        return self.sent(call)

    def strangers(self) -> Iterator[tuple[str, Callback]]:
        yield from super().strangers()
        yield "no signature", self.sent(self.plain_call, "")
        yield "another secret", self.sent(self.plain_call, self.signature(self.plain_call, "another"))
        yield "nothing", replace(self.callback(), query="", body=b"")

    def flipped(self) -> Iterator[Callback]:
        for name in self.signed:
            for changed in flipped_bits(self.plain_call[name]):
                yield self.sent({**self.plain_call, name: changed}, self.vector)
        for changed in flipped_bits(self.vector):
            if changed.lower() != self.vector:
                yield self.sent(self.plain_call, changed)

    def test_the_signature_is_the_document_s(self, gateway: Gateway[Any]) -> None:
        assert self.signature(self.plain_call, self.secret) == self.vector
        # Digits of either case are the same number.
        assert gateway.open(self.sent(self.plain_call, self.vector.upper()), KEY)

    def test_the_signature_is_over_the_bytes_that_came(self, gateway: Gateway[Any]) -> None:
        for raw, meant in (("đa cam".encode("cp1258"), "đa cam"), ("ủng hộ & 5+".encode(), "ủng hộ & 5+")):
            call = {**self.plain_call, self.names["text"]: raw.decode("utf-8", "surrogateescape")}
            assert self.message_in(gateway.open(self.sent(call), KEY)).text == meant

    def test_a_previous_secret_is_right_while_it_rotates(self) -> None:
        both = self.settings | {"secrets": ["new-key", self.secret]}
        assert gateway(self.adapter, both).open(self.callback(), KEY)
        with pytest.raises(SignatureRejected):
            gateway(self.adapter, self.settings | {"secrets": ["new-key"]}).open(self.callback(), KEY)

    def test_a_field_given_twice_is_malformed(self, gateway: Gateway[Any]) -> None:
        for name in self.names.values():
            more = f"&{name}=1409"
            callback = self.callback()
            twice = replace(callback, query=callback.query + more, body=callback.body + more.encode())
            with pytest.raises(MalformedCallback) as caught:
                gateway.open(twice, KEY)
            assert [error.reason for error in caught.value.errors] == ["is given twice"]
