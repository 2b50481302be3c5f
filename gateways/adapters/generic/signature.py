"""What a dialect says of a signature, asked of a callback."""

import base64
import hashlib
import hmac

from gateways.adapters.generic.dialect import Part, Signature
from gateways.adapters.generic.reading import Reading
from gateways.callback import Callback
from gateways.gateway import CredentialsAbsent
from gateways.wire.checksums import require_checksum


def require_signature(
    signature: Signature,
    written: tuple[Part, ...],
    valid: tuple[str, ...],
    callback: Callback,
    reading: Reading,
) -> None:
    """That `callback` is signed over its parts as `written`, by any `valid` secret. Raises SignatureRejected."""
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

    require_checksum(said, valid, made)


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
