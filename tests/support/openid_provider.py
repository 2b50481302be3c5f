"""A small provider of OpenID Connect over real HTTP, by the letter of the standard; what it signs can be wrong."""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import test_utils, web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.access_tokens import RSA_KEY, access_token, public_jwk

CLIENT_ID, CLIENT_SECRET = "desk", "a secret: of the client"
REDIRECT_URI = "http://desk.example/desk/oidc/back"


@dataclass
class OpenIdProvider:
    """What it does; `claims` stand over those of a right token, None leaves one out."""

    issuer: str = ""
    subject: str = "nobody"
    claims: dict[str, Any] = field(default_factory=dict)
    key: rsa.RSAPrivateKey = RSA_KEY
    document: dict[str, Any] = field(default_factory=dict)
    is_down: bool = False
    leads_to: str | None = None
    """Answers everything by a redirect to there."""
    id_token: object = ""
    """In the place of a token of its own."""
    keys: list[dict[str, str]] = field(default_factory=lambda: [public_jwk(RSA_KEY, kid="k1", use="sig")])
    asked: list[str] = field(default_factory=list)
    """The paths that were asked for."""
    token_bodies: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def discovery(self, _request: web.Request) -> web.Response:
        """What it says of itself."""
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        addresses = {name: self.issuer + path for name, path in paths.items()}
        return web.json_response({"issuer": self.issuer, **addresses, **self.document})

    async def key_set(self, _request: web.Request) -> web.Response:
        """Its public keys."""
        return web.json_response({"keys": self.keys})

    async def authorize(self, request: web.Request) -> web.Response:
        """Somebody has logged in: back with a code."""
        asked = dict(request.query)
        wanted = ("response_type", "client_id", "redirect_uri", "code_challenge_method")
        assert [asked[name] for name in wanted] == ["code", CLIENT_ID, REDIRECT_URI, "S256"]
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return web.Response(status=303, headers={"Location": f"{REDIRECT_URI}?{back}"})

    async def token(self, request: web.Request) -> web.Response:
        """An ID token for a code, once, for who began that login."""
        form = await request.post()
        pair = base64.b64encode(f"{CLIENT_ID}:a+secret%3A+of+the+client".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {pair}":
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self.codes.pop(str(form["code"]), None)
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        right = {"iss": self.issuer, "sub": self.subject, "aud": CLIENT_ID, "nonce": asked["nonce"], "iat": now,
                 "exp": now + 300}  # fmt: skip
        claims = {name: value for name, value in {**right, **self.claims}.items() if value is not None}
        token = access_token(self.key, claims, "RS256", typ="JWT", kid="k1")
        self.token_bodies.append(token)
        given = token if self.id_token == "" else self.id_token
        return web.json_response({"access_token": "an-access-token", "token_type": "Bearer", "id_token": given})


@asynccontextmanager
async def openid_provider() -> AsyncIterator[OpenIdProvider]:
    """One on a port of its own."""
    provider = OpenIdProvider()

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        provider.asked.append(request.path)
        if provider.leads_to is not None:
            return web.Response(status=302, headers={"Location": provider.leads_to})
        return web.Response(status=503) if provider.is_down else await handler(request)

    app = web.Application(middlewares=[watch])
    app.router.add_get("/.well-known/openid-configuration", provider.discovery)
    app.router.add_get("/keys", provider.key_set)
    app.router.add_get("/authorize", provider.authorize)
    app.router.add_post("/token", provider.token)
    async with test_utils.TestServer(app) as served:
        provider.issuer = f"http://{served.host}:{served.port}"
        yield provider
