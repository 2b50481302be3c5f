"""Secrets among an account's settings: references to what lies elsewhere, literals that are stored sealed.

Stored forms: a reference (`secret_references.py`), resolved by the serving process; or {"sealed": base64, "digest":
hex}. The digest is keyed and names account and key, so that `apply` can tell whether a secret changed without
opening it, and nobody else can tell anything.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_urlsafe
from typing import Any

from gateways.registry import ADAPTERS, decoy
from service.catalog.secret_references import Secret, SecretMissing, fault_of, find, name_of, reference
from service.catalog.secret_windows import is_open, next_change, window_of
from service.runtime.keyring import SealBroken

Seal = Callable[[bytes, bytes], bytes]
"""From plain (or sealed) bytes and associated data to the other."""
Judge = Callable[[str, str], str | None]
"""Whether a secret has the form that its key wants: from the key's name and a value to what is wrong, or None."""


def stored(code: str, adapter: str, settings: Mapping[str, Any], seal: Seal, key: bytes) -> dict[str, Any]:
    """`settings` as they are stored: no secret in clear. `key` keys the digests."""

    def protected(name: str, secret: str) -> dict[str, str]:
        elsewhere = reference(secret)
        if elsewhere is not None:
            return elsewhere
        plain, associated = secret.encode(), _associated(code, name)
        digest = hmac.digest(key, associated + b"\0" + plain, "sha256").hex()
        return {"sealed": base64.b64encode(seal(plain, associated)).decode(), "digest": digest}

    return _mapped(adapter, settings, protected)


@dataclass(slots=True)
class Resolved:
    """An account's settings in clear.

    `missing`: the keys of which no secret can be had, and why; in its place stands one that nobody knows. `left_out`:
    what cannot be had of a key whose other secrets can, in sentences. `warnings`: what else is to be mended.
    """

    values: dict[str, Any] = field(repr=False)
    missing: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changes_at: datetime | None = None
    """When the next of its secrets begins or ends to be right."""


def resolved(
    code: str,
    adapter: str,
    settings: Mapping[str, Any],
    unseal: Seal,
    environ: Mapping[str, str],
    judge: Judge,
    now: datetime,
) -> Resolved:
    """Stored `settings` in clear, as they are at `now`.

    Several secrets of a key mean any of them: those that can be had, and whose time it is, are used.
    """
    found = Resolved(dict(settings))
    for name in sorted(settings.keys() & ADAPTERS[adapter].settings_model.SECRET_KEYS):
        several = settings[name] if isinstance(settings[name], list) else [settings[name]]
        usable: list[str] = []
        faults: list[str] = []
        out_of_time: list[str] = []
        for each in several:
            change = next_change(each, now)
            if change is not None:
                found.changes_at = min(change, found.changes_at or change)
            if not is_open(each, now):
                closed = name_of(each) or f"a stored {name}"
                _, ends = window_of(each)
                if ends is not None and ends <= now:
                    found.warnings.append(f"{closed} is over since {ends.isoformat()}: take it out of the file")
                out_of_time.append(f"{closed} is not right at this time")
                continue
            try:
                secret = _opened(code, name, each, unseal, environ)
            except SecretMissing as missing:
                faults.append(str(missing))
                continue
            fault = judge(name, secret.value)
            if fault is None:
                usable.append(secret.value)
                found.warnings += [secret.warning] if secret.warning else []
            else:
                faults.append(f"{name_of(each) or f'the stored {name}'} is set, but {name} {fault}")
        if usable:
            found.left_out += faults
        else:
            found.missing[name] = " and ".join([*faults, *out_of_time])
            usable = [unknowable(adapter, name)]
        found.values[name] = usable if isinstance(settings[name], list) else usable[0]
    return found


def _opened(code: str, name: str, secret: Mapping[str, str], unseal: Seal, environ: Mapping[str, str]) -> Secret:
    if name_of(secret) is not None:
        return find(secret, environ)
    try:
        return Secret(unseal(base64.b64decode(secret["sealed"]), _associated(code, name)).decode())
    except SealBroken:
        raise SecretMissing(f"the stored {name} does not open with this PORTAL1400_SECRET_KEY") from None
    except (KeyError, ValueError):
        raise SecretMissing(f"the stored {name} is not of this version; apply it again") from None


def resealed(
    code: str,
    adapter: str,
    settings: Mapping[str, Any],
    is_done: Callable[[bytes, bytes], bool],
    seal: Seal,
    unseal: Seal,
) -> dict[str, Any] | None:
    """Stored `settings`, sealed anew where that was not done; None where all `is_done`. Raises SealBroken."""
    changed = 0

    def anew(name: str, secret: Mapping[str, str]) -> Mapping[str, str]:
        nonlocal changed
        if "sealed" not in secret:
            return secret
        sealed, associated = base64.b64decode(secret["sealed"]), _associated(code, name)
        if is_done(sealed, associated):
            return secret
        changed += 1
        plain = unseal(sealed, associated)
        return {**secret, "sealed": base64.b64encode(seal(plain, associated)).decode()}

    mapped = _mapped(adapter, settings, anew)
    return mapped if changed else None


def without_references(adapter: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` of the file with something of the right form in place of references: for validation."""

    def plain(name: str, secret: Any) -> Any:
        is_reference = isinstance(secret, str) and reference(secret) is not None
        return unknowable(adapter, name) if is_reference else secret

    return _mapped(adapter, settings, plain)


def reference_faults(adapter: str, settings: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Each reference of the file's `settings` that cannot be one: its place, and what is wrong."""
    secret_keys = ADAPTERS[adapter].settings_model.SECRET_KEYS
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for name in settings.keys() & secret_keys:
        value = settings[name]
        places = enumerate(value) if isinstance(value, list) else [(None, value)]
        for position, secret in places:
            fault = fault_of(secret) if isinstance(secret, str) else None
            if fault is not None:
                faults.append(((name,) if position is None else (name, position), fault))
    return faults


def unknowable(adapter: str, name: str) -> str:
    """A random secret of the form that key `name` of the protocol wants."""
    value = getattr(decoy(adapter).settings, name, None)
    if isinstance(value, tuple) and value:
        return str(value[0])
    return value if isinstance(value, str) else token_urlsafe(32)


def _mapped(adapter: str, settings: Mapping[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """`settings` with each secret changed. A secret's key holds one or a list of them."""
    mapped: dict[str, Any] = {}
    secret_keys = ADAPTERS[adapter].settings_model.SECRET_KEYS
    for name, value in settings.items():
        if name not in secret_keys:
            mapped[name] = value
        elif isinstance(value, list):
            mapped[name] = [change(name, each) for each in value]
        else:
            mapped[name] = change(name, value)
    return mapped


def _associated(code: str, name: str) -> bytes:
    return f"gateway_account:{code}:{name}".encode()
