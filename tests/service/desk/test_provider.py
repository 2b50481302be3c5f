"""The provider lets in whom somebody has linked, by a login that this browser began, and nobody else."""

import itertools
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pyotp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from service.desk import provider as desk_provider
from service.desk import provider_entrance, sessions
from service.desk.limits import Pace
from service.desk.provider import ANSWER_BYTES_MAX, Attempt, Client, CodeRefused, Provider, ProviderAway, TokenUnfit
from service.desk.provider_links import Link, link_person
from service.desk.roles import Role
from tests.support.access_tokens import RSA_KEY, access_token, public_jwk
from tests.support.databases import cloned_database
from tests.support.desk import PASSWORD, TESTER, Page, Visitor, person
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, OpenIdProvider, openid_provider
from tests.support.portal import Portal, running
from tests.support.postgres import TestServer

logins = (f"lien-ket{number}" for number in itertools.count())
OTHER_KEY = rsa.generate_private_key(65537, 2048)
SECRET = pyotp.random_base32()


@pytest.fixture
async def provider() -> AsyncIterator[OpenIdProvider]:
    """A provider for one test."""
    async with openid_provider() as started:
        yield started


@pytest.fixture(scope="module")
async def linked(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Portal, OpenIdProvider]]:
    """A service whose desk has a provider."""
    async with openid_provider() as started, cloned_database(server) as dsn, running(
        dsn, tmp_path_factory.mktemp("linked"), "", public_url="http://desk.example", oidc_issuer=started.issuer,
        oidc_client_id=CLIENT_ID, oidc_client_secret=CLIENT_SECRET, oidc_second_factor="amr:mfa",
    ) as portal:  # fmt: skip
        portal.service.desk.desk.of_provider = Pace(10_000, 1.0)
        portal.service.desk.desk.of_refusal = Pace(10_000, 1.0)
        yield portal, started


async def enrolled(portal: Portal, subject: str | None) -> str:
    """The login of somebody with a second factor, linked to `subject`."""
    login, desk = next(logins), portal.service.desk.desk
    user_id = await person(portal, login, Role.OPERATOR)
    async with desk.borrow() as connection:
        sealed = desk.keyring.desk.seal(SECRET.encode(), b"desk_user.totp_sealed:%d" % user_id)
        await connection.execute("UPDATE desk_user SET totp_sealed = $2 WHERE id = $1", user_id, sealed)
        if subject is not None:
            await link_person(connection, TESTER, login, Link(desk.settings.oidc_issuer or "", subject))
    return login


