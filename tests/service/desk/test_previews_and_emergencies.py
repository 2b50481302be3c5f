"""What a proposal will look like is seen before it is proposed; what cannot wait is put into force by one person."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from campaigns.book.apply_file import load
from campaigns.book.book import VIETNAM, Book
from campaigns.book.book_after import book_after
from campaigns.book.campaign_changes import changes_of
from campaigns.book.replies import SMS_LETTERS_MAX
from campaigns.book.store import load_book, load_stored
from campaigns.lifecycle.toml_text import tables_of, toml_of
from service.desk.assembly import API_PREFIX
from service.desk.desk import HEADERS
from service.desk.pulse import QUERY_SECONDS, SESSIONS_EVERY
from service.desk.roles import Act, Role
from tests.service.desk.test_api import sent
from tests.service.desk.test_approvals import FORM, kept, plan_in
from tests.support.desk import Page, Visitor, logged_in, person, token_of
from tests.support.portal import Portal, eventually, message

UPCOMING = {
    "slug": "sap-mo", "name_vi": "Sắp mở", "category": "fire", "organiser": "mttq", "decision": "1/QĐ",
    "opens_at": datetime(2090, 1, 1, tzinfo=VIETNAM), "closes_at": datetime(2100, 1, 1, tzinfo=VIETNAM),
}  # fmt: skip
ROUTE = {"short_code": "1404", "keywords": ["SM", "SAPMO"], "grammar": "units", "unit_vnd": 20_000, "max_units": 9}
LATER = datetime(2091, 1, 1, tzinfo=VIETNAM)
THANKS = "Cam on Quy vi da ung ho {amount} dong. Ma bien nhan {receipt}. Ho tro {hotline}"


def how_to_give(text: str) -> str:
    """What a public page says of keywords, window and decisions, with the name above it."""
    found = re.search(r'<h1 .*?</h1>.*?(<section class="how".*?</section>)', text, re.DOTALL)
    assert found, text
    return found[0].split("<p class=")[0] + found[1]


async def public_page(portal: Portal, slug: str) -> str:
    """What everybody is served."""
    async with portal.http.get(f"{portal.base}/c/{slug}") as answer:
        return await answer.text()


async def approved(proposer: Visitor, second: Visitor, address: str) -> None:
    """Propose a draft, and approve it by somebody else."""
    await proposer.post(f"{address}/propose")
    assert (await second.post(f"{address}/approve", plan=plan_in(await second.get(address)))).status == 303


async def test_the_public_page_is_seen_before_it_is_proposed(desk_portal: Portal) -> None:
    portal = desk_portal
    operator = await logged_in(portal, await person(portal, "xem.lap", Role.OPERATOR))
    second = await logged_in(portal, await person(portal, "xem.duyet", Role.FINANCE))
    address = await kept(operator, **{**FORM, "slug": "xem-truoc", "keywords": "XT, xem trước"})
    assert f'href="/desk{address}/page?campaign=xem-truoc"' in (await second.get(address)).text
    page = await operator.get(f"{address}/page")
    assert page.status == 200, page.text
    assert {name: page.headers.get(name) for name in HEADERS} == HEADERS, "the desk's own, and never kept by a cache"
    assert "Access-Control-Allow-Origin" not in page.headers
    for told in ("Bản xem trước", '<meta name="robots" content="noindex">', 'data-money="pledged_vnd">0'):
        assert told in page.text, told
    assert "<script" not in page.text, "nothing follows totals that there are not"
    english = await second.get(f"{address}/page?campaign=xem-truoc&lang=en")
    assert ("A preview, not public" in english.text, 'href="?campaign=xem-truoc&amp;lang=vi"' in english.text) == (
        True, True,
    )  # fmt: skip
    press = await logged_in(portal, await person(portal, "xem.bao", Role.PRESS))
    stranger = await logged_in(portal, await person(portal, "xem.khac", Role.MANAGER, "redcross"))
    statuses = [(await each.get(f"{address}/page")).status for each in (Visitor(portal), press, stranger)]
    assert statuses == [303, 403, 404]
    assert (await operator.get(f"{address}/page?campaign=vnn")).status == 404
    for login, role, status in (("xem.may", Role.AUDITOR, 200), ("xem.may.khac", Role.MANAGER, 404)):
        user = await person(portal, login, role, *["redcross"] * (role is Role.MANAGER))
        asked = {"Authorization": f"Bearer {(await token_of(portal, user, Act.SEE_PROPOSALS))[0]}"}
        path = f"{portal.base}{API_PREFIX}{address}/page"
        async with portal.http.get(path, headers=asked) as answer:
            assert answer.status == status
            assert status == 404 or how_to_give(await answer.text()) == how_to_give(page.text)
        async with portal.http.get(f"{path}?lang=fr", headers=asked) as answer:
            assert answer.status == 400
    assert "xem-truoc" not in portal.service.catalog.book.by_slug
    await approved(operator, second, address)

    async def is_public() -> bool:
        return "xem-truoc" in portal.service.catalog.book.by_slug

    await eventually(is_public)
    assert how_to_give(await public_page(portal, "xem-truoc")) == how_to_give(page.text)
    assert (await operator.get(f"{address}/page")).status == 404, "the public page says it now"


async def test_a_change_is_seen_with_the_figures_that_there_are(desk_portal: Portal) -> None:
    portal = desk_portal
    operator = await logged_in(portal, await person(portal, "doi.lap", Role.OPERATOR))
    second = await logged_in(portal, await person(portal, "doi.duyet", Role.FINANCE))
    await portal.post(message("seen-before", "BL", short_code="1407"))
    board, book = portal.service.live.board, portal.service.catalog

    async def is_counted() -> bool:
        snapshot = board.get("bao-lu")
        return snapshot is not None and snapshot.totals.pledged_vnd == 20_000

    await eventually(is_counted)
    longer = {**tables_of(book.book.by_slug["bao-lu"]), "decision": "2/QĐ", "closes_at": UPCOMING["closes_at"]}
    address = await kept(operator, text=toml_of({"campaign": [longer]}))
    page = await operator.get(f"{address}/page")
    assert ("số hiện tại" in page.text, 'data-money="pledged_vnd">20.000' in page.text) == (True, True), page.text
    await approved(operator, second, address)

    async def is_read() -> bool:
        return len(book.book.by_slug["bao-lu"].decisions) == 2

    await eventually(is_read)
    assert how_to_give(await public_page(portal, "bao-lu")) == how_to_give(page.text)


def upcoming(route: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The table of a campaign that opens in many years."""
    return {**UPCOMING, **changes, "route": [{**ROUTE, **(route or {})}]}


