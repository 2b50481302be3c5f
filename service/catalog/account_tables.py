"""The `[[gateway]]` tables of an apply file: judged by their adapter, and brought to the form that is stored."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from campaigns.book.apply_entries import ApplyFile, ApplyProblem, ApplyRefused, GatewayEntry, PreparedGateway
from campaigns.book.faults import Place, faults
from campaigns.book.sentences import say
from campaigns.book.toml_headers import toml_path
from gateways.account import Account, AccountCarrier, AccountSettings
from gateways.registry import ADAPTERS
from service.catalog.account_secrets import Seal, reference_faults, stored, without_references
from service.catalog.secret_windows import with_windows, without_windows
from service.runtime.addresses import network

FACTORS_MIN = 2
NETWORKS_MAX = 100
SupportedCharging = Literal["on_message", "on_reply", "on_report"]
"""What `apply` takes of the ways in which a message becomes money."""


class CommonKeys(BaseModel):
    """The keys that every `[[gateway]]` has, whatever its adapter; the other keys are the adapter's."""

    # Built at its first use: no start waits for what it may not need.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    code: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")]
    adapter: str
    carrier: AccountCarrier
    charging: SupportedCharging
    networks: Annotated[list[str], Field(max_length=NETWORKS_MAX)] = []
    enabled: bool = True
    test: bool = False


def prepare_gateways(file: ApplyFile, *, seal: Seal, digest_key: bytes) -> list[PreparedGateway]:
    """The file's gateway accounts as they are stored, secrets sealed. Raises ApplyRefused with every problem.

    `seal` takes plain bytes and associated data, which name account and key; `digest_key` keys the digests by
    which a changed secret is told from an unchanged one.
    """
    problems: list[ApplyProblem] = []
    prepared: dict[str, PreparedGateway] = {}
    reported = {str(entry.raw.get("messages_of")) for entry in file.gateways}
    for entry in file.gateways:
        table = _Table(entry, reported)
        gateway = table.prepared(seal, digest_key)
        problems.extend(table.problems)
        if gateway is not None and gateway.code in prepared:
            reason = say("is the code of an earlier [[gateway]] of this file; give each its own")
            problems.append(ApplyProblem(f"{entry.place.toml_path}.code", entry.place.of("code"), reason))
        elif gateway is not None:
            prepared[gateway.code] = gateway
    if problems:
        raise ApplyRefused(file.name, problems)
    return list(prepared.values())


def factors_of(networks: tuple[str, ...], settings: AccountSettings) -> int:
    """How many factors a caller has to pass. A network that holds every address keeps nobody out."""
    is_listed = bool(networks) and all(network(each).prefixlen > 0 for each in networks)
    return len(settings.factors()) + is_listed


def settings_of(adapter: str, settings: Mapping[str, Any]) -> AccountSettings:
    """`settings` by the adapter's own model, strictly: "yes" is no boolean. Raises ValidationError."""
    # As JSON, in which a strict model takes a list for a tuple, because there is nothing else it could be.
    return ADAPTERS[adapter].settings_model.model_validate_json(json.dumps(settings), strict=True)


def _charges_uncounted(common: CommonKeys, networks: tuple[str, ...], settings: AccountSettings) -> bool:
    if common.charging != "on_message":
        return False
    account = Account(common.code, common.carrier, tuple(network(each) for each in networks), settings)
    gateway = ADAPTERS[common.adapter](account)
    answers = gateway.carries_reply or getattr(settings, "reply_url", None) is not None
    return answers and not gateway.refuses_uncounted