async def gone_to_provider(portal: Portal, visitor: Visitor) -> str:
    """Begin a login and log in at the provider; where the browser is sent back to, below /desk."""
    begun = await visitor.get("/oidc")
    assert begun.location, (begun.status, begun.text)
    async with portal.http.get(begun.location, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    assert back.startswith(REDIRECT_URI)
    return back.removeprefix("http://desk.example/desk")


async def refusal(visitor: Visitor, page: Page) -> tuple[str, int, str]:
    """Why a login was refused, with the status and text of the page that says so. Nobody has come in."""
    assert page.status == 303, page.text
    assert page.location is not None
    assert sessions.SESSION_COOKIE not in visitor.cookies
    shown = await visitor.get(page.location.removeprefix("/desk"))
    assert 'href="/desk/login"' in shown.text
    return parse_qs(urlsplit(page.location).query)["why"][0], shown.status, shown.text


async def test_whoever_is_linked_comes_in_by_the_provider_and_our_second_factor(
    linked: tuple[Portal, OpenIdProvider], capfd: pytest.CaptureFixture[str]
) -> None:
    portal, provider = linked
    provider.subject, provider.claims = "sub-1", {}
    login, visitor = await enrolled(portal, "sub-1"), Visitor(portal)
    assert 'href="/desk/oidc"' in (await visitor.get("/login")).text
    back = await gone_to_provider(portal, visitor)
    half = await visitor.get(back)
    assert half.location == "/desk/code", "without the provider's word our own second factor is asked for"
    assert (await visitor.get("/account")).location == "/desk/code"
    assert (await visitor.post("/code", code=pyotp.TOTP(SECRET).at(datetime.now(UTC)))).location == "/desk"
    assert (await visitor.get("/account")).status == 200
    # The same address again finds no login on its way, nor does its code give anything.
    stranger = Visitor(portal)
    assert (await refusal(stranger, await stranger.get(back)))[:2] == ("begun", 400)

    # Once the signed token says so it is not asked for; a session of before ends.
    provider.claims = {"amr": ["pwd", "mfa"]}
    assert (await visitor.post("/logout")).location == "/desk/login"
    assert (await visitor.get(await gone_to_provider(portal, visitor))).location == "/desk"
    assert (await visitor.get("/account")).status == 200
    assert (await visitor.get("/oidc")).location == "/desk", "whoever is in begins no other login"
    acts = await portal.fetch("SELECT act, address FROM audit_entry WHERE who = $1 ORDER BY id", login)
    assert [row["act"] for row in acts] == ["login.provider", "login", "logout", "login.provider", "login"]
    assert {row["address"] for row in acts} == {"127.0.0.1"}
    kept = await portal.fetch(
        "SELECT string_agg(u::text, '') || (SELECT string_agg(a::text, '') FROM audit_entry AS a) AS all_of_it "
        "FROM desk_user AS u"
    )
    written = "".join(capfd.readouterr()) + kept[0]["all_of_it"]
    for secret in (*provider.token_bodies, *parse_qs(urlsplit(back).query)["code"], CLIENT_SECRET):
        assert secret not in written


async def test_the_provider_s_word_lets_nobody_in_who_is_not_linked_or_has_not_begun(
    linked: tuple[Portal, OpenIdProvider],
) -> None:
    portal, provider = linked
    provider.subject, provider.claims = "sub-unknown", {"amr": ["mfa"]}
    visitor = Visitor(portal)
    why, status, text = await refusal(visitor, await visitor.get(await gone_to_provider(portal, visitor)))
    assert (why, status, "sub-unknown" in text) == ("unknown", 403, True), "to be told to whoever links"
    assert "sub-unknown" not in (await Visitor(portal).get("/oidc/refused?why=unknown")).text

    # A disabled person is nobody; a first login is by the one-time password.
    for change, expected in (
        ("disabled_at = now()", "unknown"),
        ("one_time_until = now() + interval '1 hour'", "first"),
        ("totp_sealed = NULL", "first"),
    ):
        provider.subject = f"sub-{change[:8]}"
        login = await enrolled(portal, provider.subject)
        await portal.fetch(f"UPDATE desk_user SET {change} WHERE login = $1", login)
        visitor = Visitor(portal)
        back = await gone_to_provider(portal, visitor)
        assert (await refusal(visitor, await visitor.get(back)))[:2] == (expected, 403)


async def test_a_refused_login_leaves_its_trace_and_nobody_fills_the_log_with_them(
    linked: tuple[Portal, OpenIdProvider],
) -> None:
    portal, provider = linked
    (newest,) = await portal.fetch("SELECT coalesce(max(id), 0) AS id FROM audit_entry")
    provider.claims = {"amr": ["mfa"]}
    codes, tokens = list[str](), len(provider.token_bodies)

    async def refused(subject: str) -> None:
        provider.subject, visitor = subject, Visitor(portal)
        back = await gone_to_provider(portal, visitor)
        codes.extend(parse_qs(urlsplit(back).query)["code"])
        await refusal(visitor, await visitor.get(back))

    for subject in ("sub-trace", "sub-trace", "sub-trace-other"):
        await refused(subject)
    login = await enrolled(portal, "sub-trace-first")
    await portal.fetch("UPDATE desk_user SET totp_sealed = NULL WHERE login = $1", login)
    await refused("sub-trace-first")
    provider.claims = {"aud": "another"}
    await refused("sub-trace")
    stranger = Visitor(portal)
    await refusal(stranger, await stranger.get("/oidc/back?code=1&state=1"))
    desk = portal.service.desk.desk
    usual, desk.of_refusal = desk.of_refusal, Pace(1, 3600.0)
    try:
        for _ in range(3):
            await refusal(stranger, await stranger.get("/oidc/back?code=1&state=1"))
    finally:
        desk.of_refusal = usual
    kept = await portal.fetch(
        "SELECT who, role, address, act, reason, a::text AS whole FROM audit_entry AS a "
        "WHERE id > $1 AND act = 'login.refused' ORDER BY id",
        newest["id"],
    )
    first, again, other = (row["who"] for row in kept[:3])
    assert first == again != other
    assert re.fullmatch("provider:[0-9a-f]{16}", first)
    assert [row["who"] for row in kept[3:]] == [login, *["provider:unknown"] * 3]
    assert [row["reason"] for row in kept] == [
        *["provider: unknown"] * 3, "provider: first", "provider: token (the ID token's aud does not fit)",
        *["provider: begun"] * 2,
    ]  # fmt: skip
    assert {row["address"] for row in kept} == {"127.0.0.1"}
    written = "".join(row["whole"] for row in kept)
    for secret in (*provider.token_bodies[tokens:], *codes, "sub-trace"):
        assert secret not in written


async def test_a_forged_state_another_browser_s_login_and_a_code_used_before_are_refused(
    linked: tuple[Portal, OpenIdProvider],
) -> None:
    portal, provider = linked
    provider.subject, provider.claims = "sub-state", {"amr": ["mfa"]}
    await enrolled(portal, "sub-state")
    asked = len(provider.asked)
    visitor, thief = Visitor(portal), Visitor(portal)
    back = await gone_to_provider(portal, visitor)
    theirs = await gone_to_provider(portal, thief)
    state, code = (parse_qs(urlsplit(back).query)[name][0] for name in ("state", "code"))
    begun = dict(visitor.cookies)
    for page, why in (
        (f"/oidc/back?code={code}&state={state[::-1]}", "begun"),
        (f"/oidc/back?code={code}", "begun"),
        (theirs, "begun"),
        (f"/oidc/back?error=access_denied&state={state}", "stopped"),
        (f"/oidc/back?code={code}&state={state}&iss=https://elsewhere.example", "stopped"),
    ):
        visitor.cookies = dict(begun)
        assert (await refusal(visitor, await visitor.get(page)))[0] == why, page
    assert "/token" not in provider.asked[asked:], "none of them was worth a question"
    # A code of another login does not fit this one's verifier, though the state does.
    other = parse_qs(urlsplit(theirs).query)["code"][0]
    visitor.cookies = dict(begun)
    assert (await refusal(visitor, await visitor.get(f"/oidc/back?code={other}&state={state}")))[0] == "code"
    visitor.cookies = dict(begun)
    assert (await visitor.get(back)).location == "/desk"
    again = Visitor(portal, dict(begun))
    assert (await refusal(again, await again.get(back)))[0] == "code", "replayed with all that the browser had"
    forged = Visitor(portal, {provider_entrance.ATTEMPT_COOKIE: begun[provider_entrance.ATTEMPT_COOKIE][:-8]})
    assert (await refusal(forged, await forged.get(back)))[0] == "begun"


async def test_a_wrong_token_is_a_clear_page_and_with_the_provider_away_passwords_go_on(
    linked: tuple[Portal, OpenIdProvider],
) -> None:
    portal, provider = linked
    provider.subject, provider.claims = "sub-away", {"nonce": "another"}
    login, visitor = await enrolled(portal, "sub-away"), Visitor(portal)
    assert (await refusal(visitor, await visitor.get(await gone_to_provider(portal, visitor))))[:2] == ("token", 403)
    back = await gone_to_provider(portal, visitor)
    provider.is_down = True
    try:
        assert (await refusal(visitor, await visitor.get(back)))[:2] == ("away", 503)
        assert (await visitor.post("/login", login=login, password=PASSWORD)).location == "/desk/code"
    finally:
        provider.is_down = False
    assert (await visitor.get("/oidc/refused?why=nothing")).status == 404
    desk = portal.service.desk.desk
    usual, desk.of_provider = desk.of_provider, Pace(1, 3600.0)
    try:
        visitor, asked = Visitor(portal), len(provider.asked)
        back = await gone_to_provider(portal, visitor)
        assert (await refusal(visitor, await visitor.get(back)))[:2] == ("often", 429)
        assert "/token" not in provider.asked[asked:]
    finally:
        desk.of_provider = usual


async def test_without_the_settings_there_is_no_such_way_in(desk_portal: Portal) -> None:
    assert "/desk/oidc" not in (await Visitor(desk_portal).get("/login")).text
    for path in ("/oidc", "/oidc/back?code=1&state=1", "/oidc/refused?why=away"):
        assert (await Visitor(desk_portal).get(path)).status == 404


def asking(provider: OpenIdProvider, **changes: Any) -> Provider:
    """Our side of it."""
    client = Client(provider.issuer, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI)
    return Provider(client._replace(**changes), lambda: datetime.now(UTC))


NOW = int(datetime.now(UTC).timestamp())
"""When this file was read: hours from now are far enough from it, and minutes are not."""
ATTEMPT = Attempt("state", "nonce", "v" * 43, NOW)


async def outcome(provider: OpenIdProvider, ours: Provider | None = None) -> str:
    """What comes of one login: the subject, or what is wrong."""
    ours = ours or asking(provider)
    try:
        address = await ours.login_address(ATTEMPT, None)
        async with aiohttp.ClientSession() as http, http.get(address, allow_redirects=False) as answer:
            code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        return str((await ours.claims_for(code, ATTEMPT))["sub"])
    except (CodeRefused, ProviderAway, TokenUnfit) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, "sub-9"),
        ({"aud": [CLIENT_ID]}, "sub-9"),
        ({"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, "sub-9"),
        ({"auth_time": NOW}, "sub-9"),
        ({"iss": "https://elsewhere.example"}, "iss does not fit"),
        ({"iss": None}, "refused: missing_claim"),
        ({"aud": "another"}, "aud does not fit"),
        ({"aud": None}, "refused: missing_claim"),
        ({"aud": [CLIENT_ID, "another"]}, "names no azp"),
        ({"azp": "another"}, "azp is another"),
        ({"nonce": "another"}, "nonce does not fit"),
        ({"nonce": None}, "refused: missing_claim"),
        ({"exp": NOW - 3600, "iat": NOW - 7200}, "refused: expired_token"),
        ({"exp": None}, "refused: missing_claim"),
        ({"exp": "soon"}, "exp does not fit"),
        ({"iat": NOW + 7200, "exp": NOW + 7300}, "iat does not fit"),
        ({"nbf": NOW + 7200}, "nbf does not fit"),
        ({"auth_time": NOW - 7200}, "of a login before this one"),
        ({"auth_time": "just now"}, "of a login before this one"),
        ({"sub": None}, "sub is none"),
        ({"sub": ""}, "sub is none"),
        ({"sub": "x" * 256}, "sub is none"),
    ],
)
async def test_each_claim_of_the_token_is_held_to(
    provider: OpenIdProvider, claims: dict[str, Any], expected: str
) -> None:
    provider.subject, provider.claims = "sub-9", claims
    found = await outcome(provider)
    assert found.endswith(expected) or expected in found
    assert found == expected or found.startswith("TokenUnfit: ")


