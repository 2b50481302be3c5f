"""Accounts as they are handed out: secrets that nobody had before, the entry for the apply file, the carrier's side.

Nothing is stored here: the apply file is where an account is decided. What a secret is, is known to who asked, once.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import quote

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from gateways.account import Account
from gateways.registry import ADAPTERS
from service.catalog.account_secrets import unknowable
from service.catalog.account_tables import prepare_gateways, settings_of
from service.catalog.secret_references import KINDS, name_of
from service.catalog.secret_windows import window_of
from service.runtime.addresses import network

SUFFIXES = {"secrets": "SECRET", "password": "PASSWORD", "path_secret": "PATH"}
"""What a variable with the secret of a key is called behind the account's code."""
_TOML_VALUE = re.compile(r'true|false|\[.*\]|\{.*\}|".*"', re.DOTALL)
Window = tuple[datetime | None, datetime | None]
"""From when and until when a secret is right."""
PUBLIC_URL_MISSING = "https://PORTAL"
"""Stands in addresses where nobody has said how the outside reaches us."""


class DraftRefused(Exception):
    """No such account could be applied; the sentences say why."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = tuple(sentences)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `own` are keys of the protocol, as apply files have them.

    `folder` is where secrets become files; None: they become variables of the environment.
    """

    adapter: str
    code: str
    carrier: str
    charging: str | None
    networks: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)
    is_test: bool = True
    url: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """`entry`: the whole table of the apply file, without a secret. `handover`: what the carrier's side needs.

    `placed`: the variable or file of each secret, and the secret; an empty one where the carrier hands it out.
    """

    entry: str
    placed: tuple[tuple[str, str], ...] = field(repr=False)
    handover: tuple[str, ...] = field(repr=False)


def draft(wanted: Wanted) -> Draft:
    """An account that `apply` takes. Raises DraftRefused."""
    adapter = ADAPTERS[wanted.adapter]
    of_protocol = [key for key in SUFFIXES if key in adapter.decoy_settings() and key != "path_secret"]
    by_path = wanted
    if of_protocol == ["password"] and "user" not in wanted.own:
        wanted = replace(wanted, own={**wanted.own, "user": wanted.code})
    with_path = [] if wanted.networks else ["path_secret"]
    refusals: list[str] = []
    # By the protocol's own proof; by the path alone where it has none, or none that can be told from here.
    for asked, keys in ((wanted, [*of_protocol, *with_path]), (by_path, ["path_secret"])):
        try:
            return _drafted(asked, keys)
        except ApplyRefused as refused:
            refusals = refusals or [f"{problem.toml_path}: {problem.reason}" for problem in refused.problems]
    page = f"docs/carriers/{wanted.adapter}.md"
    raise DraftRefused([*refusals, f"keys of {wanted.adapter} are given by --set KEY=VALUE: {page}"])


def _drafted(wanted: Wanted, keys: Sequence[str]) -> Draft:
    adapter = ADAPTERS[wanted.adapter]
    drawn = {key: unknowable(wanted.adapter, key) for key in keys if key not in wanted.own}
    places = {key: place_of(wanted.code, key, wanted.folder) for key in drawn}
    table: dict[str, Any] = {"code": wanted.code, "adapter": wanted.adapter, "carrier": wanted.carrier}
    table |= {"charging": wanted.charging or _charging(wanted)}
    table |= wanted.own
    table |= {key: [place] if key == "secrets" else place for key, place in places.items()}
    if wanted.networks:
        table["networks"] = list(wanted.networks)
    if wanted.is_test:
        table["test"] = True
    entry = "[[gateway]]\n" + "".join(f"{key} = {toml_of(value)}\n" for key, value in table.items())
    prepare_gateways(load(entry.encode(), "the entry"), seal=lambda plain, _: plain, digest_key=b"")
    own = dict(wanted.own) | {key: [value] if key == "secrets" else value for key, value in drawn.items()}
    networks: tuple[IPv4Network | IPv6Network, ...] = tuple(map(network, wanted.networks))
    gateway = adapter(Account(wanted.code, wanted.carrier, networks, settings_of(wanted.adapter, _in_clear(own))))
    theirs = {"secrets"} if adapter.secret_is_theirs else set()
    return Draft(
        entry,
        tuple((places[key].partition(":")[2], "" if key in theirs else value) for key, value in drawn.items()),
        gateway.handover(address_of(wanted.url, wanted.adapter, wanted.code, drawn.get("path_secret"))),
    )


def _in_clear(own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with a stand-in for what --set gave as a reference, which the serving process alone can follow."""

    def is_reference(value: object) -> bool:
        return isinstance(value, str) and value.startswith(("env:", "file:"))

    return {key: "..." if is_reference(value) else value for key, value in own.items()}


def _charging(wanted: Wanted) -> str:
    """What makes money of the messages, where nobody has said it: that they came, if the protocol can mean that."""
    adapter = ADAPTERS[wanted.adapter]
    try:
        possible = settings_of(wanted.adapter, {**adapter.decoy_settings(), **wanted.own}).chargings()
    except ValueError:
        return "on_message"
    return "on_message" if "on_message" in possible else "on_report"


def place_of(code: str, key: str, folder: str | None, number: int = 1) -> str:
    """Where our side looks for a secret: `env:NAME` or `file:PATH`. `number` tells several of one key apart."""
    more = "" if number == 1 else f"_{number}"
    if folder is not None:
        return f"file:{folder.rstrip('/')}/{code}.{SUFFIXES[key].lower()}{more}"
    name = f"{code.upper().replace('-', '_')}_{SUFFIXES[key]}{more}"
    return f"env:{name if name[0].isalpha() else f'GATEWAY_{name}'}"


def address_of(url: str | None, adapter: str, code: str, path_secret: str | None) -> str:
    """The account's own address."""
    steps = ("gw", adapter, code, *([path_secret] if path_secret else []))
    return (url or PUBLIC_URL_MISSING).rstrip("/") + "".join(f"/{quote(step, safe='~')}" for step in steps)


def toml_of(value: Any) -> str:
    """A value as an apply file has it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {toml_of(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return value.isoformat() if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def own_key(written: str) -> tuple[str, Any]:
    """`KEY=VALUE` of a command line: text, or what TOML would read in it. Raises ValueError."""
    key, equals, value = written.partition("=")
    if not equals or not re.fullmatch(r"[a-z_]+", key):
        raise ValueError("want KEY=VALUE, the KEY of small letters and _; a table is one KEY={...}, as in TOML")
    if not _TOML_VALUE.fullmatch(value):
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError(f"{key}: the value is neither plain text nor TOML") from None


def places_in(settings: Mapping[str, Any], key: str) -> list[tuple[str | None, Window]]:
    """Where each secret of a stored key lies, and from when and until when it is right.

    `env:NAME`, `file:PATH`; None where it is stored, sealed.
    """
    several = settings.get(key) or []
    stored = several if isinstance(several, list) else [several]
    kinds = [next((kind for kind in KINDS if kind in each), None) for each in stored]
    return [
        (None if kind is None else f"{kind}:{name_of(each)}", window_of(each))
        for kind, each in zip(kinds, stored, strict=True)
    ]
