"""What moves money needs two people: whoever proposed it never approves it, by no page and no guessed address."""

import argparse
import asyncio
import html
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from campaigns.book.apply_file import book_from_file, load
from campaigns.book.apply_tables import CampaignTable, RouteTable
from campaigns.book.sentences import say
from campaigns.book.vietnamese import VIETNAMESE
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.commands import apply
from service.desk import approvals
from service.desk.plain_sentences import PLAIN
from service.desk.proposal_forms import form_of, tables_in
from service.desk.roles import Act, Role
from service.desk.spoken import spoken, spoken_again
from service.web.words import Language, load_words
from tests.service.desk.test_api import sent
from tests.service.desk.test_templates import filled
from tests.support.desk import Page, Visitor, logged_in, object_in, person, token_of
from tests.support.portal import BOOK, SECRET_KEY, Portal, eventually, message

FORM = {
    "slug": "hoa-hoan", "name_vi": 'Ủng hộ sau "hỏa hoạn"', "category": "fire", "organiser": "mttq",
    "decision": "7/QĐ",
    "opens_at": "2020-01-01T00:00", "closes_at": "2099-01-01T00:00", "goal_vnd": "1.000.000.000",
    "short_code": "1405", "keywords": "HH, hỏa hoạn", "grammar": "fixed", "unit_vnd": "20000",
}  # fmt: skip


async def kept(visitor: Visitor, **form: str) -> str:
    """Look at a proposal and keep it; its address."""
    looked = await visitor.post("/proposals/new", **form, look="1")
    assert looked.status == 200, looked.text
    made = await visitor.post("/proposals/new", **form, keep=looked.field("keep"))
    assert made.location is not None, made.text
    return made.location.removeprefix("/desk")


def plan_in(page: Page) -> str:
    """The plan that a page shows, as its form names it."""
    return page.field("plan")


def test_what_is_written_as_toml_is_read_back_as_it_was() -> None:
    file = load(BOOK.encode())
    again = load(toml_of(file.tables).encode())
    assert (again.organisations, again.campaigns) != ((), ())
    assert [each.organisation for each in again.organisations] == [each.organisation for each in file.organisations]
    for one, other in zip(again.campaigns, file.campaigns, strict=True):
        assert (one.slug, one.decision, one.goal_vnd) == (other.slug, other.decision, other.goal_vnd)
        assert [each.route for each in one.routes] == [each.route for each in other.routes]
    stored = tables_of(book_from_file(file).campaigns[0])
    assert {*stored, "withdrawn"} == {*CampaignTable.model_fields, "route"}, "a key that the desk would leave out"
    assert {*stored["route"][0], "withdrawn"} == RouteTable.model_fields.keys()
    odd = {"campaign": [{"slug": "x", "name_vi": 'a "b" \\ \x07 \n ệ'}]}
    assert 'name_vi = "a \\"b\\" \\\\ \\U00000007 \\n ệ"' in toml_of(odd)


def test_what_a_change_says_has_times_as_everywhere_at_the_desk() -> None:
    line = "campaign vnn: added, 2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 1/QĐ)"
    words = load_words()
    told = [spoken_again(line, words[each]).replace("\u00a0", " ") for each in (Language.VI, Language.EN)]
    assert told == [
        "chiến dịch vnn: thêm mới, 00:00 ngày 17/10/2026 đến 24:00 ngày 31/12/2026 (quyết định 1/QĐ)",
        "campaign vnn: added, 00:00 on 17 October 2026 to 24:00 on 31 December 2026 (decision 1/QĐ)",
    ]


FILE_WORDS = re.compile(
    r"\b(?:opens_at|closes_at|goal_vnd|unit_vnd|max_units|name_vi|name_en)\b|\bhotline,|00:00:00\+07|in the file"
    r"|\b(?:in the|its|another) grammar|\[\[(?:campaign|organisation)|\b1_000|in quotes|quotes, point|are a list"
)
"""What whoever fills in a form has never seen."""
OF_FILES_ALONE = ("holds text without quotes", "has single brackets", "holds the time 24:00", "{written}")


