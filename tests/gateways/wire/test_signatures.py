"""Standard Webhooks v1: vectors, the library of its authors as an oracle, and hostile headers."""

import base64
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateways.account import SECRETS_MAX
from gateways.gateway import SignatureRejected, StaleAttempt
from gateways.wire import signatures
from gateways.wire.mac import hmac_sha256
from gateways.wire.signatures import require_signature, sign, signing_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ATTEMPT = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = "1614265330"
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
AT = datetime.fromtimestamp(1614265330, UTC)
KEY = signing_key(SECRET)


def headers(signatures: str = SIGNATURE, attempt: str = ATTEMPT, timestamp: str = TIMESTAMP) -> dict[str, str]:
    return {"webhook-id": attempt, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def is_right(given: dict[str, str], body: bytes = BODY, keys: Sequence[bytes] = (KEY,), at: datetime = AT) -> bool:
    """Whether a callback passes."""
    try:
        require_signature(given, body, keys, at)
    except SignatureRejected:
        return False
    return True


def test_the_published_vector_is_made_and_accepted() -> None:
    assert sign(KEY, ATTEMPT, TIMESTAMP, BODY) == SIGNATURE
    assert [is_right(headers(), body) for body in (BODY, BODY + b" ", BODY[:-1])] == [True, False, False]


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,{'A' * 43}= {SIGNATURE}",
        f"{SIGNATURE} v1,not-base64!",
        f"nocomma {SIGNATURE} v2,x ,, v1,",
        f"v1a,{'A' * 86}==  {SIGNATURE}",
        f"v1,é\udcff {SIGNATURE}",
        f"v1,\ud800 {SIGNATURE}",
        f"v1,AAAA, {SIGNATURE}",
        f"{SIGNATURE}, v1,BBBB",
    ],
)
def test_one_right_entry_among_junk_is_enough(signatures: str) -> None:
    assert is_right(headers(signatures))
    assert not is_right(headers(signatures.replace(SIGNATURE, "v1,x"))), "it is that entry"


@pytest.mark.parametrize(
    "signatures",
    [
        "",
        "v1",
        "v1,",
        ",",
        SIGNATURE.removeprefix("v1,"),
        SIGNATURE.replace("v1,", "v2,"),
        SIGNATURE.replace("v1,", "v1a,"),
        SIGNATURE.rstrip("="),
        SIGNATURE + "=",
        SIGNATURE.replace("OE=", "OF="),  # the same bytes in a writing that is not canonical
        "v1,\ud800",
        " ".join(["v1,x"] * 16 + [SIGNATURE]),
    ],
)
def test_no_right_entry_is_a_refusal(signatures: str) -> None:
    with pytest.raises(SignatureRejected):
        require_signature(headers(signatures), BODY, [KEY], AT)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_required(missing: str) -> None:
    rest = {name: value for name, value in headers().items() if name != missing}
    with pytest.raises(SignatureRejected):
        require_signature(rest, BODY, [KEY], AT)


@pytest.mark.parametrize("timestamp", ["", "1614265330.0", "+1614265330", " 1614265330", "١", "9" * 13, "0x1"])
def test_a_time_that_is_no_time_is_a_refusal_even_if_signed(timestamp: str) -> None:
    signature = sign(KEY, ATTEMPT, timestamp, BODY)
    with pytest.raises(SignatureRejected):
        require_signature(headers(signature, timestamp=timestamp), BODY, [KEY], AT)


def test_an_empty_attempt_id_is_a_refusal_even_if_signed() -> None:
    with pytest.raises(SignatureRejected):
        require_signature(headers(sign(KEY, "", TIMESTAMP, BODY), attempt=""), BODY, [KEY], AT)


def test_every_secret_may_have_signed() -> None:
    others = [bytes([number]) * 32 for number in range(3)]
    for position in range(4):
        assert is_right(headers(), keys=[*others[:position], KEY, *others[position:]])
    with pytest.raises(SignatureRejected):
        require_signature(headers(), BODY, others, AT)
    with pytest.raises(SignatureRejected):
        require_signature(headers(), BODY, [], AT)


