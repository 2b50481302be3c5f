"""What a dialect says of a signature, asked of a callback."""

import base64
import hashlib
import hmac

from gateways.adapters.generic.dialect import Part, Signature
from gateways.adapters.generic.reading import Reading
from gateways.callback import Callback
from gateways.gateway import CredentialsAbsent, SignatureRejected
from gateways.wire.checksums import require_checksum

ABSENT_NAMED_MAX = 3
"""Parts that one rejection names at most."""


def require_signature(
    signature: Signature,
    written: tuple[Part, ...],
    valid: tuple[str, ...],
    callback: Callback,
    reading: Reading,
) -> None:
    """That `callback` is signed over its parts as `written`, by any `valid` secret.

    Raises SignatureRejected, which names the parts that the callback does not have: those were signed as nothing.
    """
    place, name = signature.place, signature.place.removeprefix("header:")
    given = callback.headers.get(name.lower(), "") if place != name else reading.raw(place).decode("utf-8", "replace")
    if not given.startswith(signature.prefix):
        given = ""
    given = given.removeprefix(signature.prefix)
    if place != name and name.lower() not in callback.headers:
        raise CredentialsAbsent("checksum missing")
    if signature.kind == "token":
        require_checksum(given, valid, lambda secret: secret.decode())
        return
    parts = [_part(part, callback, reading, place) for part in written]
    # Digits of either case are the same number.
    said = given.lower() if signature.encoding == "hex" else given

    def made(secret: bytes) -> str:
        if signature.kind == "hmac":
            digest = hmac.digest(secret, b"".join(part or b"" for part in parts), signature.hash)
        else:
            signed = b"".join(secret if part is None else part for part in parts)
            digest = hashlib.new(signature.hash, signed).digest()
        return digest.hex() if signature.encoding == "hex" else base64.b64encode(digest).decode()

    try:
        require_checksum(said, valid, made)
    except SignatureRejected as rejected:
        absent = [f"{each.kind}:{each.name}" for each in written if not _is_there(each, callback, reading)]
        if not said or not absent:
            raise
        raise SignatureRejected(f"{rejected.reason} without {' and '.join(absent[:ABSENT_NAMED_MAX])}") from None


def _is_there(part: Part, callback: Callback, reading: Reading) -> bool:
    if part.kind == "header":
        return part.name.lower() in callback.headers
    return part.kind != "field" or reading.has(part.name)


def _part(part: Part, callback: Callback, reading: Reading, place: str) -> bytes | None:
    """The bytes of a part; None where the secret goes."""
    if part.kind == "secret":
        return None
    if part.kind == "body":
        return callback.body
    if part.kind == "sorted":
        return reading.sorted_values(place)
    if part.kind == "header":
        return callback.headers.get(part.name.lower(), "").encode("utf-8", "surrogatepass")
    return reading.raw(part.name) if part.kind == "field" else part.name.encode()
