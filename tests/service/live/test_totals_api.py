"""/api/v1 over HTTP: the contract's objects to the letter, sums that agree, a refusal for every wrong question."""

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientSession

from tests.support.pages_site import ORANGE, POOR, Site, serving, totals
from tests.support.portal import Portal, eventually, message, running
from tests.support.promptness import is_prompt
from tests.support.protocols import SENDERS, fetch

TOTALS_KEYS = [
    "campaign", "version", "as_of", "messages", "units", "pledged_vnd", "confirmed_vnd", "received_vnd",
    "disbursed_vnd", "goal_vnd", "reversed", "by_carrier", "uncounted",
]  # fmt: skip
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+07:00")


async def shown(portal: Portal, messages: int, slug: str = "vnn") -> Any:
    """The totals, once they show so many messages."""

    async def is_shown() -> bool:
        return bool((await portal.totals(slug))["messages"] == messages)

    await eventually(is_shown)
    return await portal.totals(slug)


async def test_a_campaign_is_described_as_the_contract_says(lasting_portal: Portal) -> None:
    listed = await lasting_portal.get("/api/v1/campaigns")
    vnn, old = listed["campaigns"]
    assert vnn == await lasting_portal.get("/api/v1/campaigns/vnn")
    assert vnn == {
        "slug": "vnn",
        "name_vi": "Cả nước chung tay vì người nghèo",
        "name_en": "Hands together for the poor",
        "category": "poverty",
        "organiser": "mttq",
        "state": "open",
        "opens_at": "2020-01-01T00:00:00+07:00",
        "closes_at": "2099-01-01T00:00:00+07:00",
        "decisions": [
            {
                "decision": "1/QD",
                "opens_at": "2020-01-01T00:00:00+07:00",
                "closes_at": "2099-01-01T00:00:00+07:00",
            }
        ],
        "routes": [
            {"short_code": "1408", "keywords": ["VNN"], "grammar": "units", "unit_vnd": 20_000, "max_units": 100}
        ],
        "goal_vnd": 5_000_000_000,
    }
    assert (old["state"], old["name_en"], old["goal_vnd"]) == ("closed", old["name_vi"], None)


async def test_totals_of_a_campaign_without_gifts_are_zeros_of_version_0(lasting_portal: Portal) -> None:
    totals = await lasting_portal.totals("old")
    assert list(totals) == TOTALS_KEYS
    assert totals.pop("as_of")
    assert totals == {
        "campaign": "old", "version": 0, "messages": 0, "units": 0, "pledged_vnd": 0, "confirmed_vnd": None,
        "received_vnd": None, "disbursed_vnd": None, "goal_vnd": None, "reversed": {"messages": 0, "vnd": 0},
        "by_carrier": [],
        "uncounted": {"wrong_syntax": 0, "before_open": 0, "after_close": 0},
    }  # fmt: skip


async def test_totals_of_a_campaign_that_was_just_opened_come_with_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, address = Site(), "/api/v1/campaigns/da-cam-2026/totals"
    async with serving(site) as base, ClientSession(base) as http:

        async def asked() -> tuple[int, Any]:
            async with http.get(address) as answer:
                return answer.status, await answer.json(content_type=None)

        assert (await asked())[1]["detail"].startswith("the database is away")
        monkeypatch.setattr("service.live.totals_api.FIRST_SECONDS", 0.1)
        site.post(totals(POOR), seconds_ago=30)
        assert (await asked())[1]["detail"].startswith("the database is away"), "it was there once, and is not now"
        site.post(totals(POOR))
        status, refusal = await asked()
        assert (status, "published now" in refusal["detail"]) == (503, True), "that is no outage"
        monkeypatch.undo()
        asking = [asyncio.create_task(asked()) for _ in range(2)]
        await asyncio.sleep(0.1)
        site.post(totals(POOR))
        await asyncio.sleep(0.1)
        assert not any(each.done() for each in asking)
        site.post(totals(POOR), totals(ORANGE))
        assert [(status, found["campaign"]) for status, found in await asyncio.gather(*asking)] == [
            (200, "da-cam-2026")
        ] * 2


