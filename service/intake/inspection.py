"""Who looks at an account's callbacks as they come. While nobody does, a callback pays for a look at an empty set."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import structlog

from service.runtime.logs import describe_failure

log = structlog.get_logger("inspect")

VIEWERS_MAX = 8
"""Of one worker, over all accounts."""
WAITING_MAX = 100
"""Callbacks that wait for one viewer; beyond it the oldest is left out, and the next says so."""

EXPLAINED_PER_SECOND_MAX = 50
"""Callbacks of a worker that are told step by step; in a flood the others are left out."""


class HouseFull(Exception):
    """VIEWERS_MAX look already."""


class Viewer:
    """One who looks: a bounded queue of what there is to see, and None at the end."""

    def __init__(self) -> None:
        self._seen: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(WAITING_MAX)
        self._left_out = 0

    def leave_out(self) -> None:
        """Say with the next that one more was left out."""
        self._left_out += 1

    def put(self, seen: Mapping[str, Any] | None) -> None:
        """Show it, in the place of the oldest where too much waits."""
        if self._seen.full():
            self._seen.get_nowait()
            self.leave_out()
        self._seen.put_nowait(seen)

    async def next(self) -> Mapping[str, Any] | None:
        """The next there is to see, with how many were left out before it."""
        seen = await self._seen.get()
        left_out, self._left_out = self._left_out, 0
        return seen if seen is None or not left_out else {**seen, "left_out": left_out}


class Inspection:
    """The viewers of one worker. `codes`: the accounts that are looked at, as addresses name them."""

    def __init__(self) -> None:
        self.codes: frozenset[str] = frozenset()
        self._viewers: list[tuple[str, Viewer]] = []
        self._second = 0
        self._explained = 0

    @contextmanager
    def watching(self, code: str) -> Iterator[Viewer]:
        """Look at `code` for as long as the block lasts. Raises HouseFull."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise HouseFull
        entry = code, Viewer()
        self._viewers.append(entry)
        self._count()
        try:
            yield entry[1]
        finally:
            self._viewers.remove(entry)
            self._count()

    def explain_soon(self, code: str, tell: Callable[[], Mapping[str, Any]]) -> None:
        """Show what `tell` says when the callback has been answered: it can neither delay nor break that."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._explained = second, 0
        self._explained += 1
        if self._explained > EXPLAINED_PER_SECOND_MAX:
            for viewer in self._of(code):
                viewer.leave_out()
            return
        asyncio.get_running_loop().call_soon(self._explain, code, tell)

    def _explain(self, code: str, tell: Callable[[], Mapping[str, Any]]) -> None:
        try:
            self.show(code, tell())
        except Exception as error:  # noqa: BLE001 -- who looks misses one; nobody else may notice
            log.error("callback_not_explained", **describe_failure(error))

    def show(self, code: str, seen: Mapping[str, Any]) -> None:
        """Show it to all who look at `code`."""
        for viewer in self._of(code):
            viewer.put(seen)

    def show_astray(self, code: str, at: datetime, says: str, status: int) -> None:
        """Show a request that never became a callback."""
        if code in self.codes:
            steps = [{"step": "address", "passed": False, "says": says}, {"step": "answer", "says": str(status)}]
            self.show(code, {"at": at.isoformat(timespec="milliseconds"), "steps": steps})

    def end(self) -> None:
        """Tell all viewers that it is over."""
        for _, viewer in self._viewers:
            viewer.put(None)

    def _of(self, code: str) -> list[Viewer]:
        return [viewer for looked_at, viewer in self._viewers if looked_at == code]

    def _count(self) -> None:
        self.codes = frozenset(code for code, _ in self._viewers)
