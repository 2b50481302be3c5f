"""An account: one link a carrier or hub posts over, and the settings that every protocol's accounts may have."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from gateways.events import CARRIERS, NamedCarrier

AccountCarrier = Literal[NamedCarrier, "from_message"]
"""Who charges the donors of an account: one carrier, or whom each message names."""
Charging = Literal["on_message", "on_reply", "on_report", "on_settlement"]
"""What makes a message of an account money: that it came, our answer to it, a report, the carrier's bill."""
CHARGINGS: frozenset[Charging] = frozenset(get_args(Charging))

COMMON_FACTORS = frozenset({"path_secret", "client_certificate"})
"""Factors that every protocol has beside the networks; the others are proofs of its own."""
LAST_STEPS = ("dlr", "ping", "received")
"""What an address may end in behind account and path secret: delivery reports, and questions."""
SECRETS_MAX = 8
"""Values that one secret may have at the same time; a rotation needs two."""


def one_or_several(value: Any) -> Any:
    """What is written alone, as the only one of several. Raises ValueError for an empty list."""
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("must not be empty; add at least one")
        return tuple(value)
    return (value,)


OneOrSeveral = BeforeValidator(one_or_several)
"""On a secret's key: one value, or a list of values that are all valid while the secret rotates."""
Passwords = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    OneOrSeveral,
    Field(max_length=SECRETS_MAX, repr=False),
]
"""A password of one or several values; an account without one has none of them."""


class AccountSettings(BaseModel):
    """The keys of `[[gateway]]` every adapter may have; an adapter's own model adds its own.

    Secret values arrive here resolved (`env:NAME` and `file:PATH` already replaced). `model_json_schema()` is what
    the documentation shows. Unknown keys are refused.
    """

    # Neither an error's text nor a repr may show what stands in a secret's place. Built at its first use: no start
    # waits for a protocol that nobody speaks.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    path_secret: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_~.-]+$")], ...], OneOrSeveral
    ] = Field(default=(), max_length=SECRETS_MAX, repr=False)
    client_certificates: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...], OneOrSeveral, Field(max_length=SECRETS_MAX)
    ] = ()
    carriers: dict[str, str] = Field(default_factory=dict, max_length=200)

    SECRET_KEYS: ClassVar[frozenset[str]] = frozenset({"path_secret", "password", "secrets"})
    """Keys whose values are stored encrypted and may be `env:NAME` or `file:PATH`."""

    def factors(self) -> frozenset[str]:
        """Which factors, beside the network list, these settings carry."""
        own = {"path_secret": self.path_secret, "client_certificate": self.client_certificates}
        return frozenset(name for name, value in own.items() if value)

    @property
    def charges_by_reply(self) -> bool:
        """Whether the donor is charged by our reply: by the good answer, or by an SMS that we have sent."""
        return False

    def chargings(self) -> frozenset[Charging]:
        """What can make money of the messages of such an account, as far as these settings decide it."""
        return CHARGINGS if self.charges_by_reply else CHARGINGS - {"on_reply"}

    def mistakes(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Place and fault of what no new file may say. An account stored before goes on with it, for it serves."""
        return ()

    @field_validator("path_secret")
    @classmethod
    def _are_path_segments_of_their_own(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Dots alone are folded away by every HTTP client.
        if {*LAST_STEPS, ".", ".."} & set(value):
            raise ValueError(f"{', '.join(LAST_STEPS)}, . and .. mean something else in an address: choose another")
        return value

    @field_validator("carriers")
    @classmethod
    def _names_carriers_we_know(cls, value: dict[str, str]) -> dict[str, str]:
        folded: dict[str, str] = {}
        for said, carrier in value.items():
            if carrier not in CARRIERS:
                raise ValueError(f"each value must be one of {', '.join(CARRIERS)}")
            if folded.setdefault(said.strip().casefold(), carrier) != carrier:
                raise ValueError("two names differ only by case and mean different carriers")
        return value


Settings = TypeVar("Settings", bound=AccountSettings)


@dataclass(frozen=True, slots=True)
class Account(Generic[Settings]):
    """One link a carrier or hub posts over.

    `carrier` is an `AccountCarrier`, as stored; `unknown` for the stand-in of accounts we do not have.
    """

    code: str
    carrier: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    settings: Settings

    def lists(self, peer: IPv4Address | IPv6Address) -> bool:
        """Whether `peer` is in one of the networks; the unspecified address, which is nobody's, is in none."""
        # A loop: a generator would double what the hot path pays for this.
        for network in self.networks:
            if peer in network:
                return not peer.is_unspecified
        return False
