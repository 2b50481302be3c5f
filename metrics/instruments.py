"""Every Prometheus family, in one structure made from a registry. Labels are closed sets; children exist at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from campaigns.totals.totals import CARRIERS, UNALLOCATED_REASONS, UNCOUNTED_REASONS
from metrics.service_levels import ServiceLevels

UNKNOWN_ACCOUNT = "unknown"
CALLBACK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
COMMIT_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
REPLY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
REPLY_OUTCOMES = ("sent", "accepted", "retried", "refused", "given_up", "in_doubt", "dropped")
"""What may become of an attempt; `accepted`: taken, its charge not recorded yet."""
RESTART_REASONS = ("died", "hung")
NO_PROTOCOL = "none"
"""The label of a request that names no protocol we speak."""
PEERS = ("unlisted", "listed")
"""The label of a request from elsewhere, and of one from the networks of an account."""
MESSAGE_TIMES = ("ahead", "near", "behind")
"""How the time that a message bears compares with its arrival."""
QUARANTINE_REASONS = ("malformed", "unauthenticated", "unstorable")


class CountedElsewhere(Collector):
    """A counter whose figure somebody else keeps; asked at each scrape."""

    def __init__(self, name: str, documentation: str, count: Callable[[], int]) -> None:
        self._name = name
        self._documentation = documentation
        self._count = count

    def collect(self) -> Iterator[Metric]:
        """The one sample."""
        yield CounterMetricFamily(self._name, self._documentation, value=self._count())


class Instruments:
    """The families of the contract. `registry` belongs to one process; nothing is global."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        version: str,
        adapters: Sequence[str],
        outcomes: Sequence[str],
        log_lines_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        """`log_lines_lost` is asked at each scrape."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without types
        self.registry = registry
        self._adapters = tuple(adapters)
        self._outcomes = tuple(outcomes)
        self.callbacks = Counter(
            "portal1400_callbacks", "Callbacks by how they ended", ["account", "outcome"], registry=registry
        )
        self.turned_away = Counter(
            "portal1400_turned_away",
            "Requests that are no callback of an account, by why; `none`: no protocol of ours; `listed`: from an "
            "account's networks",
            ["adapter", "kind", "peer"],
            registry=registry,
        )
        self.callback_seconds = Histogram(
            "portal1400_callback_seconds",
            "From a callback's last byte to our answer",
            ["adapter"],
            buckets=CALLBACK_BUCKETS,
            registry=registry,
        )
        self.messages = Counter(
            "portal1400_messages",
            "Counted messages this process committed",
            ["campaign", "carrier"],
            registry=registry,
        )
        self.units = Counter(
            "portal1400_units", "Units this process committed", ["campaign", "carrier"], registry=registry
        )
        self.pledged_vnd = Counter(
            "portal1400_pledged_vnd",
            "VND this process committed as pledged",
            ["campaign", "carrier"],
            registry=registry,
        )
        self.uncounted = Counter(
            "portal1400_uncounted_messages",
            "Messages committed at zero VND, by reason",
            ["carrier", "reason"],
            registry=registry,
        )
        self.message_times = Counter(
            "portal1400_message_times",
            "Messages that bear a time: over a minute ahead of their arrival, over five behind it, or near",
            ["account", "time"],
            registry=registry,
        )
        self.last_callback = Gauge(
            "portal1400_last_callback_timestamp_seconds",
            "When an account last sent a verified callback, unix seconds",
            ["account"],
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "portal1400_commit_seconds", "Time of one group commit", buckets=COMMIT_BUCKETS, registry=registry
        )
        self.commit_batch = Histogram(
            "portal1400_commit_batch_messages",
            "Messages in one group commit",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self.campaign_pledged_vnd = Gauge(
            "portal1400_campaign_pledged_vnd",
            "VND pledged to a campaign, as published",
            ["campaign"],
            registry=registry,
        )
        self.campaign_messages = Gauge(
            "portal1400_campaign_messages",
            "Messages counted for a campaign, as published",
            ["campaign"],
            registry=registry,
        )
        self.spool_records = Gauge(
            "portal1400_spool_records", "Acknowledged callbacks that wait on this machine's disk", registry=registry
        )
        self.spool_oldest_seconds = Gauge(
            "portal1400_spool_oldest_seconds", "Age of the oldest of them, 0 when none waits", registry=registry
        )
        self.spool_writable = Gauge(
            "portal1400_spool_writable", "1 while the spool would take a callback, else 0", registry=registry
        )
        self.spool_files_refused = Gauge(
            "portal1400_spool_files_refused",
            "Spool files of this machine that are damaged or cannot be opened, and so are not replayed; must be 0",
            registry=registry,
        )
        self.disk_free_bytes = Gauge(
            "portal1400_disk_free_bytes",
            "Free for this service on the disk of its data folder, and of the embedded database's",
            ["folder"],
            registry=registry,
        )
        self.clock_ahead = Gauge(
            "portal1400_clock_ahead_of_database_seconds",
            "How far this machine's clock is ahead of the database's, negative when behind; 0 until compared",
            registry=registry,
        )
        self.totals_age = Gauge(
            "portal1400_totals_age_seconds",
            "How long ago this worker last read the totals that it shows; infinite before the first time",
            registry=registry,
        )
        self.stream_viewers = Gauge("portal1400_stream_viewers", "Open event streams", registry=registry)
        self.event_loop_stall_seconds = Gauge(
            "portal1400_event_loop_stall_seconds",
            "Longest time within the last half to whole minute that this worker's event loop did nothing else",
            registry=registry,
        )
        self.load_level = Gauge(
            "portal1400_load_level", "What is shed: 0 nothing, 1 new streams, 2 pages, 3 totals", registry=registry
        )
        self.shed = Counter(
            "portal1400_shed", "Public requests refused under overload", ["surface"], registry=registry
        )
        self.viewers_dropped = Counter(
            "portal1400_stream_viewers_dropped", "Viewers cut off because they did not read", registry=registry
        )
        self.quarantined = Counter(
            "portal1400_quarantined", "Callbacks kept for a person", ["adapter", "reason"], registry=registry
        )
        self.conflicts = Counter(
            "portal1400_conflicts", "Other content under an id we hold, recorded", ["account"], registry=registry
        )
        self.conflict_callbacks_left_out = Counter(
            "portal1400_conflict_callbacks_left_out",
            "Callbacks with conflicts of which only the digests were kept: the account's day was full",
            ["account"],
            registry=registry,
        )
        # No children before the first check: 0 says "checked and right", and only one process of the cluster checks.
        self.invariant_difference = Gauge(
            "portal1400_invariant_difference", "Rows by which an invariant is broken; must be 0", ["invariant"],
            registry=registry,
        )  # fmt: skip
        self.invariants_pass = Gauge(
            "portal1400_invariants_pass_timestamp_seconds",
            "When the last check in turn over everything ended, unix seconds", ["subject"], registry=registry,
        )  # fmt: skip
        self.last_backup = Gauge(
            "portal1400_last_backup_timestamp_seconds",
            "When this machine last made a backup, or passed a drill of one, unix seconds; 0: not known", ["act"],
            registry=registry,
        )  # fmt: skip
        self.published_ahead = Gauge(
            "portal1400_published_ahead_of_database",
            "Campaigns of which the database holds less than was published; must be 0",
            registry=registry,
        )
        registry.register(
            CountedElsewhere("portal1400_log_lines_lost", "Log lines that could not be written", log_lines_lost)
        )
        self.account_usable = Gauge(
            "portal1400_account_usable", "1 while an enabled account can serve, 0 while a secret of it cannot be had",
            ["account"], registry=registry,
        )  # fmt: skip
        self.account_test = Gauge(
            "portal1400_account_test", "1 for an enabled account that is for tests: what it sends is no gift",
            ["account"], registry=registry,
        )  # fmt: skip
        self.account_secrets_missing = Gauge(
            "portal1400_account_secrets_missing", "Secrets of an enabled account that cannot be had", ["account"],
            registry=registry,
        )  # fmt: skip
        self.replies = Counter(
            "portal1400_replies", "Replies to donors that a call of ours carries, by what became of an attempt",
            ["account", "outcome"], registry=registry,
        )  # fmt: skip
        self.reply_seconds = Histogram(
            "portal1400_reply_seconds", "From a message's arrival until the hub had its reply",
            buckets=REPLY_BUCKETS, registry=registry,
        )  # fmt: skip
        self.replies_waiting = Gauge(
            "portal1400_replies_waiting", "Replies that wait, at the worker that sends the account's", ["account"],
            registry=registry,
        )  # fmt: skip
        self.replies_oldest = Gauge(
            "portal1400_replies_oldest_seconds", "How long the longest of them has been due", ["account"],
            registry=registry,
        )  # fmt: skip
        self.worker_restarts = Counter(
            "portal1400_worker_restarts", "Workers before this one, of one supervisor, by how they ended", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.count_restarts(dict.fromkeys(RESTART_REASONS, 0))
        self.service_levels = ServiceLevels(registry)
        build = Gauge("portal1400_build_info", "The running release", ["version"], registry=registry)
        build.labels(version).set(1)
        self._last_children: dict[str, Gauge] = {}
        self._callback_children: dict[tuple[str, str], Counter] = {}
        self._turned_away_children: dict[tuple[str, str, bool], Counter] = {}
        self._seconds_children = {adapter: self.callback_seconds.labels(adapter) for adapter in self._adapters}
        for adapter in self._adapters:
            for reason in QUARANTINE_REASONS:
                self.quarantined.labels(adapter, reason)
        for carrier in CARRIERS:
            for reason in (*UNCOUNTED_REASONS, *UNALLOCATED_REASONS):
                self.uncounted.labels(carrier, reason)
        self.know_accounts([UNKNOWN_ACCOUNT])

    def count_callback(self, account: str, adapter: str, outcome: str, seconds: float) -> None:
        """One callback that ended. The children are kept at hand: looking them up costs more than counting."""
        child = self._callback_children.get((account, outcome))
        if child is None:
            child = self._callback_children[account, outcome] = self.callbacks.labels(account, outcome)
        child.inc()
        self._seconds_children[adapter].observe(seconds)
        self.service_levels.see_answer(account, outcome, seconds)

    def count_turned_away(self, adapter: str, kind: str, *, is_listed: bool) -> None:
        """One request that is no callback of an account; `is_listed`: it came from an account's networks."""
        child = self._turned_away_children.get((adapter, kind, is_listed))
        if child is None:
            child = self.turned_away.labels(adapter, kind, PEERS[is_listed])
            self._turned_away_children[adapter, kind, is_listed] = child
        child.inc()

    def know_turned_away(self, kinds: Iterable[str]) -> None:
        """Make the children, so that a rate exists from the first request on."""
        for kind in kinds:
            for adapter in (NO_PROTOCOL, *self._adapters):
                for peer in PEERS:
                    self.turned_away.labels(adapter, kind, peer)

    def see_callback(self, account: str, at: datetime) -> None:
        """A verified callback of `account` arrived."""
        child = self._last_children.get(account)
        if child is None:
            child = self._last_children[account] = self.last_callback.labels(account)
        child.set(at.timestamp())

    def know_accounts(self, accounts: Iterable[str]) -> None:
        """Make the children of accounts, so that a rate exists from their first callback on."""
        accounts = tuple(accounts)
        self.service_levels.know_accounts(accounts)
        for account in accounts:
            self.conflicts.labels(account)
            for time in MESSAGE_TIMES:
                self.message_times.labels(account, time)
            self.conflict_callbacks_left_out.labels(account)
            for outcome in self._outcomes:
                self.callbacks.labels(account, outcome)

    def see_account(
        self, account: str, *, is_enabled: bool, is_usable: bool, is_test: bool, secrets_missing: int
    ) -> None:
        """Whether an account can serve. One that is not enabled is no series: nobody waits for it."""
        for family, value in (
            (self.account_usable, is_usable),
            (self.account_test, is_test),
            (self.account_secrets_missing, secrets_missing),
        ):
            if is_enabled:
                family.labels(account).set(value)
            else:
                with suppress(KeyError):
                    family.remove(account)

    def know_replies(self, accounts: Iterable[str]) -> None:
        """Make the children of accounts whose replies a call carries."""
        for account in accounts:
            for outcome in REPLY_OUTCOMES:
                self.replies.labels(account, outcome)

    def count_reply(self, account: str, outcome: str) -> None:
        """What became of an attempt."""
        self.replies.labels(account, outcome).inc()

    def see_replies(self, account: str, *, waiting: int, oldest_seconds: float) -> None:
        """What waits of an account."""
        self.replies_waiting.labels(account).set(waiting)
        self.replies_oldest.labels(account).set(oldest_seconds)

    def know_campaigns(self, slugs: Iterable[str]) -> None:
        """Make the children of campaigns."""
        for slug in slugs:
            self.campaign_pledged_vnd.labels(slug)
            self.campaign_messages.labels(slug)
            for carrier in CARRIERS:
                for family in (self.messages, self.units, self.pledged_vnd):
                    family.labels(slug, carrier)

    def count_restarts(self, restarts: Mapping[str, int]) -> None:
        """How often the workers before this one, in the same place, ended: by reason."""
        for reason, count in restarts.items():
            self.worker_restarts.labels(reason).inc(count)

    def know_surfaces(self, names: Iterable[str]) -> None:
        """Make the children of the public surfaces."""
        for name in names:
            self.shed.labels(name)

    def count_shed(self, surface: str) -> None:
        """A public request that was refused under overload."""
        self.shed.labels(surface).inc()
