"""The desk lets in whom its table lets in, and nobody by a forged form, a stolen session or a guessed address."""

import asyncio
import itertools
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import asyncpg
import pyotp
import pytest
from aiohttp import web

from campaigns.audit.entries import ACTS
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.desk import downloads, passwords, second_factor, sessions
from service.desk.assembly import API_PREFIX
from service.desk.door import RowMissing, require_rows
from service.desk.limits import Pace
from service.desk.passwords import PasswordUnfit, require_fit
from service.desk.people import LOGIN_LETTERS_MAX, reset_person, select_people
from service.desk.records import acts_in
from service.desk.roles import RIGHTS, SCOPES, Act, Role
from service.desk.sessions import Cookies, Tokens
from service.desk.tokens import PREFIX
from service.runtime.keyring import Keyring
from service.web.words import Language, load_words
from tests.service.desk.test_api import sent
from tests.support.desk import PASSWORD, TESTER, Visitor, logged_in, person, phc_of, token_of
from tests.support.portal import SECRET_KEY, Portal, eventually, message

logins = (f"nguoi{number}" for number in itertools.count())
TOLD = {
    "figures": {Act.SEE_FIGURES},
    "worklists, numbers masked, and notes in them": {Act.SEE_LISTS},
    "a number, a text, a callback as it came, for a reason": {Act.READ_PERSONS},
    "proposals and moved gifts: see": {Act.SEE_PROPOSALS},
    "proposals and moved gifts: make, propose, withdraw": {Act.PROPOSE},
    "put a change into force alone, in an emergency": {Act.ACT_AT_ONCE},
    "proposals of somebody else: approve, refuse, confirm": {Act.APPROVE},
    "exports of totals": {Act.EXPORT_TOTALS},
    "exports of messages and money lines": {Act.EXPORT_FACTS},
    "quarantine: try and replay": {Act.REPLAY},
    "own account": {Act.OWN_ACCOUNT, Act.ENTER, Act.PROVE},
    "audit log": {Act.SEE_AUDIT},
    "audit log as CSV": {Act.EXPORT_AUDIT},
    "people": {Act.SEE_PEOPLE},
    "disable people": {Act.MANAGE_PEOPLE},
}
"""The rows of the table in docs/desk.md, and which acts each tells of."""


def test_the_page_tells_who_may_do_each_act() -> None:
    page = (Path(__file__).parents[3] / "docs" / "desk.md").read_text(encoding="utf-8")
    table = page.partition("## Who may do what\n\n")[2].partition("\n\n")[0].splitlines()
    head, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table)
    told = {what: {Role(role) for role, may in zip(head[1:], cells, strict=True) if may} for what, *cells in lines}
    assert told.keys() == TOLD.keys()
    assert set.union(*TOLD.values()) == set(Act), "each act has its place in a row"
    assert {what: told[what] for what, acts in TOLD.items() for act in acts if told[what] != RIGHTS[act]} == {}


def bearer(token: str) -> dict[str, str]:
    """The header that a program sends."""
    return {"Authorization": f"Bearer {token}"}


async def test_the_api_opens_for_a_token_of_the_scope_whose_owners_role_may(desk_portal: Portal) -> None:
    portal = desk_portal
    rows = portal.service.desk.api_rows
    acts = {row.act for row in rows}
    tokens, useless = dict[tuple[Role, Act], str](), dict[Role, str]()
    for role in Role:
        user_id = await person(portal, next(logins), role, *(["mttq"] if role is Role.MANAGER else []))
        useless[role], _ = await token_of(portal, user_id, "nothing")
        tokens |= {(role, act): (await token_of(portal, user_id, act))[0] for act in acts}
    over, over_id = await token_of(portal, user_id, *acts)
    await portal.fetch("UPDATE desk_token SET expires_at = now() WHERE id = $1", over_id)
    forged = PREFIX + "A" * (len(over) - len(PREFIX))
    for row in rows:
        path = re.sub(r"{\w+}", "1", row.path.replace("{name}", "after-close"))
        address = portal.base + API_PREFIX + path
        for role in Role:
            async with portal.http.request(row.method, address, headers=bearer(tokens[role, row.act])) as answer:
                assert (answer.status not in (401, 403)) is (role in RIGHTS[row.act]), (row, role, answer.status)
                # A file that is still being taken along lets the next one wait.
                assert answer.status < 500 or (answer.status == 503 and "/exports/" in row.path)
                await answer.read()
                assert answer.headers["Cache-Control"] == "no-store"
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]
            async with portal.http.request(row.method, address, headers=bearer(useless[role])) as answer:
                assert answer.status == 403
        for headers in ({}, bearer(over), bearer(forged), bearer("junk"), {"Authorization": "Basic YQ=="}):
            async with portal.http.request(row.method, address, headers=headers) as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), (row, headers)


