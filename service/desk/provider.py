"""A provider of OpenID Connect: what it says of itself, its keys, and whom it names for a code.

It is asked at the issuer's own host alone, for as long and as much as stands here; no redirect is followed.

Source: OpenID Connect Core 1.0, section 3.1; Discovery 1.0, sections 3 and 4; RFC 7636 (PKCE); RFC 8725 and RFC 9700
(what to be wary of).
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import orjson
from joserfc import jwk, jws, jwt
from joserfc.errors import InvalidClaimError, JoseError

from service.desk.provider_links import is_subject

ANSWER_SECONDS = 10.0
ANSWER_BYTES_MAX = 256 * 1024
CHUNK_BYTES = 16 * 1024
ASKED_AT_ONCE_MAX = 8
"""By one worker; whoever comes beyond is told that the provider does not answer."""
DOCUMENT_KEPT = timedelta(hours=1)
KEYS_KEPT_MIN = timedelta(minutes=1)
"""Keys are asked for again when a token names one that is not there, but no more often."""
LEEWAY_SECONDS = 60
"""So far may the provider's clock and ours be apart."""
TOKEN_LETTERS_MAX = 32 * 1024
RSA_LETTERS_MIN, RSA_LETTERS_MAX = 342, 683
"""The base64url of a modulus of 2048 and of 4096 bits."""
KEY_TYPES: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
_REGISTRIES: Final[Mapping[str, jws.JWSRegistry]] = {
    name: jws.JWSRegistry(algorithms=[name], strict_check_header=False) for name in KEY_TYPES
}


class ProviderAway(Exception):
    """The provider does not answer, or says what cannot be used; in words for the log, without a token."""


class CodeRefused(Exception):
    """The provider gives nothing for this code: it is too old, was used, or belongs to another login."""


class TokenUnfit(Exception):
    """The ID token is not for us, for this login or for now, or not the provider's; in words for the log."""


