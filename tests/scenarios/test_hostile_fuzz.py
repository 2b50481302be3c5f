"""Damaged requests in number: each ends with an answer or a closed door, none with a failure of ours or a trace."""

import asyncio
import random
from collections.abc import Sequence

import pytest
import structlog

from tests.support.canary import NUMBER, TEXT, found_in
from tests.support.hostile_bodies import REFUSED, XML_REFUSED, XML_TAKEN
from tests.support.hostile_requests import ADDRESSES, ENCODINGS, FRAMINGS, HEADS, LINES, OTHER_TONGUES, QUERIES
from tests.support.hostile_wire import HUB, Heard, chunked, exchange, gift, kannel, post, request, signature
from tests.support.portal import PATH_SECRET, Portal
from tests.support.protocols import SOAP_LOGIN, envelope

EXAMPLES = 400
AT_ONCE = 100
LAST = request("GET /gw/end HTTP/1.1")
"""Sent behind each: whatever a damaged request leaves open, this one closes or becomes part of."""

CANARY_GIFT = gift("fuzz", TEXT).replace(b"84950000001", NUMBER.encode())
CANARY_CALL = envelope("fuzz", TEXT, NUMBER, "1408")
CANARY_ASKED = kannel("fuzz", text="VNN+5+xin+gui+loi+thuong+kanarienvogel").replace("84950000001", NUMBER)
TO_SOAP = ("POST /gw/vn_soap_mo/soap HTTP/1.1", f"Authorization: {SOAP_LOGIN}", "Content-Type: text/xml")


def sound() -> list[bytes]:
    """Requests of each protocol that are taken as they stand."""
    return [
        post(CANARY_GIFT, is_last=False),
        post(
            CANARY_GIFT, "Transfer-Encoding: chunked", wire=chunked(CANARY_GIFT[:50], CANARY_GIFT[50:]), is_last=False
        ),
        request(f"GET {CANARY_ASKED} HTTP/1.1", is_last=False),
        request(f"GET /gw/kannel/vina/{PATH_SECRET}/dlr?ref=fuzz&msg=fuzz&d=1 HTTP/1.1", is_last=False),
        request(*TO_SOAP, f"Content-Length: {len(CANARY_CALL)}", body=CANARY_CALL, is_last=False),
        request("GET /gw/vn_soap_mo/soap?wsdl HTTP/1.1", is_last=False),
        request("GET /api/v1/totals HTTP/1.1", is_last=False),
    ]


TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"%", b"%00", b"%ff", b"/", b"..", b"?", b"&", b"=", b"#", b"\xff",
    b"\xc3", b"0", b"-1", b"99999999999999999999", b"HTTP/1.0", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"Content-Encoding: gzip\r\n", b"<!DOCTYPE x>",
    b"&", b"<", b"{", b"[", b'"', b"\\u", b"\\ud800", b"Connection: close\r\n", b"webhook-id: x\r\n",
)  # fmt: skip


def damaged(rng: random.Random, source: bytes, other: bytes) -> bytes:
    """`source` with one to three faults."""
    content = bytearray(source)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            content[at:at] = rng.choice(TOKENS)
        elif kind == 1:
            del content[at : at + rng.choice((1, 1, 2, 20))]
        elif kind == 2 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            content[at : at + 4] = rng.choice(TOKENS)
        elif kind == 4:
            content[at:at] = content[at : at + 30]
        else:
            cut = rng.randrange(len(other))
            content[at:] = other[cut:]
    return bytes(content)


async def all_heard(portal: Portal, sent: Sequence[bytes], last: bytes = b"") -> list[Heard]:
    """What comes back to each with `last` behind it, some at once."""
    heard: list[Heard] = []
    for at in range(0, len(sent), AT_ONCE):
        heard += await asyncio.gather(*(exchange(portal, each + last) for each in sent[at : at + AT_ONCE]))
    return heard


OURS = ("callback_failed", "request_failed", "quarantine_failed", "event_unstorable")