async def test_a_token_is_made_shown_once_and_revoked(desk_portal: Portal) -> None:
    visitor = await logged_in(desk_portal, await person(desk_portal, next(logins), Role.FINANCE))
    assert (await visitor.post("/tokens", name="kho", days="30")).status == 422
    assert (await visitor.post("/tokens", name="", days="30", **{"scope-see_lists": "1"})).status == 422
    made = await visitor.post(
        "/tokens", name="kho 0912/345/678", days="30", **{"scope-see_lists": "1", "scope-manage_people": "1"}
    )
    token = re.search(r"p1400_[A-Za-z0-9_=-]+", made.text)
    assert token is not None
    address = f"{desk_portal.base}{API_PREFIX}/lists/after-close"
    async with desk_portal.http.get(address, headers=bearer(token[0])) as answer:
        assert answer.status == 200
    shown = await visitor.get("/tokens")
    assert token[0] not in shown.text
    assert "<code>see_lists</code>" in shown.text, "what a refusal by API calls it"
    revoke = re.search(r'action="/desk(/tokens/\d+/revoke)"', shown.text)
    assert revoke is not None
    other = await logged_in(desk_portal, await person(desk_portal, next(logins), Role.FINANCE))
    for whose, status in ((other, 200), (visitor, 401)):
        await whose.post(revoke[1])
        async with desk_portal.http.get(address, headers=bearer(token[0])) as answer:
            assert answer.status == status
    kept = await desk_portal.fetch(
        "SELECT act, after::jsonb->>'name' AS name FROM audit_entry WHERE act LIKE 'token.%' ORDER BY id"
    )
    assert [tuple(row) for row in kept] == [("token.add", "kho [redacted]"), ("token.revoke", None)]


async def test_every_address_opens_for_the_roles_of_its_row_and_for_nobody_else(desk_portal: Portal) -> None:
    portal = desk_portal
    ids = {
        role: await person(portal, next(logins), role, *(["mttq"] if role is Role.MANAGER else [])) for role in Role
    }
    refused = {}
    for row in portal.service.desk.rows:
        path = re.sub(r"{\w+}", "x", row.path)
        stranger = await Visitor(portal).send(row.method, path, {} if row.method == "POST" else None)
        if row.act is not Act.ENTER:
            assert (stranger.status, stranger.location) == (303, "/desk/login"), row
        for role, user_id in ids.items():
            visitor = await logged_in(portal, user_id)
            form = {"csrf": visitor.csrf} if row.method == "POST" else None
            page = await visitor.send(row.method, path, form)
            refused[row.method, row.path, role] = page.status == 403
            assert page.status < 500, (row, role)
            assert page.location != "/desk/login" or path in ("/logout", "/account/everywhere"), (row, role)
    assert refused == {
        (row.method, row.path, role): role not in RIGHTS[row.act] for row in portal.service.desk.rows for role in Role
    }
    assert {row.act for row in portal.service.desk.rows} == set(Act)


async def test_the_other_language_of_an_answered_form_is_its_page_and_a_filter_stays(desk_portal: Portal) -> None:
    admin = await logged_in(desk_portal, await person(desk_portal, next(logins), Role.ADMIN))
    for path, page in (
        ("/account/password", "/desk/account"),
        ("/tokens/7/revoke", "/desk/tokens"),
        ("/people/an/disable", "/desk/people"),
        ("/logout", "/desk"),
    ):
        assert (await admin.get(f"{path}?lang=en")).location == f"{page}?lang=en"
    operator = await logged_in(desk_portal, await person(desk_portal, next(logins), Role.OPERATOR))
    assert (await admin.get("/proposals/7/approve")).status == 403, "as the form itself"
    assert (await operator.get("/proposals/7/try")).location == "/desk/proposals/7"
    filtered = await admin.get("/audit?who=an+b&lang=vi")
    assert 'href="?who=an+b&amp;lang=en"' in filtered.text


