"""What every gateway does before its protocol is asked: all factors, in one order, and only then the content."""

# ruff: noqa: ARG002 -- a telltale answers whatever it is given

import gc
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar

import pytest

from gateways.account import Account, AccountSettings
from gateways.callback import Callback
from gateways.events import Event
from gateways.gateway import Gateway, MalformedCallback, Rejected, SignatureRejected, StaleAttempt
from gateways.outcome import Answer, FieldError, Outcome, Result
from tests.gateways.calls import KEY, LISTED, STRANGER, request

NETWORKS = (IPv4Network("127.0.0.0/8"), IPv6Network("2001:db8::/32"))


class Telltale(Gateway[AccountSettings]):
    """A protocol that writes down what it was asked, and refuses as it is told."""

    name: ClassVar[str] = "telltale"
    settings_model: ClassVar[type[AccountSettings]] = AccountSettings

    def __init__(
        self,
        refusal: Exception | None = None,
        networks: tuple[IPv4Network | IPv6Network, ...] = NETWORKS,
        pinned: tuple[str, ...] = (),
    ) -> None:
        own = {"path_secret": "right"} | ({"client_certificates": pinned} if pinned else {})
        settings = AccountSettings.model_validate(own)
        super().__init__(Account("acc", "viettel", networks, settings))
        self.asked: list[str] = []
        self.refusal = refusal

    def verify(self, callback: Callback) -> None:
        self.asked.append("verify")
        if self.refusal is not None:
            raise self.refusal

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        self.asked.append("parse")
        return ()

    def respond(self, result: Result) -> Answer:
        return Answer(200)

    def document(self, callback: Callback) -> Answer | None:
        return Answer(200) if callback.query == "wsdl" else None


RIGHT = request(path_secret="right")
PINS = ("a" * 64, "b" * 64)


def test_the_content_is_read_only_after_every_factor_passed() -> None:
    telltale = Telltale()
    telltale.open(RIGHT, KEY)
    assert telltale.asked == ["verify", "parse"]


@pytest.mark.parametrize(
    "wrong", [replace(RIGHT, peer=STRANGER), replace(RIGHT, path_secret="wrong"), replace(RIGHT, path_secret=None)]
)
def test_whatever_factor_fails_all_are_asked_and_nothing_is_read(wrong: Callback) -> None:
    telltale = Telltale()
    with pytest.raises(SignatureRejected):
        telltale.open(wrong, KEY)
    assert telltale.asked == ["verify"]


def test_a_pinned_client_certificate_is_a_factor_like_the_others() -> None:
    pinned = Telltale(pinned=PINS)
    assert pinned.settings.factors() == {"path_secret", "client_certificate"}
    for shown in PINS:
        pinned.open(replace(RIGHT, client_key=shown), KEY)
    pinned.asked.clear()
    for shown, reason in (("", "client certificate missing"), ("c" * 64, "client certificate not pinned")):
        wrong = replace(RIGHT, client_key=shown, query="wsdl")
        for ask in (pinned.prove, pinned.describe, partial(pinned.open, digest_key=KEY)):
            with pytest.raises(SignatureRejected, match=f"^{reason}$") as caught:
                ask(wrong)
            assert caught.value.from_listed_network
        assert not pinned.is_expected(wrong)
        (seen,) = (each for each in pinned.checked(wrong) if each.factor == "client certificate")
        assert (seen.passed, shown in seen.says) == (False, True)
    assert "parse" not in pinned.asked
    late = Telltale(StaleAttempt("late"), pinned=PINS)
    with pytest.raises(SignatureRejected, match="client certificate missing"):
        late.open(RIGHT, KEY)
    # It is expected by its certificate alone, where the account lists no networks.
    alone = Telltale(networks=(), pinned=PINS)
    alone.account = Account("acc", "viettel", (), AccountSettings.model_validate({"client_certificates": PINS}))
    alone.settings = alone.account.settings
    assert alone.is_expected(request(client_key=PINS[0]))
    assert not alone.is_expected(request())


def test_an_account_without_pins_asks_for_no_certificate() -> None:
    telltale = Telltale()
    telltale.open(replace(RIGHT, client_key="c" * 64), KEY)
    (seen,) = (each for each in telltale.checked(replace(RIGHT, client_key="c" * 64)) if "client" in each.factor)
    assert (seen.passed, seen.says) == (None, f"the account pins none; its key is {'c' * 64}")


@pytest.mark.parametrize(("given", "passed", "says"), [
    ("right", False, "the account has none, but the address does"), ("", None, "none"), (None, None, "none"),
])  # fmt: skip
def test_a_path_secret_that_the_account_does_not_have_is_seen_to_fail(
    given: str | None, passed: bool | None, says: str
) -> None:
    telltale = Telltale()
    telltale.settings = AccountSettings()
    seen = next(each for each in telltale.checked(request(path_secret=given)) if each.factor == "path secret")
    assert seen.passed is passed
    assert says in seen.says


