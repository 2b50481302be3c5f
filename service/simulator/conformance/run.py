"""Plays every case over one link and reports what came of each."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from campaigns.book.book import Route
from service.simulator.conformance.carrier import Carrier, CaseFailed, NotApplicable, Witness, texts_of
from service.simulator.conformance.cases import CASES, Case
from service.simulator.conformance.report import CaseResult, Report
from service.simulator.conformance.wire import Wire
from service.simulator.links import Link
from service.simulator.refused import SimulateRefused

PAUSE_SECONDS = 0.2
"""Between the pieces of a request that is sent slowly."""
RUN_DIGITS = 8
"""Without those by which a number begins: an id of the kit is never taken for one."""
TEST_HEADER = "x-portal1400-test"


async def conformance(
    target: str,
    link: Link,
    route: Route,
    *,
    witness: Witness | None = None,
    cases: Sequence[Case] = CASES,
    pause_seconds: float = PAUSE_SECONDS,
    progress: Callable[[CaseResult], None] | None = None,
) -> Report:
    """Play `link`'s carrier against `target`, with texts for `route`, one case after the other.

    `witness` tells what the service has stored of the account; without one the answers alone are judged. Nobody else
    may send over the account meanwhile. Raises SimulateRefused where the target does not say that it is for tests.
    """
    run = "".join(secrets.choice("1234567") for _ in range(RUN_DIGITS))
    carrier = Carrier(Wire(target, pause_seconds), link, texts_of(route), run, witness)
    await require_test_account(carrier)
    if witness is not None:
        # What came before is none of ours.
        await witness()
    results = []
    for case in cases:
        result = await _played(case, carrier)
        results.append(result)
        if progress is not None:
            progress(result)
    return Report(link.account, link.protocol, target, results)


async def require_test_account(carrier: Carrier) -> None:
    """Ask by a callback that cannot be understood, and so cannot be a gift. Raises SimulateRefused."""
    sms = carrier.sms(msisdn="x")
    request = carrier.request(sms)
    if not carrier.sender.carries_messages:
        request = replace(request, body=request.body[: len(request.body) // 2])
    try:
        heard = await carrier.exchange(request)
    except CaseFailed as none:
        raise SimulateRefused(f"{carrier.link.account} cannot be asked: {none}") from None
    if heard.headers.get(TEST_HEADER) != "true":
        raise SimulateRefused(
            f"the target answers {heard.reply.status} without {TEST_HEADER}, so it does not take "
            f"{carrier.link.account} for a test account: its networks do not hold this machine, its secrets are "
            "others, or it is not for tests there. Nothing was sent that could be money"
        )


async def _played(case: Case, carrier: Carrier) -> CaseResult:
    result = CaseResult(case.group, case.name, case.says)
    carrier.begin()
    began = time.monotonic()
    try:
        if case.of_texts and not carrier.sender.carries_messages:
            raise NotApplicable("the protocol hands over no messages")
        await case.act(carrier)
    except NotApplicable as reason:
        result.state, result.reason = "skipped", str(reason)
    except CaseFailed as reason:
        result.state, result.reason = "failed", str(reason)
    result.seconds = time.monotonic() - began
    result.exchanges = carrier.exchanges
    return result