def test_an_address_without_a_row_stops_the_start() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/back-door", handler)
    with pytest.raises(RowMissing, match="/back-door has no row"):
        require_rows(app)


async def test_a_first_login_ends_with_a_password_and_a_second_factor_of_ones_own(desk_portal: Portal) -> None:
    portal, login = desk_portal, next(logins)
    user_id = await person(portal, login, Role.ADMIN)
    await portal.fetch(
        "UPDATE desk_user SET one_time_until = now() + interval '1 hour', password = $2 WHERE id = $1",
        user_id, phc_of("one-time-of-a-test"),
    )  # fmt: skip
    visitor = Visitor(portal)
    wrong = await visitor.post("/login", login=login, password="one-time-of-a-guess")
    assert (wrong.status, "không đúng" in wrong.text, visitor.cookies) == (422, True, {})
    begun = await visitor.post("/login", login=f" {login.upper()} ", password="one-time-of-a-test")
    assert begun.location == "/desk/password"
    # Half way in nothing else opens.
    assert (await visitor.get("")).location == (await visitor.get("/enrol")).location == "/desk/password"
    short = await visitor.post("/password", new="ngắn quá", again="ngắn quá")
    assert (short.status, "ít nhất 12" in short.text) == (422, True)
    weak = await visitor.post("/password", new="matkhau12345", again="matkhau12345")
    assert (weak.status, "quá dễ đoán" in weak.text) == (422, True)
    half = dict(visitor.cookies)
    assert (await visitor.post("/password", new=PASSWORD, again=PASSWORD)).location == "/desk/enrol"
    assert (await Visitor(portal, half).get("/enrol")).location == "/desk/login", "the session before has ended"

    form = await visitor.get("/enrol")
    secret = re.search(r'class="letters">([A-Z2-7 ]+)<', form.text)
    assert secret is not None
    totp = pyotp.TOTP(secret[1].replace(" ", ""))
    sealed = form.field("sealed")
    assert secret[1] not in sealed
    assert (await visitor.post("/enrol", sealed=sealed, code="000000")).status == 422
    half = dict(visitor.cookies)
    enrolling = totp.now()
    shown = await visitor.post("/enrol", sealed=sealed, code=enrolling)
    codes = re.findall(r"<code>([a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4})</code>", shown.text)
    assert (shown.status, len(codes)) == (200, 10)
    assert (await Visitor(portal, half).get("/code")).location == "/desk/login", "a half session is not made whole"
    assert (await visitor.get("")).status == 200
    assert (await visitor.post("/logout")).location == "/desk/login"

    # The code that enrolled does not open; the next one does, once, and so does a recovery code.
    later = totp.at(datetime.now(UTC), counter_offset=1)
    for code, lets_in in ((enrolling, False), (later, True), (codes[3], True), (codes[3], False)):
        again = Visitor(portal, {name: value for name, value in visitor.cookies.items() if "device" in name})
        assert (await again.post("/login", login=login, password=PASSWORD)).location == "/desk/code"
        half_page = await again.get("")
        assert half_page.location == "/desk/code"
        proved = await again.post("/code", code=code)
        assert (proved.location == "/desk") is lets_in, (proved.status, code == codes[3])
    acts = await portal.fetch("SELECT act, address FROM audit_entry WHERE who = $1 ORDER BY id", login)
    assert [row["act"] for row in acts] == [
        "login.refused", "user.password", "user.second_factor", "logout", "login.refused", "login", "login",
        "login.refused",
    ]  # fmt: skip
    assert {row["address"] for row in acts} == {"127.0.0.1"}


async def test_of_what_is_tried_no_more_is_kept_than_a_login_has(desk_portal: Portal) -> None:
    tried = await Visitor(desk_portal).post("/login", login="A" * 60_000, password="x")
    assert (tried.status, 'value="' + "a" * (LOGIN_LETTERS_MAX + 1) + '"' in tried.text) == (422, True)