@dataclass(slots=True)
class _Table:
    """One table under judgement."""

    entry: GatewayEntry
    reported: Collection[str]
    """The accounts whose charges another account of the file reports."""
    problems: list[ApplyProblem] = field(default_factory=list)

    def prepared(self, seal: Seal, digest_key: bytes) -> PreparedGateway | None:
        raw = self.entry.raw
        common = self._common({key: value for key, value in raw.items() if key in CommonKeys.model_fields})
        own = {key: value for key, value in raw.items() if key not in CommonKeys.model_fields}
        windows: dict[tuple[str, int], dict[str, str]] = {}
        if raw.get("adapter") in ADAPTERS:
            found = without_windows(raw["adapter"], own)
            own, windows = found.settings, found.stored
            for place, fault in found.faults:
                self._refuse(place, fault)
        written = raw.get("networks", [])
        # Judged also where another of the common keys is wrong: every problem is told at once.
        is_list = isinstance(written, list) and all(isinstance(each, str) for each in written)
        networks = self._networks(written[:NETWORKS_MAX]) if is_list else ()
        adapter = raw.get("adapter")
        settings = self._settings(adapter, own) if isinstance(adapter, str) and adapter in ADAPTERS else None
        if common is None or settings is None or self.problems:
            return None
        possible = settings.chargings() | ({"on_report"} if common.code in self.reported else set())
        if common.charging not in possible:
            expected = ", ".join(each for each in get_args(SupportedCharging) if each in possible)
            reason = say("is not what makes money of these messages; write {expected}", expected=expected)
            self._refuse(("charging",), reason)
            return None
        if factors_of(networks, settings) < FACTORS_MIN:
            reason = say(
                "has fewer than two factors; add networks, path_secret or what else the adapter checks "
                "(a network of every address is no factor)"
            )
            self._refuse((), reason)
            return None
        return PreparedGateway(
            common.code,
            common.adapter,
            common.carrier,
            common.charging,
            networks,
            common.enabled,
            with_windows(stored(common.code, common.adapter, own, seal, digest_key), windows),
            common.test,
            _charges_uncounted(common, networks, settings),
        )

    def _common(self, raw: Mapping[str, Any]) -> CommonKeys | None:
        try:
            common = CommonKeys.model_validate(raw)
        except ValidationError as error:
            for place, reason in faults(error):
                self._refuse(place, reason)
            return None
        if common.code == "unknown":
            self._refuse(("code",), say("is what metrics call accounts we do not have; choose another code"))
        if common.adapter not in ADAPTERS:
            self._refuse(("adapter",), say("must be one of {expected}; correct it", expected=", ".join(ADAPTERS)))
        adapter = ADAPTERS.get(common.adapter)
        is_reported = adapter is None or adapter.reports_charges or common.code in self.reported
        if common.charging == "on_report" and not is_reported:
            named = ", ".join(name for name, each in ADAPTERS.items() if each.reports_charges)
            reason = say(
                "on_report needs a protocol that reports charges ({protocols}); use on_message", protocols=named
            )
            self._refuse(("charging",), reason)
        return common

    def _networks(self, written: list[str]) -> tuple[str, ...]:
        networks: list[str] = []
        for position, each in enumerate(written):
            try:
                networks.append(str(network(each)))
            except ValueError:
                self._refuse(("networks", position), _network_fault(each))
        return tuple(dict.fromkeys(networks))

    def _settings(self, adapter: str, own: Mapping[str, Any]) -> AccountSettings | None:
        known = len(self.problems)
        self._require_storable((), own)
        for place, reason in reference_faults(adapter, own):
            self._refuse(place, reason)
        if len(self.problems) > known:
            return None
        try:
            settings = settings_of(adapter, without_references(adapter, own))
        except ValidationError as error:
            for place, reason in faults(error):
                # A secret written alone counts as a list of one, and its place in the file has no number.
                is_alone = bool(place) and isinstance(own.get(str(place[0])), str)
                self._refuse(place[:1] if is_alone else place, reason)
            return None
        for place, fault in settings.mistakes():
            self._refuse(place, say(fault))
        return settings

    def _require_storable(self, place: Place, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, each in value.items():
                self._require_storable((*place, key), each)
                self._require_storable(place, key)
        elif isinstance(value, list):
            for position, each in enumerate(value):
                self._require_storable((*place, position), each)
        elif isinstance(value, str):
            if not value.isprintable():
                self._refuse(place, say("must not hold control characters; remove them"))
        elif not isinstance(value, bool | int):
            self._refuse(place, say("must be text, a whole number, true or false; correct it"))

    def _refuse(self, place: Place, reason: str) -> None:
        at = self.entry.place
        line = at.of(str(place[0])) if place else at.line
        self.problems.append(ApplyProblem(toml_path((at.toml_path, *place)), line, reason))


def _network_fault(written: str) -> str:
    try:
        wider = network(str(ip_network(written, strict=False)))
    except ValueError:
        return say("must be a network, as in 10.1.0.0/16 or 2001:db8::/32; correct it")
    return say("has bits set behind its prefix; write {network}, or one address without a prefix", network=wider)
