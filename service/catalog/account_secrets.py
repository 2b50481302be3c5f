"""Secrets among an account's settings: references to the environment, literals that are stored sealed.

Stored forms: {"env": NAME}, resolved by the serving process; {"sealed": base64, "digest": hex}. The digest is keyed
and names account and key, so that `apply` can tell whether a secret changed without opening it, and nobody else
can tell anything.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping
from secrets import token_urlsafe
from typing import Any

from gateways.registry import ADAPTERS, decoy
from service.runtime.keyring import SealBroken
from service.runtime.settings import PREFIX

Seal = Callable[[bytes, bytes], bytes]
"""From plain (or sealed) bytes and associated data to the other."""

ENV_MARK = "env:"
ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,199}")


def stored(code: str, adapter: str, settings: Mapping[str, Any], seal: Seal, key: bytes) -> dict[str, Any]:
    """`settings` as they are stored: no secret in clear. `key` keys the digests."""

    def protected(name: str, secret: str) -> dict[str, str]:
        if secret.startswith(ENV_MARK):
            return {"env": secret.removeprefix(ENV_MARK)}
        plain, associated = secret.encode(), _associated(code, name)
        digest = hmac.digest(key, associated + b"\0" + plain, "sha256").hex()
        return {"sealed": base64.b64encode(seal(plain, associated)).decode(), "digest": digest}

    return _mapped(adapter, settings, protected)


def resolved(
    code: str, adapter: str, settings: Mapping[str, Any], unseal: Seal, environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Stored `settings` in clear, and for each key with a secret that cannot be had: what is missing.

    In place of such a secret stands one that nobody knows.
    """
    missing: dict[str, str] = {}

    def opened(name: str, secret: Mapping[str, str]) -> str:
        if "env" not in secret:
            try:
                return unseal(base64.b64decode(secret["sealed"]), _associated(code, name)).decode()
            except SealBroken:
                missing[name] = f"the stored {name} does not open with this PORTAL1400_SECRET_KEY"
                return unknowable(adapter, name)
        value = environ.get(secret["env"])
        if value:
            return value
        missing.setdefault(name, f"{secret['env']} is not set")
        return unknowable(adapter, name)

    return _mapped(adapter, settings, opened), missing


def without_references(adapter: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` of the file with something of the right form in place of references: for validation."""

    def plain(name: str, secret: Any) -> Any:
        is_reference = isinstance(secret, str) and secret.startswith(ENV_MARK)
        return unknowable(adapter, name) if is_reference else secret

    return _mapped(adapter, settings, plain)


def references(adapter: str, settings: Mapping[str, Any], name: str) -> list[str]:
    """The variables that the stored value of key `name` refers to."""
    names: list[str] = []

    def note(key: str, secret: Mapping[str, str]) -> None:
        if key == name and "env" in secret:
            names.append(secret["env"])

    _mapped(adapter, settings, note)
    return names


def reference_faults(adapter: str, settings: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Each reference of the file's `settings` that cannot be one: its place, and what is wrong."""
    secret_keys = ADAPTERS[adapter].settings_model.SECRET_KEYS
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for name in settings.keys() & secret_keys:
        value = settings[name]
        places = enumerate(value) if isinstance(value, list) else [(None, value)]
        for position, secret in places:
            fault = _reference_fault(secret) if isinstance(secret, str) else None
            if fault is not None:
                faults.append(((name,) if position is None else (name, position), fault))
    return faults


def unknowable(adapter: str, name: str) -> str:
    """A random secret of the form that key `name` of the protocol wants."""
    value = getattr(decoy(adapter).settings, name, None)
    if isinstance(value, tuple):
        return str(value[0])
    return value if isinstance(value, str) else token_urlsafe(32)


def _reference_fault(secret: str) -> str | None:
    if not secret.startswith(ENV_MARK):
        return None
    name = secret.removeprefix(ENV_MARK)
    if not ENV_NAME.fullmatch(name):
        return "must be env: and a name of A-Z, 0-9 and _; correct the name"
    if name.startswith(PREFIX):
        return f"must not name a variable that begins with {PREFIX}, which are the service's own; choose another name"
    return None


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
