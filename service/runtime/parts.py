"""Parts of a worker: what is started in order, stopped in reverse, and says what is wrong with it."""

from collections.abc import Iterable
from typing import Protocol


class Part(Protocol):
    """One part. `stop` does nothing for what was never started, and may be called twice."""

    async def stop(self) -> None:
        """End; what was accepted is finished within the part's own limit of time."""

    def troubles(self) -> Iterable[str]:
        """What is not as it should be now, a phrase each, for /readyz."""
