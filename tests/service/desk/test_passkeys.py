"""A passkey lets in its owner, at our address, once for each challenge; nothing else does."""

import asyncio
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from service.desk import passkeys, second_factor, sessions
from service.desk.limits import Pace
from service.desk.passkey_entrance import CHALLENGE, CHALLENGE_COOKIE
from service.desk.passkeys import CHALLENGE_MINUTES, PASSKEYS_MAX, RelyingParty, relying_party_of
from service.desk.people import reset_person, select_people
from service.desk.roles import Role
from tests.support.desk import PASSWORD, TESTER, Page, Visitor, logged_in, person, phc_of
from tests.support.passkeys import PRESENT, Authenticator
from tests.support.portal import Portal, eventually

logins = (f"khoa{number}" for number in itertools.count())
ORIGIN = "http://localhost:1400"
PACES = ("of_site", "of_login", "of_device", "of_challenge")


@pytest.fixture(scope="module")
async def keyed(desk_portal: Portal) -> Portal:
    """A service whose desk takes passkeys, and where nobody is slowed down by what another test did."""
    desk = desk_portal.service.desk.desk
    desk.relying_party = RelyingParty("localhost", ORIGIN)
    for name in PACES:
        setattr(desk, name, Pace(10_000, 1.0))
    return desk_portal


class Somebody:
    """Somebody of the desk with password, second factor and one passkey."""

    def __init__(self, portal: Portal, login: str, user_id: int, codes: list[str]) -> None:
        self.portal, self.login, self.user_id, self.codes = portal, login, user_id, codes
        self.key = Authenticator(ORIGIN)

    async def begins(self, visitor: Visitor, **form: str) -> Page:
        """Ask for what the browser is to make."""
        usual = {"name": "điện thoại", "old": PASSWORD, "code": form.pop("code", "") or self.codes.pop()}
        return await visitor.post("/account/passkeys/begin", **{**usual, **form})

    async def adds(self, visitor: Visitor, key: Authenticator | None = None, **changes: Any) -> Page:
        """Add a passkey."""
        options = json.loads((await self.begins(visitor)).text)
        answer = (key or self.key).make(options, **changes)
        return await visitor.post("/account/passkeys", name="điện thoại", credential=answer)

    async def acts(self) -> list[tuple[str, str | None]]:
        """What the audit log has of them."""
        rows = await self.portal.fetch("SELECT act, reason FROM audit_entry WHERE who = $1 ORDER BY id", self.login)
        return [(row["act"], row["reason"]) for row in rows]


async def somebody(portal: Portal, *, has_key: bool = True) -> Somebody:
    """Make somebody; with a passkey, unless said otherwise."""
    login, desk = next(logins), portal.service.desk.desk
    user_id = await person(portal, login, Role.OPERATOR)
    async with desk.borrow() as connection, connection.transaction():
        (made,) = await select_people(connection, login)
        codes = await second_factor.enrol(connection, desk.keyring, made, second_factor.new_secret(), 0)
    who = Somebody(portal, login, user_id, codes)
    if has_key:
        assert (await who.adds(await logged_in(portal, user_id))).location == "/desk/account"
    return who


async def challenged(visitor: Visitor) -> Any:
    """Begin a login; the options."""
    begun = await visitor.post("/login/passkey/begin")
    assert begun.status == 200, begun.text
    return json.loads(begun.text)


async def enters(visitor: Visitor, key: Authenticator) -> Page:
    """Log in by a passkey."""
    answer = key.show(await challenged(visitor))
    return await visitor.post("/login/passkey", credential=answer)


