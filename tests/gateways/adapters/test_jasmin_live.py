"""A real Jasmin between a message centre and us: what it hands over counts once, and it carries our replies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.databases import cloned_database
from tests.support.fronts import Tap, tapped
from tests.support.jasmin import IS_HERE, Jasmin, jasmin
from tests.support.portal import BOOK, Portal, eventually, running
from tests.support.postgres import TestServer
from tests.support.smsc import MessageCentre, message_centre

pytestmark = [
    pytest.mark.jasmin,
    pytest.mark.slow,
    pytest.mark.skipif(not IS_HERE, reason="needs .venv-jasmin, rabbitmq-server and redis-server (`make jasmin`)"),
]

SECRET = "tram-cuu-tro-2"
PLAIN, CHARGED = "vina-jasmin", "vina-charged"
"""The account whose messages are the charge, and the one that charges by the receipt of our reply."""
PAGE = (Path(__file__).parents[3] / "docs" / "carriers" / "jasmin.md").read_text(encoding="utf-8")
CONNECTOR = PAGE[PAGE.index("httpccm -a") :].partition("```")[0]
THROWER = PAGE[PAGE.index("[deliversm-thrower]") :].partition("```")[0]
"""What carriers' engineers are told to configure, to the letter."""
REPLY = "Cam on Quy vi da ung ho {amount} dong. Ma {receipt}. Ho tro {hotline}"
ACCOUNTS = """
[[gateway]]
code = "{code}"
adapter = "jasmin"
carrier = "from_message"
carriers = {{ vnp_rx = "vinaphone" }}
charging = "{charging}"
path_secret = "{secret}"
networks = ["127.0.0.0/8"]
{more}
"""
BY_REPORT = """
reply_url = "http://127.0.0.1:{api}/send"
reply_user = "portal"
reply_password = "word"
reply_charged = {{ tags = "1400" }}
"""


def book(api: int) -> str:
    campaign = BOOK[: BOOK.index('[[campaign]]\nslug = "old"')].replace(
        "  [[campaign.route]]", f'hotline = "19001530"\nreply_thank_you = "{REPLY}"\n\n  [[campaign.route]]'
    )
    route = campaign[campaign.index("  [[campaign.route]]") :].replace("1408", "1407")
    more = BY_REPORT.format(api=api)
    plain = ACCOUNTS.format(code=PLAIN, charging="on_message", secret=SECRET, more="")
    return campaign + route + plain + ACCOUNTS.format(code=CHARGED, charging="on_report", secret=SECRET, more=more)


async def configured(gateway: Jasmin, centre: MessageCentre, tap: Tap) -> None:
    """What the operator of a Jasmin types: a link to the centre, ours as the page has it, and the routes."""

    def connector(name: str, account: str) -> str:
        told = CONNECTOR.replace("cid portal1400", f"cid {name}").replace("/ACCOUNT/SECRET", f"/{account}/{SECRET}")
        return told.replace("https://PORTAL/", f"http://127.0.0.1:{tap.port}/")

    await gateway.configure(
        "group -a\ngid portal\nok",
        "user -a\nusername portal\npassword word\ngid portal\nuid portal\nok",
        f"smppccm -a\ncid vnp_rx\nhost 127.0.0.1\nport {centre.port}\nusername a\npassword b\nok",
        connector("portal1400", PLAIN),
        connector("charged", CHARGED),
        "filter -a\nfid by_reply\ntype DestinationAddrFilter\ndestination_addr ^1407$\nok",
        "morouter -a\ntype DefaultRoute\nconnector http(portal1400)\nok",
        "morouter -a\ntype StaticMORoute\norder 10\nconnector http(charged)\nfilters by_reply\nok",
        "mtrouter -a\ntype DefaultRoute\nconnector smppc(vnp_rx)\nrate 0.0\nok",
        "smppccm -1 vnp_rx",
    )
    await centre.bound.wait()


@asynccontextmanager
async def started(dsn: str, folder: Path, tap: Tap, text: str) -> AsyncIterator[Portal]:
    """The service behind the address that Jasmin knows; while it is away nobody listens there."""
    async with running(dsn, folder, text, public_url=f"http://127.0.0.1:{tap.port}") as portal:
        tap.service_port = int(portal.base.rpartition(":")[2])
        try:
            yield portal
        finally:
            tap.service_port = 1


async def callbacks(portal: Portal, account: str) -> dict[str, float]:
    """How callbacks of an account ended at this service, those outcomes that there were."""
    outcomes = ("accepted", "duplicate", "conflict", "malformed", "unauthenticated")
    counts = {
        each: await portal.metric("portal1400_callbacks_total", account=account, outcome=each) for each in outcomes
    }
    return {name: count for name, count in counts.items() if count}


async def require_units(portal: Portal, units: int) -> None:
    async def are_there() -> bool:
        return bool((await portal.totals())["units"] == units)

    await eventually(are_there)


async def test_messages_replies_and_receipts_go_through_a_jasmin_once(server: TestServer, tmp_path: Path) -> None:
    folder = tmp_path / "jasmin"
    folder.mkdir()
    thrower = THROWER.replace("retry_delay = 30", "retry_delay = 1") + "log_file = stdout\n"
    async with (
        cloned_database(server) as dsn,
        message_centre() as centre,
        tapped(1) as tap,
        jasmin(folder, thrower) as gateway,
    ):
        await configured(gateway, centre, tap)
        text = book(gateway.api)
        async with started(dsn, tmp_path, tap, text) as portal:
            assert await centre.deliver("84950000001", "1408", b"VNN 5") == 0
            await centre.deliver("84950000002", "1408", "ＶＮＮ ２".encode("utf-16-be"), coding=8)
            await require_units(portal, 7)
            assert {row["carrier"] for row in await portal.fetch("SELECT carrier FROM message")} == {"vinaphone"}

            # Charged by the receipt of our reply: the gift waits for it, and is money with it.
            centre.reports = False
            await centre.deliver("84950000003", "1407", b"VNN 10")

            async def is_replied() -> bool:
                return bool(centre.taken)

            await eventually(is_replied)
            (sms,) = centre.taken
            assert (sms.sender, sms.receiver, sms.coding, sms.wants_receipt) == ("1407", "84950000003", 0, True)
            assert sms.text.startswith(b"Cam on Quy vi da ung ho 200.000 dong. Ma ")
            await require_units(portal, 7)
            centre.reports = True
            await centre.deliver("84950000004", "1407", b"VNN 1")
            await require_units(portal, 8)
            # What was acknowledged has not come again meanwhile.
            assert await callbacks(portal, PLAIN) == {"accepted": 2}

        before = tap.count(f"POST /gw/jasmin/{PLAIN}/".encode())
        assert await centre.deliver("84950000005", "1408", b"VNN 20") == 0

        async def has_tried() -> bool:
            return tap.count(f"POST /gw/jasmin/{PLAIN}/".encode()) >= before + 2

        await eventually(has_tried)
        async with started(dsn, tmp_path, tap, "") as portal:
            await require_units(portal, 28)
            assert await callbacks(portal, PLAIN) == {"accepted": 1}
            assert len(await portal.fetch("SELECT FROM message")) == 5
