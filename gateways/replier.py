"""The contract of a replier: how an SMS to a donor is handed to a hub by a call of ours, and what its answer says."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import Field

from gateways.account import AccountSettings, Charging, Passwords

REPLIES_PER_SECOND = 100


class Fate(StrEnum):
    """What a hub's answer says of a reply. `unknown`: it may have been taken or not."""

    ACCEPTED = "accepted"
    LATER = "later"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Judgement(NamedTuple):
    """A hub's answer, understood. `hub_id` is its own id of the SMS; `reason` a phrase of ours, without its words."""

    fate: Fate
    hub_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingReply:
    """An SMS to the donor of one message.

    `reference` is our own name of it, once for ever, at most 50 letters; `message_ref` the sender's id of the message
    that it answers. `is_charged`: the donor is charged by this very SMS; else it must be free of charge.
    `is_counted`: the message counts, so that what it cost the donor stays paid. `report_address` is where reports
    about it would be taken, None where we have no address of our own.
    """

    reference: str
    message_ref: str
    msisdn: str = field(repr=False)
    short_code: str
    keyword: str
    carrier: str
    text: str = field(repr=False)
    is_charged: bool
    is_counted: bool
    at: datetime
    report_address: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, a POST: nothing personal in its address."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


Parameters = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[a-z-]{1,20}$")],
        Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")],
    ],
    Field(max_length=8),
]


class ReplyingSettings(AccountSettings):
    """The keys of an account whose replies a call of ours can carry. Without `reply_url` there are none."""

    reply_url: str | None = Field(default=None, max_length=500, pattern=r"^https?://[^\s?#@]+$")
    reply_user: str | None = Field(default=None, min_length=1, max_length=200)
    reply_password: Passwords = ()
    reply_per_second: int = Field(default=REPLIES_PER_SECOND, ge=1, le=5_000)

    SECRET_KEYS: ClassVar[frozenset[str]] = AccountSettings.SECRET_KEYS | {"reply_password"}

    @property
    def charges_by_reply(self) -> bool:
        """Where we send replies."""
        return self.reply_url is not None


class RoutedReplySettings(ReplyingSettings):
    """Those of a gateway that knows no free and no charged SMS: what is written for each, by which it is routed."""

    reply_free: Parameters = Field(default_factory=dict)
    reply_charged: Parameters = Field(default_factory=dict)

    @property
    def charges_by_reply(self) -> bool:
        """Where a reply that charges is told from one that is free."""
        return self.reply_url is not None and self.reply_charged != self.reply_free

    def chargings(self) -> frozenset[Charging]:
        """A reply that is sent before its charge is known would thank for nothing, unless it is the charge."""
        possible = super().chargings()
        return possible if self.charges_by_reply or self.reply_url is None else possible - {"on_report"}

    @property
    def reply_parameters(self) -> frozenset[str]:
        """The names of what is written."""
        return frozenset({*self.reply_free, *self.reply_charged})


class ReplierSettings(Protocol):
    """What every replier reads of an account's settings."""

    @property
    def reply_url(self) -> str | None:
        """Where calls go."""

    @property
    def reply_per_second(self) -> int:
        """How many at most."""


class LoginReplies(ReplierSettings, Protocol):
    """What is read of an account that shows user and password."""

    @property
    def reply_user(self) -> str | None:
        """The user's name at the hub."""

    @property
    def reply_password(self) -> tuple[str, ...]:
        """Its password, the one to show first."""


class RoutedReplies(LoginReplies, Protocol):
    """What else is read where the hub routes free and charged SMS by what is written with them."""

    @property
    def reply_free(self) -> Mapping[str, str]:
        """What makes a reply free of charge."""

    @property
    def reply_charged(self) -> Mapping[str, str]:
        """What makes it charge the donor."""


def login_of(settings: LoginReplies) -> tuple[str, str]:
    """User and password to show; empty where there are none."""
    return settings.reply_user or "", "".join(settings.reply_password[:1])


def route_of(settings: RoutedReplies, reply: OutgoingReply) -> Mapping[str, str]:
    """What is written with `reply`, free or charged."""
    return settings.reply_charged if reply.is_charged else settings.reply_free


Settings = TypeVar("Settings", bound=ReplierSettings)


class Replier(ABC, Generic[Settings]):
    """One hub that sends our SMS. Pure and stateless."""

    name: ClassVar[str]
    """The protocol, as the adapter of it is named."""
    drops_repeats: ClassVar[bool] = False
    """Whether the hub drops a second call with the same reference, so that one of unknown fate may be repeated."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        assert settings.reply_url is not None  # noqa: S101 -- whoever has no address has no replier
        self.url = settings.reply_url

    @abstractmethod
    def call(self, reply: OutgoingReply) -> Call:
        """The request that hands `reply` over."""

    @abstractmethod
    def judge(self, status: int, body: bytes) -> Judgement:
        """What the hub says. Total: what nobody has described is UNKNOWN."""
