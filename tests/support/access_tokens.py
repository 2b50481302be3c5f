"""Access tokens as an authorization server signs them, by hand from RFC 7515: a witness beside our library."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def encoded(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int, size: int) -> str:
    return encoded(value.to_bytes(size, "big"))


def public_jwk(key: PrivateKey, **more: str) -> dict[str, str]:
    """The public half, as it stands in a JWK Set (RFC 7518, section 6)."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        size = (key.key_size + 7) // 8
        return {"kty": "RSA", "n": _number(numbers.n, size), "e": encoded(b"\x01\x00\x01"), **more}
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32), **more}


def _signed(algorithm: str, key: PrivateKey, content: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
    return key.sign(content, pss if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())


def access_token(key: PrivateKey, claims: object, algorithm: str = "ES256", **header: Any) -> str:
    """A token; what `header` sets to None is left out of it."""
    head: Mapping[str, Any] = {"alg": algorithm, "typ": "at+jwt", **header}
    parts = [{name: value for name, value in head.items() if value is not None}, claims]
    content = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    return f"{content}.{encoded(_signed(algorithm, key, content.encode()))}"
