"""The desk's first page: figures that move, carriers that are told when they fall silent, and forms without texts."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest

from service.desk import charts, figures
from service.desk.forms import COUNT_MIN, FormCounts, FormKey, shape_of
from service.desk.pulse import CampaignPace, CarrierPace, Pulse
from service.desk.roles import Act, Role
from service.web.words import Language, load_words
from tests.service.desk.test_api import sent
from tests.support.desk import Visitor, logged_in, person, token_of
from tests.support.pages_site import BOOK, NOW, totals
from tests.support.portal import Portal, eventually, message


@pytest.mark.parametrize(
    ("code", "text", "shape", "near"),
    [
        ("1408", "VNN 5 suất", "VNN 9 SUAT", None),
        ("1408", "vnn-50 Nguyễn Văn An", "VNN - 99 □ □ □", None),
        ("1408", "VNN 0912345678", "VNN 9…9", None),
        ("1408", "VNM 5", "≈VNN 9", "VNN"),
        ("1408", "VN 5", "≈VNN 9", "VNN"),
        ("1408", "NVN5", "≈VNN 9", "VNN"),
        ("1409", "DACAN", "≈DA CAM", "DA CAM"),
        ("1409", "DA CAM ủng hộ", "DA CAM UNG HO", None),
        ("1408", "xin chào các bác", "□ □ □ □", None),
        ("1408", "nguyenvanan0912345678@x.vn", "□ 9…9 @ □ . □", None),
        ("1408", "a b c d e f g h i", "□ □ □ D □ □ □ □ …", None),
        ("1499", "VNN 5", "□ 9", None),
        ("1408", " ", "∅", None),
    ],
)
def test_a_shape_tells_what_is_wrong_and_nothing_of_the_text(
    code: str, text: str, shape: str, near: str | None
) -> None:
    found = shape_of(code, text, BOOK)
    assert (found.shape, found.near) == (shape, near)


def test_rare_shapes_are_summed_up_and_old_ones_forgotten() -> None:
    counts, often, rare = FormCounts(), FormKey("1408", "VNN 9", None, "vnn"), FormKey("1408", "□", None, None)
    for minute in range(COUNT_MIN):
        counts.add(NOW + timedelta(minutes=minute), [often])
    counts.add(NOW, [rare] * (COUNT_MIN - 1))
    told, others = counts.most()
    assert ([(each.shape, each.messages) for each in told], others) == ([("VNN 9", COUNT_MIN)], COUNT_MIN - 1)
    told, others = counts.most({"vnn": None})
    assert ([each.shape for each in told], others) == (["VNN 9"], 0)
    counts.forget_before(NOW.replace(second=0) + timedelta(minutes=1))
    assert counts.most() == ([], COUNT_MIN - 1)


def test_a_carrier_that_brings_nothing_of_its_usual_share_is_silent() -> None:
    words = load_words()[Language.VI]
    pace = CampaignPace(five=100, carriers={"viettel": CarrierPace(NOW, 100, 600)})
    lines = {line.carrier: line for line in figures.lines_of(totals(), pace, words)}
    assert {carrier: line.is_silent for carrier, line in lines.items()} == {
        "viettel": False, "mobifone": True, "unknown": False,
    }  # fmt: skip
    assert (lines["viettel"].share, lines["viettel"].share_now) == ("60,0%", "100,0%")
    assert lines["mobifone"].last_minute is None


@pytest.mark.parametrize(
    ("hour_vnd", "begins"), [(0, None), (4_900_000_000, "Theo tốc độ của 60 phút qua, đạt mục tiêu"), (
        1, "Theo tốc độ của 60 phút qua, chưa đạt")],
)  # fmt: skip
def test_a_projection_names_its_pace_and_is_none_without_one(hour_vnd: int, begins: str | None) -> None:
    words, campaign = load_words()[Language.VI], BOOK.campaigns[0]
    made = figures._projection(campaign, totals(), CampaignPace(hour_vnd=hour_vnd), NOW, words)
    assert (made is None) if begins is None else made is not None and made.startswith(begins)


@asynccontextmanager
async def watching(visitor: Visitor) -> AsyncIterator[asyncio.Queue[Any]]:
    """The pieces of the page as the stream sends them; None when the session has ended."""
    found: asyncio.Queue[Any] = asyncio.Queue()
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    async with visitor.portal.http.get(f"{visitor.portal.base}/desk/stream", headers={"Cookie": cookies}) as answer:
        assert answer.content_type == "text/event-stream"

        async def read() -> None:
            event = ""
            async for line in answer.content:
                name, _, value = line.decode().strip().partition(": ")
                event = value if name == "event" else event
                if name == "data" and event != "beat":
                    await found.put(orjson.loads(value) if event == "desk" else None)

        reading = asyncio.create_task(read())
        try:
            yield found
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_the_page_follows_what_happens_and_asks_once_a_second_for_everybody(desk_portal: Portal) -> None:
    portal, pulse = desk_portal, desk_portal.service.desk.pulse
    operator = await logged_in(portal, await person(portal, "truc", Role.OPERATOR))
    manager = await logged_in(portal, await person(portal, "lu", Role.MANAGER, "redcross"))
    for number in range(COUNT_MIN):
        await portal.post(message(f"shape-{number}", f"VNN {number} thung mi", msisdn=f"8491234567{number}"))
    of_vnn = "SELECT sum(vnd)::bigint AS vnd FROM money_line JOIN campaign ON id = campaign_id WHERE slug = 'vnn'"
    (sums,) = await portal.fetch(of_vnn)
    due = load_words()[Language.VI].number((sums["vnd"] or 0) + 2_000_000)
    async with watching(operator) as first, watching(operator) as second, watching(manager) as third:
        queries, began = pulse.queries, asyncio.get_running_loop().time()
        await portal.post(message("moves", "VNN 100"))
        moved = ["", ""]

        async def both_show_it() -> bool:
            # One may have begun a look earlier than the other, and have more pieces to tell: each is read by itself.
            for place, each in enumerate((first, second)):
                while not each.empty():
                    pieces = each.get_nowait()
                    moved[place] = pieces["card-vnn"] + pieces["forms"]
            return moved[0] == moved[1] and "VNN 9 □ □" in moved[0] and due in moved[0]

        await eventually(both_show_it)
        assert "thung" not in moved[0].lower()
        seconds = asyncio.get_running_loop().time() - began
        assert pulse.queries - queries <= seconds + 2, "one a second, however many watch"
        async with asyncio.timeout(20):
            theirs = await third.get()
        assert "card-bao-lu" in theirs
        assert "card-vnn" not in theirs
        assert "VNN" not in theirs["forms"]
        # The next look at the sessions finds this one gone.
        await operator.post("/account/everywhere")
        pulse._turn = 14
        async with asyncio.timeout(20):
            while await first.get() is not None:
                pass
        assert pulse.watching.keys() != set()
    page = await manager.get("")
    assert "Ủng hộ đồng bào vùng lũ" in page.text
    assert re.search(r"<noscript><meta http-equiv=.refresh", page.text)


async def test_of_five_minutes_and_of_sixty_the_running_one_is_the_last(desk_portal: Portal) -> None:
    portal, pulse = desk_portal, desk_portal.service.desk.pulse
    campaign = portal.service.desk.desk.book().by_slug["bao-lu"].id

    async def pace() -> CampaignPace:
        async with portal.service.desk.desk.borrow() as connection:
            await pulse._read_pace(connection)
        return pulse.pace.get(campaign, CampaignPace())

    before = await pace()
    minute = portal.service.desk.desk.clock().replace(second=0, microsecond=0)
    for ago in (5, 60):
        at = (minute - timedelta(minutes=ago)).isoformat()
        await portal.post(message(f"ago-{ago}", "BL", short_code="1407", operator_time=at))
    after = await pace()
    assert after.five <= before.five, "six minutes are not five"
    assert after.hour <= before.hour + 1, "61 minutes are not sixty"


async def test_a_page_counts_wrong_forms_while_nobody_follows_the_stream(desk_portal: Portal) -> None:
    portal, pulse = desk_portal, desk_portal.service.desk.pulse
    operator = await logged_in(portal, await person(portal, "khong.js", Role.OPERATOR))

    async def is_alone() -> bool:
        return pulse._task is None

    await eventually(is_alone)
    assert not Pulse(portal.service.desk.desk).has_forms, "before the first look nobody knows that there are none"
    for turn, number in enumerate(("mot", "hai")):
        for one in range(COUNT_MIN):
            await portal.post(message(f"no-js-{number}-{one}", f"VNN a / {one} b {number}"))
        pulse._forms_at = float("-inf")
        page = await operator.get("")
        assert f"<b>{COUNT_MIN * (turn + 1)}</b> <code>VNN □ / 9 □ □</code>" in page.text
    assert not pulse.watching


async def test_a_program_is_told_what_the_first_page_shows_of_what_it_may_see(desk_portal: Portal) -> None:
    portal = desk_portal
    for number in range(COUNT_MIN):
        await portal.post(message(f"told-{number}", f"VNN {number} lon sua"))
    press = (await token_of(portal, await person(portal, "so.may", Role.PRESS), Act.SEE_FIGURES))[0]
    manager = (await token_of(portal, await person(portal, "so.lu", Role.MANAGER, "redcross"), Act.SEE_FIGURES))[0]

    async def told(token: str) -> dict[str, Any]:
        status, answer = await sent(portal, "GET", "/figures", token)
        assert status == 200, answer
        return answer

    async def has_form() -> bool:
        forms = (await told(press))["forms"]
        return any(each["shape"] == "VNN 9 □ □" and each["messages"] >= COUNT_MIN for each in forms)

    await eventually(has_form)
    by_slug = {each["campaign"]: each for each in (await told(press))["campaigns"]}
    assert by_slug["vnn"]["state"] == "open"
    assert by_slug["vnn"]["totals"].keys() == (await portal.totals("vnn")).keys()
    first = (await sent(portal, "GET", "/figures?limit=1", press))[1]
    last = (await sent(portal, "GET", f"/figures?limit=1&cursor={first['cursor']}", press))[1]
    assert [each["campaigns"][0]["campaign"] for each in (first, last)] == list(by_slug), "no campaign is left out"
    assert last["cursor"] is None
    assert (await sent(portal, "GET", "/figures?cursor=nirgends", press))[0] == 400
    theirs = await told(manager)
    assert {each["campaign"] for each in theirs["campaigns"]} == {"bao-lu"}
    assert "VNN" not in str(theirs["forms"])


async def test_what_a_page_of_figures_has_no_room_for_is_named_on_it(
    desk_portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    press = await logged_in(desk_portal, await person(desk_portal, "het.cho", Role.PRESS))
    monkeypatch.setattr(figures, "CARDS_MAX", 1)
    monkeypatch.setattr(charts, "OFFERED_OPENLY_MAX", 1)
    page, drawn = (await press.get("")).text, (await press.get("/charts")).text
    assert page.count('class="sheet figures"') == 1
    assert "1 chương trình khác, không có số liệu trực tiếp" in page
    assert "2 chương trình khác</summary>" in drawn, "one has closed long ago"
    for slug in ("vnn", "bao-lu"):
        assert f"campaign={slug}" in page or f"/c/{slug}" in page, slug
        assert f'name="campaign" value="{slug}"' in drawn, slug


async def test_while_nobody_watches_nothing_is_asked(desk_portal: Portal) -> None:
    now = [1000.0]
    pulse = Pulse(desk_portal.service.desk.desk, lambda: now[0])
    await asyncio.gather(*(pulse.fresh() for _ in range(20)))
    assert pulse.queries == 1
    now[0] += 2.0
    await pulse.fresh()
    assert pulse.queries == 1
    now[0] += 2.0
    await pulse.fresh()
    assert pulse.queries == 2
    await pulse.stop()
