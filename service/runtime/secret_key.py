"""The form of a secret that took another's place: a new random part, and the root of the keys that last.

From the root come the keys that must not change: by one a repeat is known, and made ids are what they were; by others
a person is found, and a receipt is believed. It is carried from secret to secret; what seals and proves is derived
from the whole, and so is new.
"""

import base64
import binascii
import secrets

PREFIX = "p1400k2."
PART_BYTES = 32


def carried_root(secret_key: str) -> bytes | None:
    """The root that a secret carries; None for one that was the first. Raises ValueError: it is not whole."""
    if not secret_key.startswith(PREFIX):
        return None
    try:
        parts = [
            base64.b64decode(part, altchars=b"-_", validate=True)
            for part in secret_key.removeprefix(PREFIX).split(".")
        ]
    except binascii.Error:
        parts = []
    if [len(part) for part in parts] != [PART_BYTES] * 2:
        raise ValueError(f"it begins with {PREFIX} and is not whole: copy it again, as `secret-key new` made it")
    return parts[1]


def make_secret_key(root: bytes) -> str:
    """A new secret that carries this root."""
    parts = (secrets.token_bytes(PART_BYTES), root)
    return PREFIX + ".".join(base64.urlsafe_b64encode(part).decode() for part in parts)