async def test_equal_version_is_equal_bytes_on_every_surface(portal: Portal) -> None:
    for number, sender in enumerate(SENDERS.values()):
        await sender.send(portal, f"m-{number}", f"VNN {number + 1}")
    await portal.post(message("m-wrong", "VNN x"))

    async def is_shown() -> bool:
        return bool((await portal.totals())["uncounted"]["wrong_syntax"] == 1)

    await eventually(is_shown)
    totals = await shown(portal, 3)
    assert [(each["carrier"], each["units"]) for each in totals["by_carrier"]] == [
        ("viettel", 1),
        ("vinaphone", 2),
        ("mobifone", 3),
    ]
    assert (totals["units"], totals["pledged_vnd"]) == (6, 120_000)
    assert RFC3339.fullmatch(totals["as_of"])
    alone = (await fetch(portal, "GET", "/api/v1/campaigns/vnn/totals")).body
    together = (await fetch(portal, "GET", "/api/v1/totals")).body
    async with portal.http.get(portal.base + "/api/v1/stream?campaign=vnn") as stream:
        first = b""
        while b"\n\nevent" not in first or not first.endswith(b"\n\n"):
            first += await stream.content.readany()
    assert alone in together
    assert b"data: " + alone + b"\n" in first
    assert b"." not in alone.replace(orjson.dumps(totals["as_of"]), b"")
    (stored,) = await portal.fetch("SELECT sum(version)::int AS version, max(as_of) AS as_of FROM campaign_total")
    assert (totals["version"], datetime.fromisoformat(totals["as_of"])) == tuple(stored)


async def test_orphan_charges_are_listed_until_their_message_comes_and_move_no_money(portal: Portal) -> None:
    def charge(number: int, status: str, ref: str | None) -> dict[str, Any]:
        data = {"charge_id": f"c-{number}", "amount": 100_000, "currency": "VND"} | (
            {"message_id": ref} if ref else {}
        )
        return {"type": f"charge.{status}", "timestamp": "2026-11-21T08:30:00Z", "data": data}

    async def orphans() -> tuple[int, int]:
        found = (await portal.get("/api/v1/totals"))["unallocated"]["orphan_charges"]
        return found["count"], found["vnd"]

    async def show(count: int) -> None:
        async def is_shown() -> bool:
            return await orphans() == (count, count * 100_000)

        await eventually(is_shown)

    for number, status in enumerate(["pending", "reserved", "succeeded", "failed", "cancelled"]):
        answer = await portal.post(charge(number, status, "m-1"))
        assert (answer.status, answer.json()) == (200, {"accepted": [f"c-{number}:{status}"]})
    for number in (7, 8, 9):
        await portal.post(charge(number, "succeeded", None))
    await show(4)
    again = await portal.post(charge(2, "succeeded", "m-1"))
    assert (again.outcome, again.json()) == ("duplicate", {"accepted": ["c-2:succeeded"]})
    # The message comes: its charge is no orphan any more, and the money is the message's alone.
    await portal.post(message("m-1", "VNN 5"))
    await show(3)
    await portal.post(charge(10, "succeeded", "m-1"))
    totals = await shown(portal, 1)
    assert (totals["pledged_vnd"], totals["messages"]) == (100_000, 1)
    await show(3)
    assert len(await portal.fetch("SELECT FROM money_line")) == 1
    assert len(await portal.fetch("SELECT FROM charge_notice")) == 9


SERIES: dict[str, list[tuple[str, int]]] = {
    "minute": [("2026-10-17T23:59:00", 1), ("2026-10-18T00:00:00", 2), ("2026-10-18T07:00:00", 1)],
    "hour": [("2026-10-17T23:00:00", 1), ("2026-10-18T00:00:00", 2), ("2026-10-18T07:00:00", 1)],
    "day": [("2026-10-17T00:00:00", 1), ("2026-10-18T00:00:00", 3)],
}
MOMENTS = ["2026-10-17T23:59:59", "2026-10-18T00:00:00", "2026-10-18T00:00:59", "2026-10-18T07:00:00"]


