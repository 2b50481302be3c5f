"""Standard Webhooks 1.0 over `id.timestamp.body`: scheme v1, HMAC-SHA256, and v1a, Ed25519 (RFC 8032).

Source: the Standard Webhooks specification 1.0.0, sections "Signature scheme" and "Verifying webhook
authenticity". Svix sends the same under its own header names.
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateways.account import SECRETS_MAX
from gateways.gateway import SignatureRejected, StaleAttempt
from gateways.wire.mac import hmac_sha256

FRESHNESS_SECONDS = 300
SIGNATURES_MAX = 16
"""Entries of a signature header that are looked at; a sender that rotates secrets sends two."""

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the public prefix of every such secret, not a secret
PUBLIC_KEY_PREFIX = "whpk_"
PUBLIC_KEYS_MAX = 2
"""Public keys of an account, and entries of scheme v1a that are looked at: a rotation needs two, and verifying one
takes a hundred times as long as a MAC."""
_PUBLIC_KEY_BYTES = 32
_KEY_BYTES_MIN = 24
_KEY_BYTES_MAX = 64
_MAC_CHARACTERS = 44
"""The base64 of 32 bytes."""
_NOBODYS_KEY = bytes(_KEY_BYTES_MIN)
_NOBODYS_PUBLIC_KEY = Ed25519PrivateKey.generate().public_key()
"""Whose private half is forgotten."""
_HEADER_FAMILIES = ("webhook-", "svix-")
SIGNATURE_HEADERS = tuple(family + name for family in _HEADER_FAMILIES for name in ("id", "timestamp", "signature"))
"""Every header of an attempt. They hold no secret."""
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}")


def signing_key(secret: str) -> bytes:
    """The key in `secret`: `whsec_` and the base64 of 24 to 64 bytes. Raises ValueError, without the value.

    Only the one canonical base64 text of a key is taken: a secret that was mistyped in its last character
    must not pass because those bits happen to be unused.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    is_canonical = secret == SECRET_PREFIX + base64.b64encode(key).decode()
    if not is_canonical or not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
        raise ValueError(f"must be {SECRET_PREFIX} and the base64 of {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes")
    return key


