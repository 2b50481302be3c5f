"""The contract of an adapter: authenticate, parse, respond. The order is fixed by `Gateway.open`."""

import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, final

from gateways.account import COMMON_FACTORS, Account, AccountSettings, Settings
from gateways.callback import Callback
from gateways.events import CARRIERS, Carrier, Event
from gateways.outcome import Answer, FieldError, Outcome, Result

KIB = 1024

_CARRIERS_BY_NAME: Mapping[str, Carrier] = {carrier: carrier for carrier in CARRIERS}

PATH_SECRET_FAILED = "path secret"  # noqa: S105 -- its name, not a secret
"""How the reason of a rejection begins to name the path secret, among others and divided from them by a comma."""
CLIENT_CERTIFICATE_FAILED = "client certificate"
"""How the reason of a rejection begins to name the client certificate."""


class Rejected(Exception):
    """A callback that ends here. `reason` is a fixed phrase for the log: no secret, number or text."""

    outcome: ClassVar[Outcome]

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SignatureRejected(Rejected):
    """At least one configured factor failed. `from_listed_network`: the source address did pass."""

    outcome = Outcome.UNAUTHENTICATED

    def __init__(self, reason: str, *, from_listed_network: bool = False) -> None:
        super().__init__(reason)
        self.from_listed_network = from_listed_network


class CredentialsAbsent(SignatureRejected):
    """The header that carries the credentials is not there. It is not kept, so that it is never there in a replay.

    Of a protocol that `challenges` a client may begin so and wait to be asked (RFC 9110, section 11.6.1). Raised by
    `verify`; out of `open` it comes only when every other factor has passed.
    """


class StaleAttempt(Rejected):
    """Rightly signed, but the signed time of the attempt is outside the freshness window."""

    outcome = Outcome.STALE


class MalformedCallback(Rejected):
    """Verified, but not understood; `errors` say where and why without a value that was sent."""

    outcome = Outcome.MALFORMED

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{error.path}: {error.reason}" for error in errors[:5]))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class FactorCheck:
    """How one factor fares by itself: `passed` is None where the account has none. `says` holds no value."""

    factor: str
    passed: bool | None
    says: str


