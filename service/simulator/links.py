"""The links of a book file that can be played: `[[gateway]]` accounts with their secrets and carriers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from gateways.account import AccountSettings
from gateways.registry import ADAPTERS, SENDERS
from gateways.sender import Sender
from service.runtime.addresses import network
from service.simulator.refused import SimulateRefused

PROTOCOLS = tuple(ADAPTERS)
TIMED_PROTOCOLS = frozenset(name for name, adapter in ADAPTERS.items() if adapter.tells_message_time)
"""Protocols whose callbacks say when the donor sent the message; for the others our receive time is all."""

Peer = IPv4Address | IPv6Address

NO_PROOF = "its callbacks are proved by a key that only the carrier has; give it `secrets` beside to play it"

NO_HUB = "it charges on_reply by a call of ours, and its hub is not at this machine: give it a reply_url here"
_ACCOUNT_KEYS = frozenset({"code", "adapter", "carrier", "charging", "networks", "enabled", "test"})
_ENVIRONMENT, _FILE = "env:", "file:"


@dataclass(frozen=True, slots=True)
class Link:
    """One account to post over. `carriers`: each carrier it can say, with the word for it (None: no word)."""

    account: str
    protocol: str
    carriers: Mapping[str, str | None]
    settings: AccountSettings = field(repr=False)
    reporter: "Link | None" = None
    """The link over which the charge of each message is reported apart; it may be this one. None: no charge is."""
    hub: tuple[str, int, str] | None = None
    """Where on this machine replies to its donors are taken: host, port and path. None: none are looked at."""
    charges_by_reply: bool = False
    """Whether such a reply charges the donor, so that each gift has one."""

    @property
    def is_timed(self) -> bool:
        """Whether its callbacks carry the time of the message."""
        return self.protocol in TIMED_PROTOCOLS

    @property
    def needs_own_numbers(self) -> bool:
        """Whether each message wants a donor of its own: its charge, or its reply, may name the donor alone."""
        is_named = self.reporter is None or SENDERS[self.reporter.protocol].reports_name_messages
        return self.hub is not None or not is_named

    @property
    def batch_max(self) -> int:
        """How many messages one callback may carry."""
        return SENDERS[self.protocol].batch_max

    def sender(self) -> Sender[Any]:
        """Who posts over it."""
        return SENDERS[self.protocol](self.account, self.settings)


def links_of(
    gateways: Iterable[Mapping[str, Any]],
    protocols: Sequence[str],
    environment: Mapping[str, str],
    peers: Sequence[Peer],
) -> tuple[tuple[Link, ...], tuple[str, ...]]:
    """The links of `protocols` (empty: all that the file has), and a note for each account left out.

    `peers` are the addresses the target may see us come from; none: not known, and networks are not asked.
    Raises SimulateRefused where a protocol has no account that can be played, or a secret cannot be read.
    """
    links: list[Link] = []
    notes: list[str] = []
    wanted = protocols or PROTOCOLS
    gateways = list(gateways)
    reporters = {
        str(gateway["messages_of"]): _link(gateway, environment)
        for gateway in gateways
        if gateway.get("adapter") in PROTOCOLS and "messages_of" in gateway and _obstacle(gateway, peers) is None
    }
    for gateway in gateways:
        if gateway.get("adapter") not in wanted:
            continue
        obstacle = _obstacle(gateway, peers)
        if obstacle is None:
            charging = str(gateway.get("charging", "on_message"))
            link = _charged(_replied(_link(gateway, environment), charging, peers), charging, reporters)
            if isinstance(link, Link):
                links.append(link)
                continue
            obstacle = link
        notes.append(f"account {gateway.get('code')} is left out: {obstacle}")
    played = {link.protocol for link in links}
    lacking = [protocol for protocol in protocols if protocol not in played]
    if lacking or not links:
        reasons = "".join(f"; {note}" for note in notes)
        what = " and ".join(lacking) or "any protocol"
        raise SimulateRefused(f"the book file has no [[gateway]] that can be played for {what}: add one{reasons}")
    return tuple(links), tuple(notes)


def _obstacle(gateway: Mapping[str, Any], peers: Sequence[Peer]) -> str | None:
    if gateway.get("enabled") is False:
        return "it is disabled in the book file"
    if gateway.get("test") is True:
        return "it is a test account, whose messages move no figure"
    try:
        networks = [network(str(each)) for each in gateway.get("networks", ())]
    except ValueError:
        return "its networks cannot be read; `portal1400 apply` says where"
    if peers and networks and not any(peer in each for peer in peers for each in networks):
        return "its networks do not hold this machine's loopback address; add 127.0.0.0/8 (and ::1/128) to them"
    return None


def timed(gateways: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The accounts whose messages bear times of their own, and those that report charges of others' messages.

    What any other sends would have the time of now.
    """
    return [each for each in gateways if each.get("adapter") in TIMED_PROTOCOLS or "messages_of" in each]


