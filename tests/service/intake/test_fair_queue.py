"""Between accounts: turns at the commit and at the processor, a share of what is in hand; flood beside trickle."""

import asyncio
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.intake.bodies import Sender
from service.intake.fair_queue import QUANTUM_BYTES, QUANTUM_EVENTS, FairQueue
from service.intake.limits import InFlight
from service.intake.turns import FairTurns
from tests.support.portal import BOOK, Portal, Reply, eventually, message, running, signed, signed_account
from tests.support.rows import entry, message_row

BYTES = 1_000_000

FLOOD_BOOK = BOOK + signed_account("flood", carrier="mobifone")


def of(account: int, name: str, events: int = 1) -> Any:
    """A waiting callback of an account."""
    rows = [message_row(f"{name}-{number}")._replace(account_id=account) for number in range(events)]
    made = entry(*rows)
    made.raw = made.raw._replace(account_id=account)
    return made


async def test_a_small_account_is_in_the_next_commit_however_much_another_waits() -> None:
    queue = FairQueue()
    for number in range(50):
        queue.push(of(1, f"flood-{number}", 100))
    small = of(2, "small")
    queue.push(small)
    batch = queue.take(1000, BYTES)
    assert small in batch
    assert sum(len(each.rows) for each in batch) == 901
    assert queue.events == 4100


async def test_each_takes_as_many_events_a_turn_in_its_own_order() -> None:
    queue = FairQueue()
    singles = [of(1, f"single-{number}") for number in range(3 * QUANTUM_EVENTS)]
    packed = [of(2, f"packed-{number}", QUANTUM_EVENTS) for number in range(3)]
    for each in (*singles, *packed):
        queue.push(each)
    batch = queue.take(4 * QUANTUM_EVENTS, BYTES)
    assert batch == [*singles[:100], packed[0], *singles[100:200], packed[1]]
    rest = queue.take(4 * QUANTUM_EVENTS, BYTES)
    assert rest == [*singles[200:], packed[2]]
    assert not queue
    assert queue.events == 0


async def test_nothing_is_lost_split_or_served_twice_and_the_answered_are_left_out() -> None:
    queue = FairQueue()
    everything = [of(number % 7, f"m-{number}", number % 13 + 1) for number in range(400)]
    for each in everything:
        queue.push(each)
    answered = everything[::5]
    for each in answered:
        each.done.set_result([])
    taken: list[Any] = []
    while queue:
        batch = queue.take(50, BYTES)
        assert sum(len(each.rows) for each in batch) <= 50 or len(batch) == 1
        taken += batch
    assert sorted(map(id, taken)) == sorted(id(each) for each in everything if each not in answered)
    assert queue.events == 0
    assert queue.oldest_seconds == 0


async def test_a_callback_larger_than_a_commit_goes_alone() -> None:
    queue = FairQueue()
    large, small = of(1, "large", 80), of(2, "small")
    queue.push(large)
    queue.push(small)
    assert (queue.take(10, BYTES), queue.take(10, BYTES)) == ([large], [small])


def weighing(account: int, name: str, size_bytes: int, *, is_replayed: bool = False) -> Any:
    """A waiting callback of one event whose raw form has so many bytes."""
    made = of(account, name)
    made.size_bytes = size_bytes
    made.is_replayed = is_replayed
    return made


