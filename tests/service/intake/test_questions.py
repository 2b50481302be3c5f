"""A sender proves its link by /ping and asks for its ids by /received, by its own factors and without a gift."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.away import database_away
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, ELSEWHERE, PATH_SECRET, Portal, Reply, message, running, signed, signed_account
from tests.support.protocols import SOAP_LOGIN, envelope, fetch, get_kannel

WRONG = "whsec_" + "QUJD" * 10
TRIAL = signed_account("trial", "test = true\n") + signed_account("elsewhere", network=ELSEWHERE)


@pytest.fixture(scope="module")
async def portal(server: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    async with (
        cloned_database(server) as dsn,
        running(dsn, tmp_path_factory.mktemp("questions"), BOOK + TRIAL) as started,
    ):
        yield started


async def ask(portal: Portal, question: str, body: Any = None, account: str = "hub", **changes: Any) -> Reply:
    """A signed question of the `standard` protocol."""
    raw = b"" if body is None else json.dumps(body).encode()
    return await fetch(portal, "POST", f"/gw/standard/{account}/{question}", data=raw, headers=signed(raw, **changes))


SELECT_STORED = """
SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM test_event)
     + (SELECT count(*) FROM quarantine WHERE outcome = 'malformed') AS all
"""


async def stored(portal: Portal) -> int:
    """Events, and callbacks that were understood by nobody; what is refused is kept behind its answer."""
    (row,) = await portal.fetch(SELECT_STORED)
    return int(row["all"])


async def test_a_ping_proves_every_factor_and_the_clock_and_stores_nothing(portal: Portal) -> None:
    before = await stored(portal)
    reply = await ask(portal, "ping", at=datetime.now(UTC) - timedelta(seconds=100))
    told = reply.json()
    assert (reply.status, told["proven"], told["account"], told["test"], told["peer"]) == (
        200, True, "hub", False, "127.0.0.1",
    )  # fmt: skip
    assert -103 < told["clock_ahead_seconds"] < -98
    assert datetime.fromisoformat(told["server_time"]).utcoffset() == timedelta(hours=7)
    trial = await ask(portal, "ping", account="trial")
    assert (trial.json()["test"], trial.headers["x-portal1400-test"]) == (True, "true")
    # Protocols that carry no proof of their own: the address; those with a login: the login.
    asked: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("GET", f"/gw/kannel/vina/{PATH_SECRET}/ping", {}),
        ("POST", "/gw/vn_soap_mo/soap/ping", {"authorization": SOAP_LOGIN}),
    )
    for method, path, headers in asked:
        reply = await fetch(portal, method, path, headers=headers)
        assert (reply.status, reply.json()["proven"]) == (200, True), path
    assert await stored(portal) == before


REFUSED: dict[str, tuple[str, dict[str, Any], int]] = {
    "a wrong secret": ("hub", {"secret": WRONG}, 401),
    "an old clock": ("hub", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, 401),
    "another network": ("elsewhere", {}, 401),
    "no account": ("nobody", {}, 401),
}


@pytest.mark.parametrize("question", ["ping", "received"])
@pytest.mark.parametrize("label", REFUSED)
async def test_who_fails_one_factor_hears_what_a_callback_would_hear(
    portal: Portal, label: str, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    account, changes, status = REFUSED[label]
    raw = json.dumps(message("m-0")).encode()
    callback = await portal.post(raw, account=account, headers=signed(raw, **changes))
    capsys.readouterr()
    reply = await ask(portal, question, account=account, **changes)
    assert reply.status == callback.status == status
    assert reply.json().keys() == callback.json().keys()
    assert reply.headers.keys() == callback.headers.keys()
    said = capsys.readouterr().out
    if label == "another network":
        assert "address not listed" in said
    if label == "a wrong secret":
        assert "signature wrong" in said


@pytest.mark.parametrize("label", ["standard", "kannel", "soap", "unread", "torn"])
async def test_a_gift_that_is_sent_to_ping_is_never_acknowledged(portal: Portal, label: str) -> None:
    before = await stored(portal)
    codes = {"kannel": "vina", "torn": "vina", "soap": "soap"}
    account, adapter = codes.get(label, "hub"), {"vina": "kannel", "soap": "vn_soap_mo"}.get(codes.get(label, ""))
    aside = {"adapter": adapter or "standard", "kind": "sent_to_ping", "peer": "listed"}

    async def counted() -> tuple[float, float]:
        return (
            await portal.metric("portal1400_callbacks_total", account=account, outcome="malformed"),
            await portal.metric("portal1400_turned_away_total", **aside),
        )

    malformed, sent_to_ping = await counted()
    query = "id=k-1&from=84950000001&to=1408&text=VNN+5"
    reply = {
        "standard": lambda: ask(portal, "ping", message("m-1")),
        "unread": lambda: ask(portal, "ping", {"type": "message", "text": "VNN 5"}),
        "kannel": lambda: fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}/ping?{query}"),
        "torn": lambda: fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}/ping?{query.replace('8495', 'x')}"),
        "soap": lambda: fetch(
            portal, "POST", "/gw/vn_soap_mo/soap/ping", data=envelope("1", "VNN 5", "84950000001", "1408"),
            headers={"authorization": SOAP_LOGIN, "content-type": "text/xml"},
        ),
    }[label]()  # fmt: skip
    told = await reply
    error = "not_understood" if label in ("unread", "torn") else "carries_a_message"
    assert (told.status, told.json()["error"], told.json()["proven"]) == (409, error, True)
    assert await stored(portal) == before
    # Nothing waits for a person, so it is no malformed callback; and who is left pointing there is seen.
    assert await counted() == (malformed, sent_to_ping + 1)


def window(minutes: int = 10, **more: Any) -> dict[str, Any]:
    """A question about the last minutes."""
    now = datetime.now(UTC) + timedelta(seconds=1)
    return {"from": (now - timedelta(minutes=minutes)).isoformat(), "to": now.isoformat(), **more}


async def test_ids_are_told_in_their_order_page_by_page_and_those_of_the_account_alone(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(database_dsn, tmp_path, BOOK + TRIAL) as portal:
        batch = {"type": "batch", "timestamp": "2026-11-21T08:30:00Z"}
        await portal.post(message("a-1"))
        await portal.post(batch | {"data": [message(f"b-{number}", "VNN xx") for number in range(3)]})
        await portal.post(message("t-1"), account="trial")
        await get_kannel(portal, "k-1")
        await portal.post({"type": "message.received"})
        whole = (await ask(portal, "received", window())).json()
        assert {(each["id"], each["kind"], each["said"]) for each in whole["ids"]} == {
            ("a-1", "message", "counted"),
            *((f"b-{number}", "message", "wrong_syntax") for number in range(3)),
        }
        assert (whole["ids"][0]["id"], whole["next"], whole["quarantined"]) == ("a-1", None, 1)
        assert "84950000001" not in json.dumps(whole)
        found: list[str] = []
        page: dict[str, Any] = {"next": None}
        while True:
            asked = window(limit=2) | ({"after": page["next"]} if page["next"] else {})
            page = (await ask(portal, "received", asked)).json()
            found += [each["id"] for each in page["ids"]]
            if page["next"] is None:
                break
        assert found == [each["id"] for each in whole["ids"]]
        (test,) = (await ask(portal, "received", window(), account="trial")).json()["ids"]
        assert (test["id"], test["test"]) == ("t-1", True)
        asked = window()
        query = f"from={asked['from']}&to={asked['to'].replace('+', '%2B')}"
        reply = await fetch(portal, "GET", f"/gw/kannel/vina/{PATH_SECRET}/received?{query}")
        assert [each["id"] for each in reply.json()["ids"]] == ["k-1"]
        async with database_away(portal):
            reply = await ask(portal, "received", window())
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            assert (await ask(portal, "ping")).status == 200


WRONG_QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "from"),
    "no time": ({"from": "yesterday", "to": "2026-11-21T20:00:00"}, "from"),
    "a number": ({"from": 1, "to": 2}, "from"),
    "before time": ({"from": "1999-01-01T00:00:00", "to": "1999-01-01T00:10:00"}, "from"),
    "out of range": ({"from": "0001-01-01T00:00:00+14:00", "to": "2026-11-21T20:00:00"}, "from"),
    "backwards": ({"from": "2026-11-21T20:10:00", "to": "2026-11-21T20:00:00"}, "to"),
    "too long": ({"from": "2026-11-21T20:00:00", "to": "2026-11-21T21:00:01"}, "to"),
    "too many": ({"from": "2026-11-21T20:00:00", "to": "2026-11-21T20:10:00", "limit": 1001}, "limit"),
    "after nobody": ({"from": "2026-11-21T20:00:00", "to": "2026-11-21T20:10:00", "after": "x"}, "after"),
}


@pytest.mark.parametrize("label", WRONG_QUESTIONS)
async def test_a_question_that_cannot_be_understood_is_told_where(portal: Portal, label: str) -> None:
    asked, path = WRONG_QUESTIONS[label]
    reply = await ask(portal, "received", asked)
    assert (reply.status, [each["path"] for each in reply.json()["errors"]]) == (400, [path])
