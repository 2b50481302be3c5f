"""The simulator against a running service: equal where it is equal, and loud where it is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateways.registry import ADAPTERS, SENDERS
from service.cli import main
from service.simulator.message import Fault
from service.simulator.options import Options
from service.simulator.playing import Progress
from service.simulator.refused import SimulateRefused
from service.simulator.report import Report
from service.simulator.runner import simulate
from service.simulator.series import check_series
from service.simulator.tally import Figures
from tests.support.databases import cloned_database
from tests.support.portal import BOOK, PATH_SECRET, SIGNING_SECRET, Portal, book_file, message, running
from tests.support.postgres import TestServer
from tests.support.processes import SERVICE, command
from tests.support.protocols import account_table

EVERY_FAULT = dict.fromkeys(Fault, 0.05)
SHORT = Options(rate=200, seconds=1.5, faults=EVERY_FAULT)
HISTORY = (Path(__file__).parents[2] / "campaigns" / "book" / "book.toml").read_text(encoding="utf-8")
WITH_CHARGE = """secrets = ["word"]
dialect.format = "form"
dialect.fields = { id = "id", msisdn = "from", short_code = "to", text = "text" }
dialect.charge = { status = "s", amount = "v", succeeded = ["ok"], failed = ["no"] }
dialect.signature = { place = "sign", kind = "plain", hash = "md5", parts = ["sorted", "secret"] }
dialect.answers.accepted.body = "OK"
dialect.example.body = "id=1&from=84950000001&to=1408&text=VNN&s=ok&v=20000&sign=9491ece5ad076d9c44a875ef38d8520d"
dialect.example.secret = "nobody-s"
dialect.example.means.id = "1"
dialect.example.means.msisdn = "84950000001"
dialect.example.means.short_code = "1408"
dialect.example.means.text = "VNN"
dialect.example.means.charge = "succeeded"
dialect.example.means.amount_vnd = 20_000
"""
# What becomes money otherwise than with its message, in each way there is.
CHARGED = (
    ("standard-report", "standard", "on_report", f'secrets = ["{SIGNING_SECRET}"]'),
    ("kannel-report", "kannel", "on_report", 'path_secret = "a-secret"'),
    ("jasmin-report", "jasmin", "on_report", 'path_secret = "a-secret"'),
    ("oneapi-report", "oneapi_sms", "on_report", 'path_secret = "a-secret"\nmessage_reference = "referenceCode"'),
    ("http-report", "vn_http_get", "on_report", 'path_secret = "a-secret"\ndialect = "ddviet"'),
    ("vas-report", "vascloud", "on_report", 'services = { S8 = "1408", S9 = "1409" }\npath_secret = "a-secret"'),
    ("generic-report", "generic", "on_report", WITH_CHARGE),
    ("payments", "camara_billing", "on_report", 'secrets = ["a-token"]\nmessages_of = "http-report"'),
    (
        "soap-reply", "vn_soap_mo", "on_reply",
        'dialect = "GetMOData"\nstyle = "reply"\nuser = "portal"\npassword = "a-password"\nrefuse_value = "1|"',
    ),
    (
        "onepay-reply", "onepay", "on_reply",
        'product = "sms"\nstyle = "reply"\naccess_key = "ak"\nsecrets = ["word"]\nrefuse_text = "khong"',
    ),
)  # fmt: skip
CHARGED_ACCOUNTS = "\n".join(
    f'[[gateway]]\ncode = "{code}"\nadapter = "{adapter}"\ncarrier = "viettel"\ncharging = "{charging}"\n'
    f'networks = ["127.0.0.0/8"]\n{keys}\n'
    for code, adapter, charging, keys in CHARGED
)
EVERY_PROTOCOL = "\n".join(
    (
        BOOK,
        CHARGED_ACCOUNTS,
        *(account_table(name, ["a-secret"]) for name in ADAPTERS if f'adapter = "{name}"' not in BOOK),
    )
)
ACCOUNTS = BOOK[BOOK.index("[[gateway]]") :]


@pytest.fixture(scope="module")
async def portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """One for all of them, as what grew is compared.

    It waits for its commits on a busy machine too: a conflict that is spooled is answered as taken.
    """
    folder = tmp_path_factory.mktemp("every-protocol")
    async with (
        cloned_database(server) as dsn,
        running(dsn, folder, EVERY_PROTOCOL, queue_wait_seconds="20") as made,
    ):
        yield made


async def played(portal: Portal, folder: Path, options: Options = SHORT, **more: object) -> Report:
    """Play the portal's book against it."""
    progress = more.get("progress")
    assert progress is None or callable(progress)
    return await simulate(portal.base, book_file(folder, EVERY_PROTOCOL), options, environment={}, progress=progress)


async def test_every_protocol_with_every_fault_come_out_equal_and_the_same_seed_is_new_gifts(
    portal: Portal, tmp_path: Path
) -> None:
    report = await played(portal, tmp_path)
    assert report.is_right, "\n".join(report.lines())
    document = report.document()
    assert document["equal"] is True
    assert document["sent"]["messages"] == 300
    assert min(document["sent"][kind] for kind in ("repeats", "conflicts", "disconnects")) > 0
    rows = await portal.fetch(
        "SELECT DISTINCT adapter, code FROM message JOIN gateway_account ON gateway_account.id = message.account_id"
    )
    assert {row["adapter"] for row in rows} == {name for name in ADAPTERS if SENDERS[name].carries_messages}
    assert document["sent"]["reports"] > 0
    assert {code for code, *_ in CHARGED} - {row["code"] for row in rows} == {"payments"}
    places = {(row.campaign, row.place) for row in report.rows}
    assert {("vnn", "wrong_syntax"), ("vnn", "before_open"), ("old", "after_close")} <= places
    assert (None, "unknown_keyword") in places
    second = await played(portal, tmp_path)
    assert second.is_right, "\n".join(second.lines())
    assert second.progress.messages == 300


