"""The longest stall of the event loop is told for a while, whoever looks and however often."""

import asyncio
import time

from service.runtime.loop_stalls import TICK_SECONDS, WINDOW_SECONDS, LoopStalls
from tests.support.portal import Portal


async def test_a_stall_is_measured_and_told_until_two_windows_are_over() -> None:
    shift = 0.0
    stalls = LoopStalls(lambda: time.monotonic() + shift)
    stalls.start()
    try:
        await asyncio.sleep(TICK_SECONDS)
        time.sleep(0.2)  # noqa: ASYNC251 -- the very thing: the loop is kept from everything else
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert stalls.longest_seconds >= 0.2 - 2 * TICK_SECONDS
        longest = stalls.longest_seconds
    finally:
        await stalls.stop()
    assert stalls.longest_seconds == longest
    shift = WINDOW_SECONDS
    assert stalls.longest_seconds == longest, "it is in the window before"
    shift = 2 * WINDOW_SECONDS
    assert stalls.longest_seconds == 0
    assert LoopStalls().longest_seconds == 0


async def test_a_worker_tells_it(lasting_portal: Portal) -> None:
    time.sleep(0.15)  # noqa: ASYNC251 -- as above
    await asyncio.sleep(0.02)
    assert await lasting_portal.metric("portal1400_event_loop_stall_seconds") >= 0.15 - 2 * TICK_SECONDS
