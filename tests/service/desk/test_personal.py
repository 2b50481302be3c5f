"""Personal data is opened one at a time, by the roles that may, for a reason that stays."""

import re
import time
from itertools import count

import pytest

from campaigns.gifts.privacy import select_acts
from service.desk.personal import PASSWORD_ELEMENT
from service.desk.roles import Role
from tests.support.desk import Page, Visitor, logged_in, person
from tests.support.portal import Portal, eventually, message
from tests.support.protocols import envelope, fetch

logins = (f"doc{number}" for number in count())
NUMBER = "84987650123"
TEXT = "VNN nam suat cho em"


async def reader(portal: Portal, role: Role = Role.AUDITOR) -> tuple[Visitor, str]:
    """Somebody's browser, and their login."""
    login = next(logins)
    return await logged_in(portal, await person(portal, login, role)), login


def shown(page: Page) -> str:
    """What was opened."""
    found = re.search(r'<section class="sheet" id="shown">(.*?)</section>', page.text, re.DOTALL)
    assert found, page.text
    return found[1]


async def test_a_number_is_opened_for_a_reason_and_the_reason_stays(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message("person-1", TEXT, msisdn=NUMBER))
    (row,) = await portal.fetch("SELECT id::text FROM message WHERE native_id = 'person-1'")
    visitor, login = await reader(portal)
    address = f"/personal/{row['id']}"
    assert address in (await visitor.get("/lists/wrong-syntax")).text
    asked = await visitor.get(address)
    assert (asked.status, NUMBER in asked.text, TEXT in asked.text) == (200, False, False)
    for form in ({"what": "number"}, {"what": "number", "reason": "hm"}, {"reason": "công văn 12"}):
        refused = await visitor.post(address, **form)
        assert (refused.status, NUMBER in refused.text) == (422, False)
    assert await portal.fetch("SELECT FROM audit_entry WHERE act = 'personal.read' AND who = $1", login) == []
    number = await visitor.post(address, what="number", reason="công văn 12/CV")
    assert NUMBER in shown(number)
    assert TEXT in shown(number)
    assert number.headers["Cache-Control"] == "no-store"
    callback = await visitor.post(address, what="callback", reason=f"công văn 13/CV, {NUMBER}")
    assert f"&#34;msisdn&#34;:&#34;{NUMBER}&#34;" in shown(callback).replace(" ", "")
    entries = await portal.fetch(
        "SELECT subject, after->>'what' AS what, reason, address FROM audit_entry "
        "WHERE act = 'personal.read' AND who = $1 ORDER BY id",
        login,
    )
    assert [tuple(each) for each in entries] == [
        (row["id"], "number", "công văn 12/CV", "127.0.0.1"),
        (row["id"], "callback", "công văn 13/CV, [redacted]", "127.0.0.1"),
    ]
    found = await visitor.get("/audit?act=personal.read")
    assert "công văn 12/CV" in found.text
    assert NUMBER not in found.text
    taken = await visitor.get(f"/audit.csv?act=personal.read&who={login}")
    assert taken.text.startswith("\ufeffid,recorded_at,who")
    assert (taken.text.count("\r\n"), "công văn 13/CV" in taken.text) == (3, True)
    async with portal.service.desk.desk.borrow() as connection:
        accesses = await select_acts(connection, 2)
    assert [(each["what"], each["acted_by"], each["reason"]) for each in accesses] == [
        ("personal.read", login, "công văn 13/CV, [redacted]"), ("personal.read", login, "công văn 12/CV"),
    ]  # fmt: skip
    # What was forgotten is told as that, also to whoever has the right.
    await portal.fetch("DELETE FROM message_person WHERE message_id = $1::uuid", row["id"])
    assert "đã được xóa" in shown(await visitor.post(address, what="number", reason="công văn 14/CV"))


async def test_a_quarantined_callback_is_opened_and_its_own_record_says_so(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(b'{"type": "message.received", "data": {"msisdn": "' + NUMBER.encode() + b'"}}')
    (kept,) = await portal.fetch("SELECT id::text FROM quarantine ORDER BY received_at DESC LIMIT 1")
    visitor, login = await reader(portal, Role.OPERATOR)
    address = f"/personal/{kept['id']}"
    assert "Mở số điện thoại" not in (await visitor.get(address)).text
    assert NUMBER in shown(await visitor.post(address, what="callback", reason="nhà mạng hỏi"))
    acts = await portal.fetch("SELECT what, os_user, acted_by, reason FROM quarantine_act WHERE acted_by = $1", login)
    assert [tuple(each) for each in acts] == [("opened", "desk", login, "nhà mạng hỏi")]


SELECT_PROOF = """
SELECT id::text FROM message WHERE native_id = $1
UNION ALL SELECT id::text FROM quarantine WHERE $1 = 'proof-2' AND adapter = 'vn_soap_mo'
"""


async def test_what_proves_a_sender_is_opened_for_nobody(desk_portal: Portal) -> None:
    portal = desk_portal
    proof = "<Username>portal</Username><n:Password xmlns:n='n'>{}</n:Password>"
    for native_id, shown_password in (("proof-1", "a-password-for-tests"), ("proof-2", "another")):
        whole = envelope(native_id, "VNN nam", NUMBER, "1408").decode()
        reply = await fetch(
            portal, "POST", "/gw/vn_soap_mo/soap", headers={"content-type": "text/xml; charset=utf-8"},
            data=whole.replace("<Operator>", proof.format(shown_password) + "<Operator>"),
        )  # fmt: skip
        assert (reply.status == 200) is (native_id == "proof-1"), "it is the login of this account"

        # What a stranger sent is kept behind the answer.
        async def is_kept(native_id: str = native_id) -> bool:
            return len(await portal.fetch(SELECT_PROOF, native_id)) == 1

        await eventually(is_kept)
        (kept,) = await portal.fetch(SELECT_PROOF, native_id)
        visitor, _ = await reader(portal, Role.OPERATOR)
        opened = shown(await visitor.post(f"/personal/{kept['id']}", what="callback", reason="nhà mạng hỏi"))
        assert NUMBER in opened
        assert "***" in opened
        assert shown_password not in opened


@pytest.mark.parametrize("place", ["x", "00000000-0000-7000-8000-000000000000"])
async def test_what_there_is_not_is_not_there(desk_portal: Portal, place: str) -> None:
    visitor, login = await reader(desk_portal)
    assert (await visitor.get(f"/personal/{place}")).status == 404
    assert (await visitor.post(f"/personal/{place}", what="number", reason="thử một lần")).status == 404
    assert await desk_portal.fetch("SELECT FROM audit_entry WHERE act = 'personal.read' AND who = $1", login) == []


def test_a_body_that_begins_a_password_over_and_over_keeps_nobody_waiting() -> None:
    # The CPU's time and not the clock's: a few milliseconds, and a second where each is followed to the body's end.
    began = time.thread_time()
    assert PASSWORD_ELEMENT.sub("", "<pass " * 5_000) == "<pass " * 5_000
    assert time.thread_time() - began < 0.3