def test_a_late_attempt_is_only_told_to_whom_we_know() -> None:
    late = Telltale(StaleAttempt("late"))
    with pytest.raises(StaleAttempt):
        late.open(RIGHT, KEY)
    for wrong in (replace(RIGHT, peer=STRANGER), replace(RIGHT, path_secret="wrong")):
        with pytest.raises(SignatureRejected):
            late.open(wrong, KEY)
    assert late.asked == ["verify"] * 3


def test_a_wrong_signature_from_a_listed_network_is_known_as_such() -> None:
    rejected = SignatureRejected("signature")
    for networks, peer, is_listed in ((NETWORKS, LISTED, True), (NETWORKS, STRANGER, False), ((), LISTED, False)):
        with pytest.raises(SignatureRejected) as caught:
            Telltale(rejected, networks).open(replace(RIGHT, peer=peer), KEY)
        assert caught.value.from_listed_network == is_listed


def test_networks_are_of_both_families() -> None:
    Telltale().open(replace(RIGHT, peer=IPv6Address("2001:db8::1")), KEY)
    with pytest.raises(SignatureRejected):
        Telltale().open(replace(RIGHT, peer=IPv6Address("2001:db9::1")), KEY)


def test_a_description_asks_for_source_and_path() -> None:
    telltale = Telltale()
    asked = replace(RIGHT, query="wsdl")
    assert telltale.describe(asked) == Answer(200)
    assert telltale.describe(RIGHT) is None
    with pytest.raises(SignatureRejected):
        telltale.describe(replace(asked, path_secret="wrong"))
    assert telltale.asked == []


def test_a_rejection_says_what_happened_in_few_words() -> None:
    errors = tuple(FieldError(f"data.{number}", "is missing") for number in range(7))
    malformed = MalformedCallback(errors)
    assert str(malformed) == "; ".join(f"data.{number}: is missing" for number in range(5))
    assert [kind.outcome for kind in (MalformedCallback, SignatureRejected, StaleAttempt)] == [
        Outcome.MALFORMED,
        Outcome.UNAUTHENTICATED,
        Outcome.STALE,
    ]


@pytest.mark.parametrize("peer", [LISTED, STRANGER])
@pytest.mark.parametrize("path_secret", ["right", "wrong"])
@pytest.mark.parametrize("refusal", [None, SignatureRejected("signature"), StaleAttempt("old")], ids=repr)
def test_whatever_was_refused_is_free_at_once(
    refusal: Rejected | None, path_secret: str, peer: IPv4Address | IPv6Address
) -> None:
    telltale = Telltale(None if refusal is None else type(refusal)(refusal.reason))
    callback = replace(RIGHT, peer=peer, path_secret=path_secret, body=bytes(1000))
    gc.disable()
    try:
        before = sys.getrefcount(callback), sys.getrefcount(callback.body)
        for _ in range(3):
            # A telltale keeps what it raises; a protocol makes it anew.
            telltale.refusal = None if refusal is None else type(refusal)(refusal.reason)
            with suppress(Rejected):
                telltale.open(callback, KEY)
        telltale.refusal = None
        assert (sys.getrefcount(callback), sys.getrefcount(callback.body)) == before
    finally:
        gc.enable()


HEADS: dict[str, tuple[Callback, tuple[IPv4Network | IPv6Network, ...], bool]] = {
    "address and path": (RIGHT, NETWORKS, True),
    "another address": (replace(RIGHT, peer=STRANGER), NETWORKS, False),
    "another path": (replace(RIGHT, path_secret="wrong"), NETWORKS, False),
    "a path, and no networks": (RIGHT, (), True),
    "nobody's address": (replace(RIGHT, peer=IPv4Address(0)), (IPv4Network("0.0.0.0/0"),), False),
}


@pytest.mark.parametrize("label", HEADS)
def test_who_is_expected_is_told_by_what_a_head_carries(label: str) -> None:
    callback, networks, is_expected = HEADS[label]
    telltale = Telltale(networks=networks)
    assert telltale.is_expected(callback) is is_expected
    assert telltale.asked == []


@pytest.mark.parametrize("networks", [(), (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))])
def test_a_head_without_a_factor_makes_nobody_expected(networks: tuple[IPv4Network | IPv6Network, ...]) -> None:
    telltale = Telltale()
    telltale.account = Account("acc", "viettel", networks, AccountSettings())
    telltale.settings = telltale.account.settings
    assert not telltale.is_expected(request())
