"""The conformance kit, over every protocol we speak against one running service, and against services that err."""

import argparse
import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import asyncpg
import pytest

from gateways.registry import ADAPTERS
from gateways.wire.signatures import new_secret
from service.commands import conformance as command
from service.commands.opening import CommandRefused
from service.operations.conformance_runs import recorded
from service.simulator.conformance import run
from service.simulator.conformance.cases import CASES, Case
from service.simulator.conformance.report import Report
from service.simulator.links import link_of
from service.simulator.refused import SimulateRefused
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, SECRET_KEY, Portal, running
from tests.support.postgres import TestServer
from tests.support.protocols import account_table, code_of, settings_of

SECRETS = {name: new_secret() if name == "standard" else f"a-{name}-secret" for name in ADAPTERS}
OF_EVERY_PROTOCOL = frozenset({
    "names its request", "with Vietnamese letters", "an emoji beyond 16 bits", "an emoji cut in half",
    "signs of XML, URL and JSON", "longer than is kept", "+84", "twice", "same id, other content",
    "an attempt an hour old", "a wrong secret", "no proof", "broken off in the middle", "in chunks",
})  # fmt: skip
"""What a protocol's own words decide. `standard` plays all that there is; the rest is common to all."""
PLAYED_AT_ONCE = 4
CAMPAIGNS = BOOK[: BOOK.index("[[gateway]]")]


def table(name: str, *, is_test: bool = True) -> str:
    """The account of a protocol."""
    whole = account_table(name, [SECRETS[name]])
    return whole.replace("charging", "test = true\ncharging", 1) if is_test else whole


