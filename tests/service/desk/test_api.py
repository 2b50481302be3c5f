"""The desk's API: described as it is, refuses what does not fit, and does nothing twice."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from campaigns.book.book import VIETNAM
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.desk.assembly import API_PREFIX
from service.desk.roles import RIGHTS, SCOPES, Role
from service.live.openapi_document import document
from tests.support.desk import TESTER, person, token_of
from tests.support.portal import Portal, message


async def sent(
    portal: Portal, method: str, path: str, token: str, body: Any = None, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Ask an address of the desk's API."""
    headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
    async with portal.http.request(method, f"{portal.base}{API_PREFIX}{path}", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_whatever_is_sent_is_answered_as_the_description_says(desk_portal: Portal) -> None:
    portal = desk_portal
    for number in range(3):
        await portal.post(message(f"fuzz-{number}"))
        await portal.post(message(f"fuzz-wrong-{number}", "VNN xin"))
    tokens = {
        role: (await token_of(portal, await person(portal, f"fuzz.{role}", role), *SCOPES))[0]
        for role in (Role.OPERATOR, Role.AUDITOR)
    }
    operator = tokens[Role.OPERATOR]
    asked = {"account": "hub", "native_ids": ["fuzz-0"], "taker": "bao-lu", "ground": "donor", "reason": "thử"}
    status, _ = await sent(portal, "POST", "/reattributions", operator, asked, "fuzz")
    assert status == 200
    rights = {
        (API_PREFIX + row.path, row.method): tokens[
            Role.OPERATOR if Role.OPERATOR in RIGHTS[row.act] else Role.AUDITOR
        ]
        for row in portal.service.desk.api_rows
    }
    # Loaded where it is used: every process of the tests collects this file, and it takes half a second.
    from tests.support.described_api import fuzzed

    made = document(portal.base, portal.service.desk.described())
    made["paths"] = {path: operation for path, operation in made["paths"].items() if path.startswith(API_PREFIX)}
    await asyncio.to_thread(fuzzed, made, portal.base, rights)


PARAMETERS = {
    "/lists/wrong-syntax?acount=hub": (
        "acount",
        "acount: unknown; known: account, reason, campaign, since, until, limit, cursor",
    ),
    "/lists/wrong-syntax?limit=1&limit=2": ("limit", "limit: is given twice; give it once"),
    "/lists/wrong-syntax?account=hub&campaign=vnn&reason=before_open&limit=1": None,
    "/lists/unallocated?reason=unknown_keyword": None,
    # No rows would say that nothing is there.
    "/lists/wrong-syntax?campaign=none": (
        "campaign",
        "campaign cannot be used: give the slug of a campaign that you may see",
    ),
    "/lists/wrong-syntax?account=nobody": (
        "account",
        "account cannot be used: give the code of an account that there is",
    ),
    "/lists/wrong-syntax?reason=after_close": (
        "reason",
        "reason cannot be used: give one of the reasons for which a row is in this list",
    ),
    "/lists/wrong-syntax?limit=0": ("limit", "limit cannot be used: give a number from 1 to 500"),
    "/audit?act=proposal.aproved": (
        "act",
        "act cannot be used: give one of the acts that the audit log knows, as proposal.approved",
    ),
    "/audit?act=proposal.approved": None,
}


async def test_a_parameter_that_is_unknown_or_given_twice_is_named(desk_portal: Portal) -> None:
    token = (await token_of(desk_portal, await person(desk_portal, "tham.so", Role.OPERATOR), *SCOPES))[0]
    audit = (await token_of(desk_portal, await person(desk_portal, "tham.so.2", Role.AUDITOR), *SCOPES))[0]
    for path, named in PARAMETERS.items():
        status, told = await sent(desk_portal, "GET", path, audit if path.startswith("/audit") else token)
        if named is None:
            assert status == 200, path
            continue
        assert (status, told["type"]) == (400, "urn:portal1400:problem:bad-parameter"), path
        assert (told["parameter"], told["detail"]) == named


async def test_a_write_that_comes_again_does_nothing_again(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message("once-1"))
    await portal.post(message("once-2"))
    one = (await token_of(portal, await person(portal, "mot.lan", Role.OPERATOR), *SCOPES))[0]
    two = (await token_of(portal, await person(portal, "hai.lan", Role.OPERATOR), *SCOPES))[0]
    asked = {
        "account": "hub",
        "native_ids": ["once-1"],
        "taker": "bao-lu",
        "ground": "portal",
        "reason": "thử, theo 0912345678",
    }
    path = "/reattributions"
    # At the same moment, and again: one proposal, and the same answer.
    answers = [*await asyncio.gather(*(sent(portal, "POST", path, one, asked, "k-1") for _ in range(3)))]
    answers.append(await sent(portal, "POST", path, one, asked, "k-1"))
    assert {status for status, _ in answers} == {200}
    assert len({str(answer) for _, answer in answers}) == 1, "also the order of what it says"
    (number,) = {answer["id"] for _, answer in answers}
    assert (await sent(portal, "POST", path, one, {**asked, "native_ids": ["once-2"]}, "k-1"))[0] == 422
    assert (await sent(portal, "POST", path, one, asked))[0] == 400
    # What was refused did nothing, and its key may be used again.
    status, refused = await sent(portal, "POST", path, two, asked, "k-1")
    assert (status, refused["why"], refused["native_ids"]) == (409, "claimed", ["once-1"])
    assert (await sent(portal, "POST", path, two, {**asked, "native_ids": ["once-2"]}, "k-1"))[0] == 200
    _, shown = await sent(portal, "GET", f"{path}/{number}", two)
    assert shown["reason"] == "thử, theo [redacted]", "what stays for ever holds nobody's number"
    approval = {"plan": shown["plan"]["plan"]}
    own = await sent(portal, "POST", f"{path}/{number}/approve", one, approval, "k-2")
    assert (own[0], own[1]["why"]) == (409, "same_person")
    assert own[1]["detail"] == "Whoever proposed it cannot approve it. Nothing was changed."
    before = await portal.fetch("SELECT count(*) AS lines FROM money_line")
    done = [
        *await asyncio.gather(*(sent(portal, "POST", f"{path}/{number}/approve", two, approval, "k-3") for _ in "ab"))
    ]
    assert done[0] == done[1]
    assert (done[0][0], done[0][1]["state"], done[0][1]["ended_by"]) == (200, "approved", "hai.lan")
    after = await portal.fetch("SELECT count(*) AS lines FROM money_line")
    assert after[0]["lines"] == before[0]["lines"] + 2
    # A manager of another organisation finds neither the proposal nor a way to act on it.
    stranger = (await token_of(portal, await person(portal, "nguoi.la", Role.MANAGER, "redcross"), *SCOPES))[0]
    assert (await sent(portal, "GET", f"{path}/{number}", stranger))[0] == 404
    for act in ("approve", "refuse", "withdraw"):
        body = approval if act == "approve" else {"reason": "x"}
        assert (await sent(portal, "POST", f"{path}/{number}/{act}", stranger, body, act))[0] == 404
    foreign = await sent(portal, "POST", path, stranger, {**asked, "native_ids": ["once-2"]}, "k-4")
    assert (foreign[0], foreign[1]["why"]) == (409, "unknown_gift")
    _, page = await sent(portal, "GET", f"{path}?limit=1", one)
    assert len(page["reattributions"]) == 1
    _, older = await sent(portal, "GET", f"{path}?limit=1&cursor={page['cursor']}", one)
    assert older["reattributions"][0]["id"] < page["reattributions"][0]["id"]


async def test_the_audit_log_is_searched_by_program_as_at_the_desk(desk_portal: Portal) -> None:
    portal = desk_portal
    for login in ("tim.mot", "tim.hai", "tim.ba"):
        await person(portal, login, Role.PRESS)
    token = (await token_of(portal, await person(portal, "tim.so", Role.AUDITOR), *SCOPES))[0]

    async def found(**asked: str) -> list[tuple[str, str | None]]:
        """Acts and subjects of all pages."""
        entries, cursor = list[tuple[str, str | None]](), ""
        while cursor is not None:
            query = urlencode({**asked, "limit": "2", **({"cursor": cursor} if cursor else {})})
            status, page = await sent(portal, "GET", f"/audit?{query}", token)
            assert status == 200, page
            entries += [(each["act"], each["subject"]) for each in page["entries"]]
            cursor = page["cursor"]
        return entries

    assert await found(act="user.add", subject="tim.hai") == [("user.add", "tim.hai")]
    ours = [each for each in await found(who=TESTER.login, act="user.add") if (each[1] or "").startswith("tim.")]
    assert ours == [("user.add", f"tim.{each}") for each in ("so", "ba", "hai", "mot")], "the newest first, by pages"
    (entry,) = await portal.fetch(
        "SELECT recorded_at FROM audit_entry WHERE act = 'user.add' AND subject = 'tim.mot'"
    )
    day = entry["recorded_at"].astimezone(VIETNAM).date()
    assert ("user.add", "tim.mot") in await found(since=str(day), until=str(day), act="user.add")
    assert ("user.add", "tim.mot") not in await found(until=str(day - timedelta(days=1)), act="user.add")
    for name, value in (("since", "17/10/2026"), ("until", "2026-13-01"), ("who", "x" * 201),
                        ("since", "2026-10-17T23:00Z"), ("until", "2026-10-17&since=2026-10-18")):  # fmt: skip
        status, refused = await sent(portal, "GET", f"/audit?{name}={value}", token)
        assert (status, refused["parameter"]) == (400, name)


async def test_a_campaign_is_changed_by_two_programs_of_two_people(desk_portal: Portal) -> None:
    portal = desk_portal
    one = (await token_of(portal, await person(portal, "api.mot", Role.OPERATOR), *SCOPES))[0]
    two = (await token_of(portal, await person(portal, "api.hai", Role.FINANCE), *SCOPES))[0]
    stored = tables_of(portal.service.catalog.book.by_slug["vnn"])
    content = toml_of({"campaign": [{**stored, "goal_vnd": 6_000_000_000, "decision": "api/QĐ"}]})
    for wrong, status in (("[[campaign", 409), (toml_of({"campaign": [stored]}), 409), ("", 400)):
        answer = await sent(portal, "POST", "/proposals", one, {"content": wrong}, f"p-{status}-{len(wrong)}")
        assert answer[0] == status, answer
    status, made = await sent(portal, "POST", "/proposals", one, {"content": content}, "p-1")
    assert (status, made["state"]) == (200, "draft"), made
    path = f"/proposals/{made['id']}"
    plan = {"plan": made["plan"]["plan"]}
    assert (await sent(portal, "POST", f"{path}/approve", two, plan, "p-2"))[1]["why"] == "not_proposed"
    assert (await sent(portal, "POST", f"{path}/propose", one, {}, "p-3"))[1]["state"] == "proposed"
    assert (await sent(portal, "POST", f"{path}/approve", one, plan, "p-4"))[1]["why"] == "same_person"
    other = {"plan": "0" * 64}
    stale = (await sent(portal, "POST", f"{path}/approve", two, other, "p-5"))[1]
    assert (stale["why"], "Look at what changes again" in stale["detail"]) == ("plan_changed", True)
    status, done = await sent(portal, "POST", f"{path}/approve", two, plan, "p-6")
    assert (status, done["state"], done["steps"][-1]["who"]) == (200, "approved", "api.hai")
    listed = (await sent(portal, "GET", "/proposals", one))[1]["proposals"]
    assert made["id"] in [each["id"] for each in listed]
    (row,) = await portal.fetch("SELECT goal_vnd FROM campaign WHERE slug = 'vnn'")
    assert row["goal_vnd"] == 6_000_000_000
