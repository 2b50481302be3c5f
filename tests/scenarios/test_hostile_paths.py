"""Addresses written to mislead, queries written to be read twice, and callbacks that are sent again."""

import pytest

from service.intake import callbacks
from tests.support.hostile_requests import ADDRESSES, QUERIES
from tests.support.hostile_wire import HUB, exchange, gift, kannel, post, request, signature, stored
from tests.support.portal import PATH_SECRET, Portal
from tests.support.protocols import get_kannel, post_soap

BODY = gift("by another way")


@pytest.mark.parametrize("label", ADDRESSES)
async def test_only_its_own_address_leads_to_an_account(hasty_portal: Portal, label: str) -> None:
    path, status = ADDRESSES[label]
    body = gift(label)
    line = f"POST {path} HTTP/1.1"
    heard = await exchange(hasty_portal, request(line, *signature(body), f"Content-Length: {len(body)}", body=body))
    assert heard.statuses == (status,)
    assert (label in await stored(hasty_portal)) == (status == 200)


async def test_no_address_is_remembered_that_could_fill_the_memory(hasty_portal: Portal) -> None:
    before = callbacks._target_of.cache_info().currsize
    for number in range(20):
        path = f"/gw/standard/{number}{'a' * callbacks.PATH_CHARACTERS_MAX}"
        assert (await exchange(hasty_portal, request(f"GET {path} HTTP/1.1"))).statuses == (404,)
    assert callbacks._target_of.cache_info().currsize == before


@pytest.mark.parametrize("label", QUERIES)
async def test_a_query_is_read_once_and_one_way(hasty_portal: Portal, label: str) -> None:
    more, is_taken = QUERIES[label]
    own = label.replace(" ", "-").replace(",", "")
    line = f"GET {kannel(own, more)} HTTP/1.1"
    heard = await exchange(hasty_portal, request(line))
    assert (heard.statuses, heard.body) == ((200,), b"")
    ids = await stored(hasty_portal)
    assert (any(each.startswith(own) for each in ids), "other" in ids) == (is_taken, False)


# Which of the three lines that sign it come with it, `{}` being our own -> how it ends.
OWN = ("{}", "{}", "{}")
NOBODY = "unauthenticated"
REPLAYS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "at once": (OWN, 0, "duplicate"),
    "almost five minutes old": (OWN, 290, "duplicate"),
    "almost five minutes ahead": (OWN, -290, "duplicate"),
    "more than five minutes old": (OWN, 310, "stale"),
    "more than five minutes ahead": (OWN, -310, "stale"),
    "of 1972": (OWN, 1_700_000_000, "stale"),
    "under another delivery's id": (("webhook-id: msg_9", "{}", "{}"), 0, NOBODY),
    "at another time": (("{}", "webhook-timestamp: 1", "{}"), 0, NOBODY),
    "without an id": (("", "{}", "{}"), 0, NOBODY),
    "without a time": (("{}", "", "{}"), 0, NOBODY),
    "without a signature": (("{}", "{}", ""), 0, NOBODY),
    "with an empty signature": (("{}", "{}", "webhook-signature:"), 0, NOBODY),
    "with a signature of nothing": (("{}", "{}", "webhook-signature: v1,"), 0, NOBODY),
    "by v1a": (("{}", "{}", "{v1a}"), 0, NOBODY),
    "by v2": (("{}", "{}", "{v2}"), 0, NOBODY),
    "by no version": (("{}", "{}", "{bare}"), 0, NOBODY),
    "an id twice": (("{}", "{}", "{}", "webhook-id: msg_1"), 0, NOBODY),
    "two headers, the right one second": (("{}", "{}", "webhook-signature: v1,AAAA", "{}"), 0, "duplicate"),
    "a hundred signatures, the right one first": (("{}", "{}", "{}" + " v1,AAAA" * 99), 0, "duplicate"),
    "a hundred signatures, the right one last": (
        ("{}", "{}", "webhook-signature:" + " v1,AAAA" * 99 + " {value}"),
        0,
        NOBODY,
    ),
}


def replayed(label: str) -> tuple[str, ...]:
    """The header lines of a row of REPLAYS, signed now."""
    patterns, age_seconds, _ = REPLAYS[label]
    own = signature(BODY, age_seconds=age_seconds)
    value = own[2].partition(": ")[2]
    forms = {"{value}": value}
    for name, version in (("{v1a}", "v1a,"), ("{v2}", "v2,"), ("{bare}", "")):
        forms[name] = own[2].replace("v1,", version)
    lines = []
    for place, pattern in enumerate(patterns):
        line = pattern.replace("{}", own[min(place, 2)])
        for name, form in forms.items():
            line = line.replace(name, form)
        lines.append(line)
    return tuple(line for line in lines if line)


@pytest.mark.parametrize("label", REPLAYS)
async def test_a_signed_callback_that_is_sent_again_counts_once(hasty_portal: Portal, label: str) -> None:
    await exchange(hasty_portal, post(BODY))
    framed = f"Content-Length: {len(BODY)}"
    heard = await exchange(hasty_portal, request(f"POST {HUB} HTTP/1.1", *replayed(label), framed, body=BODY))
    assert f"x-portal1400-outcome: {REPLAYS[label][2]}\r\n".encode() in heard.content
    sums = await hasty_portal.fetch(
        "SELECT count(*) AS lines FROM money_line l JOIN message m ON m.id = l.gift_id WHERE m.native_id = $1",
        "by another way",
    )
    assert sums[0]["lines"] == 1


async def test_a_signature_is_good_for_its_own_bytes_and_delivery(hasty_portal: Portal) -> None:
    framed = f"Content-Length: {len(BODY) + 1}"
    sent = request(f"POST {HUB} HTTP/1.1", *signature(BODY), framed, body=BODY + b" ")
    assert (await exchange(hasty_portal, sent)).statuses == (401,)
    framed = f"Content-Length: {len(BODY)}"
    for _ in range(2):
        again = request(f"POST {HUB} HTTP/1.1", *signature(BODY, attempt_id="msg_2"), framed, body=BODY)
        assert (await exchange(hasty_portal, again)).statuses == (200,)
    assert (await stored(hasty_portal)).count("by another way") == 1


async def test_what_carries_no_signature_is_a_repeat_all_the_same(hasty_portal: Portal) -> None:
    for send in (get_kannel, post_soap):
        answers = [await send(hasty_portal, f"again {send.__name__}") for _ in range(3)]
        assert {(each.status, each.body) for each in answers} == {(200, answers[0].body)}
        assert (await stored(hasty_portal)).count(f"again {send.__name__}") == 1
    assert PATH_SECRET not in str(await hasty_portal.fetch("SELECT reason FROM quarantine"))