async def test_a_batch_is_bounded_in_bytes_and_a_turn_is_too() -> None:
    queue = FairQueue()
    heavy = [weighing(1, f"heavy-{number}", QUANTUM_BYTES // 2) for number in range(6)]
    light = [weighing(2, f"light-{number}", 10) for number in range(3)]
    for each in (*heavy, *light):
        queue.push(each)
    assert queue.size_bytes == 3 * QUANTUM_BYTES + 30
    assert queue.take(1000, 2 * QUANTUM_BYTES) == [*heavy[:2], *light, heavy[2]]
    assert queue.take(1000, 2 * QUANTUM_BYTES) == heavy[3:]
    assert (queue.size_bytes, queue.events) == (0, 0)


async def test_one_heavier_than_a_batch_goes_alone() -> None:
    queue = FairQueue()
    heavy, light = weighing(1, "heavy", 1000), weighing(2, "light", 1)
    queue.push(heavy)
    queue.push(light)
    assert (queue.take(10, 500), queue.take(10, 500)) == ([heavy], [light])


async def test_what_comes_from_the_spool_shares_no_batch_with_what_comes_live() -> None:
    queue = FairQueue()
    live = [weighing(1, f"live-{number}", 1) for number in range(6)]
    replayed = [weighing(1, f"replayed-{number}", 1, is_replayed=True) for number in range(4)]
    for each in (*replayed, *live):
        queue.push(each)
    assert [queue.take(2, BYTES) for _ in range(6)] == [
        live[:2], replayed[:2], live[2:4], replayed[2:], live[4:], [],
    ]  # fmt: skip
    assert not queue
    queue.push(replayed[0])
    assert queue.oldest_seconds == 0
    queue.clear()
    assert (queue.events, queue.size_bytes, bool(queue)) == (0, 0, False)


def known(label: str) -> Sender:
    return Sender(label, IPv4Address("203.0.113.7"), is_stranger=False)


async def test_large_bodies_take_turns_and_between_two_of_them_others_run() -> None:
    turns = FairTurns()
    order: list[str] = []
    ticks = 0

    async def read(sender: str) -> None:
        await turns.wait(known(sender))
        order.append(f"{sender}@{ticks}")

    async def tick() -> None:
        nonlocal ticks
        while len(order) < 8:
            ticks += 1
            await asyncio.sleep(0)

    floods = [asyncio.create_task(read("flood")) for _ in range(6)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(read("other")) for _ in range(2)]
    await asyncio.gather(tick(), *floods, *others)
    senders = [each.partition("@")[0] for each in order]
    assert senders[:2].count("flood") <= 2
    assert senders.index("other") <= 3, order
    assert len({each.partition("@")[2] for each in order}) == 8, "two were read in one breath"


async def test_strangers_rest_until_their_work_was_a_tenth_and_accounts_do_not_wait_for_them() -> None:
    turns = FairTurns()
    began: list[float] = []
    done = asyncio.Event()

    async def stranger(number: int) -> None:
        # Each under a name and an address of its own.
        await turns.wait(Sender(f"name-{number}", IPv4Address(1_000 + number), is_stranger=True))
        began.append(time.monotonic())
        until = time.monotonic() + 0.005
        while time.monotonic() < until:
            pass
        if len(began) == 5:
            done.set()

    strangers = [asyncio.create_task(stranger(number)) for number in range(5)]
    waits: list[float] = []
    while not done.is_set():
        started = time.monotonic()
        await turns.wait(known("hub"))
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.001)
    await asyncio.gather(*strangers)
    assert began[-1] - began[0] >= 4 * 0.9 * 0.05, "four of them, and their rests"
    assert len(waits) > 20, "an account waits for a stranger at work, never for one that rests"


async def test_strangers_who_wait_alone_are_served_when_they_have_rested() -> None:
    turns = FairTurns(strangers_share=0.5)
    one, other = (Sender("nobody", IPv4Address(number), is_stranger=True) for number in (1, 2))
    await asyncio.wait_for(turns.wait(one), 20)
    await asyncio.wait_for(asyncio.gather(turns.wait(one), turns.wait(other), turns.wait(one)), 20)
    await asyncio.wait_for(turns.wait(known("hub")), 20)


async def test_a_sender_that_hung_up_costs_no_turn() -> None:
    turns = FairTurns()
    waiting = [asyncio.create_task(turns.wait(known("flood"))) for _ in range(5)]
    await asyncio.sleep(0)
    for each in waiting[1:4]:
        each.cancel()
    await asyncio.wait_for(waiting[4], 20)
    assert waiting[0].done()
    await asyncio.wait_for(turns.wait(known("other")), 20)


Held = tuple[int, int]
HELD: dict[str, tuple[list[Held], Held, str | None]] = {
    "nothing in hand": ([], (1, 1), None),
    "a callback alone is never too large": ([], (500, 5000), None),
    "up to the limits": ([(60, 600)], (40, 400), None),
    "one event beyond": ([(60, 0)], (41, 0), "account has too many events in hand"),
    "one byte beyond": ([(1, 600)], (1, 401), "account has too many bytes in hand"),
    "as many callbacks as there may be": ([(1, 1)] * 3, (1, 1), "account has too many in hand"),
}


@pytest.mark.parametrize(("held", "more", "reason"), HELD.values(), ids=HELD)
def test_what_an_account_may_have_in_hand(held: list[Held], more: Held, reason: str | None) -> None:
    holdings = InFlight(callbacks_max=3, events_max=100, bytes_max=1000)
    for each in held:
        holdings.add("hub", *each)
    assert holdings.refusal("hub", *more) == reason
    assert holdings.refusal("other", *more) is None
    for each in held:
        holdings.remove("hub", *each)
    assert holdings.refusal("hub", *more) is None


def batch(name: str, events: int = 50) -> bytes:
    inner = [message(f"{name}-{number}", "VNN 1") for number in range(events)]
    return orjson.dumps({"type": "batch", "timestamp": "2026-11-21T08:30:00Z", "data": inner})


async def trickle(portal: Portal, name: str, count: int) -> tuple[list[Reply], list[float]]:
    """One small carrier, a rest after each answer; its answers and its latencies, sorted."""
    answers, seconds = [], []
    for number in range(count):
        started = time.perf_counter()
        answers.append(await portal.post(message(f"{name}-{number}", "VNN 1")))
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
    return answers, sorted(seconds)


@pytest.mark.slow
async def test_a_flood_of_batches_does_not_starve_a_small_carrier(database_dsn: str, tmp_path: Path) -> None:
    """One refuses nothing to the small one, and makes it wait less than the flood itself waits."""
    # What a busy machine would send into the spool is another test's matter.
    async with running(
        database_dsn,
        tmp_path,
        book=FLOOD_BOOK,
        account_events_max="2500",
        batch_events_max="250",
        queue_wait_seconds="10",
    ) as portal:
        stopping = asyncio.Event()
        flood_seconds: list[float] = []
        statuses: set[int] = set()

        async def flood(sender: int) -> None:
            turn = 0
            while not stopping.is_set():
                raw = batch(f"f-{sender}-{turn}")
                started = time.perf_counter()
                answer = await portal.post(raw, account="flood", headers=signed(raw))
                statuses.add(answer.status)
                if answer.status == 200:
                    flood_seconds.append(time.perf_counter() - started)
                turn += 1

        flooding = [asyncio.create_task(flood(sender)) for sender in range(60)]

        async def is_flooded() -> bool:
            return len(flood_seconds) > 0

        await eventually(is_flooded)
        answers, seconds = await trickle(portal, "s", 20)
        stopping.set()
        await asyncio.gather(*flooding)
        flood_seconds.sort()
        print(f"small: {seconds[10] * 1000:.0f} ms, slowest {seconds[-1] * 1000:.0f} ms;", end=" ")
        print(f"flood: {flood_seconds[len(flood_seconds) // 2] * 1000:.0f} ms, {statuses}")
        assert {answer.status for answer in answers} == {200}
        assert statuses <= {200, 429}
        assert seconds[10] < flood_seconds[len(flood_seconds) // 2] / 2
        for answer in answers:
            assert answer.outcome == "accepted"
        assert await portal.metric("portal1400_callbacks_total", account="hub", outcome="accepted") == 20
