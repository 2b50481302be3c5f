"""Load under which everything that the metrics can tell happens: callbacks that end in every way, and viewers."""

import asyncio
import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp

from tests.support.portal import (
    PATH_SECRET,
    SIGNING_SECRET,
    Portal,
    message,
    signed,
)

AT_ONCE = 12
OLD = timedelta(minutes=10)


async def one_round(portal: Portal, name: str, silent: set[str]) -> None:
    """Callbacks that end in every way there is, over all three protocols."""
    raw = b"{}"
    kannel = f"{portal.base}/gw/kannel/vina/{PATH_SECRET}"
    sms = {"from": "+84950000002", "to": "1408", "text": "VNN 2"}
    await portal.post(message(f"{name}-a", "VNN 5"))
    await portal.post(message(f"{name}-a", "VNN 5"))
    await portal.post(message(f"{name}-a", "VNN 6"))
    half_an_hour_ago = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    await portal.post(message(f"{name}-b", "VNN many", operator_time=half_an_hour_ago))
    await portal.post(message(f"{name}-c", "SOMETHING ELSE"))
    await portal.post(message(f"{name}-d", " "))
    await portal.post(message(f"{name}-e", short_code="1407"))
    await portal.post(raw)
    await portal.post(raw, headers=signed(raw, secret=SIGNING_SECRET.replace("Y", "Z")))
    await portal.post(raw, headers=signed(raw, at=datetime.now(UTC) - OLD))
    await portal.post(raw, account="nobody")
    await portal.post(message(f"{name}-f"), account="broken")
    with suppress(aiohttp.ClientError):  # refused by its length, perhaps while we still send
        await portal.http.post(f"{portal.base}/gw/vn_soap_mo/soap", data=b" " * (64 * 1024 + 1))
    for carrier in ("vnp1", "vms1") if "vina" not in silent else ():
        async with portal.http.get(kannel, params={**sms, "id": f"{name}-{carrier}", "smsc": carrier}) as answer:
            await answer.read()
    await asyncio.gather(*(portal.post(message(f"{name}-g{number}")) for number in range(AT_ONCE)))
    await refuse_a_text(portal, name)


async def refuse_a_text(portal: Portal, name: str) -> None:
    """A message over SOAP in reply style, whose text is wrong: the hub is told to refund."""
    fields = {
        "UserID": "84950000003", "ServiceID": "1408", "CommandCode": "VNN", "Content": "VNN many",
        "RequestID": f"{name}-h", "Operator": "VMS",
    }  # fmt: skip
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in fields.items())
    body = (
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        f'<GetMOData xmlns="http://hub.example/">{inner}</GetMOData></soap:Body></soap:Envelope>'
    )
    credentials = aiohttp.encode_basic_auth("portal", "a-password-for-tests")
    headers = {"Content-Type": "text/xml; charset=utf-8", "Authorization": credentials}
    async with portal.http.post(f"{portal.base}/gw/vn_soap_mo/soap", data=body.encode(), headers=headers) as answer:
        await answer.read()


async def load(portal: Portal, name: str, silent: set[str]) -> None:
    """Rounds without an end; `silent`: accounts that send nothing from now on."""
    for number in itertools.count():
        await one_round(portal, f"{name}-{number}", silent)
        await asyncio.sleep(0.3)


async def visit(portal: Portal) -> None:
    """Somebody who looks at pages without an end."""
    while True:
        for address in ("/", "/c/vnn", "/api/v1/campaigns/vnn/totals", "/nowhere"):
            async with portal.http.get(portal.base + address) as answer:
                await answer.read()
        await asyncio.sleep(0.3)


async def view(portal: Portal) -> None:
    """A viewer of the stream."""
    async with portal.http.get(portal.base + "/api/v1/stream") as stream:
        async for _ in stream.content:
            pass