def test_sentences_for_people_call_fields_as_the_form_does() -> None:
    named = [each for each in VIETNAMESE if FILE_WORDS.search(re.sub(r"{\w+}", "", each))]
    assert [each for each in named if each not in PLAIN and not each.startswith(OF_FILES_ALONE)] == []
    for language in Language:
        words = load_words()[language]
        for template in PLAIN:
            made = say(template, **dict.fromkeys(re.findall(r"{(\w+)}", template), "x"))
            assert not FILE_WORDS.search(spoken(made, words)), (template, spoken(made, words))
    changed = "campaign vnn: goal_vnd 1_000_000_000 -> 2_000_000_000"
    told = [spoken_again(changed, load_words()[each]).replace("\u00a0", " ") for each in Language]
    assert told == [
        "chiến dịch vnn: “Mục tiêu, đồng”: 1.000.000.000 ₫ → 2.000.000.000 ₫",
        "campaign vnn: “Goal, VND”: ₫1,000,000,000 → ₫2,000,000,000",
    ]
    route = "campaign vnn: route 1408 VNN added (units of 20,000 VND, 1 to 100)"
    assert "từ khóa và số suất, mỗi suất" in spoken_again(route, load_words()[Language.VI])


def test_a_form_is_offered_for_what_it_says_whole() -> None:
    one = {"slug": "x", "opens_at": datetime.fromisoformat("2026-10-17T00:00+07:00"), "route": [{"unit_vnd": 5_000}]}
    assert form_of({"campaign": [one]}) == {"slug": "x", "opens_at": "2026-10-17T00:00", "unit_vnd": "5000"}
    seconds = {**one, "opens_at": datetime.fromisoformat("2026-10-17T00:00:01+07:00")}
    for more in ({"campaign": [one, one]}, {"campaign": [{**one, "route": [{}, {}]}]}, {"campaign": [seconds]},
                 {"campaign": [{**one, "reply_gift": "Cam on"}]},
                 {"campaign": [one], "organisation": [{}]}):  # fmt: skip
        assert form_of(more) is None, more
    typed = {"opens_at": "2026-10-17T00:00Z", "closes_at": "2026-10-17T09:00"}
    moments = [tables_in(typed)["campaign"][0][name].isoformat() for name in typed]
    assert moments == ["2026-10-17T00:00:00+00:00", "2026-10-17T09:00:00+07:00"]


