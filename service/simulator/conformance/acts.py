"""What the cases do. Each raises CaseFailed with what was wrong, or NotApplicable."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateways.sender import LATER_STATUSES, Request, Verdict
from service.simulator.conformance.carrier import (
    YES,
    YES_OR_NOT_CHARGED,
    Carrier,
    CaseFailed,
    NotApplicable,
)  # fmt: skip
from service.simulator.conformance.texts import Texted
from service.simulator.conformance.wire import ANSWER_SECONDS, NoAnswer, Way

AT_ONCE = 8
IN_A_ROW = 10
NO_ACCOUNT = "khong-co-ma-nay"
TOO_LARGE_BYTES = 2 * 1024 * 1024
TOO_LONG_QUERY = "x=" + "y" * 9_000


async def text(texted: Texted, carrier: Carrier) -> None:
    """A text, read as its row says."""
    sms = carrier.sms(texted.text(carrier.texts))
    reply = await carrier.send(sms)
    is_counted = texted.reading == "counted"
    carrier.require(reply, YES_OR_NOT_CHARGED if texted.reading == "wrong_syntax" else YES, sms)
    await carrier.require_understood(texted.reading, carrier.texts.units if is_counted else None)


async def number(prefix: str, carrier: Carrier) -> None:
    """A number written in one of its forms."""
    sms = carrier.sms()
    await carrier.require_taken(replace(sms, msisdn=prefix + sms.msisdn.removeprefix("84")))
    await carrier.require_understood("counted", carrier.texts.units)


async def way(way: Way, carrier: Carrier) -> None:
    """A request written in one of the ways HTTP allows."""
    await carrier.require_taken(carrier.sms(), way=way)
    await carrier.require_stored("accepted")


async def body_way(way: Way, carrier: Carrier) -> None:
    """The same of what only a body has."""
    sms, request = carrier.posted()
    carrier.require((await carrier.exchange(request, way)).reply, YES, sms)
    await carrier.require_stored("accepted")


async def named(carrier: Carrier) -> None:
    """The answer bears our id of the request, and no cache may keep it."""
    heard = await carrier.exchange(carrier.request(carrier.sms()))
    if not heard.headers.get("x-portal1400-request"):
        raise CaseFailed("the answer has no x-portal1400-request")
    if heard.headers.get("cache-control") != "no-store":
        raise CaseFailed("the answer may be cached: its Cache-Control is not no-store")


async def twice(carrier: Carrier) -> None:
    """A repeat."""
    sms = carrier.sms()
    first = await carrier.require_taken(sms)
    if await carrier.send(sms) != first:
        raise CaseFailed("the repeat was answered otherwise than the first")
    await carrier.require_stored("accepted", "duplicate")


async def at_once(carrier: Carrier) -> None:
    """Repeats at the same instant."""
    sms = carrier.sms()
    replies = await carrier.together([carrier.request(sms)] * AT_ONCE)
    for reply in replies:
        carrier.require(reply, YES, sms)
        if reply != replies[0]:
            raise CaseFailed("repeats at the same instant were answered otherwise than one another")
    await carrier.require_stored("accepted", *["duplicate"] * (AT_ONCE - 1))


async def same_text_again(carrier: Carrier) -> None:
    """Two gifts that are alike but for their ids and seconds."""
    first = carrier.sms()
    second = carrier.sms(msisdn=first.msisdn)
    await carrier.require_taken(first)
    await carrier.require_taken(second)
    await carrier.require_stored("accepted", "accepted")


async def out_of_order(carrier: Carrier) -> None:
    """Ids that come crossed."""
    messages = [carrier.sms() for _ in range(4)]
    for place in (2, 0, 3, 1):
        await carrier.require_taken(messages[place])
    await carrier.require_stored(*["accepted"] * 4)


async def conflict(carrier: Carrier) -> None:
    """Another content under the same id."""
    sms = carrier.sms()
    first = await carrier.require_taken(sms)
    other = replace(sms, text=f"{carrier.texts.keyword} 1 khac", amount_vnd=carrier.texts.amount_vnd)
    allowed = {Verdict.CONFLICT} if carrier.sender.has_word_for_conflicts else YES
    if not carrier.sender.carries_messages:
        allowed = YES
    carrier.require(await carrier.send(other), allowed, other)
    if await carrier.send(sms) != first:
        raise CaseFailed("after the conflict, the first content is answered otherwise than before")


async def late(days: int, carrier: Carrier) -> None:
    """A message of some days ago."""
    await carrier.require_taken(carrier.sms(at=carrier.began_at - timedelta(days=days)))


async def early(carrier: Carrier) -> None:
    """A message time of a wrong time zone."""
    await carrier.require_taken(carrier.sms(at=carrier.began_at + timedelta(hours=7)))
    await carrier.require_understood("counted", carrier.texts.units)


async def old_attempt(carrier: Carrier) -> None:
    """A request signed, or sent, an hour ago."""
    sms = carrier.sms()
    reply = await carrier.send(sms, attempt_at=datetime.now(UTC) - timedelta(hours=1))
    carrier.require(reply, {Verdict.REFUSED} if carrier.sender.signs_attempts else YES, sms)


async def batch(carrier: Carrier) -> None:
    """As many messages as one callback may hold."""
    size = carrier.sender.batch_max
    if size == 1:
        raise NotApplicable("the protocol has no batches")
    await carrier.require_taken(*(carrier.sms() for _ in range(size)))
    await carrier.require_stored(*["accepted"] * size)


async def batch_with_repeat(carrier: Carrier) -> None:
    """A message that stands twice in its batch."""
    if carrier.sender.batch_max == 1:
        raise NotApplicable("the protocol has no batches")
    sms = carrier.sms()
    await carrier.require_taken(sms, carrier.sms(), sms)
    await carrier.require_stored("accepted", "accepted", "duplicate")


async def wrong_secret(carrier: Carrier) -> None:
    """A changed secret, and an account that is not there."""
    sms = carrier.sms()
    now = datetime.now(UTC)
    heard = await carrier.exchange(carrier.impostor(carrier.link.account).request([sms], now))
    carrier.require(heard.reply, {Verdict.REFUSED}, sms)
    stranger = await carrier.exchange(carrier.impostor(NO_ACCOUNT).request([sms], now))
    if stranger.reply != heard.reply:
        raise CaseFailed("an account that does not exist is answered otherwise than a wrong secret")
    # The gift that was refused is taken once the secret is right.
    await carrier.require_taken(sms)
    await carrier.require_stored("accepted")


async def no_proof(carrier: Carrier) -> None:
    """A request without what proves its sender."""
    sms = carrier.sms()
    request = carrier.request(sms)
    secret = next(iter(carrier.link.settings.path_secret), "")
    headers = {name: value for name, value in request.headers.items() if not _is_proof(name)}
    address = request.address.replace(f"/{secret}", "", 1) if secret else request.address
    bare = replace(request, headers=headers, address=address)
    if bare == request:
        raise NotApplicable("its proof stands among its fields")
    carrier.require((await carrier.exchange(bare)).reply, {Verdict.REFUSED}, sms)
    await carrier.require_stored()


def _is_proof(header: str) -> bool:
    return header.lower() == "authorization" or header.lower().startswith(("webhook-", "svix-"))


async def damaged(damage: Callable[[bytes], bytes], carrier: Carrier) -> None:
    """A callback that arrives broken, and then whole."""
    sms = carrier.sms()
    request = carrier.request(sms)
    if request.body:
        broken = replace(request, body=damage(request.body))
    else:
        path, mark, query = request.address.partition("?")
        broken = replace(request, address=path + mark + damage(query.encode()).decode("latin-1"))
    heard = await carrier.exchange(broken)
    # Some protocols say what is wrong, others must say yes lest the donor hear of it: nobody may say "later".
    if heard.reply.status in LATER_STATUSES:
        raise CaseFailed(f"{heard.reply.status} asks for the same damage again")
    if await carrier.stored(lambda _arrived: True):
        # A text that is a whole body has no end that could be missed: it is a shorter message under this id.
        _require_status((await carrier.send(sms)).status, heard.reply.status)
        return
    await carrier.require_taken(sms)
    await carrier.require_stored("accepted")


async def too_large(carrier: Carrier) -> None:
    """More than is taken."""
    request = carrier.request(carrier.sms())
    if request.body:
        request = replace(request, body=request.body + b" " * TOO_LARGE_BYTES)
    else:
        request = replace(request, address=f"{request.address}&{TOO_LONG_QUERY}")
    _require_status(await _status(carrier, request), 413)


async def wrong_method(carrier: Carrier) -> None:
    """PUT."""
    _require_status(await _status(carrier, replace(carrier.request(carrier.sms()), method="PUT")), 405)


async def wrong_protocol(carrier: Carrier) -> None:
    """A slip in the address."""
    request = carrier.request(carrier.sms())
    name = carrier.link.protocol
    astray = replace(request, address=request.address.replace(f"/gw/{name}/", f"/gw/{name}x/", 1))
    _require_status(await _status(carrier, astray), 404)


async def _status(carrier: Carrier, request: Request) -> int:
    return (await carrier.exchange(request)).reply.status


def _require_status(status: int, wanted: int) -> None:
    if status != wanted:
        raise CaseFailed(f"the status is {status}, not {wanted}")


async def cut(share: float, carrier: Carrier) -> None:
    """A connection that breaks when `share` of the request was sent; then it is sent again, and again."""
    sms = carrier.sms()
    request = carrier.request(sms)
    head, body = carrier.wire.written(request)
    raw = head + body
    try:
        async with carrier.wire.connection() as connection:
            await connection.send(raw[: max(1, int(len(raw) * share))])
    except NoAnswer as none:
        raise CaseFailed(str(none)) from None
    carrier.note(request, "the connection was cut before an answer")
    reply = await carrier.require_taken(sms)
    if await carrier.send(sms) != reply:
        raise CaseFailed("the repeat was answered otherwise than the first")
    stored = await carrier.stored(lambda arrived: "accepted" in {each.outcome for each in arrived})
    if stored is not None and (new := [each.outcome for each in stored].count("accepted")) != 1:
        raise CaseFailed(f"it was stored as new {new} times, not once")


async def hanging(carrier: Carrier) -> None:
    """A request that stops half way: others go on meanwhile, and it hears 408 or sees the connection closed."""
    request = carrier.request(carrier.sms())
    head, body = carrier.wire.written(request)
    raw = head + body
    try:
        async with carrier.wire.connection() as connection, asyncio.timeout(ANSWER_SECONDS * 2):
            await connection.send(raw[: len(head) + len(body) // 2 if body else len(head) // 2])
            await carrier.require_taken(carrier.sms())
            try:
                status = (await connection.hear()).reply.status
            except NoAnswer as none:
                if "closed" not in str(none):
                    raise CaseFailed(f"a request that stops half way: {none}") from None
                return
            _require_status(status, 408)
    except NoAnswer as none:
        raise CaseFailed(str(none)) from None


async def one_connection(is_waiting: bool, carrier: Carrier) -> None:
    """Requests that follow one another over one connection, waiting for each answer or not."""
    messages = [carrier.sms() for _ in range(IN_A_ROW)]
    requests = [carrier.request(sms) for sms in messages]
    written = [b"".join(carrier.wire.written(request)) for request in requests]
    try:
        async with carrier.wire.connection() as connection:
            if not is_waiting:
                await connection.send(b"".join(written))
            for sms, request, raw in zip(messages, requests, written, strict=True):
                if is_waiting:
                    await connection.send(raw)
                heard = await connection.hear()
                carrier.note(request, heard.reply)
                carrier.require(heard.reply, YES, sms)
    except NoAnswer as none:
        raise CaseFailed(str(none)) from None
    await carrier.require_stored(*["accepted"] * IN_A_ROW)


def halved(raw: bytes) -> bytes:
    """The first half."""
    return raw[: len(raw) // 2]


def emptied(_raw: bytes) -> bytes:
    """Nothing."""
    return b""


def backwards(raw: bytes) -> bytes:
    """The same bytes, the last first."""
    return raw[::-1]
