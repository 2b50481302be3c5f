"""What a commit adds to the counters: messages that count, money by campaign and carrier, conflicts, their times."""

from collections import Counter
from datetime import timedelta

import structlog

from campaigns.gifts.event_rows import MessageRow
from campaigns.gifts.folding import CHARGE_CAUSE
from metrics.carrier_health import CarrierHealth
from metrics.families.intake import UNKNOWN_ACCOUNT
from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.intake.row_builder import AHEAD_MAX, TIME_IN_FUTURE
from service.intake.writer import CommitReport

log = structlog.get_logger("commits")

AHEAD, BEHIND = timedelta(minutes=1), timedelta(minutes=5)
"""A message is on its way for some seconds, and a clock that is set errs by less than one."""


class CommitMetrics:
    """Counts each commit. The catalog knows the names of campaigns and accounts."""

    def __init__(self, instruments: Instruments, catalog: Catalog, carriers: CarrierHealth) -> None:
        self._families = instruments.intake
        self._service_levels = instruments.service_levels
        self._catalog = catalog
        self._carriers = carriers

    def see(self, commit: CommitReport) -> None:
        """A group commit of a writer."""
        self._families.commit_seconds.observe(commit.seconds, self._families.exemplar())
        if commit.messages:
            self._families.commit_batch.observe(len(commit.messages))
        self.count(commit)
        self._service_levels.see_committed(
            message.received_at for message in commit.messages if message.account_id not in commit.on_report
        )

    def count(self, commit: CommitReport) -> None:
        """What was committed, by whomever. A message that counts on report is counted with its charge."""
        families, catalog = self._families, self._catalog
        counted: dict[tuple[int, str], list[int]] = {}
        uncounted: Counter[tuple[str, str]] = Counter()
        times: Counter[tuple[int, str]] = Counter()
        see, codes = self._carriers.see_message, catalog.codes
        for message in commit.messages:
            delay = None
            if message.operator_time is not None:
                times[message.account_id, _compared(message)] += 1
                delay = _delay_seconds(message)
            see(codes.get(message.account_id, UNKNOWN_ACCOUNT), message.native_id, delay)
            if message.units is None or message.amount_vnd is None or message.campaign_id is None:
                uncounted[message.carrier, message.reading] += 1
                continue
            if message.account_id in commit.on_report:
                continue
            sums = counted.setdefault((message.campaign_id, message.carrier), [0, 0, 0])
            sums[0] += 1
            sums[1] += message.units
            sums[2] += message.amount_vnd
        for line in commit.lines:
            if line.cause == CHARGE_CAUSE:
                sums = counted.setdefault((line.campaign_id, line.carrier), [0, 0, 0])
                sums[:] = sums[0] + line.messages, sums[1] + line.units, sums[2] + line.vnd
        for (carrier, reading), count in uncounted.items():
            families.uncounted.labels(carrier, reading).inc(count)
        for (campaign_id, carrier), (messages, units, vnd) in counted.items():
            campaign = catalog.book.by_id.get(campaign_id)
            if campaign is not None:
                families.messages.labels(campaign.slug, carrier).inc(messages)
                families.units.labels(campaign.slug, carrier).inc(units)
                families.pledged_vnd.labels(campaign.slug, carrier).inc(vnd)
        for (account_id, time), count in times.items():
            families.message_times.labels(catalog.codes.get(account_id, UNKNOWN_ACCOUNT), time).inc(count)
        for account_id in commit.conflicts:
            families.conflicts.labels(catalog.codes.get(account_id, UNKNOWN_ACCOUNT)).inc()
        for account_id, callbacks in Counter(commit.left_out).items():
            account = catalog.codes.get(account_id, UNKNOWN_ACCOUNT)
            families.conflict_callbacks_left_out.labels(account).inc(callbacks)
            log.warning("conflict_callbacks_left_out", account=account, callbacks=callbacks)


def _delay_seconds(message: MessageRow) -> float:
    """From a message's own time to its arrival. A time that is not believed was put aside, and lies far ahead."""
    if _is_in_future(message):
        return -AHEAD_MAX.total_seconds() - 1
    return (message.received_at - message.message_at).total_seconds()


def _compared(message: MessageRow) -> str:
    """How the time that a message bears compares with its arrival. One far ahead is not believed, but flagged."""
    delay = message.received_at - message.message_at
    if delay < -AHEAD or _is_in_future(message):
        return "ahead"
    return "behind" if delay > BEHIND else "near"


def _is_in_future(message: MessageRow) -> bool:
    """Whether the time that it bears was put aside."""
    return TIME_IN_FUTURE in message.flags.split(",")
