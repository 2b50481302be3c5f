"""Which tokens of an issuer are right, and what the log says of the others."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateways.wire.access_tokens import AccessTokenSettings, AccessTokenVerifier
from tests.support.access_tokens import EC_KEY, OTHER_EC_KEY, RSA_KEY, access_token, encoded, public_jwk

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ISSUER, AUDIENCE = "https://login.op.example", "https://portal.example/gw/camara_billing/payments"
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "exp": SECONDS + 300, "client_id": "sink", "sub": "sink"}
SETTINGS: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "keys": [public_jwk(EC_KEY, kid="k-1")]}


def verifier(**changes: Any) -> AccessTokenVerifier:
    """Of an account with these settings."""
    return AccessTokenVerifier(AccessTokenSettings.model_validate(SETTINGS | changes))


def token(**changes: Any) -> str:
    """A right token with other claims; None leaves one out."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return access_token(EC_KEY, claims, kid="k-1")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256"])
def test_a_token_is_right_by_each_algorithm(algorithm: str) -> None:
    key = EC_KEY if algorithm == "ES256" else RSA_KEY
    listed = public_jwk(key, alg=algorithm, use="sig")
    assert verifier(keys=[listed]).fault(access_token(key, CLAIMS, algorithm), NOW) is None
    # A key without a name is right under whatever name the token gives it, one with a name is not.
    assert verifier(keys=[listed]).fault(access_token(key, CLAIMS, algorithm, kid="any"), NOW) is None
    assert verifier(keys=[listed | {"kid": "k-1"}]).fault(access_token(key, CLAIMS, algorithm), NOW) is not None


RIGHT: dict[str, str] = {
    "as it is": token(),
    "one of several audiences": token(aud=["https://other.example", AUDIENCE]),
    "within the leeway": token(exp=SECONDS - 59),
    "from a clock ahead": token(nbf=SECONDS + 59, iat=SECONDS + 59),
    "with members of the issuer's own": access_token(EC_KEY, CLAIMS, kid="k-1", tenant="x", x5t="abc"),
    "its type written whole": access_token(EC_KEY, CLAIMS, kid="k-1", typ="application/AT+JWT"),
}


@pytest.mark.parametrize("label", RIGHT)
def test_a_token_is_right(label: str) -> None:
    assert verifier().fault(RIGHT[label], NOW) is None


NOT_LISTED = "access token signed by a key that the account does not list"
NOT_TAKEN = "access token signed by an algorithm or in a form that we do not take"
WRONG: dict[str, tuple[str, str]] = {
    "expired": (token(exp=SECONDS - 60), "access token expired"),
    "without an end": (token(exp=None), "access token without exp"),
    "an end that is no number": (token(exp="never"), "access token whose exp is another"),
    "an end that is no time": (token(exp=float("nan")), "access token whose exp is another"),
    "not yet": (token(nbf=SECONDS + 90), "access token not valid yet"),
    "another issuer": (token(iss=ISSUER + "/"), "access token whose iss is another"),
    "no issuer": (token(iss=None), "access token without iss"),
    "another audience": (token(aud="https://other.example"), "access token whose aud is another"),
    "no audience": (token(aud=None), "access token without aud"),
    "an audience that only begins so": (token(aud=AUDIENCE + "/x"), "access token whose aud is another"),
    "another type": (access_token(EC_KEY, CLAIMS, kid="k-1", typ="JWT"), "access token of another type"),
    "no type": (access_token(EC_KEY, CLAIMS, kid="k-1", typ=None), "access token of another type"),
    "another key": (access_token(OTHER_EC_KEY, CLAIMS, kid="k-1"), "access token signature wrong"),
    "a key by another name": (access_token(EC_KEY, CLAIMS, kid="k-2"), NOT_LISTED),
    "a key of another kind": (access_token(RSA_KEY, CLAIMS, "RS256", kid="k-1"), NOT_LISTED),
    "a name that is none": (access_token(EC_KEY, CLAIMS, kid=7), "access token malformed"),
    "claims that are a list": (access_token(EC_KEY, [CLAIMS], kid="k-1"), "access token malformed"),
    "something critical": (access_token(EC_KEY, CLAIMS, kid="k-1", crit=["x"], x=1), "access token malformed"),
    "no signature": (token().rpartition(".")[0] + ".", "access token signature wrong"),
    "signed by none": (access_token(EC_KEY, CLAIMS, "none", kid="k-1"), NOT_TAKEN),
    "signed by a shared secret": (access_token(EC_KEY, CLAIMS, "HS256", kid="k-1"), NOT_TAKEN),
    "an algorithm that is none": (access_token(EC_KEY, CLAIMS, kid="k-1", alg=["ES256"]), NOT_TAKEN),
    "another writing of the signature": (token() + "=", NOT_TAKEN),
    "one part": ("opaque-token", "bearer token wrong"),
    "five parts": ("a.b.c.d.e", "bearer token wrong"),
    "nothing": ("", "bearer token wrong"),
    "half a character": ("\ud800.\udcff.a", "bearer token wrong"),
    "a head a megabyte deep": (f"{encoded(b'[' * 1000)}.e30.aa", "bearer token wrong"),
}


