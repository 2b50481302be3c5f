"""Messages that come over one account and whose charges another account reports, in every order."""

import json
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path

import pytest

from tests.support.portal import BOOK, Portal, eventually, running
from tests.support.protocols import fetch
from tests.support.reports import money, orphans, reasons, require_sound

ACCOUNTS = """
[[gateway]]
code = "texts"
adapter = "vn_http_get"
carrier = "viettel"
charging = "on_report"
dialect = "ddviet"
path_secret = "texts-1"
networks = ["127.0.0.0/8"]

[[gateway]]
code = "payments"
adapter = "camara_billing"
carrier = "viettel"
charging = "on_report"
messages_of = "texts"
secrets = ["a-token"]
networks = ["127.0.0.0/8"]
"""
TYPE = "org.camaraproject.carrier-billing{}-completed"


@pytest.fixture
async def apart(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    async with running(database_dsn, tmp_path, book=BOOK + ACCOUNTS) as portal:
        yield portal


async def say(portal: Portal, what: str, gift: str) -> int:
    """The status for one of the three things that are told of a gift."""
    if what == "message":
        query = f"requestId={gift}&userId=84950000001&serviceId=1408&mobileOperator=VIETTEL&message=VNN+5"
        return (await fetch(portal, "GET", f"/gw/vn_http_get/texts/texts-1?{query}")).status
    kind, sink = (
        (".v0.payment", f"msg={gift}") if what == "payment" else ("-refund.v0.refund", "vnd=20000&type=partial")
    )
    data = {"paymentId": f"pay-{gift}", "refundId": "r-1", "status": "succeeded"}
    event = {"specversion": "1.0", "id": f"{what}-{gift}", "source": "op", "type": TYPE.format(kind), "data": data}
    path = f"/gw/camara_billing/payments?{sink}"
    headers = {"authorization": "Bearer a-token"}
    return (await fetch(portal, "POST", path, data=json.dumps(event), headers=headers)).status


async def test_a_gift_is_its_message_its_payment_and_its_refund_in_whatever_order(apart: Portal) -> None:
    orders = list(permutations(("message", "payment", "refund")))
    for number, order in enumerate(orders):
        for what in (*order, *order):
            assert await say(apart, what, f"{number}") == (200 if what == "message" else 204)
    assert await money(apart) == (len(orders), len(orders) * 80_000)
    assert (await orphans(apart), await reasons(apart)) == ((0, 0), [])

    assert await say(apart, "message", "unpaid") == 200
    assert await say(apart, "payment", "unknown") == 204
    assert await money(apart) == (len(orders), len(orders) * 80_000)
    assert await orphans(apart) == (1, 0)
    await require_sound(apart)

    async def is_kept() -> bool:
        rows = await apart.fetch("SELECT outcome FROM quarantine")
        return [row["outcome"] for row in rows] == ["unauthenticated"]

    # An operator that forgets its token is no client that waits to be asked: what it said is kept.
    assert (await fetch(apart, "POST", "/gw/camara_billing/payments?msg=1", data=b"{}")).status == 401
    await eventually(is_kept)


@pytest.mark.parametrize("of", ["texts", "payments"])
async def test_where_one_of_the_two_accounts_is_for_tests_so_is_what_is_reported(
    of: str, database_dsn: str, tmp_path: Path
) -> None:
    book = BOOK + ACCOUNTS.replace(f'code = "{of}"', f'code = "{of}"\ntest = true')
    async with running(database_dsn, tmp_path, book=book) as portal:
        for what in ("message", "payment", "refund"):
            await say(portal, what, "1")
        assert (await money(portal), await orphans(portal)) == ((0, 0), (0, 0))
        rows = await portal.fetch("SELECT kind FROM test_event ORDER BY id")
        assert [row["kind"] for row in rows] == (
            ["message", "charge", "reversal"] if of == "texts" else ["charge", "reversal"]
        )