async def looked_at(visitor: Visitor, content: str) -> Page:
    """The page that shows what a file would change."""
    page = await visitor.post("/proposals/new", text=content, look="1")
    assert page.status == 200, page.text
    return page


def without_ids(book: Book) -> list[Any]:
    """The campaigns; of new ones nobody knows the id before."""
    return sorted((replace(each, id=0) for each in book.campaigns), key=lambda each: each.slug)


async def test_the_book_is_foreseen_as_it_is_written(desk_portal: Portal) -> None:
    """Opened, corrected, withdrawn, opened again: each at once, each held against the database."""
    portal, desk = desk_portal, desk_portal.service.desk.desk
    visitor = await logged_in(portal, await person(portal, "thay.truoc", Role.OPERATOR))
    organisation = {"code": "moi", "name_vi": "Tổ chức mới"}
    dearer = {"keywords": ["SM"], "unit_vnd": 50_000}
    steps: Sequence[Mapping[str, Any]] = (
        {"organisation": [organisation], "campaign": [upcoming(organiser="moi")]},
        {"campaign": [upcoming(dearer, organiser="moi", goal_vnd=7_000_000, opens_at=LATER)]},
        {"campaign": [{"slug": "sap-mo", "withdrawn": True}]},
        {"campaign": [upcoming(name_vi="Mở lại")]},
    )
    for tables in steps:
        content = toml_of(tables)
        async with desk.borrow() as connection:
            stored = await load_stored(connection)
        foreseen = book_after(stored, changes_of(load(content.encode()), [], stored, desk.clock()))
        plan = (await looked_at(visitor, content)).field("plan")
        done = await visitor.post("/proposals/new/emergency", text=content, plan=plan, reason="thử")
        assert done.status == 303, done.text
        async with desk.borrow() as connection:
            written = await load_book(connection)
        assert written.version == foreseen.version
        assert without_ids(written) == without_ids(foreseen)
        assert written.organisations == foreseen.organisations


