"""The protocols we speak: an explicit list, and the stand-in for accounts we do not have."""

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateways.adapters.kannel import Kannel
from gateways.adapters.standard.adapter import Standard
from gateways.adapters.vn_soap_mo.adapter import VnSoapMo
from gateways.gateway import Account, Gateway
from gateways.wire.signatures import SECRET_PREFIX

ADAPTERS: Final[Mapping[str, type[Gateway[Any]]]] = {
    adapter.name: adapter for adapter in (Standard, Kannel, VnSoapMo)
}

# The factors of an account of each protocol, never to be matched.
_DECOYS: Final[Mapping[str, Callable[[], dict[str, object]]]] = {
    "standard": lambda: {"secrets": (_secret(),), "path_secret": _word()},
    "kannel": lambda: {"path_secret": _word()},
    "vn_soap_mo": lambda: {
        "dialect": "receiverMO",
        "user": _word(),
        "password": _word(),
        "path_secret": _word(),
    },
}


def decoy(name: str) -> Gateway[Any]:
    """A gateway of protocol `name` that refuses everything, with the work a real one takes to refuse.

    It answers for accounts that do not exist, so that nobody can tell them from wrong credentials. Make it
    once and keep it. Raises KeyError for a protocol we do not speak.
    """
    adapter = ADAPTERS[name]
    settings = adapter.settings_model.model_validate(_DECOYS[name]())
    return adapter(Account(code="unknown", carrier="unknown", networks=(), settings=settings))


def _word() -> str:
    return secrets.token_urlsafe(32)


def _secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
