"""/inspect/{account}: what a carrier's engineer sees of each callback, step by step, and what nobody sees."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateways.registry import ADAPTERS
from service.intake import inspection
from service.operations import inspect_page
from service.operations.siblings import Siblings
from service.runtime.settings import HostPort
from service.runtime.tasks import cancel_and_wait
from tests.support.portal import BOOK, PATH_SECRET, SIGNING_SECRET, Portal, eventually, message, running, signed
from tests.support.protocols import fetch, get_kannel, post_soap

NUMBER = "84950000001"
TEXT = "VNN 5 chuc suc khoe"


@pytest.fixture
async def portal(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A running service whose account `vina` is for tests."""
    texts = 'hotline = "19001530"\nreply_thank_you = "Cam on Quy vi. {amount} {receipt} {hotline}"\n'
    book = BOOK.replace('code = "vina"', 'code = "vina"\ntest = true').replace("category", texts + "category", 1)
    async with running(database_dsn, tmp_path, book) as started:
        yield started


class Looking:
    """A viewer's stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.raw = b""
        self._answer = answer

    async def next(self) -> dict[str, Any]:
        """The next callback."""
        async with asyncio.timeout(10):
            async for line in self._answer.content:
                self.raw += line
                if line.startswith(b"data: "):
                    found: dict[str, Any] = json.loads(line[6:])
                    return found
        raise AssertionError("the stream has ended")

    async def steps(self) -> dict[str, dict[str, Any]]:
        """The steps of the next, by name."""
        return {step["step"]: step for step in (await self.next())["steps"]}


@asynccontextmanager
async def looking(portal: Portal, account: str) -> AsyncIterator[Looking]:
    async with portal.http.get(f"{portal.internal}/inspect/{account}/stream") as answer:
        assert answer.content_type == "text/event-stream"
        await answer.content.readline()
        yield Looking(answer)


async def test_each_step_is_told_and_no_secret_number_or_text_of_a_donor(portal: Portal) -> None:
    async with looking(portal, "hub") as hub, looking(portal, "vina") as vina, looking(portal, "nobody") as nobody:
        await portal.post(message(f"m-{NUMBER}", TEXT))
        steps = await hub.steps()
        assert [steps[name]["passed"] for name in ("source address", "path secret", "proof in the request")] == [
            True, None, True,
        ]  # fmt: skip
        assert steps["message"]["fields"]["msisdn"] == "84 and 9 digits"
        assert steps["message"]["fields"]["text"] == f"{len(TEXT)} characters"
        assert steps["message"]["fields"]["short_code"] == "1408"
        assert steps["reading"] == {"step": "reading", "says": "wrong_syntax", "campaign": "vnn", "keyword": "VNN"}
        assert (steps["outcome"]["says"], steps["answer"]["says"]) == ("accepted", "200 application/json")

        body = b'{"type":"message.received","data":{"message_id":"m","msisdn":"x","short_code":"1408","text":"VNN"}}'
        await portal.post(body, headers=signed(body))
        malformed = [step for step in (await hub.next())["steps"] if step["step"] == "field"]
        assert malformed[0]["says"].startswith("data.msisdn: ")

        await portal.post(message("m-2"), headers={"webhook-id": "x"})
        steps = await hub.steps()
        assert (steps["proof in the request"]["passed"], steps["outcome"]["says"]) == (False, "unauthenticated")
        assert "message" not in steps, "nothing is understood of what was not proved"

        await fetch(portal, "PUT", "/gw/standard/hub")
        assert (await hub.steps())["answer"]["says"] == "405"
        await fetch(portal, "POST", "/gw/standrad/hub")
        assert (await hub.steps())["address"]["says"].startswith("no protocol of ours")

        await get_kannel(portal, "k-1", TEXT)
        steps = await vina.steps()
        assert steps["message"]["fields"]["text"] == TEXT, "of a test account"
        assert steps["reading"]["folded"] == TEXT.upper()
        await get_kannel(portal, "k-2", path_secret="a-guess-of-theirs")
        assert (await vina.steps())["path secret"] == {"step": "path secret", "passed": False, "says": "wrong"}

        await get_kannel(portal, "k-3", account="nobody")
        assert (await nobody.steps())["address"] == {"step": "address", "passed": False, "says": "unknown account"}
        seen = hub.raw + vina.raw + nobody.raw
    for hidden in (NUMBER, PATH_SECRET, SIGNING_SECRET.removeprefix("whsec_"), "a-guess-of-theirs"):
        assert hidden.encode() not in seen, hidden
    assert TEXT.encode() not in hub.raw


async def test_the_reply_to_a_donor_and_its_receipt_code_are_not_shown(portal: Portal) -> None:
    async with looking(portal, "soap") as soap:
        for number in ("first", "first"):
            assert b"Cam on Quy vi. 100.000 " in (await post_soap(portal, number)).body
            assert (await soap.steps())["answer"]["body"].endswith(" characters, with the reply to the donor")
        await post_soap(portal, "wrong", number="12")
        assert "GetMOData.UserID" in (await soap.steps())["answer"]["body"]
    assert b"Cam on" not in soap.raw


async def test_nothing_is_told_while_nobody_looks_and_who_does_not_read_misses_the_oldest(portal: Portal) -> None:
    looked_at = portal.service.intake.intake.inspection
    assert looked_at.codes == frozenset()
    with looked_at.watching("hub") as viewer:
        assert looked_at.codes == {"hub"}
        for number in range(inspection.WAITING_MAX + 3):
            looked_at.show("hub", {"number": number})
        first = await viewer.next()
        assert first == {"number": 3, "left_out": 3}
        assert await viewer.next() == {"number": 4}
        for _ in range(inspection.EXPLAINED_PER_SECOND_MAX * 3):
            looked_at.explain_soon("hub", dict)
        with ExitStack() as others:
            for _ in range(inspection.VIEWERS_MAX - 1):
                others.enter_context(looked_at.watching("a"))
            with pytest.raises(inspection.HouseFull):
                others.enter_context(looked_at.watching("a"))
            async with portal.http.get(f"{portal.internal}/inspect/hub/stream") as full:
                assert full.status == 503
    async with portal.http.get(f"{portal.internal}/inspect/hub") as page:
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "EventSource" in await page.text()
    async with portal.http.get(f"{portal.base}/inspect/hub") as page:
        assert page.status == 404


async def test_what_cannot_be_explained_breaks_no_callback(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(ADAPTERS["vn_soap_mo"], "checked", fails)
    async with looking(portal, "soap"):
        assert (await post_soap(portal, "s-1")).status == 200


async def test_another_worker_s_callbacks_are_seen_too_and_the_end_of_the_service_ends_the_stream(
    portal: Portal,
) -> None:
    port = int(portal.internal.rpartition(":")[2])
    own = portal.service.keyring.key_check.hex()[:16]
    seen: list[Any] = []
    beside = Siblings(HostPort(host="127.0.0.1", port=port), port + 1, own)
    tasks = await beside.follow("/inspect/hub/stream?own", seen.append)
    try:
        assert len(tasks) == 1
        await portal.post(message("m-1"))

        async def is_seen() -> bool:
            return len(seen) == 1

        await eventually(is_seen)
        assert seen[0]["account"] == "hub"
    finally:
        await cancel_and_wait(*tasks)
    stranger = Siblings(HostPort(host="127.0.0.1", port=port), port + 1, "another's")
    assert await stranger.follow("/inspect/hub/stream?own", seen.append) == []
    async with portal.http.get(f"{portal.internal}/inspect/hub/stream") as answer:
        await answer.content.readline()
        portal.service.intake.intake.inspection.end()
        async with asyncio.timeout(20):
            assert await answer.content.read() == b"\n"
    assert inspect_page.COMMENT_SECONDS < 60
