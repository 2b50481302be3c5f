"""Families of the database as this process meets it: connections, clock, size, standbys."""

from collections.abc import Mapping

from metrics.families.register import Register, Room

SYNC_STATES = ("sync", "quorum", "potential", "async", "hidden")
"""What PostgreSQL says of a standby (pg_stat_replication.sync_state); `hidden` where our role may not see it."""
POOL_STATES = ("busy", "idle")


class DatabaseFamilies:
    """What is looked at by the pool, the writers and the database watch. What is not known is no sample."""

    def __init__(self, register: Register) -> None:
        room = register.room("Database")
        self.bytes_now: float | None = None
        self.connections_now: float | None = None
        self.connections_max_now: float | None = None
        self._make_connections(room)
        self._make_server(room)
        self._make_standbys(room)

    def _make_connections(self, room: Room) -> None:
        self.writers_connected = room.gauge(
            "portal1400_writers_connected",
            "Writers that are connected to the database; with none callbacks go into the spool",
            unit="connections",
            query="min(portal1400_writers_connected)",
        )
        self.writers = room.gauge(
            "portal1400_writers",
            "Writers there should be",
            unit="connections",
            query="min(portal1400_writers_connected / portal1400_writers)",
        )
        self.pool_connections = room.gauge(
            "portal1400_pool_connections",
            "Connections of the pool for reads and rare writes",
            ["state"],
            unit="connections",
            query='max by (instance) (portal1400_pool_connections{state="busy"})',
        )
        self.pool_connections_max = room.gauge(
            "portal1400_pool_connections_max",
            "How many the pool may have",
            unit="connections",
            query='max(portal1400_pool_connections{state="busy"} / on (instance) portal1400_pool_connections_max)',
        )
        self.pool_waiting = room.gauge(
            "portal1400_pool_waiting",
            "Reads that wait for a connection of the pool",
            unit="reads",
            query="max(portal1400_pool_waiting)",
        )
        self.clock_ahead = room.gauge(
            "portal1400_clock_ahead_of_database_seconds",
            "How far this machine's clock is ahead of the database's, negative when behind; 0 until compared",
            unit="seconds",
            query="max(abs(portal1400_clock_ahead_of_database_seconds))",
        )
        for state in POOL_STATES:
            self.pool_connections.labels(state)

    def _make_server(self, room: Room) -> None:
        room.known(
            "portal1400_database_bytes",
            "Size of the database; absent while it cannot be asked",
            lambda: self.bytes_now,
            unit="bytes",
            query="max(portal1400_database_bytes)",
        )
        room.known(
            "portal1400_database_connections",
            "Sessions on its server, everybody's; absent while it cannot be asked",
            lambda: self.connections_now,
            unit="connections",
            query="max(portal1400_database_connections) / max(portal1400_database_connections_max)",
        )
        room.known(
            "portal1400_database_connections_max",
            "How many there may be; absent while it cannot be asked",
            lambda: self.connections_max_now,
            unit="connections",
            query="max(portal1400_database_connections_max)",
        )

    def _make_standbys(self, room: Room) -> None:
        self.standbys = room.gauge(
            "portal1400_standbys",
            "Standbys that follow the database; absent while it cannot be asked",
            ["sync_state"],
            unit="standbys",
            query='max(sum by (instance) (portal1400_standbys{sync_state=~"sync|quorum"}))',
        )
        self.standby_lag_seconds = room.gauge(
            "portal1400_standby_lag_seconds",
            "How long after the primary the last of them shows a commit; absent where there is none",
            ["sync_state"],
            unit="seconds",
            query="max by (sync_state) (portal1400_standby_lag_seconds)",
        )
        self.standby_lag_bytes = room.gauge(
            "portal1400_standby_lag_bytes",
            "What the last of them has not on its disk yet; absent where there is none",
            ["sync_state"],
            unit="bytes",
            query="max by (sync_state) (portal1400_standby_lag_bytes)",
        )

    def see_standbys(self, found: Mapping[str, tuple[int, float, float | None]]) -> None:
        """How many there are, and the lag of the last in seconds and bytes, by their `sync_state`."""
        for family in (self.standby_lag_seconds, self.standby_lag_bytes):
            family.clear()
        for state in SYNC_STATES:
            count, seconds, lag_bytes = found.get(state, (0, 0.0, 0.0))
            self.standbys.labels(state).set(count)
            if count:
                self.standby_lag_seconds.labels(state).set(seconds)
            if count and lag_bytes is not None:
                self.standby_lag_bytes.labels(state).set(lag_bytes)

    def forget(self) -> None:
        """The database cannot be asked: no figure of it is true now."""
        self.bytes_now = self.connections_now = self.connections_max_now = None
        for family in (self.standbys, self.standby_lag_seconds, self.standby_lag_bytes):
            family.clear()
