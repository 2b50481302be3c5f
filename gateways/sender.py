"""The contract of a sender: the other side of an adapter, which writes callbacks and judges the answers."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Generic, Protocol, TypeVar
from urllib.parse import quote

import orjson

LATER_STATUSES = frozenset({429, 503})
"""By which every protocol says: try again later."""

AS_IT_IS = "surrogatepass"
"""How a text is encoded: half an emoji, which a phone cut off, goes on as it is. Nobody on the way looks."""


def sent(text: str) -> bytes:
    """In UTF-8, with its damage."""
    return text.encode("utf-8", AS_IT_IS)


def as_json(document: object) -> bytes:
    """JSON compact and in UTF-8; with half an emoji in it, all escaped, as libraries write it."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Sms:
    """One message as a carrier hands it over.

    `number` counts a sender's messages from 0, `native_id` is the carrier's id of this one. `msisdn` is written
    in one of the forms carriers use. `at` is the carrier's time of the message, in whole seconds, None where the
    protocol has none. `carrier` is who charges; `said` is how the callback names it, None where the account
    decides. `keyword` is what a hub believes the keyword to be, `amount_vnd` what it charges.
    """

    number: int
    native_id: str
    msisdn: str
    short_code: str
    text: str
    keyword: str
    carrier: str
    said: str | None
    at: datetime | None
    amount_vnd: int = 0


class Verdict(StrEnum):
    """What an answer says to the sender."""

    TAKEN = "taken"
    CONFLICT = "conflict"
    DECLINED = "declined"
    """By the campaign's rules: the donor is not charged. Only hubs in reply style are told so."""
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `address` is everything after the host, already encoded as the sender writes it."""

    method: str
    address: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; `content_type` is without its parameters."""

    status: int
    content_type: str
    body: bytes
    retry_after_seconds: float | None = None


class SenderSettings(Protocol):
    """What every sender reads of an account's settings.

    A sender says in a protocol of its own what else it reads, and the adapter's settings model has it: so both
    sides share an account's settings and no line of code.
    """

    @property
    def path_secret(self) -> Sequence[str]:
        """The last step of the address, where the account has one: any of them."""

    @property
    def client_certificates(self) -> Sequence[str]:
        """The keys of the certificates that the account asks for."""


Settings = TypeVar("Settings", bound=SenderSettings)


class Sender(ABC, Generic[Settings]):
    """One carrier or hub that posts over `account`.

    Pure and stateless: the same messages make the same callback, its time aside.

    A witness of its own: written from what the protocol says, it shares with the adapter the signature's
    primitive and nothing else, so that one mistake cannot stand on both sides.
    """

    name: ClassVar[str]
    """The protocol, as the adapter of it is named."""
    batch_max: ClassVar[int] = 1
    """How many messages one callback may carry."""
    tells_conflicts: ClassVar[bool] = False
    """Whether the protocol has a word for "the same id, another content"; else that is answered like a repeat."""
    signs_attempts: ClassVar[bool] = False
    """Whether the time of an attempt is signed, so that an old one is refused however right it is."""
    reports_name_messages: ClassVar[bool] = True
    """Whether `report` names its message; else the two are joined by number, code, amount and time."""
    carries_messages: ClassVar[bool] = True
    """Whether its callbacks hand over messages; else each reports the charge of a message that came elsewhere."""
    carrier_words: ClassVar[Mapping[str, str]] = {}
    """How its senders name each carrier, where the account leaves that to the message and lists no word itself."""

    def __init__(self, account: str, settings: Settings) -> None:
        self.account, self.settings = account, settings

    @property
    def names_carriers(self) -> bool:
        """Whether its callbacks say who charged the donor; else the account's `carrier` is all there is."""
        return True

    @property
    def holds_proof(self) -> bool:
        """Whether we hold what proves its callbacks; else the carrier alone does, by a key of its own."""
        return not self.settings.client_certificates

    @property
    def has_word_for_conflicts(self) -> bool:
        """Whether its account has one: where a setting decides, more than `tells_conflicts`."""
        return self.tells_conflicts

    @abstractmethod
    def request(self, messages: Sequence[Sms], attempt_at: datetime) -> Request:
        """The callback that carries `messages` (more than one only up to `batch_max`)."""

    @abstractmethod
    def judge(self, messages: Sequence[Sms], reply: Reply) -> Verdict:
        """What `reply` tells the sender. Only the protocol's own words for success are TAKEN."""

    @property
    def charges_at_once(self) -> bool:
        """Whether a message that counts on report comes with its charge, in one callback."""
        return False

    @property
    def reports_charges(self) -> bool:
        """Whether `report` tells of charges by a callback of its own that names the message."""
        return False

    def report(self, sms: Sms, message_ref: str, attempt_at: datetime) -> Request:
        """The callback that says that the charge of `sms` succeeded, which we know as `message_ref`.

        Only of a protocol that `reports_charges` so.
        """
        raise NotImplementedError

    def judge_report(self, sms: Sms, reply: Reply) -> Verdict:
        """What `reply` to a report tells the sender: here what it would tell of a message."""
        return self.judge([sms], reply)

    def take_reply(self, headers: Mapping[str, str], body: bytes) -> tuple[str, Reply]:
        """Of an SMS that the portal hands over for a donor: the id of its message or the number, and the hub's yes.

        `headers` in small letters. Only of a protocol whose hubs take such calls.
        """
        raise NotImplementedError

    def native_id(self, sms: Sms) -> str:
        """The id that the callback gives `sms`."""
        return sms.native_id

    def _path(self) -> str:
        steps = ("gw", self.name, self.account, *self.settings.path_secret[:1])
        return "".join(f"/{quote(step, safe='')}" for step in steps if step)