async def test_a_form_from_elsewhere_changes_nothing(desk_portal: Portal) -> None:
    portal = desk_portal
    visitor = await logged_in(portal, await person(portal, next(logins), Role.PRESS))
    right = {"csrf": visitor.csrf}
    here, elsewhere = {"Origin": portal.base}, {"Origin": "https://elsewhere.example"}
    for form, headers in (
        (right, elsewhere),
        (right, {"Sec-Fetch-Site": "cross-site", **here}),
        (right, {"Sec-Fetch-Site": "same-site", **here}),
        (right, {"Origin": "null"}),
        (right, {"Origin": "http://["}),
        (right, {}),
        ({}, here),
        ({"csrf": "0" * 64}, here),
    ):
        assert (await visitor.send("POST", "/account/everywhere", form, headers)).status == 403, (form, headers)
    assert (await visitor.get("")).status == 200
    assert (
        await visitor.send("POST", "/account/everywhere", {"csrf": "é" * 64, "x": "y" * 70_000}, here)
    ).status == 400
    assert (await visitor.send("POST", "/account/everywhere", right, here)).location == "/desk/login"
    assert (await visitor.get("")).location == "/desk/login"


async def test_a_nul_is_refused_before_anybody_is_looked_for(desk_portal: Portal) -> None:
    portal = desk_portal
    stranger = Visitor(portal)
    auditor = await logged_in(portal, await person(portal, next(logins), Role.AUDITOR))
    admin = await logged_in(portal, await person(portal, next(logins), Role.ADMIN))
    for page in (
        await stranger.post("/login", login="an\x00", password=PASSWORD),
        await auditor.get("/audit?who=%00"),
        await auditor.get("/audit.csv?subject=%00"),
        await admin.post("/people/an%00/disable", reason="x"),
        await admin.post("/people/an/disable", reason="x\x00"),
    ):
        assert page.status == 400, page.text


async def test_a_filter_of_the_audit_log_that_is_none_shows_nothing_else_instead(desk_portal: Portal) -> None:
    auditor = await logged_in(desk_portal, await person(desk_portal, next(logins), Role.AUDITOR))
    for query in ("since=2026-13-40", "until=hom-nay", "since=1600-01-01", "before=newest",
                  "since=2026-10-18&until=2026-10-17"):  # fmt: skip
        for page in ("/audit", "/audit.csv"):
            assert (await auditor.get(f"{page}?{query}")).status == 400, query
    assert (await auditor.get("/audit?since=2026-10-17&until=2026-10-17&before=9")).status == 200
    wrong = await auditor.get("/audit?who=an&since=2026-10-18&until=2026-10-17")
    assert ('value="an"' in wrong.text, "Không dùng được bộ lọc này" in wrong.text) == (True, True)


async def test_every_act_of_the_audit_log_has_a_name_in_both_languages(desk_portal: Portal) -> None:
    named = {language: acts_in(load_words()[language]) for language in Language}
    for told in named.values():
        assert list(told) == list(ACTS)
        assert len(set(told.values())) == len(ACTS), "no two are called the same"
    auditor = await logged_in(desk_portal, await person(desk_portal, "viec.nhat.ky", Role.AUDITOR))
    page = (await auditor.get("/audit?act=user.add&lang=vi")).text
    assert f'<option value="user.add" selected>{named[Language.VI]["user.add"]}</option>' in page
    assert f"<p><b>{named[Language.VI]['user.add']}</b> · viec.nhat.ky</p>" in page
    written = {row["act"] for row in await desk_portal.fetch("SELECT DISTINCT act FROM audit_entry")}
    assert written <= set(ACTS)


async def test_who_takes_the_audit_log_along_slowly_holds_one_connection_of_the_database(
    desk_portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = desk_portal
    auditor = await logged_in(portal, await person(portal, next(logins), Role.AUDITOR))
    await portal.fetch(
        "INSERT INTO audit_entry (who, act, reason) SELECT 'x', 'y', repeat('z', 500000) FROM generate_series(1, 40)"
    )
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in auditor.cookies.items())}
    async with portal.http.get(f"{portal.base}/desk/audit.csv", headers=cookies) as slow:
        assert slow.status == 200
        later = await auditor.get("/audit.csv")
        assert (later.status, later.headers["Retry-After"], "quá nhiều người" in later.text) == (503, "60", True)

    async def is_free() -> bool:
        return (await auditor.get("/audit.csv?who=nobody")).status == 200

    await eventually(is_free)
    monkeypatch.setattr(downloads, "WRITE_SECONDS", 0.5)
    async with portal.http.get(f"{portal.base}/desk/audit.csv", headers=cookies) as stopped:
        assert stopped.status == 200
        # Whoever takes nothing more is cut off: the turn is free while they still hold the line.
        await eventually(is_free)
        with pytest.raises(aiohttp.ClientError):
            await stopped.read()