async def test_only_a_key_of_the_provider_signs_and_a_new_one_is_looked_for(provider: OpenIdProvider) -> None:
    provider.subject, ours = "sub-9", asking(provider)
    assert await outcome(provider, ours) == await outcome(provider, ours) == "sub-9"
    assert [provider.asked.count(path) for path in ("/.well-known/openid-configuration", "/keys")] == [1, 1]
    provider.key = OTHER_KEY
    assert "signature is wrong" in await outcome(provider, ours)
    for keys in ([], [public_jwk(RSA_KEY, kid="k2")], [public_jwk(RSA_KEY, kid="k1", use="enc")],
                 [public_jwk(RSA_KEY, kid="k1", alg="PS256")], [public_jwk(RSA_KEY, kid="k1")] * 2,
                 [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}], ["junk"]):  # fmt: skip
        provider.key, provider.keys = RSA_KEY, keys  # type: ignore[assignment]  # junk among them, as a provider may send
        assert "names no key of the provider" in await outcome(provider), keys
    # Changed keys are asked for again, but not for every token that names another.
    provider.keys, provider.key = [public_jwk(OTHER_KEY, kid="k2")], RSA_KEY
    now = [datetime.now(UTC)]
    ours = Provider(Client(provider.issuer, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI), lambda: now[0])
    asked = provider.asked.count("/keys")
    for _ in range(2):
        assert "names no key of the provider" in await outcome(provider, ours)
    assert provider.asked.count("/keys") == asked + 1
    provider.keys = [public_jwk(RSA_KEY, kid="k1")]
    now[0] += desk_provider.KEYS_KEPT_MIN
    assert await outcome(provider, ours) == "sub-9"


