"""What every family says of itself when it is made: type, unit, labels, meaning, and a query that is of use."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Kind = Literal["counter", "gauge", "histogram"]

LABELS = {
    "account": "gateway accounts of the book, and `unknown` for whatever names another",
    "act": "`backup`, `drill`",
    "adapter": "protocols that this release speaks, and `none` where that is not known",
    "campaign": "campaigns of the book, by slug",
    "carrier": "the six carriers, and `unknown`",
    "folder": "`data`, and `database` where it is embedded",
    "invariant": "what `portal1400 verify` lists",
    "kind": "why a request is no callback of an account",
    "outcome": "how a callback, or an attempt to reply, may end",
    "peer": "`listed`: from the networks of an account; `unlisted`",
    "reason": "of a message: why it does not count; of a callback: why it is kept; of a worker: how it ended",
    "route": "public addresses as the router knows them, such as `/c/{slug}`, and `none` for all others",
    "state": "of a connection to the database: `busy`, `idle`; of a public one: `carrier`, `stranger`, `viewer`",
    "status": "the answers that the public side gives, and `other`",
    "subject": "what the check of everything goes through in turn",
    "sync_state": "as PostgreSQL says it of a standby, and `hidden` where our role may not see it",
    "surface": "parts of the public side, as load shedding knows them",
    "time": "`ahead`, `near`, `behind`",
    "version": "the one that runs",
}
"""Every label there is, and the closed set from which its values come. No value is ever taken from a request."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family, as its page shows it. `name` is that of its samples, so a counter's ends in `_total`."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    meaning: str
    query: str
    room: str


class CountedElsewhere(Collector):
    """A counter whose figure somebody else keeps; asked at each scrape."""

    def __init__(self, name: str, documentation: str, count: Callable[[], float]) -> None:
        self._name = name
        self._documentation = documentation
        self._count = count

    def collect(self) -> Iterator[Metric]:
        """The one sample."""
        yield CounterMetricFamily(self._name, self._documentation, value=self._count())


class KnownElsewhere(Collector):
    """A gauge whose figure somebody else knows, or not: then there is no sample, because no figure would be true."""

    def __init__(self, name: str, documentation: str, ask: Callable[[], float | None]) -> None:
        self._name = name
        self._documentation = documentation
        self._ask = ask

    def collect(self) -> Iterator[Metric]:
        """The sample, if there is one."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self._ask())


_OURS = '{job="portal1400"}'
PROCESS: tuple[tuple[str, Kind, str, str, str], ...] = (
    ("process_cpu_seconds", "counter", "seconds", "CPU time used", "sum(rate({name}[5m]))"),
    ("process_resident_memory_bytes", "gauge", "bytes", "Memory in use", "max({name})"),
    ("process_virtual_memory_bytes", "gauge", "bytes", "Address space taken", "max({name})"),
    ("process_open_fds", "gauge", "files", "Open file descriptors", "max({name} / process_max_fds)"),
    ("process_max_fds", "gauge", "files", "How many there may be", "min({name})"),
    (
        "process_start_time_seconds",
        "gauge",
        "unix seconds",
        "When it began, unix seconds",
        "time() - max({name})",
    ),
)
"""What the client library tells of a process, under the names that every exporter uses."""


class Register:
    """Makes families in a registry and keeps what they say of themselves. Nothing is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.families: list[Family] = []

    def room(self, name: str) -> "Room":
        """What makes the families of one room."""
        return Room(self, name)


class Room:
    """Makes the families of one room. `unit` is what a sample counts; a label must be one of LABELS.

    `query` is PromQL over all workers. Raises ValueError for a label that nobody owns.
    """

    def __init__(self, register: Register, name: str) -> None:
        self._register = register
        self._name = name

    def counter(self, name: str, meaning: str, labels: Sequence[str] = (), *, unit: str, query: str) -> Counter:
        """What only grows; `name` without its `_total`."""
        self._describe(f"{name}_total", "counter", unit, labels, meaning, query)
        return Counter(name, meaning, labels, registry=self._register.registry)

    def counted(self, name: str, meaning: str, count: Callable[[], float], *, unit: str, query: str) -> None:
        """The same, of which somebody else keeps the figure; `count` is asked at each scrape."""
        self._describe(f"{name}_total", "counter", unit, (), meaning, query)
        self._register.registry.register(CountedElsewhere(name, meaning, count))

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = (), *, unit: str, query: str) -> Gauge:
        """What rises and falls."""
        self._describe(name, "gauge", unit, labels, meaning, query)
        return Gauge(name, meaning, labels, registry=self._register.registry)

    def known(self, name: str, meaning: str, ask: Callable[[], float | None], *, unit: str, query: str) -> None:
        """The same, asked at each scrape; None while nobody knows."""
        self._describe(name, "gauge", unit, (), meaning, query)
        self._register.registry.register(KnownElsewhere(name, meaning, ask))

    def collector(self, collector: Collector, family: "Family") -> None:
        """Register what makes a family by itself, and says so."""
        self._describe(family.name, family.kind, family.unit, family.labels, family.meaning, family.query)
        self._register.registry.register(collector)

    def process(self) -> None:
        """The families that every process has."""
        for name, kind, unit, meaning, query in PROCESS:
            exported = f"{name}_total" if kind == "counter" else name
            self._describe(exported, kind, unit, (), meaning, query.format(name=exported + _OURS))
        ProcessCollector(registry=self._register.registry)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        unit: str,
        query: str,
    ) -> Histogram:
        """How often which size was met; `buckets` are upper bounds in `unit`."""
        self._describe(name, "histogram", unit, labels, meaning, query)
        return Histogram(name, meaning, labels, buckets=buckets, registry=self._register.registry)

    def _describe(
        self,
        name: str,
        kind: Kind,
        unit: str,
        labels: Sequence[str],
        meaning: str,
        query: str,
    ) -> None:
        if strange := set(labels) - LABELS.keys():
            raise ValueError(f"{name}: nobody owns the values of {', '.join(sorted(strange))}")
        self._register.families.append(Family(name, kind, unit, tuple(labels), meaning, query, self._name))
