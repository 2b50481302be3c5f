"""Does to a rig what the plan says, when it says so."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import aiohttp

from tests.torture.clock import SeedClock
from tests.torture.plan import Fault, Name
from tests.torture.processes import send
from tests.torture.proxy import Mode
from tests.torture.rig import Rig

Act = Callable[[Rig, Fault], Awaitable[None]]
STRANGERS = 16
"""Connections of a flood."""
A_MEBIBYTE = bytes(1024 * 1024)


async def play(rig: Rig, faults: Sequence[Fault], clock: SeedClock) -> None:
    """Every fault at its time; returns when the last is over. Whatever one raises ends the seed."""
    under_way = []
    try:
        for fault in faults:
            await clock.until(fault.at)
            under_way.append(asyncio.create_task(_once(rig, fault)))
        await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()


async def _once(rig: Rig, fault: Fault) -> None:
    await ACTS[fault.name](rig, fault)


def _in_mode(mode: Mode) -> Act:
    async def act(rig: Rig, fault: Fault) -> None:
        rig.proxy.mode, rig.proxy.latency_seconds = mode, fault.number / 1000
        await asyncio.sleep(fault.seconds)
        rig.proxy.heal()

    return act


async def _outage(rig: Rig, fault: Fault) -> None:
    rig.proxy.mode = Mode.REFUSE
    rig.proxy.reset_all()
    await asyncio.sleep(fault.seconds)
    rig.proxy.heal()


async def _reset(rig: Rig, _fault: Fault) -> None:
    rig.proxy.reset_all()


async def _drop(rig: Rig, _fault: Fault) -> None:
    rig.proxy.drop_all()


async def _freeze(rig: Rig, fault: Fault) -> None:
    rig.frozen = rig.cluster.freeze()
    await asyncio.sleep(fault.seconds)
    rig.cluster.thaw(rig.frozen)
    rig.frozen = []


async def _kill_postgres(rig: Rig, fault: Fault) -> None:
    rig.cluster.kill_postmaster()
    await asyncio.sleep(fault.seconds)
    await rig.cluster.start()


async def _kill_worker(rig: Rig, fault: Fault) -> None:
    pids = rig.portal.worker_pids
    if pids:
        rig.portal.kill([pids[fault.number % len(pids)]])


async def _kill_supervisor(rig: Rig, _fault: Fault) -> None:
    rig.portal.kill([rig.portal.supervisor])


async def _kill_service(rig: Rig, _fault: Fault) -> None:
    async with rig.serving:
        await rig.portal.hold_down()
        rig.portal.start()


async def _kill_everything(rig: Rig, _fault: Fault) -> None:
    async with rig.serving:
        pids = rig.cluster.pids()
        send(pids, signal.SIGKILL)
        await rig.portal.hold_down()
        await rig.cluster.killed(pids)
        rig.portal.start()
        await rig.cluster.start()


async def _restart(rig: Rig, _fault: Fault) -> None:
    rig.portal.kill([rig.portal.supervisor], signal.SIGTERM)


async def _roll(rig: Rig, _fault: Fault) -> None:
    rig.portal.kill([rig.portal.supervisor], signal.SIGHUP)


async def _hang_worker(rig: Rig, fault: Fault) -> None:
    pids = rig.portal.worker_pids
    if not pids:
        return
    hung = pids[fault.number % len(pids)]
    send([hung], signal.SIGSTOP)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        # Where its supervisor was killed meanwhile nobody replaced it, and it holds the address of the next one.
        send([hung], signal.SIGCONT)


async def _reread_secrets(rig: Rig, _fault: Fault) -> None:
    supervisor = rig.portal.supervisor
    rig.portal.kill([pid for pid in rig.portal.worker_pids if pid != supervisor], signal.SIGHUP)


async def _strangers(rig: Rig, fault: Fault) -> None:
    async def post(http: aiohttp.ClientSession, number: int) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with http.post(f"{rig.portal.target}/gw/standard/stranger-{number}", data=A_MEBIBYTE) as answer:
                    await answer.read()
            await asyncio.sleep(0.01)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        posting = [asyncio.create_task(post(http, number)) for number in range(STRANGERS)]
        await _for_a_while(posting, fault.seconds)


async def _unread_answers(rig: Rig, fault: Fault) -> None:
    async def ask() -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", rig.portal.port, limit=1024)
            try:
                while True:
                    writer.write(b"GET /api/v1/totals HTTP/1.1\r\nHost: portal\r\n\r\n" * 50)
                    await writer.drain()
                    await asyncio.sleep(0.01)
            finally:
                writer.transport.abort()

    await _for_a_while([asyncio.create_task(ask()) for _ in range(STRANGERS)], fault.seconds)


async def _for_a_while(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _disk_full(rig: Rig, fault: Fault) -> None:
    async with rig.serving:
        await asyncio.to_thread(rig.disk.fill)
        await asyncio.sleep(fault.seconds)
        rig.disk.free()


async def _power_cut(rig: Rig, _fault: Fault) -> None:
    async with rig.serving:
        rig.disk.cut_power()
        await rig.portal.hold_down()
        await asyncio.to_thread(rig.disk.power_up)
        rig.portal.start()


ACTS: dict[Name, Act] = {
    Name.LATENCY: _in_mode(Mode.LATENCY),
    Name.REFUSE: _in_mode(Mode.REFUSE),
    Name.SILENT_UP: _in_mode(Mode.SILENT_UP),
    Name.SILENT_DOWN: _in_mode(Mode.SILENT_DOWN),
    Name.SILENT: _in_mode(Mode.SILENT),
    Name.OUTAGE: _outage,
    Name.RESET: _reset,
    Name.DROP: _drop,
    Name.FREEZE_POSTGRES: _freeze,
    Name.KILL_POSTGRES: _kill_postgres,
    Name.KILL_WORKER: _kill_worker,
    Name.KILL_SUPERVISOR: _kill_supervisor,
    Name.KILL_SERVICE: _kill_service,
    Name.KILL_EVERYTHING: _kill_everything,
    Name.RESTART: _restart,
    Name.ROLL: _roll,
    Name.DISK_FULL: _disk_full,
    Name.POWER_CUT: _power_cut,
    Name.HANG_WORKER: _hang_worker,
    Name.REREAD_SECRETS: _reread_secrets,
    Name.STRANGERS: _strangers,
    Name.UNREAD_ANSWERS: _unread_answers,
}