async def test_a_passkey_is_added_lets_in_without_password_and_code_and_is_removed(keyed: Portal) -> None:
    who, office = await somebody(keyed, has_key=False), Visitor(keyed)
    home = await logged_in(keyed, who.user_id)
    begun = json.loads((await who.begins(home)).text)
    assert (begun["rp"]["id"], begun["attestation"], begun["user"]["name"]) == ("localhost", "none", who.login)
    assert begun["authenticatorSelection"]["residentKey"] == "required"
    assert begun["authenticatorSelection"]["userVerification"] == "required"
    answer = who.key.make(begun)
    named = "máy tính 0912 345 678"
    assert (await home.post("/account/passkeys", name=named, credential=answer)).location == "/desk/account"
    shown = await home.get("/account")
    assert "<b>máy tính [redacted]</b>" in shown.text
    assert "chưa dùng lần nào" in shown.text
    again = json.loads((await who.begins(home)).text)
    assert [each["id"] for each in again["excludeCredentials"]] == [json.loads(answer)["id"]]
    assert again["user"]["id"] == begun["user"]["id"]

    asked = await challenged(office)
    assert (asked["rpId"], asked["userVerification"], asked["allowCredentials"]) == ("localhost", "required", [])
    entered = await office.post("/login/passkey", credential=who.key.show(asked))
    assert entered.location == "/desk"
    assert (await office.get("/account")).status == 200
    assert CHALLENGE_COOKIE not in office.cookies
    assert keyed.service.desk.desk.tokens.is_device_of(office.cookies[sessions.DEVICE_COOKIE], who.login)
    assert "dùng lần cuối" in (await home.get("/account")).text
    # One that does not count signatures says nought for ever.
    silent = Authenticator(ORIGIN, step=0)
    assert (await who.adds(home, silent)).location == "/desk/account"
    for _ in range(2):
        assert (await enters(Visitor(keyed), silent)).location == "/desk"

    removing = re.findall(r'action="/desk(/account/passkeys/\d+/remove)"', (await home.get("/account")).text)
    stranger = await logged_in(keyed, (await somebody(keyed, has_key=False)).user_id)
    await stranger.post(removing[0])
    assert (await enters(Visitor(keyed), who.key)).location == "/desk", "nobody else removes it"
    assert (await home.post(removing[0])).location == "/desk/account"
    assert (await home.get("/account")).status == 200
    assert (await office.get("/account")).location == "/desk/login", "whoever has the key has no session any more"
    refused = await enters(Visitor(keyed), who.key)
    assert (refused.status, "không được chấp nhận" in refused.text) == (422, True)
    assert (await enters(Visitor(keyed), silent)).location == "/desk"
    in_twice = [("login.passkey", None), ("login", None)]
    assert await who.acts() == [
        ("passkey.add", None), *in_twice, ("passkey.add", None), *in_twice * 3, ("passkey.remove", None), *in_twice,
    ]  # fmt: skip


async def test_a_new_password_and_a_log_out_everywhere_leave_passkeys_and_the_page_says_so(keyed: Portal) -> None:
    who, new = await somebody(keyed), "một câu hoàn toàn khác"
    home = await logged_in(keyed, who.user_id)
    changed = await home.post("/account/password", old=PASSWORD, new=new, again=new)
    assert changed.location == "/desk/account"
    told = (await home.get("/account")).text
    assert "Các khóa truy cập (passkey) sau vẫn mở được" in told
    assert len(re.findall(r"/account/passkeys/\d+/remove", told)) == 1, "one, with its button"
    assert "vẫn mở được" not in (await home.get("/account")).text, "it is said once"
    await home.post("/account/everywhere")
    assert (await enters(Visitor(keyed), who.key)).location == "/desk"


async def test_challenges_are_bounded_over_all_visitors(keyed: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "CHALLENGES_MAX", 2)
    tokens = [bytes([each]) * 32 for each in range(4)]
    async with keyed.service.desk.desk.borrow() as connection:
        for each in tokens:
            await passkeys.put_challenge(connection, each, each)
        kept = [await passkeys.take_challenge(connection, each) for each in tokens]
    assert kept == [None, None, *tokens[2:]]


async def test_a_reset_removes_passkeys_and_a_disabled_person_enters_by_none(keyed: Portal) -> None:
    who = await somebody(keyed)
    await keyed.fetch("UPDATE desk_user SET disabled_at = now() WHERE id = $1", who.user_id)
    assert (await enters(Visitor(keyed), who.key)).status == 422
    await keyed.fetch("UPDATE desk_user SET disabled_at = NULL WHERE id = $1", who.user_id)
    # Whoever has a one-time password begins with it, whatever there is beside it.
    await keyed.fetch("UPDATE desk_user SET one_time_until = now() WHERE id = $1", who.user_id)
    assert (await enters(Visitor(keyed), who.key)).status == 422
    assert (await who.acts())[-1] == ("login.refused", "passkey: first")
    async with keyed.service.desk.desk.borrow() as connection:
        await reset_person(connection, TESTER, who.login, phc_of(PASSWORD))
    assert await keyed.fetch("SELECT FROM desk_passkey WHERE user_id = $1", who.user_id) == []