async def test_whoever_guesses_locks_nobody_out(desk_portal: Portal) -> None:
    portal, login = desk_portal, next(logins)
    user_id = await person(portal, login, Role.FINANCE)
    desk = portal.service.desk.desk
    known = Visitor(portal, {sessions.DEVICE_COOKIE: desk.tokens.device(login)})
    guesses = [await Visitor(portal).post("/login", login=login, password=f"guess {n}") for n in range(7)]
    assert [page.status for page in guesses] == [422] * 5 + [429] * 2
    assert int(guesses[-1].headers["Retry-After"]) > 0
    # Right or wrong: it is not even looked at, from that address.
    assert (await Visitor(portal).post("/login", login=login, password=PASSWORD)).status == 429
    # In a browser that let this person in before it is; what another person's browser keeps is of no use.
    other = Visitor(portal, {sessions.DEVICE_COOKIE: desk.tokens.device("somebody")})
    assert (await other.post("/login", login=login, password=PASSWORD)).status == 429
    assert (await known.post("/login", login=login, password=PASSWORD)).location == "/desk/enrol"
    # A session that only showed the password ends with the fifth wrong code, and opens nothing meanwhile.
    await portal.fetch("UPDATE desk_user SET totp_sealed = $2 WHERE id = $1", user_id, desk.keyring.desk.seal(
        pyotp.random_base32().encode(), b"desk_user.totp_sealed:%d" % user_id))  # fmt: skip
    proofs = [(await known.post("/code", code="12345a")).location for _ in range(5)]
    assert proofs == [None] * 4 + ["/desk/login"]
    assert sessions.SESSION_COOKIE not in known.cookies


async def test_an_open_browser_is_no_place_to_guess(desk_portal: Portal) -> None:
    portal, login = desk_portal, next(logins)
    visitor = await logged_in(portal, await person(portal, login, Role.OPERATOR))
    wrong = await visitor.post("/account/password", old="guess", new="một câu khác hẳn", again="một câu khác hẳn")
    assert (wrong.status, "hiện tại không đúng" in wrong.text) == (422, True)
    proofs = [(await visitor.post("/account/recovery", code="12345a")).location for _ in range(5)]
    assert proofs == [None] * 4 + ["/desk/login"]
    assert sessions.SESSION_COOKIE not in visitor.cookies
    acts = await portal.fetch("SELECT act, reason FROM audit_entry WHERE who = $1 ORDER BY id", login)
    assert [tuple(row) for row in acts] == [
        ("account.refused", "password"), *[("account.refused", "second factor")] * 5,
    ]  # fmt: skip


async def test_a_session_ends_by_time_by_disabling_and_for_an_invented_token(desk_portal: Portal) -> None:
    portal = desk_portal
    user_id = await person(portal, next(logins), Role.OPERATOR)

    async def after(change: str) -> str | None:
        visitor = await logged_in(portal, user_id)
        assert (await visitor.get("")).status == 200
        await portal.fetch(change, user_id)
        return (await visitor.get("")).location

    for column, minutes in (("seen_at", sessions.IDLE_MINUTES), ("created_at", sessions.HOURS_MAX * 60)):
        past = f"UPDATE desk_session SET {column} = now() - interval '{minutes} minutes' WHERE user_id = $1"
        assert await after(past) == "/desk/login"
    assert await after("UPDATE desk_user SET disabled_at = now() WHERE id = $1") == "/desk/login"
    assert (await Visitor(portal, {sessions.SESSION_COOKIE: "A" * 64}).get("")).location == "/desk/login"


async def test_the_desk_is_never_cached_shared_or_framed(desk_portal: Portal) -> None:
    for path, status in (("/login", 200), ("/nowhere", 404), ("", 303)):
        page = await Visitor(desk_portal).get(path)
        assert (page.status, page.headers["Cache-Control"]) == (status, "no-store")
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert not [name for name in page.headers if name.lower().startswith("access-control")]
    english = await Visitor(desk_portal).get("/login?lang=en")
    assert "Log in to the campaign desk" in english.text