async def test_one_person_acts_at_once_and_everybody_sees_that_it_waits(desk_portal: Portal) -> None:
    portal = desk_portal
    roles = {Role.OPERATOR: (), Role.FINANCE: (), Role.PRESS: (), Role.MANAGER: ("mttq",)}
    users = {each: await person(portal, f"gap.{each}", each, *own) for each, own in roles.items()}
    visitors = {each: await logged_in(portal, user) for each, user in users.items()}
    operator, second = visitors[Role.OPERATOR], visitors[Role.FINANCE]
    stranger = await logged_in(portal, await person(portal, "gap.khac", Role.MANAGER, "redcross"))
    opens_at = datetime(2020, 1, 1, tzinfo=VIETNAM)
    content = toml_of({"campaign": [upcoming({"keywords": ["GAP"]}, slug="gap", opens_at=opens_at)]})
    looked = await looked_at(operator, content)
    form = {"text": content, "plan": looked.field("plan"), "reason": "đê vỡ"}
    path = "/proposals/new/emergency"
    assert path not in (await looked_at(visitors[Role.MANAGER], content)).text
    for role in (Role.FINANCE, Role.PRESS, Role.MANAGER):
        assert (await visitors[role].post(path, **form)).status == 403, role
    unreasoned = await operator.post(path, **{**form, "reason": " "})
    assert (unreasoned.status, unreasoned.field("plan")) == (422, form["plan"]), "what was looked at is still there"
    assert (await operator.post(path, **{**form, "plan": "0" * 64})).status == 409
    gateway = "[[gateway]]\ncode = 'x'\nadapter = 'hub'\ncarrier = 'viettel'"
    assert (await operator.post(path, text=gateway, reason="thử")).status == 422
    assert not await portal.fetch("SELECT FROM campaign WHERE slug = 'gap'"), "nothing of it has changed anything"
    done = await operator.post(path, **form)
    assert done.location is not None, done.text
    address = done.location.removeprefix("/desk")

    async def counts() -> bool:
        return "gap" in portal.service.catalog.book.by_slug

    await eventually(counts)
    assert (await portal.post(message("at-once", "GAP 2", short_code="1404"))).outcome == "accepted"
    assert (await operator.post(path, **form)).status == 422, "pressed again it changes nothing"
    # Everybody whose affair it is sees it, with or without the right to see proposals.
    waits = f"được gap.{Role.OPERATOR} áp dụng khẩn cấp"
    fronts = {each: (await visitor.get("")).text for each, visitor in visitors.items()}
    assert [each for each, text in fronts.items() if waits not in text] == []
    assert [each for each, text in fronts.items() if f'href="/desk{address}"' not in text] == [Role.PRESS]
    assert waits not in (await stranger.get("")).text
    assert "chờ xác nhận" in (await second.get(address)).text
    assert (await operator.post(f"{address}/confirm")).status == 409, "not by whoever did it"
    assert (await second.post(f"{address}/confirm")).status == 303
    assert waits not in (await second.get("")).text
    kept_of_it = await portal.fetch(
        "SELECT act, who, reason FROM audit_entry WHERE reason = 'đê vỡ' OR (act = 'proposal.confirmed' AND who = $1)"
        " ORDER BY id", f"gap.{Role.FINANCE}",
    )  # fmt: skip
    assert [tuple(row) for row in kept_of_it] == [
        ("book.apply", f"gap.{Role.OPERATOR}", "đê vỡ"),
        ("emergency.make", f"gap.{Role.OPERATOR}", "đê vỡ"),
        ("proposal.confirmed", f"gap.{Role.FINANCE}", None),
    ]
    (version,) = await portal.fetch(
        "SELECT os_user, applied_by FROM book_version WHERE changes[1] LIKE 'campaign gap: added%'"
    )
    assert tuple(version) == ("desk", f"gap.{Role.OPERATOR}, in an emergency")


