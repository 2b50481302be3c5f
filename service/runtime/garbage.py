"""Python's cyclic garbage collector, set for a process that makes many short-lived objects and few cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 50_000
MIDDLE_ROUNDS = 50
OLD_ROUNDS = 100
COLLECT_BYTES = 64 * 1024 * 1024
"""After so many bytes of large bodies everything is looked at, however few objects they were: if some fault keeps
them in a cycle, that much stays and no more. A look takes some milliseconds."""


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage while modules are imported, nor among them afterwards: they stay.

    Every look at them is a part of what a start costs, a tenth in all.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def tune_garbage_collection() -> None:
    """Collect seldom, and never look again at what was made before serving.

    With the default threshold of 700 objects the collector ran several times per commit and took about a third of
    the CPU time of a callback: nearly everything a callback makes is freed by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE_ROUNDS, OLD_ROUNDS)


class CollectionByBytes:
    """Collects by weight: a cycle of ten objects may hold a megabyte, and the collector itself counts objects."""

    def __init__(self) -> None:
        self._bytes = 0

    def see(self, freed_bytes: int) -> None:
        """So many bytes of large bodies were let go."""
        self._bytes += freed_bytes
        if self._bytes >= COLLECT_BYTES:
            self._bytes = 0
            gc.collect()