async def test_one_gift_of_somebody_else_is_seen(portal: Portal, tmp_path: Path) -> None:
    posted: list[asyncio.Task[object]] = []

    def post_once(_: Progress) -> None:
        if not posted:
            posted.append(asyncio.create_task(portal.post(message("somebody-else", "VNN 7"))))

    report = await played(
        portal, tmp_path, Options(rate=50, seconds=1.5, faults={}, settle_seconds=3.0), progress=post_once
    )
    assert not report.is_right
    wrong = {(row.campaign, row.place): row.difference for row in report.rows if not row.is_right}
    gift = Figures(1, 7, 140_000)
    assert wrong == {("vnn", "viettel"): gift, ("vnn", "all carriers"): gift}
    assert "NOT EQUAL" in list(report.lines())[-1]


LOSE_ONE = """
UPDATE campaign_total SET messages = messages - 1
WHERE (campaign_id, carrier, slot) IN (
    SELECT campaign_id, carrier, slot FROM campaign_total WHERE messages > 0 LIMIT 1
)
"""


async def test_a_gift_that_went_missing_is_seen(portal: Portal, tmp_path: Path) -> None:
    lost: list[asyncio.Task[object]] = []

    def lose_once(progress: Progress) -> None:
        if progress.messages and not lost:
            lost.append(asyncio.create_task(portal.fetch(LOSE_ONE)))

    options = Options(rate=50, seconds=3.0, faults={}, settle_seconds=3.0)
    report = await played(portal, tmp_path, options, progress=lose_once)
    assert {row.difference for row in report.rows if not row.is_right} == {Figures(-1, 0, 0)}


async def test_a_target_that_knows_other_secrets_ends_the_run_at_once(portal: Portal, tmp_path: Path) -> None:
    path = book_file(tmp_path, BOOK.replace(PATH_SECRET, "another-path-secret"))
    options = Options(protocols=("kannel",), rate=200, seconds=60.0)
    with pytest.raises(SimulateRefused, match="refuses every callback of account vina"):
        await simulate(portal.base, path, options, environment={})


async def test_a_book_the_target_does_not_have_is_refused(portal: Portal, tmp_path: Path) -> None:
    path = book_file(tmp_path, BOOK.replace('slug = "vnn"', 'slug = "other"'))
    with pytest.raises(SimulateRefused, match="does not have other"):
        await simulate(portal.base, path, SHORT, environment={})


@pytest.fixture(scope="module")
async def historical(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service with the book of past drives and the accounts of the other tests."""
    folder = tmp_path_factory.mktemp("historical")
    # What a busy machine sends into the spool may be overtaken by its own conflict, as designed.
    async with (
        cloned_database(server) as dsn,
        running(dsn, folder, HISTORY + ACCOUNTS, queue_wait_seconds="20") as started,
    ):
        yield started


@pytest.mark.slow
async def test_the_replay_of_2020_shows_the_published_figures_at_the_published_moments(
    historical: Portal, tmp_path: Path
) -> None:
    faults = {Fault.DUPLICATES: 0.05, Fault.CONFLICTS: 0.02, Fault.DISCONNECT: 0.02}
    options = Options(profile="covid-2020", scale=1_000, rate=1_000, faults=faults)
    report = await simulate(historical.base, book_file(tmp_path, HISTORY + ACCOUNTS), options, environment={})
    assert report.is_right, "\n".join(report.lines())
    totals = await historical.totals("cv-2020")
    assert (totals["units"], totals["pledged_vnd"], totals["messages"]) == (6_432, 128_640_000, 2_151)
    moments = await check_series(historical.base, "covid-2020", 1_000)
    assert [moment.is_right for moment in moments] == [True] * 7
    # The same series is not that of another scale.
    assert not any(moment.is_right for moment in await check_series(historical.base, "covid-2020", 500))


@pytest.mark.slow
async def test_the_first_minute_of_2019_is_in_one_minute_of_the_series(historical: Portal, tmp_path: Path) -> None:
    options = Options(profile="launch-2019", rate=1_000)
    # Of a protocol that would be played, if its only account were one that moves figures.
    tried = account_table("onepay", ["word"]).replace("[[gateway]]", "[[gateway]]\ntest = true")
    file = book_file(tmp_path, HISTORY + ACCOUNTS + "\n" + tried)
    report = await simulate(historical.base, file, options, environment={})
    assert report.is_right, "\n".join(report.lines())
    (moment,) = await check_series(historical.base, "launch-2019", 1)
    assert moment.shown == Figures(1_500, 3_500, 70_000_000)


async def test_the_command_prints_one_json_object_and_ends_with_0(portal: Portal, tmp_path: Path) -> None:
    words = ("--target", portal.base, "--book", str(book_file(tmp_path)), "--seconds", "1", "--rate", "50", "--json")
    process = await asyncio.create_subprocess_exec(
        *SERVICE, "simulate", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["equal"] is True


def test_the_command_ends_with_1_and_a_sentence_where_nothing_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--target", "http://127.0.0.1:9", "--book", str(book_file(tmp_path))]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "cannot be reached" in said.err


def test_the_command_ends_with_2_without_a_book(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--target", "http://127.0.0.1:9"]) == 2
    assert "--book" in capsys.readouterr().err


async def test_the_command_ends_with_1_where_the_series_is_not_the_published_one(portal: Portal) -> None:
    ended = await command({}, "simulate", "--target", portal.base, "--profile", "covid-2020", "--check-series")
    assert ended.code == 1
    assert "404" in ended.err
