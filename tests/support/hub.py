"""A hub that sends our SMS and bills donors for it, as the protocols say it does: over real HTTP."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs
from xml.sax.saxutils import unescape

from aiohttp import test_utils, web

PRICE_VND = 20_000


@dataclass(frozen=True)
class Sms:
    """One SMS as a donor gets it."""

    account: str
    msisdn: str
    short_code: str
    text: str
    message_ref: str


@dataclass
class Hub:
    """`mood`: how it answers, by account: ok, later, refuse, cut (after it has sent the SMS)."""

    base: str = ""
    sent: list[Sms] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    bills: Counter[str] = field(default_factory=Counter)
    """VND by account: what donors were charged for our SMS, less what was given back."""
    mood: dict[str, str] = field(default_factory=dict)
    known: set[tuple[str, str]] = field(default_factory=set)
    reports: dict[str, str] = field(default_factory=dict)
    """Where the hub was asked to report, by the donor's message."""

    def of(self, account: str) -> list[Sms]:
        """What the donors of an account got."""
        return [sms for sms in self.sent if sms.account == account]

    def _send(self, account: str, msisdn: str, code: str, text: str, ref: str, vnd: int) -> None:
        self.sent.append(Sms(account, msisdn, code, text, ref))
        self.bills[account] += vnd

    async def _kannel(self, request: web.Request, account: str) -> web.Response:
        head = request.headers
        if (head["X-Kannel-Username"], head["X-Kannel-Password"]) != ("portal", "word"):
            return web.Response(status=403, text="Authorization failed for sendsms")
        vnd = PRICE_VND if head.get("X-Kannel-BInfo") == "charge" else 0
        report = head.get("X-Kannel-DLR-Url", "")
        ref = parse_qs(report.partition("?")[2]).get("msg", [""])[0]
        self.reports[ref] = report
        self._send(account, head["X-Kannel-To"], head["X-Kannel-From"], await request.text(), ref, vnd)
        return web.Response(status=202, text="0: Accepted for delivery")

    async def _jasmin(self, request: web.Request, account: str) -> web.Response:
        form = {name: value[0] for name, value in parse_qs(await request.text()).items()}
        if (form["username"], form["password"]) != ("portal", "word"):
            return web.Response(status=403, text='Error "Authentication failure"')
        vnd = PRICE_VND if form.get("tags") == "charged" else 0
        ref = parse_qs(form.get("dlr-url", "").partition("?")[2]).get("msg", [""])[0]
        self.reports[ref] = form.get("dlr-url", "")
        self._send(account, form["to"], form["from"], form["content"], ref, vnd)
        return web.Response(text=f'Success "{account}-{len(self.sent)}"')

    async def _vcom(self, request: web.Request, account: str) -> web.Response:
        said = json.loads(await request.text())
        key = said["request_id"], said["mt_code"]
        if key in self.known:
            return web.json_response({"errors": {"code": 104, "message": "MT is duplicated"}})
        self.known.add(key)
        # Left out it means 1: so the documentation has it.
        vnd = PRICE_VND * int(said.get("is_charged", 1))
        self._send(account, "", said["service_id"], said["message"], said["request_id"], vnd)
        return web.json_response({"data": {"code": 200, "status": "success", "message": "Thanks"}})

    async def _soap(self, request: web.Request, account: str) -> web.Response:
        said = {name: unescape(value) for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", await request.text())}
        if (said["UserName"], said["Password"]) != ("portal", "word"):
            return web.Response(text=_soap_result("2"), content_type="text/xml")
        vnd = {"1": PRICE_VND, "0": 0, "2": -PRICE_VND}[said["Message_Type"]]
        self._send(account, said["User_ID"], said["Service_ID"], said["Message"], said["Request_ID"], vnd)
        return web.Response(text=_soap_result("1"), content_type="text/xml")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        protocol, account = request.match_info["protocol"], request.match_info["account"]
        self.calls[account] += 1
        mood = self.mood.get(account, "ok")
        if mood == "later":
            return web.Response(status=503, text="Temporal failure, try again later.")
        if mood == "refuse":
            return REFUSALS[protocol]()
        answer = await {"kannel": self._kannel, "jasmin": self._jasmin, "vcom_json": self._vcom,
                        "vn_soap_mo": self._soap}[protocol](request, account)  # fmt: skip
        if mood == "cut":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return answer


REFUSALS = {
    "kannel": lambda: web.Response(status=400, text="Empty text"),
    "jasmin": lambda: web.Response(status=400, text='Error "Mandatory argument"'),
    "vcom_json": lambda: web.json_response({"errors": {"code": 102, "message": "Other"}}),
    "vn_soap_mo": lambda: web.Response(text=_soap_result("9"), content_type="text/xml"),
}


def _soap_result(value: str) -> str:
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><SendMTResponse>'
        f"<SendMTResult>{value}</SendMTResult></SendMTResponse></s:Body></s:Envelope>"
    )


@asynccontextmanager
async def billing_hub() -> AsyncIterator[Hub]:
    """A hub that listens; `base` is its address, below which stand protocol and account."""
    hub = Hub()
    app = web.Application()
    app.router.add_post("/{protocol}/{account}", hub.answer)
    async with test_utils.TestServer(app) as served:
        hub.base = f"http://{served.host}:{served.port}"
        yield hub
