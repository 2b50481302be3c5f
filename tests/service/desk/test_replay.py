"""Quarantined callbacks are tried and replayed at the desk: what was looked at is what counts, and once."""

from pathlib import Path

import orjson
import pytest

from service.commands.apply import apply_file
from service.desk.roles import Act, Role
from service.operations import quarantine_replay
from tests.service.desk.test_api import sent
from tests.support.desk import logged_in, person, token_of
from tests.support.portal import BOOK, Portal, book_file, eventually, message, signed

NEW_SECRET = "whsec_" + "dGhlIGRlc2sncyBuZXcgc2VjcmV0LCB0aGlydHkgYnl0ZXM="
HUB = BOOK[BOOK.index('[[gateway]]\ncode = "hub"') : BOOK.index('[[gateway]]\ncode = "vina"')]
MENDED = HUB.replace('secrets = ["', f'secrets = ["{NEW_SECRET}", "') + HUB.replace('"hub"', '"hub-two"')


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine nothing is passed over for the time that it takes."""
    monkeypatch.setattr(quarantine_replay, "REHEARSAL_SECONDS_MAX", 60.0)
    monkeypatch.setattr(quarantine_replay, "STATEMENT_SECONDS", 60.0)


async def test_what_was_tried_is_replayed_once_and_not_what_came_again_over_another_account(
    desk_portal: Portal, tmp_path: Path
) -> None:
    portal = desk_portal
    ids = {}
    for native_id in ("again-1", "again-2", "again-3"):
        body = orjson.dumps(message(native_id))
        answer = await portal.post(body, headers=signed(body, secret=NEW_SECRET))
        assert answer.status == 401
        ids[native_id] = answer.headers["x-portal1400-request"]
    await portal.service.intake.quarantine.stop()
    version = portal.service.catalog.book.version
    await apply_file(portal.opened, book_file(tmp_path, MENDED))

    async def is_mended() -> bool:
        return portal.service.catalog.book.version > version

    await eventually(is_mended)
    # The sender did not wait: the second came again over another account, and counts there.
    assert (await portal.post(message("again-2"), account="hub-two")).outcome == "accepted"

    operator = await person(portal, "phat.lai", Role.OPERATOR)
    visitor = await logged_in(portal, operator)
    two = f"{ids['again-1']} {ids['again-2']}"
    looked = await visitor.get(f"/quarantine?ids={ids['again-1']}&ids={ids['again-2']}")
    assert ("100.000" in looked.text, "200.000" in looked.text, "hub-two" in looked.text) == (True, False, True)
    before = await portal.fetch("SELECT count(*) AS counted FROM money_line")
    assert (await visitor.post("/quarantine", ids=two, seen="0" * 64, reason="x")).status == 409
    assert (await visitor.post("/quarantine", ids=two, seen=looked.field("seen"))).status == 422
    assert await portal.fetch("SELECT count(*) AS counted FROM money_line") == before
    done = await visitor.post("/quarantine", ids=two, seen=looked.field("seen"), reason="khóa mới")
    assert done.status == 200
    kept = await portal.fetch(
        "SELECT m.native_id, a.code FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id "
        "WHERE m.native_id LIKE 'again-%' ORDER BY 1"
    )
    assert [tuple(row) for row in kept] == [("again-1", "hub"), ("again-2", "hub-two")]
    (entry,) = await portal.fetch(
        "SELECT who, reason FROM audit_entry WHERE act = 'quarantine.replay' AND subject = $1", ids["again-1"]
    )
    assert tuple(entry) == ("phat.lai", "khóa mới")

    # The same by program; what is done is not done again.
    token, _ = await token_of(portal, operator, Act.REPLAY)
    both = [ids["again-1"], ids["again-3"]]
    status, tried = await sent(portal, "GET", f"/quarantine/trial?ids={','.join(both)}", token)
    assert (status, tried["counted"]["vnn"]["messages"]) == (200, 1)
    asked = {"ids": both, "seen": tried["seen"], "reason": "khóa mới"}
    first = await sent(portal, "POST", "/quarantine/replay", token, asked, "r-1")
    assert (first[0], first[1]["counted"]["vnn"]["vnd"]) == (200, 100_000)
    assert await sent(portal, "POST", "/quarantine/replay", token, asked, "r-1") == first
    status, changed = await sent(portal, "POST", "/quarantine/replay", token, asked, "r-2")
    assert (status, changed["why"]) == (409, "changed")
    (lines,) = await portal.fetch("SELECT count(*) AS counted FROM money_line")
    assert lines["counted"] == before[0]["counted"] + 2
