"""The supervisor of `serve --workers N`: binds the sockets once, starts N workers, keeps them running, replaces them.

A worker is a fresh process of this program that inherits its sockets, so one that is started later runs the code
installed by then. All workers accept from the one queue of the public socket: a worker's end resets nobody. Two pipes
join a worker to us: over one it reports that it is ready or why it refuses, and its end closes that pipe; of the
other only we hold the write end, so that workers learn from the kernel when we are gone, and drain.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import structlog

from service.runtime.tasks import backoff

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


class Worker:
    """One worker process. `settled` is set when it is ready or over."""

    def __init__(self, index: int, process: subprocess.Popen[bytes]) -> None:
        self.index = index
        self.process = process
        self.started_at = time.monotonic()
        self.is_ready = False
        self.refused: list[str] = []
        self.settled = asyncio.Event()
        self.over = asyncio.Event()

    async def follow(self, report: int) -> None:
        """Take in what it reports, until its end closes the pipe."""
        reader = asyncio.StreamReader()
        with os.fdopen(report, "rb") as pipe:
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
            async for line in reader:
                told = orjson.loads(line)
                self.refused += told.get("refused", [])
                self.is_ready = self.is_ready or told.get("ready", False)
                if self.is_ready:
                    self.settled.set()
        await asyncio.to_thread(self.process.wait)
        self.is_ready = False
        self.over.set()
        self.settled.set()

    def terminate(self) -> None:
        """Tell it to drain."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    async def end_within(self, seconds: float) -> None:
        """Wait for its end; kill it when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            log.error("worker_killed", worker=self.index, seconds=seconds)
            self.process.kill()
            await self.over.wait()


@dataclass
class WorkerPlace:
    """One of the N places: its internal socket, and whether somebody waits for its worker to be replaced."""

    index: int
    inside: socket.socket
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    _answer: asyncio.Future[bool] | None = None

    async def replaced(self) -> bool:
        """Ask for another worker in this place; whether it came."""
        self._answer = asyncio.get_running_loop().create_future()
        self.asked.set()
        return await self._answer

    def tell(self, is_replaced: bool) -> None:
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
    ) -> None:
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
        """Replace one worker after the other: each successor is ready before its predecessor drains."""
        self._rolling.set()

    async def run(self) -> list[str]:
        """Until the end. Returns the sentences of a refusal when no worker could ever start, else nothing."""
        tasks = [asyncio.create_task(self._keep(place)) for place in self._places]
        tasks.append(asyncio.create_task(self._roll_when_asked()))
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
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

    async def _keep(self, place: WorkerPlace) -> None:
        """Have a worker in `place` for ever."""
        failures = 0
        if place.index > 0:
            # What the first one does or refuses (a migration, a start of PostgreSQL, a wrong key) happens once.
            await self._first_is_ready.wait()
        while True:
            was_asked = place.asked.is_set()
            worker = await self._start(place)
            if was_asked:
                place.tell(worker.is_ready)
            if worker.is_ready:
                self._first_is_ready.set()
                worker = await self._attend(place, worker)
            elif worker.refused and not self._first_is_ready.is_set():
                self._refused = worker.refused
                self._stopping.set()
                return
            failures = 0 if time.monotonic() - worker.started_at > STABLE_SECONDS else failures + 1
            pause = backoff(RESTART_PAUSES, max(failures - 1, 0))
            self._explain("worker_ended", worker, again_in_seconds=pause, times_in_a_row=max(failures, 1))
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
                place.tell(True)
            else:
                self._explain("worker_not_replaced", successor)
                place.tell(False)

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
        given = {
            "index": place.index,
            "public": self._public.fileno(),
            "internal": place.inside.fileno(),
            "report": write,
            "alive": self._alive_read,
        }
        command = [sys.executable, "-P", "-m", "service", "worker", *self._options]
        command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 -- milliseconds, and no place to be cancelled half way
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[given["public"], given["internal"], write, self._alive_read],
            )
        finally:
            os.close(write)
        worker = Worker(place.index, process)
        following = asyncio.create_task(worker.follow(read))
        self._workers[worker] = following
        following.add_done_callback(lambda _task: self._workers.pop(worker, None))
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await worker.settled.wait()
        except TimeoutError:
            log.error("worker_not_ready_in_time", worker=place.index, seconds=START_SECONDS_MAX)
            process.kill()
            await worker.over.wait()
        if worker.is_ready:
            log.info("worker_ready", worker=place.index, pid=process.pid)
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
