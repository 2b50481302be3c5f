"""Hubs of Vietnam over real HTTP: repeats, twenty at once, conflicts, strangers, secrets in rotation, an outage."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateways.registry import SENDERS
from gateways.sender import Reply, Sms, Verdict
from service.simulator.links import Link, links_of
from tests.support.away import database_away, fill_disk, free_disk, replayed, require_invariants
from tests.support.databases import cloned_database
from tests.support.hubs import HUB_ACCOUNTS
from tests.support.portal import BOOK, Portal, running
from tests.support.postgres import TestServer

NETWORK = ["127.0.0.0/8"]
AT = datetime.fromisoformat("2026-01-01T12:00:00+07:00")
WRONG = "a-secret-of-nobody"
MONEY = "SELECT coalesce(sum(messages), 0) AS messages, coalesce(sum(vnd), 0)::bigint AS vnd FROM money_line"


def table(name: str) -> dict[str, Any]:
    """The whole `[[gateway]]` of a protocol."""
    common = {"carrier": "viettel", "charging": "on_message", "networks": NETWORK}
    return {"code": name.replace("_", "-"), "adapter": name, **common, **HUB_ACCOUNTS[name]}


def written(gateway: Mapping[str, Any]) -> str:
    """The same as TOML, of which JSON's strings and lists are a part."""
    return "\n[[gateway]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in gateway.items())


def link(name: str, which: int | None) -> Link:
    """The account as its hub has it: with one of the two secrets, or (None) with a wrong one."""
    own = table(name)
    for key, value in HUB_ACCOUNTS[name].items():
        if isinstance(value, list):
            own[key] = [WRONG if which is None else value[which]]
    return links_of([own], (name,), {}, ())[0][0]


def sms(number: int, name: str, text: str = "VNN 5") -> Sms:
    """A message; its id is of this protocol and number alone."""
    return Sms(number, f"{name}-{number}", "84950000001", "1408", text, "VNN", "viettel", None, AT)


async def post(portal: Portal, name: str, message: Sms, which: int | None = 0) -> tuple[Verdict, Reply]:
    """What the hub makes of the answer, and the answer."""
    sender = link(name, which).sender()
    asked = sender.request([message], AT)
    url = URL(portal.base + asked.address, encoded=True)
    async with portal.http.request(asked.method, url, headers=asked.headers, data=asked.body or None) as answer:
        reply = Reply(answer.status, answer.content_type, await answer.read())
    return sender.judge([message], reply), reply


async def money(portal: Portal) -> tuple[int, int]:
    """Messages and VND counted so far."""
    (row,) = await portal.fetch(MONEY)
    return int(row["messages"]), int(row["vnd"])


@pytest.fixture(scope="module")
async def hubs(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """One running service with an account of every protocol of this file."""
    folder: Path = tmp_path_factory.mktemp("hubs")
    book = BOOK[: BOOK.index("[[gateway]]")] + "".join(written(table(name)) for name in HUB_ACCOUNTS)
    async with cloned_database(server) as dsn, running(dsn, folder, book=book) as portal:
        yield portal


@pytest.mark.parametrize("name", HUB_ACCOUNTS)
async def test_a_gift_counts_once_however_often_it_comes(hubs: Portal, name: str) -> None:
    messages, vnd = await money(hubs)
    first = await post(hubs, name, sms(1, name))
    again = await asyncio.gather(*(post(hubs, name, sms(1, name), each % 2) for each in range(20)))
    at_once = await asyncio.gather(*(post(hubs, name, sms(2, name)) for _ in range(20)))
    assert {*again, *at_once[:1]} <= {first, at_once[0]}
    assert set(at_once) == {at_once[0]}
    assert (first[0], at_once[0][0]) == (Verdict.TAKEN, Verdict.TAKEN)
    kind = SENDERS[name]
    other = await post(hubs, name, sms(1, name, "VNN 6"))
    assert other[0] is (Verdict.CONFLICT if kind.tells_conflicts else Verdict.TAKEN)
    assert (await post(hubs, name, sms(3, name, "VNN many")))[0] is Verdict.TAKEN
    assert (await post(hubs, name, sms(4, name, "NOBODY 5")))[0] is Verdict.TAKEN
    assert (await post(hubs, name, sms(5, name), None))[0] is Verdict.REFUSED
    await post(hubs, name, replace(sms(5, name), msisdn="12"))
    assert await money(hubs) == (messages + 2, vnd + 200_000)


async def test_what_comes_in_an_outage_is_counted_afterwards(hubs: Portal) -> None:
    await replayed(hubs)
    usual = {name: await post(hubs, name, sms(10, name)) for name in HUB_ACCOUNTS}
    messages, vnd = await money(hubs)
    async with database_away(hubs):
        for name in HUB_ACCOUNTS:
            new, repeat = sms(11, name, "VNN 2"), sms(10, name)
            assert (await post(hubs, name, new))[0] is Verdict.TAKEN
            assert await post(hubs, name, repeat) == usual[name]
    await replayed(hubs)
    assert await money(hubs) == (messages + len(HUB_ACCOUNTS), vnd + 40_000 * len(HUB_ACCOUNTS))
    for name in HUB_ACCOUNTS:
        assert (await post(hubs, name, sms(11, name, "VNN 2")))[0] is Verdict.TAKEN
    await require_invariants(hubs.dsn)


async def test_whoever_can_keep_nothing_says_later(hubs: Portal) -> None:
    async with database_away(hubs):
        fill_disk(hubs)
        # Pages that were used before have room for some.
        first = next(iter(HUB_ACCOUNTS))
        for number in range(300):
            verdict, _ = await post(hubs, first, sms(20 + number, first, "NOBODY 5"))
            if verdict is not Verdict.TAKEN:
                break
        for name in HUB_ACCOUNTS:
            assert (await post(hubs, name, sms(400, name)))[0] is Verdict.LATER
        free_disk(hubs)
        for name in HUB_ACCOUNTS:
            assert (await post(hubs, name, sms(400, name)))[0] is Verdict.TAKEN
    await replayed(hubs)
