"""Access tokens that an authorization server signs for us: JWT by RFC 9068, verified by the issuer's public keys.

An account lists the issuer's keys itself; nothing is fetched. A token costs one signature to verify, whatever keys
the account has or has not, so that the time taken tells nothing of them.

What verifies them (`signed_tokens.py`) is imported when a first one is to be verified, for that takes a tenth of a
second, and most processes of ours see none.

Source: RFC 9068, section 4; RFC 7519 (claims), RFC 7517 (keys), RFC 8725 (what to be wary of).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from joserfc.jwk import Key

KEYS_MAX = 4
"""Public keys of an account; while its issuer changes over, two."""
DOTS = 2
"""In a signed token, which has three parts (RFC 7515, section 7.1)."""
_RSA_CHARACTERS_MIN, _RSA_CHARACTERS_MAX = 342, 683
"""The base64url of a modulus of 2048 and of 4096 bits."""

Algorithm = Literal["RS256", "PS256", "ES256"]
KEY_TYPES: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
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

    def key(self) -> Key:
        """As the library wants it. Raises ValueError."""
        from gateways.wire.signed_tokens import imported_key

        if self.kty == "RSA" and not _RSA_CHARACTERS_MIN <= len(self.n or "") <= _RSA_CHARACTERS_MAX:
            raise ValueError("must have 2048 to 4096 bits; let the issuer sign by another key")
        key = imported_key(self.model_dump(include={"kty", "n", "e", "crv", "x", "y"}, exclude_none=True))
        if key is None:
            raise ValueError("is no public key; copy its members as they stand in the issuer's JWK Set")
        return key

    @model_validator(mode="after")
    def _is_a_key(self) -> Self:
        if KEY_TYPES[self.algorithm] != self.kty:
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
        self._keys: dict[tuple[str, str | None], Key] = {(each.algorithm, each.kid): each.key() for each in keys}

    def fault(self, token: str, now: datetime) -> str | None:
        """What is wrong with `token` at `now`, in words for the log; None where nothing is."""
        if token.count(".") != DOTS:
            return "bearer token wrong"
        from gateways.wire.signed_tokens import fault_of

        return fault_of(token, self._settings, self._keys, now)
