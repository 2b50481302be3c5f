"""The way in by a provider of OpenID Connect, for those whom somebody has linked to it. Absent unless it is set."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aiohttp import web

from campaigns.audit.entries import Who, record
from service.desk import sessions
from service.desk.desk import Desk, see_other
from service.desk.door import Row, Visit
from service.desk.people import Person, hold
from service.desk.provider_links import Link, find_linked, is_subject
from service.desk.roles import Act
from service.runtime.addresses import address, site_of
from service.runtime.keyring import SealBroken

if TYPE_CHECKING:
    from service.desk.provider import Attempt, Provider

ATTEMPT_COOKIE = "portal1400-provider"
ATTEMPT_SECONDS = 600
"""As long as a login at the provider may take."""
CODE_LETTERS_MAX = 2048
BACK = "/oidc/back"
REFUSALS = {
    "begun": 400, "away": 503, "stopped": 403, "code": 403, "token": 403, "unknown": 403, "first": 403, "often": 429,
}  # fmt: skip
"""Why nobody came in this way, and the status of the page that says so."""
UNRECORDED = frozenset({"away", "often"})
"""No refusals of ours: the provider did not answer, or this was one try too many, and is not even looked at."""
DIGEST_BYTES = 8
_ATTEMPT, _SUBJECT = b"oidc:attempt", b"oidc:subject"

log = structlog.get_logger("desk")


class LoginRefused(Exception):
    """Nobody comes in; `why` is one of REFUSALS, `subject` the provider's name for whom nobody has linked.

    `person` is who is linked and may not come in so; `fault` says in words for the audit log what was wrong.
    """

    def __init__(
        self, why: str, subject: str | None = None, person: Person | None = None, fault: str | None = None
    ) -> None:
        super().__init__(why)
        self.why = why
        self.subject = subject
        self.person = person
        self.fault = fault


def rows(desk: Desk) -> list[Row]:
    """The addresses of the way in by the provider; none where there is no provider."""
    settings = desk.settings
    if settings.oidc_issuer is None or settings.oidc_client_id is None or settings.oidc_client_secret is None:
        return []
    # What verifies tokens takes a tenth of a second to import, and most desks need none of it.
    from service.desk.provider import Client, Provider

    client = Client(
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value(),
        f"{settings.public_url}/desk{BACK}",
    )  # fmt: skip
    entrance = ProviderEntrance(desk, settings.oidc_issuer, Provider(client, desk.clock))
    return [
        Row("GET", "/oidc", Act.ENTER, entrance.begin),
        Row("GET", BACK, Act.ENTER, entrance.come_back),
        Row("GET", "/oidc/refused", Act.ENTER, entrance.show_refusal),
    ]


class ProviderEntrance:
    """Handlers of the way in by the provider."""

    def __init__(self, desk: Desk, issuer: str, provider: "Provider") -> None:
        self._desk = desk
        self._issuer = issuer
        self._provider = provider
        kind, _, value = (desk.settings.oidc_second_factor or "").partition(":")
        self._acr = value if kind == "acr" else None
        self._amr = value if kind == "amr" else None

    async def begin(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/oidc`: on to the provider, with what only this browser can come back with."""
        del request
        from service.desk.provider import Attempt, ProviderAway

        if visit.session is not None and visit.session.is_complete:
            return see_other("/desk")
        began_at = int(self._desk.clock().timestamp())
        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), began_at)
        try:
            self._take(visit)
            response = see_other(await self._provider.login_address(attempt, self._acr))
        except ProviderAway as away:
            log.warning("desk_provider_away", reason=str(away))
            return self._refused(LoginRefused("away"))
        except LoginRefused as refused:
            # Nobody has tried to come in yet: there is nothing to record.
            return self._refused(refused)
        self._keep(response, _ATTEMPT, list(attempt))
        return response

    async def come_back(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/oidc/back`: with a code, which is good once. On from there at once: no address keeps it."""
        from service.desk.provider import CodeRefused, ProviderAway, TokenUnfit

        try:
            return await self._let_in(request, visit)
        except LoginRefused as raised:
            refused = raised
        except CodeRefused:
            refused = LoginRefused("code")
        except ProviderAway as away:
            log.warning("desk_provider_away", reason=str(away))
            refused = LoginRefused("away")
        except TokenUnfit as unfit:
            log.warning("desk_provider_token_refused", reason=str(unfit))
            refused = LoginRefused("token", fault=str(unfit))
        if refused.why not in UNRECORDED:
            await self._record(visit, refused)
        return self._refused(refused)

    async def show_refusal(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/oidc/refused`: why, and what to do."""
        why = request.query.get("why", "")
        if why not in REFUSALS:
            return await self._desk.page("desk_refused.html", visit, 404, why="nowhere")
        kept = self._kept(request, _SUBJECT) if why == "unknown" else None
        subject = kept if is_subject(kept) else None
        return await self._desk.page("desk_provider_refused.html", visit, REFUSALS[why], why=why, subject=subject)

    async def _let_in(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        desk, query = self._desk, request.query
        attempt = self._attempt(request)
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), query.get("state", "").encode()):
            raise LoginRefused("begun")
        code = query.get("code", "")
        # Which provider answers is in `iss` where it tells (RFC 9207).
        if not 0 < len(code) <= CODE_LETTERS_MAX or query.get("iss", self._issuer) != self._issuer:
            raise LoginRefused("stopped")
        self._take(visit)
        claims = await self._provider.claims_for(code, attempt)
        async with desk.borrow() as connection:
            person = await find_linked(connection, Link(self._issuer, claims["sub"]))
        if person is None:
            raise LoginRefused("unknown", claims["sub"])
        if person.one_time_until is not None or not person.is_enrolled:
            # Our second factor is begun by who has the one-time password, never by the provider's word alone.
            raise LoginRefused("first", person=person)
        is_complete = self._has_second_factor(claims)
        who = Who(person.login, person.role, visit.address)
        async with desk.borrow() as connection, connection.transaction():
            await hold(connection, person)
            if visit.session is not None:
                await sessions.end(connection, visit.session.token_sha256)
            await record(connection, who, "login.provider")
            if is_complete:
                await record(connection, who, "login")
            token = await sessions.begin(connection, desk.tokens, person.id, visit.address, is_complete=is_complete)
        response = see_other("/desk" if is_complete else "/desk/code")
        desk.cookies.delete(response, ATTEMPT_COOKIE)
        desk.cookies.set(response, sessions.SESSION_COOKIE, token)
        if is_complete:
            device = desk.tokens.device(person.login)
            desk.cookies.set(response, sessions.DEVICE_COOKIE, device, sessions.DEVICE_DAYS * 86_400)
        return response

    def _has_second_factor(self, claims: Mapping[str, Any]) -> bool:
        """Whether the provider says what the setting demands. Without the setting it never does: we ask ourselves."""
        ways = claims.get("amr")
        by_amr = self._amr is not None and isinstance(ways, list) and self._amr in ways
        return by_amr or (self._acr is not None and claims.get("acr") == self._acr)

    def _take(self, visit: Visit) -> None:
        if self._desk.of_provider.take(site_of(address(visit.address))):
            raise LoginRefused("often")

    async def _record(self, visit: Visit, refused: LoginRefused) -> None:
        """Into the audit log, of an address as often as it may log in: nobody fills the log.

        Whom nobody has linked is told by a digest under a key of ours: their name with the provider may be that of a
        person.
        """
        if self._desk.of_refusal.take(site_of(address(visit.address))):
            return
        who = Who(f"provider:{self._digest(refused.subject)}", None, visit.address)
        if refused.person is not None:
            who = Who(refused.person.login, refused.person.role, visit.address)
        reason = f"provider: {refused.why}" + (f" ({refused.fault})" if refused.fault else "")
        async with self._desk.borrow() as connection:
            await record(connection, who, "login.refused", reason=reason)

    def _digest(self, subject: str | None) -> str:
        if subject is None:
            return "unknown"
        named = self._issuer.encode() + b"\0" + subject.encode()
        return self._desk.keyring.desk_mac(b"provider-subject", named)[:DIGEST_BYTES].hex()

    def _refused(self, refused: LoginRefused) -> web.Response:
        """On to the page that says why, whose address has neither code nor state."""
        response = see_other(f"/desk/oidc/refused?why={refused.why}")
        if refused.subject is None:
            self._desk.cookies.delete(response, ATTEMPT_COOKIE)
        else:
            self._keep(response, _SUBJECT, refused.subject)
        return response

    def _keep(self, response: web.StreamResponse, purpose: bytes, content: object) -> None:
        sealed = self._desk.keyring.desk.seal(orjson.dumps(content), purpose)
        value = base64.urlsafe_b64encode(sealed).decode()
        self._desk.cookies.set(response, ATTEMPT_COOKIE, value, ATTEMPT_SECONDS)

    def _kept(self, request: web.Request, purpose: bytes) -> Any:
        """What we gave this browser for `purpose`; None for whatever else."""
        given = self._desk.cookies.get(request, ATTEMPT_COOKIE)
        try:
            sealed = base64.b64decode(given.encode(), altchars=b"-_", validate=True)
            return orjson.loads(self._desk.keyring.desk.unseal(sealed, purpose))
        except (SealBroken, ValueError):
            return None

    def _attempt(self, request: web.Request) -> "Attempt | None":
        from service.desk.provider import Attempt

        kept = self._kept(request, _ATTEMPT)
        attempt = Attempt(*kept) if kept is not None else None
        is_over = attempt is not None and self._desk.clock().timestamp() > attempt.began_at + ATTEMPT_SECONDS
        return None if is_over else attempt