class Gateway(ABC, Generic[Settings]):
    """One protocol, bound to one account. Stateless and pure: the same callback gives the same result.

    Subclasses set the class variables, which are all that the service knows of a protocol, and implement
    `verify`, `parse` and `respond`. `open` is final, so that nothing is ever parsed that was not verified.
    """

    name: ClassVar[str]
    """The protocol in addresses (`/gw/{name}/{account}`), in apply files and in the database; never changed."""
    settings_model: ClassVar[type[AccountSettings]]
    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    body_bytes_max: ClassVar[int] = 64 * KIB
    query_bytes_max: ClassVar[int] = 8 * KIB
    sender_retries: ClassVar[bool] = False
    """Whether the protocol's senders really try again later: only those are answered 429."""
    kept_headers: ClassVar[tuple[str, ...]] = ("content-type", "content-encoding", "user-agent")
    """The headers, in lower case, that stay with a callback in the spool and in its raw record: all that `parse`
    reads, and what a person needs to judge the record by. No header that carries a secret."""
    challenges: ClassVar[bool] = False
    """Whether its senders may show their credentials only when a first answer has asked for them."""
    reports_charges: ClassVar[bool] = False
    """Whether its reports say to which message a charge belongs: only such an account may be `on_report`."""
    tells_message_time: ClassVar[bool] = False
    """Whether its messages carry the time at which they were sent; else our time of receipt is all there is."""

    tells_carrier: ClassVar[bool] = False
    """Whether its messages can say who charged the donor; else each is `unknown` where the account does not."""
    secret_is_theirs: ClassVar[bool] = False
    """Whether the carrier or hub hands out the secret that its callbacks prove themselves by; else we draw it."""

    def __init__(self, account: Account[Settings]) -> None:
        self.account = account
        self.settings = account.settings
        is_fixed = account.carrier != "from_message"
        self._fixed_carrier = _CARRIERS_BY_NAME.get(account.carrier, "unknown") if is_fixed else None
        self._listed_carriers = {
            said.strip().casefold(): _CARRIERS_BY_NAME[carrier] for said, carrier in account.settings.carriers.items()
        }

    @classmethod
    def decoy_settings(cls) -> dict[str, object]:
        """Settings for the stand-in of accounts we do not have: every factor of the protocol, drawn anew.

        Nobody can match them, and refusing by them takes the work that refusing by an account's own takes.
        Here a path secret; a protocol with factors of its own adds those.
        """
        return {"path_secret": secrets.token_urlsafe(32)}

    def carrier_of(self, said: str | None, own_names: Mapping[str, Carrier] | None = None) -> Carrier:
        """Who charged the donor: the account's fixed carrier, else what `said` means to the account.

        `own_names` are the protocol's own words (case-folded), asked after the account's `carriers` and before our
        own codes; what none of them lists is `unknown`.
        """
        if self._fixed_carrier is not None:
            return self._fixed_carrier
        name = (said or "").strip().casefold()
        known = self._listed_carriers.get(name) or (own_names or {}).get(name)
        return known or _CARRIERS_BY_NAME.get(name, "unknown")

    def handover(self, address: str) -> tuple[str, ...]:
        """What an engineer needs on the carrier's side, line by line; as a form to paste, where the protocol has one.

        `address` is the account's own, a path secret included. Holds the newest of our secrets in clear.
        """
        settings = self.settings
        keys = ("user", "password") if self.secret_is_theirs else ("user", "password", "secrets")
        said = {key: value for key in keys if (value := getattr(settings, key, None))}
        newest = {key: value[-1] if isinstance(value, tuple) else value for key, value in said.items()}
        told = {"address": address, "method": " or ".join(sorted(self.methods)), **newest}
        return tuple(f"{'secret' if key == 'secrets' else key:9} {value}" for key, value in told.items())

    @property
    def is_timed(self) -> bool:
        """Whether the account's messages carry their time; a setting may decide it, beside `tells_message_time`."""
        return self.tells_message_time

    @property
    def messages_of(self) -> str | None:
        """The account whose messages its charges and reversals are about; None: its own."""
        return None

    @property
    def headers_to_keep(self) -> tuple[str, ...]:
        """`kept_headers`, and what the account's settings add to them."""
        return self.kept_headers

    @property
    def refuses_uncounted(self) -> bool:
        """Whether its answer refuses a message that does not count, so that the donor is not charged: reply style."""
        return False

    @property
    def carries_reply(self) -> bool:
        """Whether its answer to a message holds an SMS to the donor."""
        return False

    @property
    @final
    def answer_depends_on_reading(self) -> bool:
        """Whether the answer to a message is stored with it, to be repeated to the letter."""
        return self.refuses_uncounted or self.carries_reply

    @final
    def open(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """Verify every configured factor, then parse. Raises a `Rejected`; nothing else may come out.

        `digest_key` keys the digests and derived ids over personal fields.
        """
        self._require_factors(callback)
        return self.parse(callback, digest_key)

    @final
    def prove(self, callback: Callback) -> None:
        """Verify every configured factor, as `open` does, where nothing is handed over. Raises a `Rejected`."""
        self._require_factors(callback)

    def attempt_at(self, callback: Callback) -> datetime | None:  # noqa: ARG002 -- most protocols sign no time
        """When the sender says that it sent a verified callback, by its own clock; None where it does not say."""
        return None

    @final
    def checked(self, callback: Callback) -> tuple[FactorCheck, ...]:
        """Each factor by itself, for a person who looks for what is wrong; it lets nobody in."""
        listed = self._is_from_listed_network(callback) if self.account.networks else None
        has_secret = bool(self.settings.path_secret)
        # One that the account does not have fails it, too: the address is another.
        secret = self._is_path_secret_right(callback) if has_secret or callback.path_secret else None
        shown = self.is_client_known(callback) if self.settings.client_certificates else None
        own: bool | None = True if self.settings.factors() - COMMON_FACTORS else None
        says = "right" if own else "the account has none"
        try:
            self.verify(callback)
        except Rejected as rejected:
            own, says = False, rejected.reason
        return (
            FactorCheck("source address", listed, _NETWORK_SAYS[listed]),
            FactorCheck("path secret", secret, _said_of_path(callback, secret, has_secret)),
            FactorCheck("client certificate", shown, _said_of_client(callback, shown)),
            FactorCheck("proof in the request", own, says),
        )

    @final
    def is_expected(self, callback: Callback) -> bool:
        """Whether the factors that a head alone can carry pass, and there is one of them.

        For what must be decided before a body is read: whose room it takes. It opens nothing.
        """
        networks = self.account.networks
        is_limited = bool(networks) and all(network.prefixlen for network in networks)
        listed = self._is_from_listed_network(callback)
        secret, client = self._is_path_secret_right(callback), self.is_client_known(callback)
        has_one = is_limited or bool(self.settings.factors() & COMMON_FACTORS)
        return listed and secret and client and has_one

    @final
    def describe(self, callback: Callback) -> Answer | None:
        """The protocol's description (a WSDL), if `callback` asks for one; the same factors guard it.

        Factors that only a message's body can carry are not asked for. Raises SignatureRejected.
        """
        document = self.document(callback)
        if document is None:
            return None
        listed = self._is_from_listed_network(callback)
        secret, client = self._is_path_secret_right(callback), self.is_client_known(callback)
        if not (listed and secret and client):
            raise SignatureRejected(_failed(callback, listed, secret, client), from_listed_network=listed)
        return document

    def document(self, callback: Callback) -> Answer | None:  # noqa: ARG002 -- most protocols have none
        """The description `callback` asks for, or None where it is no such request."""
        return None

    @abstractmethod
    def verify(self, callback: Callback) -> None:
        """Check the factors peculiar to the protocol. Raises SignatureRejected or StaleAttempt.

        Takes the same work whether or not a secret is right: `hmac.compare_digest`, no early way out.
        """

    @abstractmethod
    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """What the callback says: nothing where it is a question or a trial, which moves no money.

        Raises MalformedCallback.
        """

    @abstractmethod
    def respond(self, result: Result) -> Answer:
        """The protocol's own words for an outcome. Total over `Outcome`; depends on `result` alone."""

    def _require_factors(self, callback: Callback) -> None:
        # All factors are always evaluated, so that a caller learns nothing from how long a refusal took.
        listed = self._is_from_listed_network(callback)
        secret, client = self._is_path_secret_right(callback), self.is_client_known(callback)
        # No exception outlives its `except`: kept in a local it would hold this frame, and so the body, in a cycle.
        fault: str | None = None
        refusal: type[SignatureRejected] = SignatureRejected
        try:
            self.verify(callback)
        except SignatureRejected as rejected:
            fault, refusal = rejected.reason, type(rejected)
        except StaleAttempt:
            if listed and secret and client:
                raise
        if not (listed and secret and client):
            reason = _failed(callback, listed, secret, client, fault)
            raise SignatureRejected(reason, from_listed_network=listed and bool(self.account.networks))
        if fault is not None:
            raise refusal(fault, from_listed_network=bool(self.account.networks))

    def _is_from_listed_network(self, callback: Callback) -> bool:
        return not self.account.networks or self.account.lists(callback.peer)

    def is_client_known(self, callback: Callback) -> bool:
        """Whether the sender has shown a certificate of a pinned key, or the account pins none."""
        pinned = self.settings.client_certificates
        return not pinned or is_any_of(callback.client_key.encode(), pinned)

    def _is_path_secret_right(self, callback: Callback) -> bool:
        # surrogatepass, because a decoded path may hold any lone surrogate, and no caller may cause an error.
        given = (callback.path_secret or "").encode("utf-8", "surrogatepass")
        return is_any_of(given, self.settings.path_secret or ("",))


_NETWORK_SAYS = {
    True: "in the account's networks",
    False: "not in the account's networks",
    None: "the account lists no networks",
}


def _said_of_path(callback: Callback, passed: bool | None, has_secret: bool) -> str:
    if not has_secret:
        return "the account has none" + ("" if passed is None else ", but the address does: it ends with the account")
    return "right" if passed else "wrong" if callback.path_secret else "missing"


def _said_of_client(callback: Callback, passed: bool | None) -> str:
    # The digest of a public key is no secret, and what has to be pinned.
    shown = f"its key is {callback.client_key}" if callback.client_key else "none was shown by a trusted proxy"
    if passed is None:
        return "the account pins none" + (f"; {shown}" if callback.client_key else "")
    return "a pinned one" if passed else f"not pinned: {shown}"


def _failed(callback: Callback, listed: bool, secret: bool, client: bool, fault: str | None = None) -> str:
    """Which factors failed, for the log."""
    failed = (
        (listed, "address not listed"),
        (secret, f"{PATH_SECRET_FAILED} {'wrong' if callback.path_secret else 'missing'}"),
        (client, f"{CLIENT_CERTIFICATE_FAILED} {'not pinned' if callback.client_key else 'missing'}"),
        (fault is None, fault or ""),
    )
    return ", ".join(reason for passed, reason in failed if not passed)


def is_any_of(given: bytes, valid: Iterable[str]) -> bool:
    """Whether `given` is one of the `valid` secrets. All are compared, whatever the others gave."""
    is_right = False
    for secret in valid:
        is_right |= hmac.compare_digest(secret.encode(), given)
    return is_right