@pytest.mark.parametrize("label", WRONG)
def test_a_token_is_wrong_and_the_log_says_why(label: str) -> None:
    written, reason = WRONG[label]
    assert verifier().fault(written, NOW) == reason
    # An account without an issuer takes none, and neither breaks.
    assert AccessTokenVerifier(None).fault(written, NOW) is not None


def test_an_account_without_an_issuer_takes_no_token() -> None:
    assert AccessTokenVerifier(None).fault(token(), NOW) == NOT_LISTED


def test_the_client_is_asked_for_where_the_account_names_one() -> None:
    ours = verifier(client_id="sink")
    assert ours.fault(token(), NOW) is None
    assert ours.fault(token(client_id="other"), NOW) == "access token whose client_id is another"
    assert ours.fault(token(client_id=None), NOW) == "access token without client_id"


def test_two_keys_are_right_while_the_issuer_changes_over() -> None:
    ours = verifier(keys=[public_jwk(EC_KEY, kid="k-1"), public_jwk(OTHER_EC_KEY, kid="k-2")])
    assert ours.fault(token(), NOW) is None
    assert ours.fault(access_token(OTHER_EC_KEY, CLAIMS, kid="k-2"), NOW) is None


def test_the_example_of_the_standard_is_verified() -> None:
    """RFC 7515, appendix A.3: a signature that is right, on a token that is no access token."""
    key = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    signed = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        "Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    assert verifier(keys=[key]).fault(signed, NOW) == "access token of another type"
    assert verifier(keys=[key]).fault(signed.replace(".eyJpc3M", ".eyJpc3N"), NOW) == "access token signature wrong"


EC_JWK, RSA_JWK = public_jwk(EC_KEY), public_jwk(RSA_KEY)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({"keys": []}, "keys"),
    "five keys": ({"keys": [public_jwk(EC_KEY, kid=str(each)) for each in range(5)]}, "keys"),
    "two without a name": ({"keys": [EC_JWK, RSA_JWK]}, "need a kid each"),
    "two of one name": (
        {"keys": [public_jwk(EC_KEY, kid="a"), public_jwk(OTHER_EC_KEY, kid="a")]},
        "need a kid each",
    ),
    "a private key": ({"keys": [EC_JWK | {"d": "AAAA"}]}, "Extra inputs"),
    "a shared secret": ({"keys": [{"kty": "oct", "k": "AAAA"}]}, "kty"),
    "no point": ({"keys": [EC_JWK | {"y": EC_JWK["x"]}]}, "is no public key"),
    "half a point": ({"keys": [{name: EC_JWK[name] for name in ("kty", "crv", "x")}]}, "is no public key"),
    "half a modulus": ({"keys": [RSA_JWK | {"n": RSA_JWK["n"][:171]}]}, "2048 to 4096 bits"),
    "an algorithm of another kind": ({"keys": [EC_JWK | {"alg": "RS256"}]}, "does not sign by its alg"),
    "no audience": ({"audience": ""}, "audience"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_keys_that_cannot_verify_are_refused(label: str) -> None:
    changes, hint = REFUSED[label]
    with pytest.raises(ValueError, match=hint):
        verifier(**changes)
