"""Families of the listeners: what is shed, and requests that are no callback of an account."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Counter

from metrics.families.register import Register, Room

NO_PROTOCOL = "none"
"""The label of a request that names no protocol we speak."""
PEERS = ("unlisted", "listed")
"""The label of a request from elsewhere, and of one from the networks of an account."""


NO_ROUTE = "none"
"""The label of a request that leads to no address of ours."""
REQUEST_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2)
STATUSES = (200, 301, 302, 304, 400, 404, 405, 406, 413, 500, 503)
OTHER_STATUS = "other"
CONNECTION_STATES = ("carrier", "stranger", "viewer")


class ListenerFamilies:
    """Load, and what was turned away."""

    def __init__(self, register: Register, *, adapters: Sequence[str]) -> None:
        room = register.room("Public side")
        self._adapters = tuple(adapters)
        self.turned_away = room.counter(
            "portal1400_turned_away",
            "Requests that are no callback of an account, by why; `none`: no protocol of ours; `listed`: from an "
            "account's networks",
            ["adapter", "kind", "peer"],
            unit="requests",
            query='sum by (kind) (increase(portal1400_turned_away_total{peer="listed"}[10m])) > 0',
        )
        self.load_level = room.gauge(
            "portal1400_load_level",
            "What is shed: 0 nothing, 1 new streams, 2 pages, 3 totals",
            unit="level",
            query="max(portal1400_load_level)",
        )
        self.shed = room.counter(
            "portal1400_shed",
            "Public requests refused under overload",
            ["surface"],
            unit="requests",
            query="sum by (surface) (rate(portal1400_shed_total[5m]))",
        )
        self.requests = room.counter(
            "portal1400_public_requests",
            "Requests to pages and API, callbacks left out, by how they were answered",
            ["route", "status"],
            unit="requests",
            query="sum by (route, status) (rate(portal1400_public_requests_total[5m])) > 0",
        )
        self.request_seconds = room.histogram(
            "portal1400_public_request_seconds",
            "From such a request's head to its answer; of a stream until the viewer is seated",
            ["route"],
            buckets=REQUEST_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (route, le) (rate(portal1400_public_request_seconds_bucket[5m])))",
        )
        self._make_connections(room)
        self._routes: dict[str, str] = {}
        self._statuses = {status: str(status) for status in STATUSES}
        self._request_children: dict[tuple[str, str], Counter] = {}
        self._turned_away_children: dict[tuple[str, str, bool], Counter] = {}

    def _make_connections(self, room: Room) -> None:
        self.connections = room.gauge(
            "portal1400_connections",
            "Open public connections: of carriers, of viewers of a stream, and of whoever else",
            ["state"],
            unit="connections",
            query="sum by (state) (portal1400_connections)",
        )
        self.connections_max = room.gauge(
            "portal1400_connections_max",
            "How many public connections there may be",
            unit="connections",
            query="max(sum by (instance) (portal1400_connections) / on (instance) portal1400_connections_max)",
        )
        self.connections_closed = room.counter(
            "portal1400_connections_closed_for_room",
            "Connections of strangers that were closed, or not taken, because there were too many",
            unit="connections",
            query="sum(rate(portal1400_connections_closed_for_room_total[5m]))",
        )
        for state in CONNECTION_STATES:
            self.connections.labels(state)

    def count_turned_away(self, adapter: str, kind: str, *, is_listed: bool) -> None:
        """One request that is no callback of an account; `is_listed`: it came from an account's networks."""
        child = self._turned_away_children.get((adapter, kind, is_listed))
        if child is None:
            child = self.turned_away.labels(adapter, kind, PEERS[is_listed])
            self._turned_away_children[adapter, kind, is_listed] = child
        child.inc()

    def know_routes(self, labels: Mapping[str, str]) -> None:
        """Make the children of the public addresses. `labels`: of each route; any other route has NO_ROUTE."""
        self._routes = dict(labels)
        for route in {NO_ROUTE, *labels.values()}:
            self.request_seconds.labels(route)
            for status in (*self._statuses.values(), OTHER_STATUS):
                self._request_children[route, status] = self.requests.labels(route, status)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """One answered public request."""
        label = self._routes.get(route, NO_ROUTE)
        self._request_children[label, self._statuses.get(status, OTHER_STATUS)].inc()
        self.request_seconds.labels(label).observe(seconds)

    def know_turned_away(self, kinds: Iterable[str]) -> None:
        """Make the children, so that a rate exists from the first request on."""
        for kind in kinds:
            for adapter in (NO_PROTOCOL, *self._adapters):
                for peer in PEERS:
                    self.turned_away.labels(adapter, kind, peer)

    def know_surfaces(self, names: Iterable[str]) -> None:
        """Make the children of the public surfaces."""
        for name in names:
            self.shed.labels(name)

    def count_shed(self, surface: str) -> None:
        """A public request that was refused under overload."""
        self.shed.labels(surface).inc()
