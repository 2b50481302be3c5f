"""Looks at the links of all accounts four times a minute, with what the other workers of this machine saw of them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog

from metrics.carrier_health import CarrierHealth
from metrics.carrier_verdicts import NOT_AWAITED, LinkHealth, added, judged
from metrics.families.catalog import CatalogFamilies
from service.operations.siblings import Siblings
from service.runtime.clock import Clock
from service.runtime.files import write_durably
from service.runtime.tasks import cancel_and_wait, repeat

log = structlog.get_logger("carriers")

LOOK_SECONDS = 15.0
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
        families: CatalogFamilies,
        data_dir: Path,
        clock: Clock,
        aside: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`aside` says which accounts nobody waits for, each with the state to tell."""
        self._health = health
        self._families = families
        self._aside = aside
        self._data_dir = data_dir.expanduser()
        self._clock = clock
        self._siblings: Siblings | None = None
        self._file: Path | None = None
        self._kept: dict[str, list[float]] = {}
        self._judged: set[str] = set()
        self._task: asyncio.Task[None] | None = None

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
        links = {link.account: link for link in await self.links() if link.state not in NOT_AWAITED}
        for account in self._judged - links.keys():
            self._families.forget_link(account)
        self._judged = set(links)
        for account, link in links.items():
            self._families.see_link(
                account,
                expected_callbacks=link.expected_callbacks,
                usual_hourly_callbacks=link.usual_hourly_callbacks,
                missing_ids=link.missing_ids,
            )
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
