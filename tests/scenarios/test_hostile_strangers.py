"""Nobody learns from us whether an account exists: not by status, bytes or headers, and not by how long it takes."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from gateways.callback import Callback
from service.intake.turns import FairTurns
from tests.support.databases import cloned_database
from tests.support.hostile_wire import exchange, gift, request, signature
from tests.support.portal import BOOK, ELSEWHERE, PATH_SECRET, SIGNING_SECRET, Portal, running, signed_account
from tests.support.postgres import TestServer
from tests.support.protocols import SOAP_LOGIN, envelope

SIGNED = (
    signed_account("off", "enabled = false\n"),
    signed_account("elsewhere", network=ELSEWHERE),
    signed_account("rotating", network=ELSEWHERE, secrets=(SIGNING_SECRET, f"{SIGNING_SECRET[:-4]}AAA=")),
    signed_account("unset", network=ELSEWHERE, secrets=["env:NOBODY_SET_THIS"]),
)
OTHERS = f"""{"".join(SIGNED)}
[[gateway]]
code = "vinaelsewhere"
adapter = "kannel"
carrier = "vinaphone"
charging = "on_message"
path_secret = "{PATH_SECRET}"
networks = ["203.0.113.0/24"]

[[gateway]]
code = "soapelsewhere"
adapter = "vn_soap_mo"
carrier = "vinaphone"
charging = "on_message"
dialect = "receiverMO"
path_secret = "{PATH_SECRET}"
networks = ["203.0.113.0/24"]
"""


@pytest.fixture(scope="module")
async def foreign_portal(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    """A running service with accounts that are off, elsewhere, rotating or without their secret."""
    folder = tmp_path_factory.mktemp("foreign")
    async with (
        cloned_database(server) as dsn,
        running(dsn, folder, book=BOOK + OTHERS, body_read_seconds="0.4") as started,
    ):
        yield started


# Accounts of each protocol whose factors these callbacks do not pass, and none at all. The first is the measure.
ACCOUNTS: dict[str, tuple[str, ...]] = {
    "standard": ("nobody", "hub", "rotating", "off", "elsewhere", "unset", "vina", "soap", "a" * 60),
    "kannel": ("nobody", "vina", "vinaelsewhere", "hub", "off"),
    "vn_soap_mo": ("nobody", "soap", "soapelsewhere", "vina", "hub"),
}
BODY = gift("m-1")
CALL = envelope("m-1", "VNN 5", "84950000001", "1408")
FORGED = tuple(line.replace("v1,", "v1,AAAA") for line in signature(BODY))
ASKED = "?id=1&from=84950000001&to=1408&text=VNN"


def sized(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


# What a stranger may try: method, what follows the account in the address, headers, body. No row passes any account.
TRIES: dict[str, dict[str, tuple[str, str, tuple[str, ...], bytes]]] = {
    "standard": {
        "nothing": ("POST", "", (), b""),
        "a forged signature": ("POST", "", (*FORGED, sized(BODY)), BODY),
        "a forged old one": ("POST", "", (*FORGED[:1], "webhook-timestamp: 1", FORGED[2], sized(BODY)), BODY),
        "junk": ("POST", "", (*FORGED, "Content-Length: 3"), b"\xff{["),
        "a path secret": ("POST", "/guess", (*FORGED, sized(BODY)), BODY),
        "a report": ("POST", "/guess/dlr", (*FORGED, sized(BODY)), BODY),
        "compressed": ("POST", "", (*FORGED, "Content-Encoding: gzip", sized(BODY)), BODY),
        "too large": ("POST", "", (*FORGED, f"Content-Length: {2**20 + 1}"), b""),
        "too long a query": ("POST", f"?{'x' * 9_000}", (), b""),
        "another method": ("GET", "", (), b""),
        "HEAD": ("HEAD", "", (), b""),
        "no letters": ("POST", "", ("Transfer-Encoding: chunked",), b"zz\r\n"),
        "to be asked": ("POST", "", ("Expect: 100-continue", f"Content-Length: {2**20 + 1}"), b""),
        "half a body": ("POST", "", ("Content-Length: 10",), b"x"),
    },
    "kannel": {
        "nothing": ("GET", "", (), b""),
        "a message": ("GET", ASKED, (), b""),
        "a message, a wrong secret": ("GET", f"/guess{ASKED}", (), b""),
        "a report": ("GET", "/guess/dlr?ref=1&d=1", (), b""),
        "twice": ("GET", f"/guess{ASKED}&id=2", (), b""),
        "too long a query": ("GET", f"/guess?{'x' * 9_000}", (), b""),
        "too large": ("GET", f"/guess{ASKED}", ("Content-Length: 70000",), b""),
        "another method": ("POST", f"/guess{ASKED}", ("Content-Length: 0",), b""),
    },
    "vn_soap_mo": {
        "nothing": ("POST", "", (), b""),
        "a call": ("POST", "", (sized(CALL),), CALL),
        "a wrong login": ("POST", "", ("Authorization: Basic eDp5", sized(CALL)), CALL),
        "a login that is none": ("POST", "", ("Authorization: Bearer x", sized(CALL)), CALL),
        "a path secret": ("POST", "/guess", (f"Authorization: {SOAP_LOGIN}", sized(CALL)), CALL),
        "no XML": ("POST", "", (sized(CALL[:-9]),), CALL[:-9]),
        "a document type": ("POST", "", ("Content-Length: 15",), b"<!DOCTYPE x><x/>"[:15]),
        "the description": ("GET", "/guess?wsdl", (), b""),
        "no description": ("GET", "", (), b""),
        "too large": ("POST", "", ("Content-Length: 70000",), b""),
        "another method": ("PUT", "", (), b""),
    },
}


@pytest.mark.parametrize(
    ("adapter", "label"), [(adapter, label) for adapter, tries in TRIES.items() for label in tries]
)
async def test_every_refusal_is_the_same_bytes_whether_or_not_there_is_such_an_account(
    foreign_portal: Portal, adapter: str, label: str
) -> None:
    method, rest, headers, body = TRIES[adapter][label]
    codes = ACCOUNTS[adapter]
    lines = [f"{method} /gw/{adapter}/{code}{rest} HTTP/1.1" for code in codes]
    heard = await asyncio.gather(*(exchange(foreign_portal, request(line, *headers, body=body)) for line in lines))
    for code, each in zip(codes, heard, strict=True):
        assert each.undated == heard[0].undated, code
        assert each.statuses == heard[0].statuses
    assert 400 <= heard[0].statuses[-1] < 500


ROUNDS = 200
RATIO_MAX = 1.7
LARGE_RATIO_MAX = 1.4
"""Where the signature is nearly all the work there is little noise; a second key nobody makes up for is 1.7."""
LARGE = 2**18
# Accounts, and what each is sent: how long the service takes must be the same for all.
TIMED: dict[str, tuple[str, tuple[str, ...], dict[str, str], bytes]] = {
    "a forged signature": (
        "standard",
        ("nobody", "hub", "rotating", "off", "elsewhere", "unset"),
        dict(line.split(": ", 1) for line in FORGED),
        BODY,
    ),
    "a forged signature of 256 KiB": (
        "standard",
        ("nobody", "rotating"),
        dict(line.split(": ", 1) for line in FORGED),
        bytes(LARGE),
    ),
    "a wrong path secret": ("kannel", ("nobody", "vina", "vinaelsewhere"), {}, b""),
    "a call without login": ("vn_soap_mo", ("nobody", "soap", "soapelsewhere"), {}, CALL),
    "a long call without login": (
        "vn_soap_mo",
        ("nobody", "soap", "soapelsewhere"),
        {},
        CALL.replace(b"VNN 5", b"VNN 5" + b"x&amp;" * 1_000),
    ),
    "a call with a wrong login": ("vn_soap_mo", ("nobody", "soap"), {"authorization": "Basic eDp5"}, CALL),
}


@pytest.mark.slow
@pytest.mark.parametrize("label", TIMED)
async def test_a_refusal_takes_as_long_whether_or_not_there_is_such_an_account(
    foreign_portal: Portal, label: str
) -> None:
    adapter, codes, headers, body = TIMED[label]
    method = "GET" if adapter == "kannel" else "POST"
    callback = Callback(
        method=method, query=ASKED[1:], headers=headers, body=body, peer=ip_address("127.0.0.1"),
        received_at=datetime.now(UTC), path_secret="guess" if adapter == "kannel" else None,
    )  # fmt: skip
    intake = foreign_portal.service.intake.intake
    # What is measured is the work, not how long strangers rest from it.
    intake._turns = FairTurns(strangers_share=1.0)
    took: dict[str, list[float]] = {code: [] for code in codes}
    order = list(codes)
    for turn in range(ROUNDS):
        # In turns of changing order, each behind the same call: whatever else goes on falls on all of them.
        random.Random(turn).shuffle(order)
        for code in order:
            await foreign_portal.service.intake.quarantine.stop()
            await intake.take(intake.resolve(adapter, "nobody"), callback)
            started = time.perf_counter()
            await intake.take(intake.resolve(adapter, code), callback)
            took[code].append(time.perf_counter() - started)
    # The tenth part that went fastest: what else the machine does only adds to the others, and to each its own.
    lengths = {code: statistics.quantiles(times, n=10)[0] for code, times in took.items()}
    ratio_max = LARGE_RATIO_MAX if len(body) == LARGE else RATIO_MAX
    for code, length in lengths.items():
        assert 1 / ratio_max < length / lengths["nobody"] < ratio_max, (code, lengths)
