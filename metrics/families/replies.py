"""Families of replies to donors that a call of ours carries."""

from collections.abc import Iterable

from metrics.families.register import Register

REPLY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
REPLY_OUTCOMES = ("sent", "accepted", "retried", "refused", "given_up", "in_doubt", "dropped")
"""What may become of an attempt; `accepted`: taken, its charge not recorded yet."""


class ReplyFamilies:
    """What was sent, how long that took, and what waits."""

    def __init__(self, register: Register) -> None:
        room = register.room("Replies")
        self.attempts = room.counter(
            "portal1400_replies",
            "Replies to donors that a call of ours carries, by what became of an attempt",
            ["account", "outcome"],
            unit="attempts",
            query="sum by (account, outcome) (rate(portal1400_replies_total[5m]))",
        )
        self.reply_seconds = room.histogram(
            "portal1400_reply_seconds",
            "From a message's arrival until the hub had its reply",
            buckets=REPLY_BUCKETS,
            unit="seconds",
            query="histogram_quantile(0.99, sum by (le) (rate(portal1400_reply_seconds_bucket[5m])))",
        )
        self.waiting = room.gauge(
            "portal1400_replies_waiting",
            "Replies that wait, at the worker that sends the account's",
            ["account"],
            unit="replies",
            query="sum by (account) (portal1400_replies_waiting)",
        )
        self.oldest = room.gauge(
            "portal1400_replies_oldest_seconds",
            "How long the longest of them has been due",
            ["account"],
            unit="seconds",
            query="max by (account) (portal1400_replies_oldest_seconds)",
        )

    def know_replies(self, accounts: Iterable[str]) -> None:
        """Make the children of accounts whose replies a call carries."""
        for account in accounts:
            for outcome in REPLY_OUTCOMES:
                self.attempts.labels(account, outcome)

    def count_reply(self, account: str, outcome: str) -> None:
        """What became of an attempt."""
        self.attempts.labels(account, outcome).inc()

    def see_replies(self, account: str, *, waiting: int, oldest_seconds: float) -> None:
        """What waits of an account."""
        self.waiting.labels(account).set(waiting)
        self.oldest.labels(account).set(oldest_seconds)
