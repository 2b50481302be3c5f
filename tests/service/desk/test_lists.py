"""The lists that people work: whole while rows arrive, masked, and of an organisation nothing but its own."""

import argparse
import inspect
import re
from typing import Any

import pytest

from campaigns.gifts import folding, gift
from campaigns.gifts.listed import WORKLISTS
from campaigns.gifts.messages import FLAG_CHARGED
from service.commands import list as list_command
from service.desk.assembly import API_PREFIX
from service.desk.lists import SAID
from service.desk.roles import Act, Role
from service.web.words import Language, load_words
from tests.service.desk.test_api import sent
from tests.support.desk import logged_in, object_in, person, token_of
from tests.support.portal import SECRET_KEY, Portal, message

NUMBER = "84912345678"


async def wrong(portal: Portal, native_id: str, text: str = "VNN nam suat", code: str = "1408") -> None:
    """A message that does not count."""
    reply = await portal.post(message(native_id, text, short_code=code, msisdn=NUMBER))
    assert reply.status == 200


async def asked(portal: Portal, token: str, name: str, **query: str) -> Any:
    """A page of a list by API."""
    async with portal.http.get(
        f"{portal.base}{API_PREFIX}/lists/{name}", params=query, headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        return {"status": answer.status, **await answer.json(content_type=None)}


async def test_what_was_there_at_the_first_page_is_met_once_while_rows_arrive(desk_portal: Portal) -> None:
    portal = desk_portal
    token, _ = await token_of(portal, await person(portal, "trang", Role.FINANCE), Act.SEE_LISTS)
    there = [f"page-{number}" for number in range(7)]
    for native_id in there:
        await wrong(portal, native_id)
    met, cursor = [], ""
    for later in range(10):
        page = await asked(
            portal, token, "wrong-syntax", limit="2", campaign="vnn", **({"cursor": cursor} if cursor else {})
        )
        met += [row["native_id"] for row in page["rows"]]
        await wrong(portal, f"later-{later}")
        cursor = page["cursor"]
        if cursor is None:
            break
    assert [each for each in met if each.startswith(("page-", "later-"))] == there[::-1]
    (row,) = (await asked(portal, token, "wrong-syntax", limit="1"))["rows"]
    assert (row["number"], row["reason"], row["campaign"]) == ("••••••••678", "wrong_syntax", "vnn")
    for query in ({"cursor": "junk"}, {"cursor": cursor or "x" * 300}, {"limit": "0"}, {"limit": "9" * 50},
                  {"limit": "000000001" + "0" * 5_000}, {"since": "yesterday"}, {"account": "x" * 100}):  # fmt: skip
        assert (await asked(portal, token, "wrong-syntax", **query))["status"] == 400, query
    assert (await asked(portal, token, "nothing"))["status"] == 404


async def test_every_list_shows_its_own_and_no_number(desk_portal: Portal) -> None:
    portal = desk_portal
    await wrong(portal, "late-1", "UH", "1409")
    await wrong(portal, "lost-1", "xin chào")
    await wrong(portal, "wrong-1")
    await portal.fetch(FLAG_CHARGED, [1], ["wrong-1"])
    await portal.post(message("twice-1", "VNN 1", msisdn=NUMBER))
    await portal.post(message("twice-1", "VNN 2", msisdn=NUMBER))
    await portal.post(b"{}")
    await portal.fetch(
        """
        WITH notice AS (
            INSERT INTO charge_notice (id, account_id, native_id, digest, charge_id, status, amount_vnd, message_ref,
                                       flags, occurred_at, received_at, raw_id)
            SELECT gen_random_uuid(), 1, 'charge-of-' || $1, '', 'c-1', 'succeeded', 20000, 'never', '{}', now(),
                   now(), gen_random_uuid()
            RETURNING id
        ), waits AS (
            INSERT INTO waiting_event SELECT 1, 'never', id, 'charge' FROM notice
        )
        INSERT INTO review (event_id, kind, account_id, reason) SELECT id, 'charge', 1, 'amount differs' FROM notice
        """,
        NUMBER,
    )
    visitor = await logged_in(portal, await person(portal, "danh", Role.OPERATOR))
    for name in WORKLISTS:
        page = await visitor.get(f"/lists/{name}")
        assert (page.status, 'class="rows"' in page.text) == (200, True), name
        assert NUMBER not in page.text
    twice = (await visitor.get("/lists/conflicts?account=hub&reason=message")).text
    assert ("twice-1" in twice, "Hai tin nhắn khác nhau cùng một mã" in twice) == (True, True)
    assert "twice-1" not in (await visitor.get("/lists/conflicts?account=vina")).text
    assert (await visitor.get("/lists/conflicts?since=junk")).status == 400
    assert (await visitor.get("/lists/conflicts?since=2026-10-18&until=2026-10-17")).status == 400


async def test_a_manager_sees_nothing_of_another_organisation(desk_portal: Portal) -> None:
    portal = desk_portal
    await wrong(portal, "theirs", "VNN nam suat")
    await wrong(portal, "own", "BL nam suat", "1407")
    user_id = await person(portal, "chuthapdo", Role.MANAGER, "redcross")
    visitor = await logged_in(portal, user_id)
    token, _ = await token_of(portal, user_id, Act.SEE_LISTS)
    for page in ("", "/lists", "/lists/wrong-syntax", "/lists/wrong-syntax?campaign=vnn", "/lists/after-close"):
        text = (await visitor.get(page)).text
        assert "theirs" not in text
        assert "Cả nước chung tay" not in text
        assert ">vnn<" not in text
    assert "own" in (await visitor.get("/lists/wrong-syntax")).text
    for name in ("unallocated", "quarantine", "conflicts", "reviews", "orphan-charges"):
        assert (await visitor.get(f"/lists/{name}")).status == 404
        assert (await asked(portal, token, name))["status"] == 404
    rows = (await asked(portal, token, "wrong-syntax"))["rows"]
    assert {row["campaign"] for row in rows} == {"bao-lu"}
    refused = await asked(portal, token, "wrong-syntax", campaign="vnn")
    assert refused["status"] == 400
    assert refused == await asked(portal, token, "wrong-syntax", campaign="none"), "as one that is none"


async def test_the_command_shows_the_same_pages(
    desk_portal: Portal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", desk_portal.dsn)
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    for number in range(3):
        await wrong(desk_portal, f"cli-{number}", "UH", "1409")
    parser = argparse.ArgumentParser()
    list_command.add_arguments(parser)
    met, more = [], list[str]()
    while True:
        capsys.readouterr()
        await list_command.run(
            parser.parse_args(["after-close", "--account", "hub", "--limit", "2", "--json", *more])
        )
        page = object_in(capsys.readouterr().out)
        met += [row["native_id"] for row in page["rows"]]
        assert {row["number"] for row in page["rows"] if row["native_id"].startswith("cli-")} <= {"••••••••678"}
        if page["cursor"] is None:
            break
        more = ["--cursor", page["cursor"]]
    assert [each for each in met if each.startswith("cli-")] == ["cli-2", "cli-1", "cli-0"]


async def test_a_row_shows_all_that_is_stored_without_numbers_and_takes_notes(desk_portal: Portal) -> None:
    portal = desk_portal
    await wrong(portal, f"noted {NUMBER}")
    operator = await person(portal, "ghi.chu", Role.OPERATOR)
    token, _ = await token_of(portal, operator, Act.SEE_LISTS)
    visitor = await logged_in(portal, operator)
    stranger_id = await person(portal, "ghi.la", Role.MANAGER, "redcross")
    stranger = await logged_in(portal, stranger_id)
    foreign, _ = await token_of(portal, stranger_id, Act.SEE_LISTS)
    (row,) = (await asked(portal, token, "wrong-syntax", limit="1"))["rows"]
    address = f"/rows/{row['request']}"
    assert NUMBER not in (await visitor.get(address)).text
    # What stays for ever says something, and holds no number.
    for unfit in (" ", f"gọi lại {NUMBER}", f"gọi lại {NUMBER[-9:]}", "gọi lại 0977/123/456"):
        assert (await visitor.post(address, note=unfit)).status == 422
        refused = await sent(portal, "POST", f"{address}/notes", token, {"note": unfit}, "note-0")
        assert (refused[0], refused[1]["errors"][0]["path"]) == (400, "note"), refused
    assert (await visitor.post(address, note="đã gọi nhà mạng")).location == f"/desk{address}"
    assert "đã gọi nhà mạng" in (await visitor.get(address)).text
    status, noted = await sent(portal, "POST", f"{address}/notes", token, {"note": "chờ trả lời"}, "note-1")
    assert await sent(portal, "POST", f"{address}/notes", token, {"note": "chờ trả lời"}, "note-1") == (200, noted)
    assert (status, [each["note"] for each in noted["notes"]]) == (200, ["đã gọi nhà mạng", "chờ trả lời"])
    for mark in ("\u202e", "\u2028", "\u200b", "\x85"):
        unseen = await sent(portal, "POST", f"{address}/notes", token, {"note": f"a{mark}b"}, "note-3")
        assert (unseen[0], (await visitor.post(address, note=f"a{mark}b")).status) == (400, 422), ascii(mark)
    assert noted["parts"]["messages"][0]["reading"] == "wrong_syntax"
    assert NUMBER not in str(noted)
    # Of another organisation's row nothing is seen, and nothing is noted.
    assert (await stranger.get(address)).status == 404
    assert (await stranger.post(address, note="x")).status == 404
    assert (await sent(portal, "GET", address, foreign))[0] == 404
    assert (await sent(portal, "POST", f"{address}/notes", foreign, {"note": "x"}, "note-2"))[0] == 404
    assert len((await sent(portal, "GET", address, token))[1]["notes"]) == 2
    await portal.post(b"{")
    (kept,) = (await asked(portal, token, "quarantine", limit="1"))["rows"]
    shown = await sent(portal, "GET", f"/rows/{kept['request']}", token)
    assert (shown[0], shown[1]["parts"]["quarantined"][0]["outcome"]) == (200, "malformed")


def test_every_reason_of_reviews_and_conflicts_has_its_sentence() -> None:
    code = "".join(inspect.getsource(module) for module in (folding, gift))
    listed = r'listed\[notice\.id\] = "(.+)"|listed\.setdefault\(each\.id, "(.+)"\)'
    ways = listed + r'|(?:EXCEEDS|NAMES_LESS) = "(.+)"'
    reasons = {"".join(found) for found in re.findall(ways, code)}
    assert reasons | {"message", "charge", "reversal"} == SAID.keys()
    words = load_words()[Language.VI]
    assert len({words(key) for key in SAID.values()}) == len(SAID)