def new_secret() -> str:
    """A secret of 32 bytes that nobody has yet."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def public_key(written: str) -> Ed25519PublicKey:
    """The key in `written`: `whpk_` and the base64 of 32 bytes, in its one canonical form. Raises ValueError."""
    encoded = written.removeprefix(PUBLIC_KEY_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _PUBLIC_KEY_BYTES or written != PUBLIC_KEY_PREFIX + base64.b64encode(key).decode():
        raise ValueError(f"must be {PUBLIC_KEY_PREFIX} and the base64 of {_PUBLIC_KEY_BYTES} bytes")
    return Ed25519PublicKey.from_public_bytes(key)


def sign(key: bytes, attempt_id: str, timestamp: str, body: bytes) -> str:
    """One entry of the signature header, `v1,<base64>`."""
    return "v1," + _mac(key, _signed_bytes(attempt_id, timestamp, body)).decode()


def require_signature(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[bytes],
    received_at: datetime,
    public_keys: Sequence[Ed25519PublicKey] = (),
) -> None:
    """Pass if any entry of the signature header is right for any of `keys`, and the attempt is fresh.

    An entry of scheme v1a is right by any of `public_keys`; asked only where none of scheme v1 was.

    Every key is tried against every entry, whatever the others gave, so that the time taken tells nothing.
    Raises SignatureRejected; StaleAttempt when the signature is right but its time is more than 300 seconds
    before or after `received_at`.
    """
    attempt_id, timestamp, signatures = _attempt(headers)
    signed = _signed_bytes(attempt_id, timestamp, body)
    entries = _entries(signatures)
    is_right = False
    for key in keys:
        expected = _mac(key, signed)
        for entry in entries:
            is_right |= hmac.compare_digest(expected, entry)
    if not is_right:
        # A large body takes long to sign: its time must not tell how many keys there are, if there are any.
        for _ in range(SECRETS_MAX - len(keys)):
            unmatched = _mac(_NOBODYS_KEY, signed)
            for entry in entries:
                hmac.compare_digest(unmatched, entry)
        is_right = _is_signed(signatures, signed, public_keys)
    if not is_right or not attempt_id:
        raise SignatureRejected(_fault(attempt_id, timestamp, signatures, has_public_keys=bool(public_keys)))
    if not _UNIX_SECONDS.fullmatch(timestamp):
        raise SignatureRejected("signed time is not in seconds since 1970")
    age_seconds = received_at.timestamp() - int(timestamp)
    if abs(age_seconds) > FRESHNESS_SECONDS:
        side = "behind" if age_seconds > 0 else "ahead of"
        raise StaleAttempt(f"signed time is over {FRESHNESS_SECONDS} s {side} our clock")


def _is_signed(signatures: str, signed: bytes, public_keys: Sequence[Ed25519PublicKey]) -> bool:
    """Whether an entry of scheme v1a is right. Where none is, it takes as long however many keys there are."""
    listed = (entry.rstrip(",").partition(",") for entry in signatures.split()[:SIGNATURES_MAX])
    entries = [encoded for version, _, encoded in listed if version == "v1a"][:PUBLIC_KEYS_MAX]
    for encoded in entries:
        try:
            given = base64.b64decode(_wire_bytes(encoded), validate=True)
        except (binascii.Error, ValueError):
            continue
        for place in range(PUBLIC_KEYS_MAX):
            key = public_keys[place] if place < len(public_keys) else _NOBODYS_PUBLIC_KEY
            try:
                key.verify(given, signed)
            except InvalidSignature:
                continue
            if key is not _NOBODYS_PUBLIC_KEY:
                return True
    return False


def attempt_time(headers: Mapping[str, str]) -> datetime | None:
    """The signed time of a verified attempt, in whole seconds."""
    _, timestamp, _ = _attempt(headers)
    return datetime.fromtimestamp(int(timestamp), UTC) if _UNIX_SECONDS.fullmatch(timestamp) else None


def _fault(attempt_id: str, timestamp: str, signatures: str, *, has_public_keys: bool) -> str:
    """What an engineer has to look at, as far as the headers alone tell it."""
    if not signatures:
        return "signature missing"
    if not attempt_id or not timestamp:
        return "signature wrong: the id or the timestamp has no header"
    given = [entry.partition(",") for entry in signatures.split()[:SIGNATURES_MAX]]
    if has_public_keys and any(version == "v1a" and encoded for version, _, encoded in given):
        return "signature wrong: by no secret and by no public key of the account"
    if not any(version == "v1" and encoded for version, _, encoded in given):
        return "signature wrong: no entry begins with v1"
    if not any(version == "v1" and len(encoded.rstrip(",")) == _MAC_CHARACTERS for version, _, encoded in given):
        return "signature wrong: not the base64 of 32 bytes"
    return "signature wrong"


def _attempt(headers: Mapping[str, str]) -> tuple[str, str, str]:
    for family in _HEADER_FAMILIES:
        signatures = headers.get(family + "signature")
        if signatures is not None:
            return headers.get(family + "id", ""), headers.get(family + "timestamp", ""), signatures
    return "", "", ""


def _entries(signatures: str) -> list[bytes]:
    # A repeated header arrives joined by ", ", which leaves a comma at the end of an entry.
    listed = (entry.rstrip(",").partition(",") for entry in signatures.split()[:SIGNATURES_MAX])
    given = [_wire_bytes(encoded) for version, _, encoded in listed if version == "v1"]
    return given or [b""]


def _signed_bytes(attempt_id: str, timestamp: str, body: bytes) -> bytes:
    return b".".join((_wire_bytes(attempt_id), _wire_bytes(timestamp), body))


def _mac(key: bytes, signed: bytes) -> bytes:
    return binascii.b2a_base64(hmac_sha256(key, signed), newline=False)


def _wire_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