async def test_series_are_sums_per_bucket_by_message_time_in_vietnam(portal: Portal) -> None:
    for number, moment in enumerate(MOMENTS):
        await portal.post(message(f"m-{number}", "VNN 2", operator_time=moment))
    for bucket, expected in SERIES.items():
        series = await portal.get(f"/api/v1/campaigns/vnn/series?bucket={bucket}")
        assert [(point["at"], point["messages"]) for point in series["points"]] == [
            (f"{at}+07:00", messages) for at, messages in expected
        ], bucket
        assert all(point["pledged_vnd"] == 40_000 * point["messages"] for point in series["points"])
        assert all(sum(s["units"] for s in point["by_carrier"]) == point["units"] for point in series["points"])
        assert (series["from"], series["to"]) == ("2020-01-01T00:00:00+07:00", "2099-01-01T00:00:00+07:00")
    spans = {
        "from is inclusive": ("2026-10-18T00:00:00+07:00", "2026-10-18T08:00:00+07:00", 3),
        "to is exclusive": ("2026-10-17T00:00:00+07:00", "2026-10-18T00:00:00+07:00", 1),
        "another zone": ("2026-10-17T17:00:00Z", "2026-10-17T17:01:00Z", 2),
        "no zone is Vietnam's": ("2026-10-18T07:00:00", "2026-10-18T07:01:00", 1),
        "nothing there": ("2026-10-19T00:00:00Z", "2026-10-20T00:00:00Z", 0),
    }
    for label, (since, until, messages) in spans.items():
        path = f"/api/v1/campaigns/vnn/series?bucket=minute&from={quote(since)}&to={quote(until)}"
        points = (await portal.get(path))["points"]
        assert sum(point["messages"] for point in points) == messages, label
    unescaped = await portal.get("/api/v1/campaigns/vnn/series?from=2026-10-18T00:00:00+07:00")
    assert unescaped["from"] == "2026-10-18T00:00:00+07:00"


async def test_a_series_of_too_many_points_is_refused_and_the_largest_allowed_one_is_not(portal: Portal) -> None:
    fill = """
        INSERT INTO campaign_minute (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
        SELECT 1, '2026-01-01'::timestamptz + make_interval(mins => n), 'viettel', 0, 1, 1, 20000
        FROM generate_series($1::int, $2::int) AS n
    """
    await portal.fetch(fill, 1, 50_000)
    assert len((await portal.get("/api/v1/campaigns/vnn/series?bucket=minute"))["points"]) == 50_000
    await portal.fetch(fill, 50_001, 50_001)
    # Another span: the answer to the first stays good while nothing is published.
    answer = await fetch(portal, "GET", "/api/v1/campaigns/vnn/series?bucket=minute&to=2098-01-01")
    assert (answer.status, answer.json()["type"]) == (400, "urn:portal1400:problem:too-many-points")
    assert len((await portal.get("/api/v1/campaigns/vnn/series?bucket=day"))["points"]) == 36


SERIES_PATH = "/api/v1/campaigns/vnn/series"
REFUSED: dict[str, tuple[str, int, str]] = {
    "a bucket nobody has": (f"{SERIES_PATH}?bucket=week", 400, "bad-parameter"),
    "an empty bucket": (f"{SERIES_PATH}?bucket=", 400, "bad-parameter"),
    "a bucket given twice": (f"{SERIES_PATH}?bucket=hour&bucket=day", 400, "bad-parameter"),
    "a time that is none": (f"{SERIES_PATH}?from=yesterday", 400, "bad-parameter"),
    "a day that is none": (f"{SERIES_PATH}?to=2026-02-30T00:00:00Z", 400, "bad-parameter"),
    "a time in another alphabet": (f"{SERIES_PATH}?from=%D9%A2026-01-01", 400, "bad-parameter"),
    "a year too far": (f"{SERIES_PATH}?to=9999-12-31T23:59:59Z", 400, "bad-parameter"),
    "the year one": (f"{SERIES_PATH}?from=0001-01-01T00:00:00%2B14:00", 400, "bad-parameter"),
    "an end before its start": (f"{SERIES_PATH}?from=2026-02-01&to=2026-01-01", 400, "bad-parameter"),
    "a start after everything": (f"{SERIES_PATH}?from=2099-06-01", 400, "bad-parameter"),
    "a misspelt parameter": (f"{SERIES_PATH}?buckets=day", 400, "bad-parameter"),
    "a parameter where none is taken": ("/api/v1/totals?campaign=vnn", 400, "bad-parameter"),
    "a parameter on a campaign": ("/api/v1/campaigns/vnn?x=1", 400, "bad-parameter"),
    "a parameter on the list": ("/api/v1/campaigns?state=open", 400, "bad-parameter"),
    "an unknown campaign": ("/api/v1/campaigns/nobody", 404, "unknown-campaign"),
    "totals of an unknown campaign": ("/api/v1/campaigns/nobody/totals", 404, "unknown-campaign"),
    "a series of an unknown campaign": ("/api/v1/campaigns/nobody/series", 404, "unknown-campaign"),
    "a slug with a NUL": ("/api/v1/campaigns/v%00n/totals", 404, "unknown-campaign"),
    "half a character for a slug": ("/api/v1/campaigns/%ED%A0%80", 404, "unknown-campaign"),
    "an address nobody has": ("/api/v2/totals", 404, "not-found"),
    "a protocol nobody speaks": ("/gw/telex/hub", 404, "not-found"),
}


