"""HMAC-SHA256 (RFC 2104) under keys that are used again and again."""

import hmac
from functools import lru_cache

KEYS_KEPT = 1024


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """What `hmac.digest(key, message, "sha256")` gives, in about three quarters of the time.

    A callback takes three. OpenSSL looks its algorithm up and hashes the padded key anew for each digest; a copy
    starts where the key has been taken in already.
    """
    keyed = _keyed(key).copy()
    keyed.update(message)
    return keyed.digest()


@lru_cache(maxsize=KEYS_KEPT)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")