async def require_no_trace(portal: Portal, heard: Sequence[Heard], lines: object, complaints: str) -> None:
    """No failure of ours, no end that did not come, no canary in answers, logs and metrics."""
    for each in heard:
        assert each.is_closed, each.content
        assert 503 not in each.statuses
        # 500 is how SOAP 1.1 says that the caller is at fault.
        assert each.statuses.count(500) <= each.content.count(b"<faultcode>soap:Client<")
        assert found_in(each.content) == []
    written = str(lines)
    assert [event for event in OURS if event in written] == []
    assert found_in(written.encode()) == []
    assert complaints == ""
    async with portal.http.get(portal.internal + "/metrics") as metrics:
        assert found_in(await metrics.read()) == []


async def test_damaged_requests_are_answered_or_shown_out(
    hasty_portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(1400)
    with structlog.testing.capture_logs() as lines:
        seeds = sound()
        assert {each.statuses for each in await all_heard(hasty_portal, seeds, LAST)} == {(200, 404)}
        sent = [damaged(rng, rng.choice(seeds), rng.choice(seeds)) for _ in range(EXAMPLES)]
        heard = await all_heard(hasty_portal, sent, LAST)
        # Were all of them refused at the door, this would test the door alone.
        assert sum(200 in each.statuses for each in heard) >= 10
        assert sum(bool({401, 403} & set(each.statuses)) for each in heard) >= 15
        assert sum(400 in each.statuses for each in heard) >= 40
    await require_no_trace(hasty_portal, heard, lines, errors_in(caplog))
    (sums,) = await hasty_portal.fetch("SELECT count(*) AS messages FROM message WHERE native_id = 'fuzz'")
    assert sums["messages"] == 3, "one of each protocol, however often it came"


async def test_no_hostile_request_leaves_its_number_or_text_anywhere(
    hasty_portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    length = f"Content-Length: {len(CANARY_GIFT)}"
    signed = (*signature(CANARY_GIFT), length)
    canary = CANARY_GIFT.decode()
    sent = [
        *(post(CANARY_GIFT, *headers, f"X-Y: {TEXT}") for headers, _ in HEADS.values()),
        *(post(CANARY_GIFT, *framing, TEXT, wire=CANARY_GIFT) for framing, _ in FRAMINGS.values()),
        *(request(line, *signed, body=CANARY_GIFT) for line, _ in LINES.values()),
        *(request(f"POST {path} HTTP/1.1", *signed, body=CANARY_GIFT) for path, _ in ADDRESSES.values()),
        *(request(f"POST {HUB}/{NUMBER}{path} HTTP/1.1", *signed, body=CANARY_GIFT) for path in ("", "/x", "/dlr")),
        *(request(f"GET {CANARY_ASKED}{more} HTTP/1.1") for more, _ in QUERIES.values()),
        *(post(CANARY_GIFT, f"Content-Encoding: {NUMBER}, {encoding}") for _, encoding in ENCODINGS.values()),
        *(post(body.replace(b"84950000001", NUMBER.encode()) + canary.encode()) for body, *_ in REFUSED.values()),
        *(
            request(*TO_SOAP, f"Content-Length: {len(body) + len(CANARY_CALL)}", body=CANARY_CALL + body)
            for body in (*(row[0] for row in XML_REFUSED.values()), *XML_TAKEN.values())
        ),
        *(greeting + canary.encode() for greeting in OTHER_TONGUES.values()),
    ]
    with structlog.testing.capture_logs() as lines:
        heard = await all_heard(hasty_portal, sent)
        await hasty_portal.service.intake.quarantine.stop()
    assert len(lines) > 100, [each.statuses for each in heard]
    await require_no_trace(hasty_portal, heard, lines, errors_in(caplog))


def errors_in(caplog: pytest.LogCaptureFixture) -> str:
    """What the libraries complained of."""
    return "\n".join(record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL"))