async def test_a_passkey_that_was_on_its_way_before_a_reset_is_none_after_it(keyed: Portal) -> None:
    who, visitor = await somebody(keyed), Visitor(keyed)
    home = await logged_in(keyed, who.user_id)
    made = Authenticator(ORIGIN).make(json.loads((await who.begins(home)).text))
    shown = who.key.show(await challenged(visitor))
    # Both are looked up before the reset, and done after it.
    resetting = await asyncpg.connect(keyed.dsn)
    try:
        async with resetting.transaction():
            await reset_person(resetting, TESTER, who.login, phc_of("one-time"))
            acts = (
                home.post("/account/passkeys", name="x", credential=made),
                visitor.post("/login/passkey", credential=shown),
            )
            answers = [asyncio.create_task(each) for each in acts]

            async def both_wait() -> bool:
                waiting = (
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                return len(await keyed.fetch(waiting)) == len(acts)

            await eventually(both_wait)
        assert [each.location for each in await asyncio.gather(*answers)] == ["/desk/login"] * len(acts)
    finally:
        await resetting.close()
    for table in ("desk_passkey", "desk_session"):
        assert not await keyed.fetch(f"SELECT FROM {table} WHERE user_id = $1", who.user_id)


async def test_no_answer_but_the_owners_for_this_challenge_at_our_address_lets_in(keyed: Portal) -> None:
    who, other = await somebody(keyed), await somebody(keyed)
    key = who.key

    async def refused(
        changed: Callable[[Authenticator], Authenticator],
        why: str | None,
        touch: Callable[[str], str] = str,
    ) -> None:
        """Show a changed key, or a touched answer."""
        before, visitor = await who.acts(), Visitor(keyed)
        page = await visitor.post("/login/passkey", credential=touch(changed(key).show(await challenged(visitor))))
        assert (page.status, "không được chấp nhận" in page.text) == (422, True), why
        assert sessions.SESSION_COOKIE not in visitor.cookies
        expected = [("login.refused", f"passkey: {why}")] if why else []
        assert (await who.acts())[len(before) :] == expected

    assert (await enters(Visitor(keyed), key)).location == "/desk"
    await refused(lambda key: replace(key, origin="http://localhost:1401"), "proof")
    await refused(lambda key: replace(key, origin="https://localhost.example"), "proof")
    await refused(lambda key: replace(key, rp_id="localhost.example"), "proof")
    await refused(lambda key: replace(key, flags=PRESENT), "proof")
    await refused(lambda key: replace(key, flags=0), "proof")
    await refused(lambda key: replace(key, handle=None), "proof")
    await refused(lambda key: replace(key, in_frame=True), "proof")
    # Somebody else's key under this one's id, and this one's key for somebody else.
    await refused(lambda key: replace(key, key=other.key.key), "proof")
    await refused(lambda key: replace(key, handle=other.key.handle), "proof")
    await refused(lambda key: replace(key, key=ec.generate_private_key(ec.SECP256R1())), "proof")
    # Its count has not grown: there is a copy.
    await refused(lambda key: replace(key, step=0), "count")
    await refused(lambda key: replace(key, count=-1), "count")
    await refused(lambda key: replace(key, credential_id=b"unknown"), None)
    for junk in ("", "{}", "[" * 9000, '{"id": 7}', "x" * 20_000):
        await refused(lambda key: key, None, lambda _, junk=junk: junk)  # type: ignore[misc]  # bound in the loop
    for field in ("clientDataJSON", "authenticatorData", "signature"):
        for value in ("", "AAAA", "////"):

            def touched(answer: str, field: str = field, value: str = value) -> str:
                shown = json.loads(answer)
                shown["response"][field] = value
                return json.dumps(shown)

            await refused(lambda key: key, "proof", touched)
    assert (await enters(Visitor(keyed), key)).location == "/desk"


async def test_a_challenge_is_good_once_for_its_browser_and_for_some_minutes(keyed: Portal) -> None:
    who, visitor, thief = await somebody(keyed), Visitor(keyed), Visitor(keyed)
    answer = who.key.show(await challenged(visitor))
    begun = dict(visitor.cookies)
    token, tokens = begun[CHALLENGE_COOKIE], keyed.service.desk.desk.tokens
    assert tokens.read(token) is None, "a stranger's challenge is no token of a session that has ended"
    assert tokens.read(tokens.new()[0], CHALLENGE) is None, "nor the other way round"
    assert (await thief.post("/login/passkey", credential=answer)).status == 422, "it has no challenge"
    await challenged(thief)
    assert (await thief.post("/login/passkey", credential=answer)).status == 422, "it has another"
    thief.cookies = {CHALLENGE_COOKIE: begun[CHALLENGE_COOKIE][:-8] + "AAAAAAAA"}
    assert (await thief.post("/login/passkey", credential=answer)).status == 422
    assert (await visitor.post("/login/passkey", credential=answer)).location == "/desk"
    again = Visitor(keyed, dict(begun))
    assert (await again.post("/login/passkey", credential=answer)).status == 422, "replayed with all there was"
    # A wrong answer uses it up, too.
    once = Visitor(keyed)
    answer = who.key.show(await challenged(once))
    begun = dict(once.cookies)
    wrong = replace(who.key, origin="http://localhost").show({"challenge": json.loads(answer)["id"]})
    assert (await once.post("/login/passkey", credential=wrong)).status == 422
    once.cookies = begun
    assert (await once.post("/login/passkey", credential=answer)).status == 422
    late = Visitor(keyed)
    answer = who.key.show(await challenged(late))
    await keyed.fetch(f"UPDATE desk_challenge SET made_at = now() - interval '{CHALLENGE_MINUTES} minutes'")
    assert (await late.post("/login/passkey", credential=answer)).status == 422
    reasons = [reason for act, reason in await who.acts() if act == "login.refused"]
    assert reasons == [f"passkey: {why}" for why in ("proof", "challenge", "proof", "challenge", "challenge")]
    # The old ones go with the next one that is made.
    await keyed.fetch(f"UPDATE desk_challenge SET made_at = now() - interval '{CHALLENGE_MINUTES} minutes'")
    await challenged(late)
    assert len(await keyed.fetch("SELECT FROM desk_challenge")) == 1


async def test_refused_passkeys_count_as_refused_passwords_and_lock_nobody_out(
    keyed: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, desk = await somebody(keyed), keyed.service.desk.desk
    monkeypatch.setattr(desk, "of_login", Pace(5, 60.0))
    key, forged = who.key, replace(who.key, key=ec.generate_private_key(ec.SECP256R1()))
    pages = [(await enters(Visitor(keyed), forged)).status for _ in range(3)]
    pages += [(await Visitor(keyed).post("/login", login=who.login, password="guess")).status for _ in range(2)]
    assert pages == [422] * 5
    tried = await enters(Visitor(keyed), key)
    assert tried.status == 429
    assert int(tried.headers["Retry-After"]) > 0
    known = Visitor(keyed, {sessions.DEVICE_COOKIE: desk.tokens.device(who.login)})
    assert (await enters(known, key)).location == "/desk"
    monkeypatch.setattr(desk, "of_challenge", Pace(1, 3600.0))
    assert [(await Visitor(keyed).post("/login/passkey/begin")).status for _ in range(2)] == [200, 429]


async def test_a_passkey_is_added_for_password_and_code_and_for_what_this_session_was_asked(keyed: Portal) -> None:
    who, other = await somebody(keyed, has_key=False), await somebody(keyed)
    visitor, elsewhere = await logged_in(keyed, who.user_id), await logged_in(keyed, who.user_id)
    for form, told in (
        ({"old": "guess", "code": who.codes[0]}, "hiện tại không đúng"),
        ({"code": "12345a"}, "Mã không đúng"),
        ({"name": " "}, "đặt tên"),
        ({"name": "x" * 61}, "đặt tên"),
    ):
        page = await who.begins(visitor, **{"code": "-", **form})
        assert (page.status, told in json.loads(page.text)["problem"]) == (422, True), form
    # A right code beside a wrong password was not used up; nothing was asked that an answer would be for.
    answer = who.key.make({"challenge": "AAAA", "user": {"id": "AAAA"}})
    assert "Đã quá năm phút" in (await visitor.post("/account/passkeys", name="x", credential=answer)).text
    for key, changes in (
        (replace(who.key, origin="http://localhost:1401"), {}),
        (replace(who.key, rp_id="localhost.example"), {}),
        (replace(who.key, flags=PRESENT), {}),
        (replace(who.key, flags=0), {}),
        (who.key, {"fmt": "packed", "statement": {"alg": -7, "sig": b"x", "x5c": [b"x"]}}),
        (who.key, {"fmt": "packed", "statement": {"alg": -7, "sig": b"x"}}),
        (who.key, {"fmt": "android-safetynet", "statement": {"ver": "1", "response": b"x"}}),
        (who.key, {"statement": {"sig": b"x"}}),
        (replace(who.key, in_frame=True), {}),
        # Neither an id nor a key that no authenticator has, and that let in nobody.
        (replace(who.key, credential_id=bytes(1024)), {}),
        (who.key, {"cose": {1: 3, 3: -257, -1: b"\xff" * 2048, -2: b"\1\0\1"}}),
        (who.key, {"cose": {1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}}),
        # Somebody else has this one.
        (replace(who.key, credential_id=other.key.credential_id), {}),
    ):  # fmt: skip
        page = await who.adds(await logged_in(keyed, who.user_id), key, **changes)
        assert (page.status, "không được thêm" in page.text) == (422, True), (key, changes)
        who.codes.append((await fresh_codes(keyed, who))[0])
    options = json.loads((await who.begins(visitor)).text)
    assert (
        "Đã quá năm phút"
        in (await elsewhere.post("/account/passkeys", name="x", credential=who.key.make(options))).text
    ), "another session of the same person was asked nothing"
    assert (await visitor.post("/account/passkeys", name="x", credential="{}")).status == 422
    assert (await visitor.post("/account/passkeys", name="x", credential=who.key.make(options))).status == 422, "once"
    assert await keyed.fetch("SELECT FROM desk_passkey WHERE user_id = $1", who.user_id) == []
    assert ("account.refused", "passkey: proof") in await who.acts()

    # An open browser is no place to guess.
    wrong = [(await who.begins(visitor, code="12345a")).location for _ in range(3)]
    assert wrong == [None, None, "/desk/login"], "two were wrong before"
    assert sessions.SESSION_COOKIE not in visitor.cookies


async def fresh_codes(portal: Portal, who: Somebody) -> list[str]:
    """New recovery codes."""
    desk = portal.service.desk.desk
    async with desk.borrow() as connection, connection.transaction():
        return await second_factor.renew_recovery_codes(connection, desk.keyring, who.user_id)


async def test_nobody_has_more_passkeys_than_so_many(keyed: Portal) -> None:
    who = await somebody(keyed)
    visitor = await logged_in(keyed, who.user_id)
    options = json.loads((await who.begins(visitor)).text)
    await keyed.fetch(
        "INSERT INTO desk_passkey (user_id, name, credential_id, public_key, sign_count) "
        "SELECT $1, 'x', sha256(n::text::bytea), '', 0 FROM generate_series(2, $2::int) AS n",
        who.user_id, PASSKEYS_MAX,
    )  # fmt: skip
    answer = Authenticator(ORIGIN).make(options)
    assert (await visitor.post("/account/passkeys", name="x", credential=answer)).status == 422
    assert "mười khóa" in json.loads((await who.begins(visitor)).text)["problem"]


async def test_without_an_address_that_bears_passkeys_the_pages_say_so(
    keyed: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, desk = await somebody(keyed), keyed.service.desk.desk
    visitor = await logged_in(keyed, who.user_id)
    assert "passkeys.js" in (await visitor.get("/account")).text
    assert "passkeys.js" in (await Visitor(keyed).get("/login")).text
    monkeypatch.setattr(desk, "relying_party", None)
    shown = (await visitor.get("/account")).text
    assert "PORTAL1400_PUBLIC_URL" in shown
    assert "passkeys.js" not in shown
    assert "<b>điện thoại</b>" in shown
    assert "passkey" not in (await Visitor(keyed).get("/login")).text
    for path in ("/login/passkey/begin", "/login/passkey", "/account/passkeys/begin", "/account/passkeys"):
        assert (await visitor.post(path)).status == 404


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://1400.example.vn", ("1400.example.vn", "https://1400.example.vn")),
        ("https://Portal.Example:443/", ("portal.example", "https://portal.example")),
        ("https://portal.example:8443", ("portal.example", "https://portal.example:8443")),
        ("http://localhost:1400", ("localhost", "http://localhost:1400")),
        ("http://localhost:80", ("localhost", "http://localhost")),
        ("http://portal.example", None),
        ("http://127.0.0.1:1400", None),
        ("https://192.0.2.7", None),
        ("https://[2001:db8::7]", None),
        ("https://portal.example:port", None),
        ("https://[half", None),
        ("https://", None),
        (None, None),
    ],
)
def test_the_relying_party_is_the_host_of_an_address_that_browsers_trust(
    public_url: str | None, expected: tuple[str, str] | None
) -> None:
    assert relying_party_of(public_url) == expected