@pytest.mark.parametrize(("is_secure", "name"), [(True, "__Host-portal1400-desk"), (False, "portal1400-desk")])
def test_the_cookie_is_kept_from_scripts_and_behind_tls_to_this_host(is_secure: bool, name: str) -> None:
    response = web.Response()
    Cookies(is_secure=is_secure).set(response, sessions.SESSION_COOKIE, "value")
    cookie = response.cookies[name]
    assert (bool(cookie["secure"]), cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        is_secure, True, "Lax", "/", "",
    )  # fmt: skip


def test_a_token_or_device_of_another_key_is_none_of_ours() -> None:
    ours, theirs = Tokens(Keyring(SECRET_KEY)), Tokens(Keyring(SECRET_KEY[::-1]))
    token, digest = ours.new()
    assert (ours.read(token), theirs.read(token), ours.read(token[:-4]), ours.read("é")) == (digest, None, None, None)
    device = ours.device("an")
    assert [ours.is_device_of(device, "an"), ours.is_device_of(device, "an2"), theirs.is_device_of(device, "an")] == [
        True, False, False,
    ]  # fmt: skip


def test_a_pace_lets_a_burst_through_and_then_one_each_so_often() -> None:
    now = [0.0]
    pace = Pace(3, 10.0, lambda: now[0])
    assert [pace.take("a") for _ in range(4)] == [0, 0, 0, 10]
    assert pace.take("b") == 0
    now[0] = 10.0
    assert [pace.take("a"), pace.take("a")] == [0, 10]
    pace.forgive("a")
    assert pace.take("a") == 0


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("mười một k", "password_short"),
        ("x" * 129, "password_long"),
        ("aaaaaaaaaaaa", "password_weak"),
        ("matkhau12345", "password_weak"),
        ("M@tkh4u@12345", "password_weak"),
        ("mật khẩu 1 2 3 4 5", "password_weak"),
        ("password12345", "password_weak"),
        ("anhyeuem123456", "password_weak"),
        ("an.nguyen-2026", "password_weak"),
        ("NguyễnThịAn1987!", "password_weak"),
        ("annguyen.annguyen", "password_weak"),
        ("cong1400cong1400", "password_weak"),
        ("1400-1400-1400", "password_weak"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(password: str, why: str) -> None:
    with pytest.raises(PasswordUnfit, match=why):
        require_fit(password, "an.nguyen", "Nguyễn Thị An")


@pytest.mark.parametrize(
    "password", [PASSWORD, "x7!kQp29zLw0", "con mèo thích cá rán", "@4b8({[<3691!|17$5+70%2z" * 5]
)
def test_a_sentence_is_taken_and_none_takes_long_to_judge(password: str) -> None:
    began = time.thread_time()
    require_fit(password, "an.nguyen", "Nguyễn Thị An")
    assert time.thread_time() - began < 1, "zxcvbn left to itself takes many seconds for the last of them"


async def test_strangers_who_wait_for_a_hash_leave_the_lane_of_known_browsers_free() -> None:
    hasher = passwords.Hasher()
    waiting = [
        asyncio.create_task(hasher.is_right("guess", None, is_known=False)) for _ in range(passwords.WAITING_MAX)
    ]
    await asyncio.sleep(0)
    with pytest.raises(passwords.TooManyWaiting):
        await hasher.is_right("guess", None, is_known=False)
    assert await hasher.is_right(PASSWORD, phc_of(PASSWORD), is_known=True)
    assert not all(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    hasher.close()


async def test_a_stolen_session_ends_with_its_owners_and_changes_nothing_that_lasts(desk_portal: Portal) -> None:
    portal, login = desk_portal, next(logins)
    user_id = await person(portal, login, Role.OPERATOR)
    owner = await logged_in(portal, user_id)
    thief = {"User-Agent": "another browser", "Sec-Fetch-Site": "none"}

    async def steals() -> Visitor:
        """The cookie in another browser, which looks like its owner's until somebody acts."""
        stolen = Visitor(portal, dict(owner.cookies))
        assert (await stolen.send("GET", "/account", headers=thief)).status == 200
        return stolen

    stolen = await steals()
    # A form without a page of ours is refused, and with one the password stays out of reach.
    assert (await stolen.send("POST", "/account/password", {"csrf": stolen.csrf}, thief)).status == 403
    guess = await stolen.post("/account/password", old="guess", new="một câu khác hẳn", again="một câu khác hẳn")
    assert guess.status == 422
    # Whatever the owner does to end it, ends the thief's too.
    await owner.post("/account/password", old=PASSWORD, new="một câu khác hẳn", again="một câu khác hẳn")
    assert (await owner.get("/account")).status == 200
    assert (await stolen.send("GET", "/account", headers=thief)).location == "/desk/login"
    token, _ = await token_of(portal, user_id, Act.SEE_LISTS)
    for ends in ("/logout", "/account/everywhere"):
        owner = await logged_in(portal, user_id)
        stolen = await steals()
        await owner.post(ends)
        assert (await stolen.send("GET", "/account", headers=thief)).location == "/desk/login", ends
        assert (await stolen.post("/account/everywhere")).location == "/desk/login", ends
    # A token that was copied is of no use either after that.
    async with portal.http.get(f"{portal.base}{API_PREFIX}/lists/after-close", headers=bearer(token)) as answer:
        assert answer.status == 401


async def test_what_was_shown_before_a_reset_opens_nothing_after_it(desk_portal: Portal) -> None:
    portal, login, desk = desk_portal, next(logins), desk_portal.service.desk.desk
    user_id = await person(portal, login, Role.OPERATOR)
    secret = second_factor.new_secret()
    async with desk.borrow() as connection, connection.transaction():
        (enrolled,) = await select_people(connection, login)
        await second_factor.enrol(connection, desk.keyring, enrolled, secret, 0)
        half = await sessions.begin(connection, desk.tokens, user_id, "127.0.0.1", is_complete=False)
    whole = await logged_in(portal, user_id)
    new = "một câu khác hẳn"
    acts = (
        Visitor(portal).post("/login", login=login, password=PASSWORD),
        Visitor(portal, {sessions.SESSION_COOKIE: half}).post("/code", code=pyotp.TOTP(secret).now()),
        whole.post("/account/password", old=PASSWORD, new=new, again=new),
    )
    # Everything is looked up before the reset, and done after it.
    resetting = await asyncpg.connect(portal.dsn)
    try:
        async with resetting.transaction():
            await reset_person(resetting, TESTER, login, phc_of("one-time"))
            answers = [asyncio.create_task(each) for each in acts]

            async def all_wait() -> bool:
                waiting = (
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                return len(await portal.fetch(waiting)) == len(acts)

            await eventually(all_wait)
        assert [each.location for each in await asyncio.gather(*answers)] == ["/desk/login"] * len(acts)
    finally:
        await resetting.close()
    assert not await portal.fetch("SELECT FROM desk_session WHERE user_id = $1", user_id)


async def test_two_codes_make_no_two_sessions_of_one_half(desk_portal: Portal) -> None:
    portal, login, desk = desk_portal, next(logins), desk_portal.service.desk.desk
    user_id = await person(portal, login, Role.OPERATOR)
    async with desk.borrow() as connection, connection.transaction():
        (enrolled,) = await select_people(connection, login)
        codes = await second_factor.enrol(connection, desk.keyring, enrolled, second_factor.new_secret(), 0)
        half = await sessions.begin(connection, desk.tokens, user_id, "127.0.0.1", is_complete=False)
    shown = (Visitor(portal, {sessions.SESSION_COOKIE: half}).post("/code", code=code) for code in codes[:3])
    answers = await asyncio.gather(*shown)
    assert sorted(str(each.location) for each in answers) == ["/desk", "/desk/login", "/desk/login"]


async def test_a_manager_meets_nothing_of_another_organisation_at_any_guessed_address(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message("guessed-1"))
    await portal.post(message("guessed-2", "VNN xin"))
    (row,) = await portal.fetch("SELECT id::text AS id FROM message WHERE native_id = 'guessed-2'")
    maker = await person(portal, next(logins), Role.OPERATOR)
    token, _ = await token_of(portal, maker, *SCOPES)
    content = toml_of({"campaign": [{**tables_of(portal.service.catalog.book.by_slug["vnn"]), "goal_vnd": 7,
                                     "decision": "guessed"}]})  # fmt: skip
    status, proposal = await sent(portal, "POST", "/proposals", token, {"content": content}, "guessed-1")
    assert status == 200, proposal
    asked = {"account": "hub", "native_ids": ["guessed-1"], "taker": "bao-lu", "ground": "donor", "reason": "thử"}
    status, move = await sent(portal, "POST", "/reattributions", token, asked, "guessed-2")
    assert status == 200, move
    ids = {
        "proposals": proposal["id"],
        "reattributions": move["id"],
        "rows": row["id"],
        "personal": row["id"],
        "campaigns": "old",
    }
    stranger = await person(portal, next(logins), Role.MANAGER, "redcross")
    visitor = await logged_in(portal, stranger)
    key, _ = await token_of(portal, stranger, *SCOPES)
    bodies = {"approve": {"plan": "0" * 64}, "propose": {}, "confirm": {}, "notes": {"note": "x"}}
    met = 0
    for each in (*portal.service.desk.rows, *portal.service.desk.api_rows):
        room = each.path.strip("/").split("/")[0]
        if "{" not in each.path:
            continue
        # Of these there are no other organisation's: lists, files and names are the same for everybody.
        assert room in ids or room in ("lists", "tokens", "people", "exports", "account"), each
        if room not in ids or Role.MANAGER not in RIGHTS[each.act]:
            continue
        path = re.sub(r"{\w+}", str(ids[room]), each.path)
        if each.about is None:
            form = {"csrf": visitor.csrf, "reason": "thử", "plan": "", "note": "x", "texts": "VNN"}
            status = (await visitor.send(each.method, path, form if each.method == "POST" else None)).status
        else:
            body = bodies.get(path.split("/")[-1], {"reason": "thử"}) if each.method == "POST" else None
            status, _ = await sent(portal, each.method, path, key, body, f"guess-{met}")
        # One that takes a file reads nothing of another kind of form.
        assert status == (400 if each.file_bytes_max and each.method == "POST" else 404), each
        met += 1
    assert met >= 20
    # What is listed to them is their own alone.
    for path in ("/proposals", "/reattributions"):
        shown = await sent(portal, "GET", path, key)
        assert "vnn" not in str(shown), path
        assert "vnn" not in (await visitor.get(path)).text.lower(), path


async def test_after_a_session_ended_a_form_keeps_what_was_typed_and_a_link_leads_on(
    desk_portal: Portal,
) -> None:
    portal = desk_portal
    user_id = await person(portal, next(logins), Role.OPERATOR)
    visitor = await logged_in(portal, user_id)
    before = visitor.cookies[sessions.SESSION_COOKIE]
    typed = {"account": "hub", "ids": "m-1\r\nm-2 <b>", "taker": "vnn", "reason": "“in sai”", "look": "1"}
    await portal.fetch("DELETE FROM desk_session WHERE user_id = $1", user_id)
    ended = await visitor.post("/reattributions/new", **typed)
    assert (ended.status, "Phiên đăng nhập đã kết thúc" in ended.text) == (403, True)
    assert ended.field("ids") == "m-1\r\nm-2 &lt;b&gt;"
    assert 'action="/desk/reattributions/new"' in ended.text
    assert (await visitor.post("/logout")).location == "/desk/login", "nothing is lost by it"
    password = await visitor.post("/account/password", old=PASSWORD, new=PASSWORD, again=PASSWORD)
    assert (password.status, password.location) == (303, "/desk/login"), "no password goes into a page"
    # Somebody has logged in beside it: the old form is theirs once they have looked at it.
    again = await logged_in(portal, user_id)
    old = await again.send("POST", "/reattributions/new", {"csrf": "", **typed})
    assert (old.status, old.field("csrf"), old.field("reason")) == (403, again.csrf, "“in sai”")
    assert (await again.post("/reattributions/new", **typed)).status == 422, "of an account that is none"

    linked = Visitor(portal, {sessions.SESSION_COOKIE: before})
    for path, lands in (
        ("/reattributions/7", "/desk/reattributions/7"),
        ("/exports/days", None),
        ("/lists/x%2f..%2f..%2fhome", None),
    ):
        assert (await linked.get(path)).location == "/desk/login"
        assert "Phiên đăng nhập trước đã kết thúc" in (await linked.get("/login")).text
        here = Visitor(portal, {**linked.cookies, sessions.SESSION_COOKIE: again.cookies[sessions.SESSION_COOKIE]})
        landed = await here.get("")
        assert (landed.status, landed.location) == ((303, lands) if lands else (200, None)), path
        assert (await here.get("")).status == 200, "once"
        linked.cookies.pop("portal1400-place", None)
    forged = Visitor(portal, {**again.cookies, "portal1400-place": "//elsewhere.example"})
    assert (await forged.get("")).location == "/desk"
