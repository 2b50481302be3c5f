"""Looks at the links of all accounts once a minute, with what the other workers of this machine saw of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry, Gauge

from metrics.carrier_health import CarrierHealth
from metrics.carrier_verdicts import LinkHealth, added, judged
from service.operations.siblings import Siblings
from service.runtime.clock import Clock
from service.runtime.files import write_durably
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("carriers")

LOOK_SECONDS = 60.0
USUAL_BYTES_MAX = 1024 * 1024
OWN_PATH = "/admin/gateways/own"


class CarrierWatch:
    """One task. `siblings` is set when the internal listener's port is known.

    What is usual for each account is kept in a file of `data_dir`, one for each internal port, so that a restart
    does not forget the week.
    """

    def __init__(
        self,
        health: CarrierHealth,
        registry: CollectorRegistry,
        data_dir: Path,
        clock: Clock,
        aside: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`aside` says which accounts nobody waits for, each with the state to tell."""
        self._health = health
        self._aside = aside
        self._data_dir = data_dir.expanduser()
        self._clock = clock
        self._siblings: Siblings | None = None
        self._file: Path | None = None
        self._kept: dict[str, list[float]] = {}
        self._task: asyncio.Task[None] | None = None
        self.expected = Gauge(
            "portal1400_account_expected_callbacks",
            "Callbacks that an account's usual share says should have come since its last; 0 while it speaks",
            ["account"],
            registry=registry,
        )
        self.usual = Gauge(
            "portal1400_account_usual_hourly_callbacks",
            "Callbacks that an account usually sends in this hour of the day",
            ["account"],
            registry=registry,
        )
        self.missing = Gauge(
            "portal1400_account_missing_ids",
            "Ids of the last 15 minutes that did not come, of accounts whose ids are counted up for us alone",
            ["account"],
            registry=registry,
        )

    async def start(self, siblings: Siblings, port: int) -> None:
        """Remember what was usual, and look now and then."""
        self._siblings = siblings
        self._file = self._data_dir / f"carriers-{port}.json"
        self._kept = await asyncio.to_thread(_read, self._file)
        self._health.remember(self._kept)
        self._task = repeat("carriers", self.look, (LOOK_SECONDS,))

    async def stop(self) -> None:
        """Look no more."""
        await cancel_and_wait(self._task)

    async def own(self) -> dict[str, Any]:
        """What this worker alone has seen, for the others."""
        installation = "" if self._siblings is None else self._siblings.installation
        return {"installation": installation, **self._health.told(await asyncio.to_thread(self._health.counts))}

    async def links(self) -> Sequence[LinkHealth]:
        """The health of every link as all workers of this machine together see it, the worst first."""
        told = [await self.own()]
        if self._siblings is not None:
            told += await self._siblings.ask(OWN_PATH)
        return judged(added(told), self._clock().timestamp(), self._aside())

    async def look(self) -> None:
        """Set the gauges, and keep what is usual where that has changed."""
        for link in await self.links():
            self.expected.labels(link.account).set(link.expected_callbacks if link.state == "silent" else 0)
            self.usual.labels(link.account).set(link.usual_hourly_callbacks)
            if link.missing_ids is not None:
                self.missing.labels(link.account).set(link.missing_ids)
            else:
                # Not judged is no zero.
                with suppress(KeyError):
                    self.missing.remove(link.account)
        usual = self._health.usual()
        if usual != self._kept and self._file is not None:
            await asyncio.to_thread(write_durably, self._file, orjson.dumps({"usual": usual}))
            self._kept = usual


def _read(path: Path) -> dict[str, list[float]]:
    """What was kept; nothing where there is no such file, or none that we wrote."""
    try:
        content = path.read_bytes()
        return dict(orjson.loads(content)["usual"]) if len(content) <= USUAL_BYTES_MAX else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("usual_callbacks_not_read", file=path.name)
        return {}
