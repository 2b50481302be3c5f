"""Families of the intake: callbacks, what became of them, and how long that took."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from prometheus_client import Counter, Gauge

from campaigns.totals.totals import CARRIERS, UNALLOCATED_REASONS, UNCOUNTED_REASONS
from metrics.families.register import Register, Room
from metrics.service_levels import ServiceLevels

UNKNOWN_ACCOUNT = "unknown"
CALLBACK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
COMMIT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
MESSAGE_TIMES = ("ahead", "near", "behind")
"""How the time that a message bears compares with its arrival."""
QUARANTINE_REASONS = ("malformed", "unauthenticated", "unstorable")

Exemplar = Callable[[], dict[str, str] | None]
"""What is said of the observation that is made now, such as its trace; None where there is nothing to say."""


def no_exemplar() -> None:
    """Nothing is traced."""


class IntakeFamilies:
    """Callbacks, messages, money, commits, and what is kept for a person."""

    def __init__(
        self,
        register: Register,
        service_levels: ServiceLevels,
        *,
        adapters: Sequence[str],
        outcomes: Sequence[str],
    ) -> None:
        self._service_levels = service_levels
        room = register.room("Intake")
        self._outcomes = tuple(outcomes)
        self.exemplar: Exemplar = no_exemplar
        """Asked at each observation of a time. Whoever traces puts `trace_id` of a sampled trace here."""
        self._make_callbacks(room)
        self._make_messages(room)
        self._make_commits(room)
        self._make_kept(room)
        self._last_children: dict[str, Gauge] = {}
        self._callback_children: dict[tuple[str, str], Counter] = {}
        self._seconds_children = {adapter: self.callback_seconds.labels(adapter) for adapter in adapters}
        for adapter in adapters:
            for reason in QUARANTINE_REASONS:
                self.quarantined.labels(adapter, reason)
        for carrier in CARRIERS:
            for reason in (*UNCOUNTED_REASONS, *UNALLOCATED_REASONS):
                self.uncounted.labels(carrier, reason)
        self.know_accounts([UNKNOWN_ACCOUNT])

    def _make_callbacks(self, room: Room) -> None:
        """What comes, and how it is answered."""
        self.callbacks = room.counter(
            "portal1400_callbacks",
            "Callbacks by how they ended",
            ["account", "outcome"],
            unit="callbacks",
            query="sum by (account, outcome) (rate(portal1400_callbacks_total[5m]))",
        )
        self.callback_seconds = room.histogram(
            "portal1400_callback_seconds",
            "From a callback's last byte to our answer",
            ["adapter"],
            buckets=CALLBACK_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (adapter, le) (rate(portal1400_callback_seconds_bucket[5m])))",
        )
        self.last_callback = room.gauge(
            "portal1400_last_callback_timestamp_seconds",
            "When an account last sent a verified callback, unix seconds",
            ["account"],
            unit="unix seconds",
            query="time() - max by (account) (portal1400_last_callback_timestamp_seconds)",
        )

    def _make_messages(self, room: Room) -> None:
        """What it says, and what of it counts."""
        self.message_times = room.counter(
            "portal1400_message_times",
            "Messages that bear a time: over a minute ahead of their arrival, over five behind it, or near",
            ["account", "time"],
            unit="messages",
            query='sum by (account, time) (increase(portal1400_message_times_total{time!="near"}[10m]))',
        )
        self.messages = room.counter(
            "portal1400_messages",
            "Counted messages this process committed",
            ["campaign", "carrier"],
            unit="messages",
            query="sum by (campaign, carrier) (rate(portal1400_messages_total[5m])) * 60",
        )
        self.units = room.counter(
            "portal1400_units",
            "Units this process committed",
            ["campaign", "carrier"],
            unit="units",
            query="sum by (campaign) (increase(portal1400_units_total[1h]))",
        )
        self.pledged_vnd = room.counter(
            "portal1400_pledged_vnd",
            "VND this process committed as pledged",
            ["campaign", "carrier"],
            unit="VND",
            query="sum by (campaign, carrier) (increase(portal1400_pledged_vnd_total[1h]))",
        )
        self.uncounted = room.counter(
            "portal1400_uncounted_messages",
            "Messages committed at zero VND, by reason",
            ["carrier", "reason"],
            unit="messages",
            query="sum by (carrier, reason) (increase(portal1400_uncounted_messages_total[10m]))",
        )

    def _make_commits(self, room: Room) -> None:
        """How it is stored, and what waits for that."""
        self.commit_seconds = room.histogram(
            "portal1400_commit_seconds",
            "Time of one group commit",
            buckets=COMMIT_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (le) (rate(portal1400_commit_seconds_bucket[5m])))",
        )
        self.commit_batch = room.histogram(
            "portal1400_commit_batch_messages",
            "Messages in one group commit",
            buckets=BATCH_BUCKETS,
            unit="messages",
            query="sum(rate(portal1400_commit_batch_messages_sum[5m])) "
            "/ sum(rate(portal1400_commit_batch_messages_count[5m]))",
        )
        self.queue_events = room.gauge(
            "portal1400_queue_events",
            "Events that wait for a commit",
            unit="events",
            query="max(portal1400_queue_events / portal1400_queue_events_max)",
        )
        self.queue_events_max = room.gauge(
            "portal1400_queue_events_max",
            "How many events may wait; callbacks beyond it go into the spool or are told to come later",
            unit="events",
            query="sum(portal1400_queue_events_max)",
        )
        self.queue_oldest_seconds = room.gauge(
            "portal1400_queue_oldest_seconds",
            "How long the callback that came first has waited for its commit, 0 when none waits",
            unit="seconds",
            query="max(portal1400_queue_oldest_seconds)",
        )

    def _make_kept(self, room: Room) -> None:
        """What is kept for a person."""
        self.quarantined = room.counter(
            "portal1400_quarantined",
            "Callbacks kept for a person",
            ["adapter", "reason"],
            unit="callbacks",
            query="sum by (adapter, reason) (increase(portal1400_quarantined_total[1h]))",
        )
        self.conflicts = room.counter(
            "portal1400_conflicts",
            "Other content under an id we hold, recorded",
            ["account"],
            unit="events",
            query="sum by (account) (increase(portal1400_conflicts_total[1h]))",
        )
        self.conflict_callbacks_left_out = room.counter(
            "portal1400_conflict_callbacks_left_out",
            "Callbacks with conflicts of which only the digests were kept: the account's day was full",
            ["account"],
            unit="callbacks",
            query="sum by (account) (increase(portal1400_conflict_callbacks_left_out_total[1d]))",
        )

    def count_callback(self, account: str, adapter: str, outcome: str, seconds: float) -> None:
        """One callback that ended. The children are kept at hand: looking them up costs more than counting."""
        child = self._callback_children.get((account, outcome))
        if child is None:
            child = self._callback_children[account, outcome] = self.callbacks.labels(account, outcome)
        child.inc()
        self._service_levels.see_answer(account, outcome, seconds)
        self._seconds_children[adapter].observe(seconds, self.exemplar())

    def see_callback(self, account: str, at: datetime) -> None:
        """A verified callback of `account` arrived."""
        child = self._last_children.get(account)
        if child is None:
            child = self._last_children[account] = self.last_callback.labels(account)
        child.set(at.timestamp())

    def know_accounts(self, accounts: Iterable[str]) -> None:
        """Make the children of accounts, so that a rate exists from their first callback on."""
        accounts = tuple(accounts)
        self._service_levels.know_accounts(accounts)
        for account in accounts:
            self.conflicts.labels(account)
            for time in MESSAGE_TIMES:
                self.message_times.labels(account, time)
            self.conflict_callbacks_left_out.labels(account)
            for outcome in self._outcomes:
                self.callbacks.labels(account, outcome)

    def know_campaigns(self, slugs: Iterable[str]) -> None:
        """Make the children of campaigns."""
        for slug in slugs:
            for carrier in CARRIERS:
                for family in (self.messages, self.units, self.pledged_vnd):
                    family.labels(slug, carrier)
