"""Verifies signed tokens with joserfc. Imported through `access_tokens.py` alone, when there is one."""

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from joserfc import jwk, jws, jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError

from gateways.wire.access_tokens import KEY_TYPES, AccessTokenSettings

LEEWAY_SECONDS = 60
"""So far may the issuer's clock and ours be apart."""
_RSA_BYTES = 256
_NOT_LISTED = "access token signed by a key that the account does not list"


def imported_key(members: Mapping[str, str]) -> jwk.Key | None:
    """The public key that a JWK's `members` are; None where they are none."""
    try:
        return jwk.import_key(dict(members))
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def fault_of(
    token: str,
    settings: AccessTokenSettings | None,
    keys: Mapping[tuple[str, str | None], jwk.Key],
    now: datetime,
) -> str | None:
    """What is wrong with `token` at `now`. `keys` are the account's, by algorithm and name."""
    try:
        header = jws.extract_compact(token.encode("utf-8", "surrogatepass")).headers()
    except (JoseError, ValueError, RecursionError):
        return "bearer token wrong"
    algorithm, name = str(header.get("alg")), header.get("kid")
    if algorithm not in KEY_TYPES or not _is_canonical(token.rpartition(".")[2]):
        return "access token signed by an algorithm or in a form that we do not take"
    own = name if isinstance(name, str) else None
    key = keys.get((algorithm, own)) or keys.get((algorithm, None))
    any_key = key or _NOBODYS_KEYS[KEY_TYPES[algorithm]]
    try:
        claims = jwt.decode(token, any_key, registry=_REGISTRIES[algorithm]).claims
    except BadSignatureError:
        return "access token signature wrong" if key else _NOT_LISTED
    except (JoseError, ValueError, RecursionError):
        return "access token malformed"
    if key is None or settings is None:
        return _NOT_LISTED
    if str(header.get("typ", "")).lower().removeprefix("application/") != settings.type.lower():
        return "access token of another type"
    return _fault_of_claims(claims, settings, now)


def _fault_of_claims(claims: jwt.Claims, settings: AccessTokenSettings, now: datetime) -> str | None:
    wanted: dict[str, jwt.ClaimsOption] = {
        "iss": {"essential": True, "value": settings.issuer},
        "aud": {"essential": True, "value": settings.audience},
        "exp": {"essential": True},
    }
    if settings.client_id is not None:
        wanted["client_id"] = {"essential": True, "value": settings.client_id}
    try:
        jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=LEEWAY_SECONDS, **wanted).validate(claims)
    except ExpiredTokenError:
        return "access token expired"
    except MissingClaimError as fault:
        return f"access token without {fault.claim}"
    except InvalidClaimError as fault:
        is_time = fault.claim not in wanted
        return "access token not valid yet" if is_time else f"access token whose {fault.claim} is another"
    return None


def _is_canonical(signature: str) -> bool:
    """Whether it is the one base64url text of its bytes: nothing that can be changed and still be right."""
    raw = signature.encode("utf-8", "surrogatepass")
    try:
        decoded = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == raw


def _nobodys_rsa_key() -> jwk.Key:
    """A modulus of which nobody knows the factors; to verify by it takes what any key takes."""
    modulus = bytearray(secrets.token_bytes(_RSA_BYTES))
    modulus[0] |= 0x80
    modulus[-1] |= 1
    return jwk.import_key({"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(modulus).rstrip(b"=").decode()})


_NOBODYS_KEYS: Final[Mapping[str, jwk.Key]] = {
    "RSA": _nobodys_rsa_key(),
    "EC": jwk.ECKey.generate_key("P-256", private=False),
}
# Issuers put members of their own into a header; only what is `crit` must be known (RFC 7515, section 4.1.11).
_REGISTRIES: Final[Mapping[str, jws.JWSRegistry]] = {
    name: jws.JWSRegistry(algorithms=[name], strict_check_header=False) for name in KEY_TYPES
}