async def test_a_campaign_is_opened_by_two_people_and_then_counts(desk_portal: Portal) -> None:
    portal = desk_portal
    proposer = await logged_in(portal, await person(portal, "de.xuat", Role.OPERATOR))
    second = await logged_in(portal, await person(portal, "duyet", Role.FINANCE))
    looked = await proposer.post("/proposals/new", **FORM, look="1")
    assert "HOA HOAN" in looked.text
    assert "1.000.000.000" in html.unescape(looked.text).replace("\u00a0", " ")
    address = await kept(proposer, **FORM)
    many = await second.post(f"{address}/try", code="1405", texts="HH\n" * 21)
    assert (many.status, "nhiều nhất 20 tin" in many.text) == (422, True), "none is left out in silence"
    tried = await second.post(f"{address}/try", code="1405", texts="hoả  hoạn!\nHH 5\n hh\nVNN 5\nHHX")
    found = re.findall(r"<li><code>([^<]*)</code>: <b>([^<]*)</b>(?:, <span class=.money.>([^<]*)<)?", tried.text)
    assert [(text, told, vnd.replace("\u00a0", " ")) for text, told, vnd in found] == [
        ("hoả  hoạn!", "được tính", "20.000 ₫"),
        ("HH 5", "sai cú pháp, không tính", ""),
        (" hh", "được tính", "20.000 ₫"),
        ("VNN 5", "không có từ khóa này", ""),
        ("HHX", "không có từ khóa này", ""),
    ]
    # As long as it is a draft nobody approves it, and donors hear nothing of it.
    assert (await second.post(f"{address}/approve", plan="")).status == 409
    assert (await proposer.post(f"{address}/propose")).location == f"/desk{address}"
    page = await second.get(address)
    plan = plan_in(page)
    # Not by its own proposer, whose page has no such button; not by a stale look; not by the database behind them.
    assert "/approve" not in (await proposer.get(address)).text
    own = await proposer.post(f"{address}/approve", plan=plan)
    assert (own.status, "không được tự duyệt" in own.text) == (409, True)
    assert "/refuse" not in (await proposer.get(address)).text
    assert (await proposer.post(f"{address}/refuse", reason="thôi")).status == 409, "it is theirs to withdraw"
    assert (await second.post(f"{address}/approve", plan="0" * 64)).status == 409
    with pytest.raises(asyncpg.CheckViolationError, match="proposal_needs_two"):
        await portal.fetch(
            "INSERT INTO proposal_step VALUES ($1, 9, 'approved', 'de.xuat', '{de.xuat}')",
            int(address.split("/")[-1]),
        )
    assert (await portal.post(message("early", "HH", short_code="1405"))).outcome == "unallocated"
    # Who presses twice has approved once; another who comes later is told so.
    both = await asyncio.gather(*(second.post(f"{address}/approve", plan=plan) for _ in range(2)))
    assert [answer.location for answer in both] == [f"/desk{address}"] * 2
    third = await logged_in(portal, await person(portal, "den.sau", Role.FINANCE))
    assert (await third.post(f"{address}/approve", plan=plan)).status == 409
    assert (await second.post(f"{address}/refuse", reason="thôi")).status == 409, "the other is no repeat"

    async def counts() -> bool:
        return "hoa-hoan" in portal.service.catalog.book.by_slug

    await eventually(counts)
    reply = await portal.post(message("counted", "Hỏa hoạn", short_code="1405"))
    assert reply.outcome == "accepted"
    (version,) = await portal.fetch("SELECT os_user, applied_by FROM book_version ORDER BY version DESC LIMIT 1")
    assert (version["os_user"], version["applied_by"]) == ("desk", "de.xuat, approved by duyet")
    acts = await portal.fetch("SELECT act, who FROM audit_entry WHERE act LIKE 'proposal.%' ORDER BY id")
    assert [tuple(row) for row in acts] == [
        ("proposal.make", "de.xuat"), ("proposal.proposed", "de.xuat"), ("proposal.approved", "duyet"),
    ]  # fmt: skip
    # What a stored campaign says now comes back as a form to be changed, and says nothing new by itself.
    for query, keywords in (("campaign=hoa-hoan", "HH, HOA HOAN"), (f"proposal={address[11:]}", FORM["keywords"])):
        page = await proposer.get(f"/proposals/new?{query}")
        again = {**filled(page), "changes": page.field("changes")}
        assert (again["closes_at"], again["keywords"], again["changes"]) == (FORM["closes_at"], keywords, "hoa-hoan")
        same = await proposer.post("/proposals/new", **again, look="1")
        assert (same.status, "không thay đổi gì" in same.text) == (422, True), query
    longer = await proposer.post("/proposals/new", **again | {"name_en": "After the fire"}, look="1")
    assert (longer.status, "After the fire" in longer.text, longer.field("changes")) == (200, True, "hoa-hoan")
    # What is meant as a new campaign changes none that there is.
    taken = await proposer.post("/proposals/new", **FORM | {"name_en": "After the fire"}, look="1")
    assert (taken.status, "Đã có chương trình với mã này" in taken.text) == (422, True)
    stored = tables_of(portal.service.catalog.book.by_slug["hoa-hoan"])
    # The rules of the book hold for two people as for one: a goal is not changed without a decision.
    goal = toml_of({"campaign": [{**stored, "goal_vnd": 5_000_000}]})
    assert (await proposer.post("/proposals/new", text=goal, look="1")).status == 422
    other = await kept(proposer, text=goal.replace("7/QĐ", "8/QĐ"))
    assert (await second.post(f"{other}/refuse", reason="quá nhỏ")).status == 409, "a draft is not refused"
    await proposer.post(f"{other}/propose")
    assert (await second.post(f"{other}/refuse")).status == 422
    assert (await second.post(f"{other}/refuse", reason="quá nhỏ")).location == f"/desk{other}"
    assert (await second.post(f"{other}/approve", plan=plan)).status == 409


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"unit_vnd": "hai mươi nghìn"}, 422, '<p class="problem">Giá trị một suất, đồng: phải là số nguyên'),
        ({"unit_vnd": "20.00"}, 422, "Giá trị một suất, đồng: phải là số nguyên"),
        ({"decision": " "}, 422, "Số quyết định còn thiếu"),
        ({"goal_vnd": "5.000.000.00"}, 422, "Mục tiêu, đồng: phải là số nguyên"),
        ({"goal_vnd": "1.000,000"}, 422, "Mục tiêu, đồng: phải là số nguyên"),
        ({"closes_at": "2019-01-01T00:00"}, 422, '<p class="problem">Đóng lúc: phải muộn hơn “Mở lúc”'),
        ({"closes_at": "2098-12-31T23:59"}, 200, "<li>sai, Đóng lúc: là thời điểm đầu tiên không còn được tính"),
        ({"goal_vnd": "5 000 000"}, 200, "<li>sai, Mục tiêu, đồng: sẽ là 5.000.000"),
        ({"keywords": "VNN", "short_code": "1408"}, 422, "VNN"),
        ({"text": "[[gateway]]\ncode = 'x'"}, 422, "Cổng kết nối"),
        ({"text": "[[campaign"}, 422, "TOML"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_form_that_cannot_be_used_says_where_and_keeps_what_was_typed(
    desk_portal: Portal, change: dict[str, str], status: int, told: str
) -> None:
    logins = desk_portal.service.desk.desk.clock().strftime("sai%H%M%S%f")
    visitor = await logged_in(desk_portal, await person(desk_portal, logins, Role.OPERATOR))
    page = await visitor.post("/proposals/new", **{**FORM, "slug": "sai", "keywords": "SAI", **change}, look="1")
    assert (page.status, told in page.text) == (status, True), page.text
    assert (
        html.escape(change.get("text", FORM["name_vi"]), quote=True)
        .replace("&quot;", "&#34;")
        .replace("&#x27;", "&#39;")
        in page.text
    )


async def test_a_draft_kept_twice_is_one_and_what_was_typed_since_is_looked_at_first(desk_portal: Portal) -> None:
    operator = await logged_in(desk_portal, await person(desk_portal, "hai.lan", Role.OPERATOR))
    form = {**FORM, "slug": "hai-lan", "keywords": "HAILAN"}
    seen = (await operator.post("/proposals/new", **form, look="1")).field("keep")
    changed = await operator.post("/proposals/new", **{**form, "keywords": "HAILUOT"}, keep=seen)
    assert (changed.status, 'value="HAILUOT"' in changed.text, "Bạn đã sửa sau khi xem" in changed.text) == (
        409, True, True,
    )  # fmt: skip
    assert not await desk_portal.fetch("SELECT FROM proposal WHERE content LIKE '%hai-lan%'"), "nothing is kept of it"
    form["keywords"], keep = "HAILUOT", changed.field("keep")
    made = await asyncio.gather(*(operator.post("/proposals/new", **form, keep=keep) for _ in range(3)))
    assert len({each.location for each in made if each.status == 303}) == 1, made
    assert len(await desk_portal.fetch("SELECT FROM proposal WHERE content LIKE '%hai-lan%'")) == 1


async def test_a_manager_proposes_and_sees_nothing_of_another_organisation(desk_portal: Portal) -> None:
    portal = desk_portal
    theirs = await logged_in(portal, await person(portal, "mat.tran", Role.OPERATOR))
    visitor = await logged_in(portal, await person(portal, "chu.thap", Role.MANAGER, "redcross"))
    address = await kept(theirs, **{**FORM, "slug": "cua-mat-tran", "keywords": "CMT"})
    number = address.split("/")[-1]
    assert (await visitor.get(address)).status == 404
    for act in ("propose", "approve", "refuse", "withdraw", "confirm"):
        assert (await visitor.post(f"{address}/{act}", reason="x", plan="")).status == 404
    assert f"/proposals/{number}" not in (await visitor.get("/proposals")).text
    form = {**FORM, "slug": "cua-chu-thap", "keywords": "CCT"}
    assert (await visitor.post("/proposals/new", **form, look="1")).status == 403
    assert "cua-mat-tran" not in (await visitor.get("/proposals/new?campaign=vnn")).text
    assert "VNN" not in (await visitor.get("/proposals/new?campaign=vnn")).text
    # Nor by taking a campaign of another organisation for their own.
    vnn = {
        **tables_of(portal.service.catalog.book.by_slug["vnn"]),
        "organiser": "redcross",
        "goal_vnd": 7,
        "decision": "7/QĐ",
    }
    # And where the file could not be applied, what refuses it is not told either: it knows of their campaign.
    for changes in ({}, {"opens_at": vnn["opens_at"] + timedelta(days=1)}):
        taken = await visitor.post("/proposals/new", text=toml_of({"campaign": [{**vnn, **changes}]}), look="1")
        assert taken.status == 403, taken.text
    own = await kept(visitor, **{**form, "organiser": "redcross"})
    assert (await visitor.get(own)).status == 200
    # Nor by a keyword that takes the gifts of another organisation's; the keyword of their own they may lengthen.
    for keyword in ("VNN 5", "vnn0", "VNN100"):
        taking = {**form, "organiser": "redcross", "slug": "lay", "short_code": "1408", "keywords": keyword}
        page = await visitor.post("/proposals/new", **taking, look="1")
        assert (page.status, "tổ chức khác" in page.text) == (403, True), keyword
        assert (await theirs.post("/proposals/new", **taking, look="1")).status == 200
    for code, keyword in (("1408", "VNNX"), ("1407", "BL2")):
        taking = {**form, "organiser": "redcross", "slug": "lay", "short_code": code, "keywords": keyword}
        assert (await visitor.post("/proposals/new", **taking, look="1")).status == 200, keyword
    assert (await theirs.post(f"{address}/withdraw")).location == f"/desk{address}"


async def test_proposals_are_told_a_page_at_a_time_and_none_is_left_out(
    desk_portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = desk_portal
    user = await person(portal, "nhieu.trang", Role.OPERATOR)
    operator, token = await logged_in(portal, user), (await token_of(portal, user, Act.SEE_PROPOSALS))[0]
    made = [
        await kept(operator, **{**FORM, "slug": f"trang-{number}", "keywords": f"TR{number}"}) for number in "123"
    ]
    assert (await operator.post(f"{made[2]}/withdraw")).status == 303
    (all_of_them,) = await portal.fetch("SELECT array_agg(id) AS ids FROM proposal")
    ids, cursor = list[int](), ""
    while not ids or cursor:
        status, page = await sent(portal, "GET", f"/proposals?limit=2{cursor}", token)
        assert status == 200, page
        ids += [each["id"] for each in page["proposals"]]
        cursor = f"&cursor={page['cursor']}" if page["cursor"] else ""
    assert sorted(ids) == sorted(all_of_them["ids"])
    assert (await sent(portal, "GET", "/proposals?cursor=1", token))[0] == 400
    monkeypatch.setattr(approvals, "LISTED_MAX", 1)
    address, seen = "/proposals", list[str]()
    while address:
        text = (await operator.get(address)).text
        seen += re.findall(r'<p><a href="/desk(/proposals/[0-9]+)"', text)
        following = re.search(r'href="/desk(/proposals\?behind=[^"]+)"', text)
        address = following[1] if following else ""
    assert seen == [f"/proposals/{each}" for each in ids]


async def test_what_takes_texts_from_a_campaign_opened_meanwhile_is_not_approved_by_its_own_organisation(
    desk_portal: Portal,
) -> None:
    portal = desk_portal
    operators = [await logged_in(portal, await person(portal, f"truc.{n}", Role.OPERATOR)) for n in "ab"]
    managers = [await logged_in(portal, await person(portal, f"doi.{n}", Role.MANAGER, "redcross")) for n in "ab"]
    longer = {**FORM, "slug": "dai", "organiser": "redcross", "keywords": "XYZ 1"}
    shorter = {**FORM, "slug": "ngan", "keywords": "XYZ", "grammar": "units", "max_units": "9"}
    taking = await kept(managers[0], **longer)
    await managers[0].post(f"{taking}/propose")
    opened = await kept(operators[0], **shorter)
    await operators[0].post(f"{opened}/propose")
    plan = plan_in(await operators[1].get(opened))
    assert (await operators[1].post(f"{opened}/approve", plan=plan)).status == 303

    async def is_read_by() -> bool:
        return "ngan" in portal.service.catalog.book.by_slug

    await eventually(is_read_by)
    page = await managers[1].post(f"{taking}/approve", plan=plan_in(await managers[1].get(taking)))
    assert (page.status, "tổ chức khác" in page.text) == (403, True)
    token, _ = await token_of(portal, await person(portal, "lay.api", Role.MANAGER, "redcross"), Act.APPROVE)
    asked = {"plan": plan_in(await managers[1].get(taking))}
    status, refused = await sent(portal, "POST", f"{taking}/approve", token, asked, "taking")
    assert (status, "not yours" in refused["detail"]) == (404, True), "nor by program"
    plan = plan_in(await operators[1].get(taking))
    assert (await operators[1].post(f"{taking}/approve", plan=plan)).status == 303, "an operator sees to both"


async def applied(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run `portal1400 apply ... --json`; the object it printed."""
    parser = argparse.ArgumentParser()
    apply.add_arguments(parser)
    capsys.readouterr()
    assert await apply.run(parser.parse_args([*words, "--json"])) == 0
    told = capsys.readouterr()
    found: dict[str, Any] = object_in(told.out)
    is_filed = found["proposal"] is not None
    last = told.err.splitlines()[-1:]
    assert is_filed == any(line.startswith("NOT APPLIED: ") for line in last), (
        "no draft is taken for what is in force"
    )
    return found


async def test_a_file_is_a_draft_once_the_desk_has_people_and_an_emergency_is_confirmed(
    desk_portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    portal = desk_portal
    for name, value in (("DATABASE_URL", portal.dsn), ("SECRET_KEY", SECRET_KEY), ("DATA_DIR", str(tmp_path)),
                        ("INTERNAL_LISTEN", "127.0.0.1:0")):  # fmt: skip
        monkeypatch.setenv(f"PORTAL1400_{name}", value)
    one = await logged_in(portal, await person(portal, "mot", Role.OPERATOR))
    two = await logged_in(portal, await person(portal, "hai", Role.OPERATOR))
    campaign = BOOK[BOOK.index("[[campaign]]") : BOOK.index('[[campaign]]\nslug = "old"')]
    gateway = BOOK[BOOK.index('[[gateway]]\ncode = "hub"') : BOOK.index('[[gateway]]\ncode = "vina"')]
    text = campaign.replace('"vnn"', '"tu-tep"').replace('"VNN"', '"TT"') + gateway.replace('"hub"', '"hub-hai"')
    (tmp_path / "book.toml").write_text(text, encoding="utf-8")
    filed = await applied(capsys, str(tmp_path / "book.toml"), "--yes", "--by", "An")
    assert (filed["applied"], filed["proposal"] is not None) == (False, True)
    again = await applied(capsys, str(tmp_path / "book.toml"), "--yes")
    assert again["proposal"] == filed["proposal"], "what waits already is not filed again"
    # The gateway, which is nobody's money yet, is there; the campaign is not, and its secret is in no proposal.
    assert await portal.fetch("SELECT FROM gateway_account WHERE code = 'hub-hai'")
    assert not await portal.fetch("SELECT FROM campaign WHERE slug = 'tu-tep'")
    assert not await portal.fetch("SELECT FROM proposal WHERE content LIKE '%whsec%' OR content LIKE '%gateway%'")
    address = f"/proposals/{filed['proposal']}"
    await one.post(f"{address}/propose")
    assert (await two.post(f"{address}/approve", plan=plan_in(await two.get(address)))).status == 303
    assert await portal.fetch("SELECT FROM campaign WHERE slug = 'tu-tep'")
    assert '<ul class="plain"><li>chiến dịch tu-tep: thêm mới, 00:00' in (await two.get(address)).text

    # What moves no money is applied at once: a name.
    named = text.replace("Cả nước chung tay", "Cả nước cùng nhau")
    (tmp_path / "book.toml").write_text(named, encoding="utf-8")
    assert (await applied(capsys, str(tmp_path / "book.toml"), "--yes"))["applied"]

    emergency = named.replace('"tu-tep"', '"khan-cap"').replace('"TT"', '"KC"')
    (tmp_path / "book.toml").write_text(emergency, encoding="utf-8")
    done = await applied(capsys, str(tmp_path / "book.toml"), "--yes", "--emergency", "bão số 9")
    assert (done["applied"], done["proposal"]) == (True, None)
    assert await portal.fetch("SELECT FROM campaign WHERE slug = 'khan-cap'")
    (row,) = await portal.fetch("SELECT id FROM proposal WHERE kind = 'emergency' AND reason = 'bão số 9'")
    address = f"/proposals/{row['id']}"
    page = await one.get(address)
    assert "chờ xác nhận" in page.text
    assert '<ul class="plain"><li>chiến dịch khan-cap: thêm mới, 00:00' in page.text, "what is confirmed is seen"
    assert (await one.post(f"{address}/withdraw")).status == 409, "it happened, and is not taken back"
    assert (await one.post(f"{address}/confirm")).location == f"/desk{address}"
    assert (await two.post(f"{address}/confirm")).status == 409
    acts = await portal.fetch("SELECT act, reason FROM audit_entry WHERE who LIKE 'os:%' AND act LIKE 'book.%'")
    assert ("book.apply", "bão số 9") in [tuple(row) for row in acts]