@pytest.fixture(scope="module")
async def spoken(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A service with a test account of every protocol, and one of one that is real."""
    real = table("kannel", is_test=False).replace('code = "kannel"', 'code = "real"')
    book = CAMPAIGNS + "\n".join([*map(table, ADAPTERS), real])
    folder = tmp_path_factory.mktemp("conformance")
    # On a busy machine nothing may go into the spool, from where it would be stored at leisure.
    async with (
        cloned_database(server) as dsn,
        running(dsn, folder, book, body_read_seconds="3", queue_wait_seconds="30") as started,
    ):
        yield started


def cases_of(name: str) -> tuple[Case, ...]:
    """What is played here of a protocol."""
    return tuple(case for case in CASES if name == "standard" or case.name in OF_EVERY_PROTOCOL)


async def played(portal: Portal, name: str, cases: tuple[Case, ...] | None = None, secret: str = "") -> Report:
    connection = await asyncpg.connect(portal.dsn)
    try:
        account = portal.service.catalog.accounts.by_code[code_of(name)]
        link = link_of(account.code, name, account.carrier, settings_of(name, [secret or SECRETS[name]]))
        return await run.conformance(
            portal.base,
            link,
            portal.service.catalog.book.by_slug["vnn"].routes[0],
            witness=command.witness_of(connection, account.id),
            cases=cases_of(name) if cases is None else cases,
            pause_seconds=0.01,
        )
    finally:
        await connection.close()


async def test_every_protocol_passes_and_no_money_has_moved(spoken: Portal) -> None:
    at_once = asyncio.Semaphore(PLAYED_AT_ONCE)

    async def in_turn(name: str) -> Report:
        async with at_once:
            return await played(spoken, name)

    reports = await asyncio.gather(*(in_turn(name) for name in ADAPTERS))
    failed = {
        report.account: [*case.lines()] for report in reports for case in report.cases if case.state == "failed"
    }
    assert failed == {}
    for report in reports:
        assert report.is_right
        skipped = {case.reason for case in report.cases if case.state == "skipped"}
        assert skipped <= {
            "the protocol has no batches",
            "its proof stands among its fields",
            "the protocol hands over no messages",
            "this account's sender posts no body",
        }
    assert len(reports[0].cases) == len(CASES) > 50
    for facts in ("message", "money_line", "charge_notice", "conflict", "quarantine"):
        assert await spoken.fetch(f"SELECT FROM {facts}") == [], facts
    told = "".join(json.dumps(report.document(), ensure_ascii=False) for report in reports)
    assert [secret for secret in SECRETS.values() if secret.removeprefix("whsec_") in told] == []
    assert re.search(r"(84|0)95[0-9]{7}", told) is None


async def test_a_service_that_errs_is_told_by_what_it_did(spoken: Portal) -> None:
    route = spoken.service.catalog.book.by_slug["vnn"].routes[0]

    async def says(case: Case, reply: str) -> Report:
        """A service that answers every request alike, and stores nothing."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {reply}\r\nx-portal1400-test: true\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            link = link_of("standard", "standard", "viettel", settings_of("standard", [SECRETS["standard"]]))
            return await run.conformance(target, link, route, cases=[case], pause_seconds=0.0)

    by_name = {case.name: case for case in CASES}
    wrong = {
        "as advertised": ("503 Busy", "the answer means later, not taken"),
        "names its request": ("200 OK", "the answer has no x-portal1400-request"),
        "a wrong secret": ("200 OK", "the answer means"),
        "empty": ("503 Busy", "503 asks for the same damage again"),
        "too large": ("200 OK", "the status is 200, not 413"),
        "waiting for 100 Continue": ("200 OK", "200 came where 100 Continue was waited for"),
        "ten without waiting": ("200 OK", "the answer means refused, not taken"),
    }
    for name, (reply, reason) in wrong.items():
        report = await says(by_name[name], reply)
        (case,) = report.cases
        assert (case.state, report.is_right) == ("failed", False), name
        assert case.reason.startswith(reason), name
        (told,) = Xml.fromstring(report.junit()).findall("testcase")
        assert (told.get("name"), told.find("failure") is not None) == (name, True)
        assert "sent" in "".join(case.lines())


async def test_only_a_test_account_is_played_and_nothing_is_sent_to_another(spoken: Portal) -> None:
    ready = spoken.opened
    async with ready.database.borrow() as connection:
        with pytest.raises(CommandRefused, match="real is no test account: what the kit sends would be money"):
            await command.played(connection, ready, "real", spoken.base)
        with pytest.raises(CommandRefused, match="no account has the code nobody"):
            await command.played(connection, ready, "nobody", spoken.base)
    real = link_of("real", "kannel", "viettel", settings_of("kannel", [SECRETS["kannel"]]))
    wrong = link_of("kannel", "kannel", "viettel", settings_of("kannel", ["another-secret"]))
    route = spoken.service.catalog.book.by_slug["vnn"].routes[0]
    for link, status in ((real, 200), (wrong, 403)):
        with pytest.raises(SimulateRefused, match=f"answers {status} without x-portal1400-test.*Nothing was sent"):
            await run.conformance(spoken.base, link, route)
    assert await spoken.fetch("SELECT FROM message") == []


async def test_the_command_prints_writes_and_says_by_its_code_how_it_went(
    spoken: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"DATABASE_URL": spoken.dsn, "SECRET_KEY": SECRET_KEY, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"PORTAL1400_{name}", value)
    junit = tmp_path / "camara.xml"
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = ["camara-billing", "--target", spoken.base, "--only"]
    code = await command.run(parser.parse_args([*given, "repeats", "--junit", str(junit)]))
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "pass  repeats: twice" in printed
    assert "5 passed, 0 failed, 0 skipped: camara-billing (camara_billing)" in printed
    assert await command.run(parser.parse_args([*given, "numbers", "--json"])) == 1, "nothing was proved"
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["counts"] == {"passed": 0, "failed": 0, "skipped": 4}
    assert Xml.fromstring(junit.read_bytes()).get("failures") == "0"
    assert recorded(tmp_path) == [], "a part of the cases is no run that anybody may go by"
    assert await command.run(parser.parse_args(given[:3])) == 0
    (last,) = recorded(tmp_path)
    assert (last.account, last.protocol, last.is_right, last.failed) == ("camara-billing", "camara_billing", True, 0)
    assert last.passed > 20
    with pytest.raises(CommandRefused, match="real is no test account"):
        await command.run(parser.parse_args(["real", "--json"]))
    with pytest.raises(CommandRefused, match="--target is no address"):
        await command.run(parser.parse_args(["real", "--target", "portal"]))