def _replied(link: Link, charging: str, peers: Sequence[Peer]) -> Link:
    """The link with the hub of its replies, where that is at this machine and the target too, so that it is ours."""
    written = getattr(link.settings, "reply_url", None)
    if written is None or not peers:
        return link
    address = urlsplit(written)
    host = "127.0.0.1" if address.hostname == "localhost" else address.hostname or ""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        return link
    if not is_here or address.scheme != "http":
        return link
    hub = host, address.port or 80, address.path or "/"
    return replace(link, hub=hub, charges_by_reply=charging in ("on_reply", "on_report"))


def _charged(link: Link, charging: str, reporters: Mapping[str, Link]) -> Link | str:
    """The link as what it sends becomes money; or why it cannot be played."""
    sender = link.sender()
    if not sender.carries_messages:
        return "its protocol hands over no messages; it reports those of the account that it names"
    if not sender.holds_proof:
        return NO_PROOF
    if charging == "on_reply":
        is_answer = link.settings.charges_by_reply and getattr(link.settings, "reply_url", None) is None
        return link if is_answer or link.hub is not None else NO_HUB
    if charging == "on_report" and not sender.charges_at_once:
        reporter = link if sender.reports_charges else reporters.get(link.account)
        if reporter is None or not reporter.sender().holds_proof:
            return "it charges on_report, and no account of the file reports those charges by the message's id"
        return replace(link, reporter=reporter)
    return link


def _link(gateway: Mapping[str, Any], environment: Mapping[str, str]) -> Link:
    account, protocol = str(gateway.get("code")), str(gateway["adapter"])
    own = {
        key: _resolved(value, account, environment) if key in AccountSettings.SECRET_KEYS else value
        for key, value in gateway.items()
        if key not in _ACCOUNT_KEYS
    }
    try:
        settings = ADAPTERS[protocol].settings_model.model_validate(own)
    except ValidationError:
        raise SimulateRefused(
            f"account {account}: its keys are not what {protocol} takes; `portal1400 apply` says which"
        ) from None
    return link_of(account, protocol, str(gateway.get("carrier")), settings)


def link_of(account: str, protocol: str, carrier: str, settings: AccountSettings) -> Link:
    """The link of an account whose secrets are known."""
    names_carriers = SENDERS[protocol](account, settings).names_carriers
    return Link(account, protocol, _carriers(carrier, protocol, settings, names_carriers), settings)


def _resolved(value: object, account: str, environment: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        # A secret with a time of its own.
        return _resolved(value.get("secret"), account, environment)
    if isinstance(value, list):
        return [_resolved(each, account, environment) for each in value]
    if isinstance(value, str) and value.startswith(_FILE):
        try:
            return Path(value.removeprefix(_FILE)).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError):
            raise SimulateRefused(f"account {account}: its secret is {value}, which cannot be read here") from None
    if not isinstance(value, str) or not value.startswith(_ENVIRONMENT):
        return value
    name = value.removeprefix(_ENVIRONMENT)
    if name not in environment:
        raise SimulateRefused(f"account {account}: its secret is {value}, which is not set here; set {name}")
    return environment[name]


def _carriers(
    carrier: str, protocol: str, settings: AccountSettings, names_carriers: bool
) -> Mapping[str, str | None]:
    if carrier != "from_message":
        return {carrier: None}
    if not names_carriers:
        return {"unknown": None}
    listed = {means: said for said, means in settings.carriers.items()}
    # A word that the account gives another meaning no longer means what the protocol would mean by it.
    taken = {said.casefold() for said in settings.carriers}
    own = {means: said for means, said in SENDERS[protocol].carrier_words.items() if said.casefold() not in taken}
    # An account that lists nothing still posts: what it says is then unknown, and counted so.
    return {**own, **listed} or {"unknown": None}