async def test_what_is_no_token_with_a_signature_that_we_take_lets_nobody_in(provider: OpenIdProvider) -> None:
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": provider.issuer, "aud": CLIENT_ID, "nonce": "nonce", "iat": now, "exp": now + 300, "sub": "s"}
    head, body, _ = access_token(RSA_KEY, claims, "none", kid="k1").split(".")
    whole = access_token(RSA_KEY, claims, "RS256", kid="k1")
    for answer in (f"{head}.{body}.", "junk", "a.b.c", whole[:-6], "x" * 40_000, 7, None):
        provider.id_token = answer
        assert (await outcome(provider)).startswith("TokenUnfit: "), answer
    provider.id_token = whole
    assert await outcome(provider) == "s"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"issuer": "https://elsewhere.example"}, "none of this issuer"),
        ({"authorization_endpoint": "https://elsewhere.example/a"}, "authorization_endpoint is not at"),
        ({"token_endpoint": "http://127.0.0.1:1/token"}, "token_endpoint is not at"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri is not at"),
        ({"jwks_uri": 7}, "jwks_uri is not at"),
        ({"jwks_uri": "http://[half"}, "jwks_uri is not at"),
        ({"more": "x" * ANSWER_BYTES_MAX}, "too large"),
    ],
)
async def test_only_the_issuer_s_own_host_is_asked_and_for_no_more_than_so_much(
    provider: OpenIdProvider, document: dict[str, Any], expected: str
) -> None:
    provider.document = document
    found = await outcome(provider)
    assert found.startswith("ProviderAway: ")
    assert expected in found


async def test_a_redirect_of_the_provider_is_not_followed(provider: OpenIdProvider) -> None:
    provider.leads_to = "/keys"
    assert await outcome(provider) == "ProviderAway: the discovery document is none of this issuer (status 302)"
    assert "/keys" not in provider.asked
    assert (await outcome(provider, asking(provider, issuer="http://127.0.0.1:1"))).startswith(
        "ProviderAway: it cannot be reached"
    )