@pytest.mark.parametrize("entries", [1, 3])
@pytest.mark.parametrize("keys", range(SECRETS_MAX + 1))
def test_a_refusal_takes_the_same_work_however_many_keys_there_are(
    monkeypatch: pytest.MonkeyPatch, keys: int, entries: int
) -> None:
    done = {"macs": 0, "comparisons": 0}

    def counting(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            done[name] += 1
            return act(*arguments)

        return counted

    monkeypatch.setattr(signatures, "hmac_sha256", counting("macs", hmac_sha256))
    compare = SimpleNamespace(compare_digest=counting("comparisons", hmac.compare_digest))
    monkeypatch.setattr(signatures, "hmac", compare)
    given = " ".join(f"v1,forged{number}" for number in range(entries))
    with pytest.raises(SignatureRejected):
        require_signature(headers(given), BODY, [bytes([number]) * 32 for number in range(keys)], AT)
    assert done == {"macs": SECRETS_MAX, "comparisons": SECRETS_MAX * entries}


def test_late_is_only_said_of_what_was_rightly_signed() -> None:
    for drift in (-301, 301):
        with pytest.raises(StaleAttempt):
            require_signature(headers(), BODY, [KEY], AT + timedelta(seconds=drift))
        with pytest.raises(SignatureRejected):
            require_signature(headers("v1,x"), BODY, [KEY], AT + timedelta(seconds=drift))


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret_of_24_to_64_bytes_is_a_key(size: int) -> None:
    key = bytes(range(size))
    assert signing_key("whsec_" + base64.b64encode(key).decode()) == key


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSé",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        "whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.b64encode(bytes(32)).decode()[:-2] + "B=",
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
    ],
)
def test_any_other_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_") as caught:
        signing_key(secret)
    assert str(caught.value) == "must be whsec_ and the base64 of 24 to 64 bytes"


@examples(max_examples=100)
@given(key=st.binary(min_size=24, max_size=64), body=st.text(max_size=50), attempt=st.text("abc.-_1", min_size=1))
def test_the_authors_library_and_ours_agree(key: bytes, body: str, attempt: str) -> None:
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp()))
    library = Webhook(base64.b64encode(key).decode())
    theirs = library.sign(attempt, now, body)
    ours = sign(key, attempt, stamp, body.encode())
    assert ours == theirs
    assert is_right(headers(theirs, attempt, stamp), body.encode(), [key], now)
    changed = body + "x"
    with pytest.raises(SignatureRejected):
        require_signature(headers(theirs, attempt, stamp), changed.encode(), [key], now)
    with pytest.raises(WebhookVerificationError):
        library.verify(changed, headers(ours, attempt, stamp))


REASONS: dict[str, tuple[dict[str, str], str]] = {
    "no header": ({}, "signature missing"),
    "no id": (headers(attempt=""), "the id or the timestamp has no header"),
    "no timestamp": (headers(timestamp=""), "the id or the timestamp has no header"),
    "no version": (headers(SIGNATURE.removeprefix("v1,")), "no entry begins with v1"),
    "another version": (headers("v1a," + SIGNATURE.removeprefix("v1,")), "no entry begins with v1"),
    "hexadecimal": (headers("v1," + "ab" * 32), "not the base64 of 32 bytes"),
    "another's": (headers(sign(bytes(32), ATTEMPT, TIMESTAMP, BODY)), "signature wrong"),
    "milliseconds": (
        headers(sign(KEY, ATTEMPT, TIMESTAMP + "000", BODY), timestamp=TIMESTAMP + "000"), "seconds since 1970",
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", REASONS)
def test_a_refusal_says_what_an_engineer_has_to_look_at(label: str) -> None:
    given_headers, reason = REASONS[label]
    with pytest.raises(SignatureRejected) as refused:
        require_signature(given_headers, BODY, (KEY,), AT)
    assert refused.value.reason.endswith(reason)


@pytest.mark.parametrize(("seconds", "side"), [(600, "behind"), (-600, "ahead of")])
def test_a_late_attempt_says_which_clock_is_ahead(seconds: int, side: str) -> None:
    with pytest.raises(StaleAttempt, match=f"over 300 s {side} our clock"):
        require_signature(headers(), BODY, (KEY,), AT + timedelta(seconds=seconds))
