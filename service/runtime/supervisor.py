"""The supervisor of `serve --workers N`: binds the sockets once, starts N workers, keeps them running, replaces them.

A worker is a fresh process of this program that inherits its sockets, so one that is started later runs the code
installed by then. All workers accept from the one queue of the public socket: a worker's end resets nobody. Two pipes
join a worker to us: over one it reports (`worker_process.py`), and its end closes that pipe; of the other only we
hold the write end, so that workers learn from the kernel when we are gone, and drain. A worker whose event loop has
gone silent is ended and replaced.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from service.runtime.service_manager import ServiceManager
from service.runtime.tasks import backoff
from service.runtime.worker_process import HEARTBEAT_SECONDS, Worker

log = structlog.get_logger("supervisor")

WORKERS_MAX = 64
START_SECONDS_MAX = 600.0
"""As long as an embedded PostgreSQL may recover; a worker that is not ready by then is ended."""
RESTART_PAUSES = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a worker that ended is started again: the first time, the second time in a row, and so on."""
STABLE_SECONDS = 60.0
"""A worker that lived so long did not end for the reason it would end for again."""
KILL_AFTER_SECONDS = 5.0
"""Beyond the time a clean stop may take."""


@dataclass
class WorkerPlace:
    """One of the N places: its internal socket, and whether somebody waits for its worker to be replaced."""

    index: int
    inside: socket.socket
    died: int = 0
    """How often a worker of this place ended by itself."""
    hung: int = 0
    """How often one was ended because it hung."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _answer: asyncio.Future[bool] | None = None

    async def replaced(self) -> bool:
        """Ask for another worker in this place; whether it came."""
        self._answer = asyncio.get_running_loop().create_future()
        self.asked.set()
        return await self._answer

    def answer(self, is_replaced: bool) -> None:
        """Answer whoever asked."""
        self.asked.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(is_replaced)


class Supervisor:
    """N workers on one public socket. `run` ends after `stop` was called, or when no worker could ever start."""

    def __init__(
        self,
        public: socket.socket,
        insides: Sequence[socket.socket],
        *,
        shutdown_seconds: float,
        options: Sequence[str] = (),
        manager: ServiceManager | None = None,
    ) -> None:
        """`options` are handed to every worker; `manager` hears when callbacks are taken, and that we live."""
        self._manager = manager or ServiceManager()
        self._public = public
        self._places = [WorkerPlace(index, inside) for index, inside in enumerate(insides)]
        self._options = options
        self._end_seconds = shutdown_seconds + KILL_AFTER_SECONDS
        self._alive_read, self._alive_write = os.pipe()
        self._workers: dict[Worker, asyncio.Task[None]] = {}
        self._first_is_ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._rolling = asyncio.Event()
        self._refused: list[str] = []

    def stop(self) -> None:
        """Let all workers drain, then end."""
        self._stopping.set()

    def roll(self) -> None:
        """Replace one worker after the other: each successor is ready before its predecessor drains.

        Before that they read their accounts' secrets again: those must not wait for a release that does not start.
        """
        for worker in self._workers:
            worker.reread()
        self._rolling.set()

    async def run(self) -> list[str]:
        """Until the end. Returns the sentences of a refusal when no worker could ever start, else nothing."""
        tasks = [asyncio.create_task(self._run_place(place)) for place in self._places]
        tasks.append(asyncio.create_task(self._roll_when_asked()))
        tasks.append(asyncio.create_task(self._watch()))
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self._manager.stopping()
        # Whoever connects from now on is refused at once and can go elsewhere, instead of waiting in our queue.
        for bound in (self._public, *(place.inside for place in self._places)):
            bound.close()
        for task in (stopped, *tasks):
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for worker in self._workers:
            worker.terminate()
        await asyncio.gather(*(worker.end_within(self._end_seconds) for worker in list(self._workers)))
        for error in ended:
            if isinstance(error, Exception):
                raise error  # a bug of ours: the workers have drained, the traceback is for us
        return self._refused

    async def _run_place(self, place: WorkerPlace) -> None:
        """Have a worker in `place` for ever."""
        failures = 0
        if place.index > 0:
            # What the first one does or refuses (a migration, a start of PostgreSQL, a wrong key) happens once.
            await self._first_is_ready.wait()
        while True:
            was_asked = place.asked.is_set()
            worker = await self._start(place)
            if was_asked:
                place.answer(worker.is_ready)
            if worker.is_ready:
                if not self._first_is_ready.is_set():
                    self._first_is_ready.set()
                    self._manager.ready()
                worker = await self._attend(place, worker)
            elif worker.refused and not self._first_is_ready.is_set():
                self._refused = worker.refused
                self._stopping.set()
                return
            if worker.is_hung:
                place.hung += 1
            else:
                place.died += 1
            failures = 1 if time.monotonic() - worker.started_at > STABLE_SECONDS else failures + 1
            pause = backoff(RESTART_PAUSES, failures - 1)
            self._explain("worker_ended", worker, again_in_seconds=pause, times_in_a_row=failures)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await place.asked.wait()

    async def _attend(self, place: WorkerPlace, worker: Worker) -> Worker:
        """Replace `worker` whenever asked to; returns the one that ended by itself."""
        while True:
            await _first_of(worker.over, place.asked)
            if worker.over.is_set():
                return worker
            successor = await self._start(place)
            if successor.is_ready:
                worker.terminate()
                await worker.end_within(self._end_seconds)
                log.info("worker_replaced", worker=place.index, pid=successor.process.pid)
                worker, successor = successor, worker
                place.answer(True)
            else:
                self._explain("worker_not_replaced", successor)
                place.answer(False)

    async def _watch(self) -> None:
        """End workers that hang. The manager hears of us while at least one lives; a hanging loop says nothing."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for worker in list(self._workers):
                worker.watch(HEARTBEAT_SECONDS)
            if any(worker.is_alive for worker in self._workers):
                self._manager.alive()

    async def _roll_when_asked(self) -> None:
        while True:
            await self._rolling.wait()
            self._rolling.clear()
            await self._first_is_ready.wait()
            log.info("rolling_restart_begins", workers=len(self._places))
            for place in self._places:
                if not await place.replaced():
                    log.error("rolling_restart_given_up", worker=place.index)
                    break
            else:
                log.info("rolling_restart_done", workers=len(self._places))

    async def _start(self, place: WorkerPlace) -> Worker:
        """Start a worker in `place` and wait until it is ready or over."""
        read, write = os.pipe()
        sockets = {"public": self._public.fileno(), "internal": place.inside.fileno(), "alive": self._alive_read}
        given = {"index": place.index, "died": place.died, "hung": place.hung, **sockets}
        try:
            worker = Worker.start(place.index, self._options, given, list(sockets.values()), write)
        finally:
            os.close(write)
        following = asyncio.create_task(worker.follow(read))
        self._workers[worker] = following
        following.add_done_callback(lambda _task: self._workers.pop(worker, None))
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await worker.settled.wait()
        except TimeoutError:
            log.error("worker_not_ready_in_time", worker=place.index, seconds=START_SECONDS_MAX)
            worker.process.kill()
            await worker.over.wait()
        if worker.is_ready:
            log.info("worker_ready", worker=place.index, pid=worker.process.pid)
        return worker

    def _explain(self, event: str, worker: Worker, **more: float) -> None:
        """Say how a worker ended: its exit code (negative: the signal that killed it) and its sentences."""
        reason = {"reason": " ".join(worker.refused)} if worker.refused else {}
        log.error(
            event, worker=worker.index, pid=worker.process.pid, code=worker.process.returncode, **reason, **more
        )


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of `events` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
