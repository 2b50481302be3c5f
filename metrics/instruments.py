"""Every Prometheus family, in one structure made from a registry. Labels are closed sets; children exist at once."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, disable_created_metrics

from metrics.families.catalog import CatalogFamilies
from metrics.families.database import DatabaseFamilies
from metrics.families.intake import IntakeFamilies
from metrics.families.listeners import ListenerFamilies
from metrics.families.live import LiveFamilies
from metrics.families.operations import OperationsFamilies
from metrics.families.register import Family, Register
from metrics.families.replies import ReplyFamilies
from metrics.families.runtime import RuntimeFamilies
from metrics.families.spool import SpoolFamilies
from metrics.service_levels import ServiceLevels

ROOMS = (
    "Intake", "Service levels", "Spool", "Accounts", "Replies", "Live totals", "Public side", "Database",
    "Operations",
    "Process",
)  # fmt: skip
"""In the order in which docs/metrics.md has them."""


class Instruments:
    """The families of the contract, a group for each room. `registry` belongs to one process; nothing is global."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        adapters: Sequence[str],
        outcomes: Sequence[str],
        log_lines_lost: Callable[[], int] = lambda: 0,
        log_lines_waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        """`log_lines_lost` and `log_lines_waiting` are asked at each scrape."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without types
        register = self.register = Register(registry)
        self.registry = registry
        self.service_levels = ServiceLevels(register)
        self.intake = IntakeFamilies(register, self.service_levels, adapters=adapters, outcomes=outcomes)
        self.spool = SpoolFamilies(register)
        self.catalog = CatalogFamilies(register)
        self.replies = ReplyFamilies(register)
        self.live = LiveFamilies(register)
        self.listeners = ListenerFamilies(register, adapters=adapters)
        self.database = DatabaseFamilies(register)
        self.operations = OperationsFamilies(register)
        self.runtime = RuntimeFamilies(
            register, version=version, log_lines_lost=log_lines_lost, log_lines_waiting=log_lines_waiting
        )
        self.looks: list[Callable[[], None]] = []
        """What sets gauges right before a scrape, on the event loop, whose figures another thread must not read."""

    @property
    def families(self) -> Sequence[Family]:
        """What each says of itself, room by room."""
        return sorted(self.register.families, key=lambda family: ROOMS.index(family.room))

    def look(self) -> None:
        """Set the gauges that are not set as things happen. On the event loop."""
        for look in self.looks:
            look()

    def know_campaigns(self, slugs: Iterable[str]) -> None:
        """Make the children of campaigns."""
        known = tuple(slugs)
        self.intake.know_campaigns(known)
        self.live.know_campaigns(known)