class Client(NamedTuple):
    """What the provider knows us as."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str


class Attempt(NamedTuple):
    """One login on its way: what only this browser and we know."""

    state: str
    nonce: str
    verifier: str
    began_at: int
    """Seconds since 1970."""


class Provider:
    """Asks one provider; remembers its document and its keys."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._asking = 0
        self._document: tuple[datetime, Mapping[str, Any]] | None = None
        self._keys: tuple[datetime, tuple[Mapping[str, Any], ...]] | None = None

    async def login_address(self, attempt: Attempt, acr: str | None) -> str:
        """Where the browser goes to log in; `acr` is the kind of login that is wanted. Raises ProviderAway."""
        address = self._endpoint(await self._described(), "authorization_endpoint")
        digest = hashlib.sha256(attempt.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "scope": "openid",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            # Our log-out ends no session of the provider's: who finds the browser afterwards is asked who they are.
            "prompt": "login",
            **({"acr_values": acr} if acr else {}),
        }
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(asked)}"

    async def claims_for(self, code: str, attempt: Attempt) -> Mapping[str, Any]:
        """What the provider's ID token says for this code. Raises ProviderAway, CodeRefused, TokenUnfit."""
        document = await self._described()
        client = self._client
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {}
        ways = document.get("token_endpoint_auth_methods_supported")
        if isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways:
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        else:
            # Both are form-encoded first (RFC 6749, section 2.3.1).
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, answer = await self._ask("POST", self._endpoint(document, "token_endpoint"), form, headers)
        if status != 200:
            if answer.get("error") == "invalid_grant":
                raise CodeRefused
            raise ProviderAway(f"the token endpoint answered {status}")
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > TOKEN_LETTERS_MAX:
            raise TokenUnfit("no ID token came")
        return await self._verified(token, attempt, document)

    async def _verified(self, token: str, attempt: Attempt, document: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            header = jws.extract_compact(token.encode("utf-8", "surrogatepass")).headers()
        except (JoseError, ValueError, RecursionError):
            raise TokenUnfit("the ID token is none") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
            raise TokenUnfit("the ID token is signed by an algorithm that we do not take")
        key = await self._key(document, algorithm, kid)
        try:
            claims = jwt.decode(token, key, registry=_REGISTRIES[algorithm]).claims
        except (JoseError, ValueError, RecursionError):
            raise TokenUnfit("the ID token's signature is wrong") from None
        if fault := self._fault(claims, attempt):
            raise TokenUnfit(fault)
        return claims

    def _fault(self, claims: Mapping[str, Any], attempt: Attempt) -> str | None:
        """What is wrong with a token that the provider has signed (OpenID Connect Core 1.0, section 3.1.3.7)."""
        client = self._client
        wanted: dict[str, jwt.ClaimsOption] = {
            "iss": {"essential": True, "value": client.issuer},
            "aud": {"essential": True, "value": client.client_id},
            "nonce": {"essential": True, "value": attempt.nonce},
            "exp": {"essential": True},
            "iat": {"essential": True},
        }
        registry = jwt.JWTClaimsRegistry(now=int(self._clock().timestamp()), leeway=LEEWAY_SECONDS, **wanted)
        try:
            registry.validate(dict(claims))
        except InvalidClaimError as fault:
            return f"the ID token's {fault.claim} does not fit"
        except JoseError as fault:
            return f"the ID token is refused: {fault.error}"
        except (ValueError, TypeError):
            return "the ID token's claims are of a wrong kind"
        audiences = claims["aud"]
        if isinstance(audiences, list) and len(audiences) > 1 and "azp" not in claims:
            return "the ID token is for several and names no azp"
        if claims.get("azp", client.client_id) != client.client_id:
            return "the ID token's azp is another"
        logged_in_at = claims.get("auth_time", attempt.began_at)
        if not isinstance(logged_in_at, int | float) or logged_in_at < attempt.began_at - LEEWAY_SECONDS:
            return "the ID token is of a login before this one: the provider did not ask who it is"
        return None if is_subject(claims.get("sub")) else "the ID token's sub is none"

    async def _key(self, document: Mapping[str, Any], algorithm: str, kid: object) -> jwk.Key:
        now = self._clock()
        if self._keys is not None:
            asked_at, keys = self._keys
            found = _fitting(keys, algorithm, kid)
            if found is not None and now - asked_at < DOCUMENT_KEPT:
                return found
            if found is None and now - asked_at < KEYS_KEPT_MIN:
                raise TokenUnfit("the ID token names no key of the provider")
        status, answer = await self._ask("GET", self._endpoint(document, "jwks_uri"))
        listed = answer.get("keys")
        if status != 200 or not isinstance(listed, list):
            raise ProviderAway(f"the key set is none (status {status})")
        keys = tuple(each for each in listed if isinstance(each, dict))
        self._keys = (now, keys)
        found = _fitting(keys, algorithm, kid)
        if found is None:
            raise TokenUnfit("the ID token names no key of the provider")
        return found

    async def _described(self) -> Mapping[str, Any]:
        now = self._clock()
        if self._document is not None and now - self._document[0] < DOCUMENT_KEPT:
            return self._document[1]
        address = self._client.issuer.rstrip("/") + "/.well-known/openid-configuration"
        status, answer = await self._ask("GET", address)
        if status != 200 or answer.get("issuer") != self._client.issuer:
            raise ProviderAway(f"the discovery document is none of this issuer (status {status})")
        self._document = (now, answer)
        return answer

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        given, own = document.get(name), urlsplit(self._client.issuer)
        try:
            parts = urlsplit(given) if isinstance(given, str) else None
        except ValueError:
            parts = None
        if parts is None or (parts.scheme, parts.netloc) != (own.scheme, own.netloc) or not str(given).isprintable():
            raise ProviderAway(f"its {name} is not at the issuer's host")
        return str(given)

    async def _ask(
        self,
        method: str,
        address: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and the JSON object of an answer; an empty one where it is none. Raises ProviderAway."""
        if self._asking >= ASKED_AT_ONCE_MAX:
            raise ProviderAway("it is being asked by too many at once")
        self._asking += 1
        # Packed answers are not taken: their size would say nothing.
        own = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as http,
                http.request(method, address, data=form, headers=own, allow_redirects=False) as answer,
            ):
                while chunk := await answer.content.read(CHUNK_BYTES):
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise ProviderAway("its answer is too large")
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderAway(f"it cannot be reached: {type(error).__name__}") from None
        finally:
            self._asking -= 1
        try:
            found = orjson.loads(body)
        except ValueError:
            found = None
        return status, found if isinstance(found, dict) else {}


def _fitting(keys: tuple[Mapping[str, Any], ...], algorithm: str, kid: object) -> jwk.Key | None:
    """The one key of a set by which such a token can be signed; None where there is none, or more than one."""
    found = [
        each
        for each in keys
        if each.get("kty") == KEY_TYPES[algorithm]
        and each.get("use", "sig") == "sig"
        and each.get("alg", algorithm) == algorithm
        and (kid is None or each.get("kid") == kid)
    ]
    if len(found) != 1 or not _is_strong(found[0]):
        return None
    try:
        return jwk.import_key({name: found[0][name] for name in _PUBLIC_MEMBERS if name in found[0]})
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def _is_strong(key: Mapping[str, Any]) -> bool:
    if key.get("kty") == "EC":
        return key.get("crv") == "P-256"
    return isinstance(key.get("n"), str) and RSA_LETTERS_MIN <= len(key["n"]) <= RSA_LETTERS_MAX
