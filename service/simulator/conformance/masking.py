"""What was sent and answered, as a report may show it: without secrets, proofs and numbers."""

import base64
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

from gateways.account import AccountSettings
from gateways.sender import Reply, Request

HIDDEN = "***"
LETTERS_MAX = 400
SHOWN_HEADERS = frozenset({"content-type", "user-agent", "soapaction"})
"""Of all others the names are shown alone: a proof may stand in any of them."""
_PROOF = re.compile(r"[A-Za-z0-9+_=%]{20,}")
"""A digest in hexadecimal or Base64, which is no secret, and a token, which is one; ids of the kit are shorter."""
_NUMBER = re.compile(r"(?:84|0)95[0-9]+")
"""Numbers of the kit, which all begin so, broken off ones too."""


class Mask:
    """Hides what an account's settings hold as secrets, in each form in which a request may bear it."""

    def __init__(self, settings: AccountSettings) -> None:
        found: set[str] = set()
        for secret in secrets_of(settings):
            user = getattr(settings, "user", None)
            pairs = [secret, f"{user}:{secret}"] if isinstance(user, str) else [secret]
            for each in pairs:
                found |= {each, quote(each, safe=""), quote_plus(each), base64.b64encode(each.encode()).decode()}
        self._secrets = sorted((each for each in found if each), key=len, reverse=True)

    def request(self, request: Request) -> str:
        """Its line, the names of its headers, and its body, shortened."""
        headers = [
            f"{name}: {value}" if name.lower() in SHOWN_HEADERS else f"{name}: {HIDDEN}"
            for name, value in request.headers.items()
        ]
        parts = [f"{request.method} {request.address}", *headers]
        if request.body:
            parts.append(f"{len(request.body)} bytes: {_text(request.body)}")
        return self.text(" | ".join(parts))

    def reply(self, reply: Reply) -> str:
        """Status, content type and body, shortened."""
        body = f": {_text(reply.body)}" if reply.body else ", empty"
        return self.text(f"{reply.status} {reply.content_type or 'no content type'}{body}")

    def text(self, text: str) -> str:
        """Any text without them."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _NUMBER.sub(HIDDEN, _PROOF.sub(HIDDEN, text))
        return text if len(text) <= LETTERS_MAX else f"{text[:LETTERS_MAX]}... ({len(text)} characters)"


def secrets_of(settings: AccountSettings) -> Iterable[str]:
    """Every secret of an account, as the settings hold it."""
    for key in settings.SECRET_KEYS:
        value: Any = getattr(settings, key, ())
        yield from [value] if isinstance(value, str) else value or ()


def _text(raw: bytes) -> str:
    """On one line, what does not print escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in raw.decode("utf-8", "replace")
    )