async def test_a_kept_draft_becomes_an_emergency_from_its_own_page(desk_portal: Portal) -> None:
    portal = desk_portal
    manager = await logged_in(portal, await person(portal, "nhap.lap", Role.MANAGER, "mttq"))
    operator = await logged_in(portal, await person(portal, "nhap.truc", Role.OPERATOR))
    opens_at = datetime(2020, 1, 1, tzinfo=VIETNAM)
    content = toml_of({"campaign": [upcoming({"keywords": ["NHAP"]}, slug="nhap", opens_at=opens_at)]})
    address = await kept(manager, text=content)
    front = portal.service.catalog.book.organisations["mttq"]
    spare = await kept(operator, text=toml_of({"organisation": [asdict(front)]}) + content)
    act = f"{address}/emergency"
    assert act not in (await manager.get(address)).text, "for operators alone"
    page = await operator.get(address)
    assert f'action="/desk{act}"' in page.text
    form = {"plan": plan_in(page), "reason": "vỡ đê"}
    assert (await manager.post(act, **form)).status == 403
    assert (await operator.post(act, plan=form["plan"])).status == 422
    assert (await operator.post(act, plan="0" * 64, reason="vỡ đê")).status == 409
    assert not await portal.fetch("SELECT FROM campaign WHERE slug = 'nhap'"), "nothing has changed yet"
    done = await operator.post(act, **form)
    assert done.location is not None, done.text
    made = done.location.removeprefix("/desk")
    assert (await operator.post(act, **form)).status == 409, "a draft becomes one emergency"
    draft = (await operator.get(address)).text
    assert f"vỡ đê → {made.rpartition('/')[2]}" in draft
    assert "Đã rút lại" in draft
    # What the other draft would change is so by now: it is offered no more, and would wait for ever if it were taken.
    assert f"{spare}/emergency" not in (await operator.get(spare)).text
    idle = await operator.post(f"{spare}/emergency", plan=hashlib.sha256(b"").hexdigest(), reason="vỡ đê")
    assert (idle.status, "không có gì để áp dụng khẩn cấp" in idle.text) == (409, True), idle.text
    # Whoever wrote the draft is another than who put it into force, and confirms it.
    assert (await operator.post(f"{made}/confirm")).status == 409
    assert (await manager.post(f"{made}/confirm")).status == 303


async def test_replies_are_told_with_encoding_and_length(desk_portal: Portal) -> None:
    portal = desk_portal
    user_id = await person(portal, "tra.loi", Role.OPERATOR)
    texts = {"hotline": "19001530", "reply_thank_you": THANKS, "reply_closed": "Da ket thuc. Ho tro {hotline}"}
    content = toml_of({"campaign": [upcoming({"keywords": ["TRL"]}, slug="tra-loi", **texts)]})
    thanks = THANKS.format(amount="180.000", receipt="ACDEF-GHJKM-NPQRT", hotline="19001530")
    page = await looked_at(await logged_in(portal, user_id), content)
    assert f"Mã hóa GSM-7, {len(thanks)}/{SMS_LETTERS_MAX} ký tự 7 bit, một tin SMS" in page.text
    assert page.text.count(thanks) == 1, "told in one place"
    token, _ = await token_of(portal, user_id, Act.PROPOSE)
    status, made = await sent(portal, "POST", "/proposals", token, {"content": content}, "replies-1")
    assert status == 200, made
    first, *others = made["plan"]["replies"]
    assert first == {
        "campaign": "tra-loi", "kind": "thank_you", "text": thanks, "encoding": "GSM-7", "septets": len(thanks),
        "septets_max": 160, "messages": 1,
    }  # fmt: skip
    assert [each["kind"] for each in others] == ["closed"]


async def test_who_disables_somebody_is_told_how_long_open_pages_follow(desk_portal: Portal) -> None:
    admin = await logged_in(desk_portal, await person(desk_portal, "khoa.nguoi", Role.ADMIN))
    await person(desk_portal, "bi.khoa", Role.PRESS)
    text = (await admin.get("/people")).text
    assert f"trong vòng khoảng {int(SESSIONS_EVERY * QUERY_SECONDS)} giây" in text
    assert "đăng xuất ngay lập tức" not in text
