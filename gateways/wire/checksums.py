"""Checksums by which hubs sign: a digest over values under a shared secret, which goes in as its bytes are."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from gateways.account import SECRETS_MAX, AccountSettings
from gateways.gateway import SignatureRejected
from gateways.wire.mac import hmac_sha256

_NOBODYS = b"a secret that nobody has"


class SharedSecretSettings(AccountSettings):
    """The keys of an account that signs by a shared secret."""

    secrets: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        min_length=1, max_length=SECRETS_MAX, repr=False
    )

    def factors(self) -> frozenset[str]:
        """The checksum, and the path secret where there is one."""
        return super().factors() | {"signature"}


def is_checksum(given: str, secrets: Sequence[str], made: Callable[[bytes], str]) -> bool:
    """Whether `given` is what `made` makes of any of `secrets`.

    As many are tried as an account may have, whatever the others gave, so that the time taken tells nothing.
    """
    said = given.encode("utf-8", "surrogatepass")
    is_right = False
    for secret in secrets:
        is_right |= hmac.compare_digest(made(secret.encode()).encode(), said)
    for _ in range(SECRETS_MAX - len(secrets)):
        hmac.compare_digest(made(_NOBODYS).encode(), said)
    return is_right


def require_checksum(given: str, secrets: Sequence[str], made: Callable[[bytes], str]) -> None:
    """The same. Raises SignatureRejected."""
    if not is_checksum(given, secrets, made):
        raise SignatureRejected("checksum wrong" if given else "checksum missing")


def sha256_base64(signed: bytes) -> str:
    """Base64 of the 32 bytes of SHA-256."""
    return base64.b64encode(hashlib.sha256(signed).digest()).decode()


def md5_hex(signed: bytes) -> str:
    """MD5 in lower-case hexadecimal digits: weak, and what the sender's protocol prescribes."""
    return hashlib.md5(signed).hexdigest()  # noqa: S324 -- the sender's protocol has no other; networks are the second factor


def hmac_sha256_hex(secret: bytes, signed: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) in lower-case hexadecimal digits."""
    return hmac_sha256(secret, signed).hex()
