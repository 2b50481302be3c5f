"""Families of the process: its event loop, its log, its release, and how those before it ended."""

from collections.abc import Callable, Mapping

from metrics.families.register import Register

LAG_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
RESTART_REASONS = ("died", "hung")


class RuntimeFamilies:
    """What every process of ours has."""

    def __init__(
        self,
        register: Register,
        *,
        version: str,
        log_lines_lost: Callable[[], int],
        log_lines_waiting: Callable[[], int],
    ) -> None:
        room = register.room("Process")
        self.event_loop_stall_seconds = room.gauge(
            "portal1400_event_loop_stall_seconds",
            "Longest time within the last half to whole minute that this worker's event loop did nothing else",
            unit="seconds",
            query="max(portal1400_event_loop_stall_seconds)",
        )
        self.event_loop_lag_seconds = room.histogram(
            "portal1400_event_loop_lag_seconds",
            "How late the event loop came to what was due, looked at a hundred times a second",
            buckets=LAG_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (le) (rate(portal1400_event_loop_lag_seconds_bucket[5m])))",
        )
        room.counted(
            "portal1400_log_lines_lost",
            "Log lines that could not be written",
            log_lines_lost,
            unit="lines",
            query="sum(increase(portal1400_log_lines_lost_total[1h]))",
        )
        room.known(
            "portal1400_log_lines_waiting",
            "Log lines that wait to be written; beyond 20,000 they are lost",
            log_lines_waiting,
            unit="lines",
            query="max(portal1400_log_lines_waiting)",
        )
        self.worker_restarts = room.counter(
            "portal1400_worker_restarts",
            "Workers before this one, of one supervisor, by how they ended",
            ["reason"],
            unit="workers",
            query="sum by (reason) (increase(portal1400_worker_restarts_total[1h]))",
        )
        self.count_restarts(dict.fromkeys(RESTART_REASONS, 0))
        build = room.gauge(
            "portal1400_build_info",
            "The running release",
            ["version"],
            unit="always 1",
            query="count by (version) (portal1400_build_info)",
        )
        build.labels(version).set(1)
        room.process()

    def count_restarts(self, restarts: Mapping[str, int]) -> None:
        """How often the workers before this one, in the same place, ended: by reason."""
        for reason, count in restarts.items():
            self.worker_restarts.labels(reason).inc(count)