async def test_every_wrong_question_has_a_clear_refusal(lasting_portal: Portal) -> None:
    for label, (path, status, kind) in REFUSED.items():
        answer = await fetch(lasting_portal, "GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), label
        problem = answer.json()
        assert (problem["type"], problem["status"]) == (f"urn:portal1400:problem:{kind}", status), label
        assert len(problem["detail"]) > 15, label
        if kind == "bad-parameter":
            assert "query parameter " in problem["detail"], label
            # Who is refused is told of a parameter that was given.
            assert problem["parameter"] in path, label


METHODS: dict[str, tuple[str, str, int]] = {
    "posting totals": ("POST", "/api/v1/totals", 405),
    "deleting a campaign": ("DELETE", "/api/v1/campaigns/vnn", 405),
    "fetching over standard": ("GET", "/gw/standard/hub", 405),
    "replacing over kannel": ("PUT", "/gw/kannel/vina", 405),
    "HEAD of a callback": ("HEAD", "/gw/standard/hub", 405),
    "HEAD of a GET callback": ("HEAD", "/gw/kannel/vina", 405),
    "HEAD of the stream": ("HEAD", "/api/v1/stream", 405),
    "HEAD of totals": ("HEAD", "/api/v1/totals", 200),
}


async def test_methods_are_what_each_address_allows(lasting_portal: Portal) -> None:
    for label, (method, path, status) in METHODS.items():
        answer = await fetch(lasting_portal, method, path)
        assert answer.status == status, label
        assert ("Allow" in answer.headers) == (status == 405), label
        assert answer.headers["Server"] == "portal1400"


async def test_public_answers_may_be_read_by_any_page_and_tell_their_age(lasting_portal: Portal) -> None:
    for path in ("/api/v1/totals", "/api/v1/campaigns", "/api/v1/campaigns/vnn/totals", "/api/v1/campaigns/none"):
        answer = await fetch(lasting_portal, "GET", path)
        assert answer.headers["Access-Control-Allow-Origin"] == "*", path
    age = (await fetch(lasting_portal, "GET", "/api/v1/totals")).headers["x-portal1400-age-seconds"]
    assert float(age) >= 0
    assert is_prompt(float(age), 5)


async def test_probes_answer_on_the_internal_listener_alone(lasting_portal: Portal) -> None:
    for probe in ("/livez", "/readyz", "/startupz", "/metrics"):
        async with lasting_portal.http.get(lasting_portal.internal + probe) as answer:
            assert answer.status == 200, probe
        assert (await fetch(lasting_portal, "GET", probe)).status == 404


SLOW_BODY = b"POST /gw/standard/hub HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{"


async def test_a_carrier_that_hangs_half_way_through_a_body_is_let_go(database_dsn: str, tmp_path: Path) -> None:
    async with running(database_dsn, tmp_path, body_read_seconds="0.3") as portal:
        host, port = portal.base.removeprefix("http://").split(":")
        streams = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for _, writer in streams:
            writer.write(SLOW_BODY)
        # The others do not notice.
        assert (await portal.post(message("m-beside"))).status == 200
        async with asyncio.timeout(20):
            for reader, writer in streams:
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b"Connection: close" in answer
                writer.close()
