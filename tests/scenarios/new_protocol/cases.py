"""`telex`: the contract, and nothing peculiar."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from gateways.callback import Callback
from gateways.outcome import Answer, Outcome
from tests.gateways.calls import PLAIN, Sms, flipped_bits, request
from tests.gateways.contract import AdapterContract

PASSWORD = "mat-khau-telex"
STATUSES = {
    Outcome.CONFLICT: 409,
    Outcome.MALFORMED: 400,
    Outcome.UNAUTHENTICATED: 401,
    Outcome.STALE: 401,
    Outcome.TOO_LARGE: 413,
    Outcome.OVERLOADED: 503,
    Outcome.UNAVAILABLE: 503,
}


class TestTelex(AdapterContract):
    adapter = "telex"
    settings: ClassVar[dict[str, Any]] = {"password": PASSWORD, "path_secret": "duong-rieng"}
    mutations = 300
    answers: ClassVar[dict[Outcome, Answer]] = {
        outcome: Answer(STATUSES.get(outcome, 200), b"", "text/plain") for outcome in Outcome
    }

    def callback(self, sms: Sms = PLAIN) -> Callback:
        written = {"id": sms.id, "from": sms.msisdn, "to": sms.short_code}
        lines = [f"{key}: {value}" for key, value in written.items() if value is not None]
        text = b"" if sms.text is None else b"\n\n" + sms.text.encode()
        return self.with_content("\n".join(lines).encode() + text)

    def with_content(self, content: bytes) -> Callback:
        return request(body=content, headers={"x-telex-password": PASSWORD}, path_secret="duong-rieng")

    def others(self) -> Iterator[Callback]:
        yield self.with_content(b"charge: c-1")

    def flipped(self) -> Iterator[Callback]:
        for password in flipped_bits(PASSWORD):
            yield replace(self.callback(), headers={"x-telex-password": password})
