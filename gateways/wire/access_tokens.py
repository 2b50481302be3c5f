"""Access tokens that an authorization server signs for us: JWT by RFC 9068, verified by the issuer's public keys.

An account lists the issuer's keys itself; nothing is fetched. A token costs one signature to verify, whatever keys
the account has or has not, so that the time taken tells nothing of them.

Source: RFC 9068, section 4; RFC 7519 (claims), RFC 7517 (keys), RFC 8725 (what to be wary of).
"""

import base64
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from joserfc import jwk, jws, jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from pydantic import BaseModel, ConfigDict, Field, model_validator

LEEWAY_SECONDS = 60
"""So far may the issuer's clock and ours be apart."""
KEYS_MAX = 4
"""Public keys of an account; while its issuer changes over, two."""
_RSA_BYTES_MIN = 256
_RSA_CHARACTERS_MIN, _RSA_CHARACTERS_MAX = 342, 683
"""The base64url of a modulus of 2048 and of 4096 bits."""

_NOT_LISTED = "access token signed by a key that the account does not list"

Algorithm = Literal["RS256", "PS256", "ES256"]
_KEY_TYPES: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
_USUAL: Final[Mapping[str, Algorithm]] = {"RSA": "RS256", "EC": "ES256"}

_Member = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[A-Za-z0-9_-]+$")]
_Name = Annotated[str, Field(min_length=1, max_length=300)]


class PublicKey(BaseModel):
    """One key of an issuer's JWK Set (RFC 7517, section 4), its public half."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kty: Literal["RSA", "EC"]
    kid: _Name | None = None
    alg: Algorithm | None = None
    use: Literal["sig"] | None = None
    n: _Member | None = None
    e: _Member | None = None
    crv: Literal["P-256"] | None = None
    x: _Member | None = None
    y: _Member | None = None

    @property
    def algorithm(self) -> Algorithm:
        """The one by which its tokens are signed."""
        return self.alg or _USUAL[self.kty]

    def key(self) -> jwk.Key:
        """As the library wants it. Raises ValueError."""
        if self.kty == "RSA" and not _RSA_CHARACTERS_MIN <= len(self.n or "") <= _RSA_CHARACTERS_MAX:
            raise ValueError("must have 2048 to 4096 bits; let the issuer sign by another key")
        try:
            return jwk.import_key(self.model_dump(include={"kty", "n", "e", "crv", "x", "y"}, exclude_none=True))
        except (JoseError, ValueError, KeyError, TypeError):
            raise ValueError("is no public key; copy its members as they stand in the issuer's JWK Set") from None

    @model_validator(mode="after")
    def _is_a_key(self) -> Self:
        if _KEY_TYPES[self.algorithm] != self.kty:
            raise ValueError("is of a kind that does not sign by its alg; correct either")
        self.key()
        return self


class AccessTokenSettings(BaseModel):
    """Whose tokens are right: `issuer`, `audience` and `client_id` are compared to the letter."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: _Name
    audience: _Name
    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=KEYS_MAX)]
    client_id: _Name | None = None
    type: Literal["at+jwt", "JWT"] = "at+jwt"

    @model_validator(mode="after")
    def _tells_its_keys_apart(self) -> Self:
        names = [each.kid for each in self.keys]
        if len(names) > 1 and (None in names or len(set(names)) < len(names)):
            raise ValueError("keys need a kid each, another one for every key: by it a token names its own")
        return self


class AccessTokenVerifier:
    """Judges the tokens of one account; without settings none is right."""

    def __init__(self, settings: AccessTokenSettings | None) -> None:
        self._settings = settings
        keys = settings.keys if settings is not None else ()
        self._keys: dict[tuple[str, str | None], jwk.Key] = {(each.algorithm, each.kid): each.key() for each in keys}

    def fault(self, token: str, now: datetime) -> str | None:
        """What is wrong with `token` at `now`, in words for the log; None where nothing is."""
        try:
            header = jws.extract_compact(token.encode("utf-8", "surrogatepass")).headers()
        except (JoseError, ValueError, RecursionError):
            return "bearer token wrong"
        algorithm, name = str(header.get("alg")), header.get("kid")
        if algorithm not in _KEY_TYPES or not _is_canonical(token.rpartition(".")[2]):
            return "access token signed by an algorithm or in a form that we do not take"
        own = name if isinstance(name, str) else None
        key = self._keys.get((algorithm, own)) or self._keys.get((algorithm, None))
        any_key = key or _NOBODYS_KEYS[_KEY_TYPES[algorithm]]
        try:
            claims = jwt.decode(token, any_key, registry=_REGISTRIES[algorithm]).claims
        except BadSignatureError:
            return "access token signature wrong" if key else _NOT_LISTED
        except (JoseError, ValueError, RecursionError):
            return "access token malformed"
        settings = self._settings
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
    modulus = bytearray(secrets.token_bytes(_RSA_BYTES_MIN))
    modulus[0] |= 0x80
    modulus[-1] |= 1
    return jwk.import_key({"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(modulus).rstrip(b"=").decode()})


_NOBODYS_KEYS: Final[Mapping[str, jwk.Key]] = {
    "RSA": _nobodys_rsa_key(),
    "EC": jwk.ECKey.generate_key("P-256", private=False),
}
# Issuers put members of their own into a header; only what is `crit` must be known (RFC 7515, section 4.1.11).
_REGISTRIES: Final[Mapping[str, jws.JWSRegistry]] = {
    name: jws.JWSRegistry(algorithms=[name], strict_check_header=False) for name in _KEY_TYPES
}
