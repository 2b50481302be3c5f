"""The last hour of a campaign as sixty bars."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from campaigns.book.book import VIETNAM
from campaigns.totals.rollups import Series

MINUTES = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute. `height` is in hundredths of the highest bar; money is integer VND."""

    at: datetime
    messages: int
    pledged_vnd: int
    height: int

    @property
    def time(self) -> str:
        """The minute in Vietnam, as HH:MM."""
        return f"{self.at.astimezone(VIETNAM):%H:%M}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Sixty minutes, the running one last. `peak` is None when nothing came."""

    bars: tuple[Bar, ...]
    peak: Bar | None


def draw(series: Series, now: datetime) -> Chart:
    """The bars of the sixty minutes that end with the one `now` lies in; minutes the series leaves out are zero."""
    last = now.replace(second=0, microsecond=0)
    by_minute = {point.at: point for point in series.points}
    starts = [last - timedelta(minutes=MINUTES - 1 - index) for index in range(MINUTES)]
    highest = max((by_minute[at].messages for at in starts if at in by_minute), default=0)
    bars = []
    for at in starts:
        point = by_minute.get(at)
        messages, pledged_vnd = (point.messages, point.pledged_vnd) if point else (0, 0)
        # A minute of reversals may be negative; a gift among thousands still deserves a visible line.
        height = max(2, messages * 100 // highest) if messages > 0 else 0
        bars.append(Bar(at, messages, pledged_vnd, height))
    peak = max(bars, key=lambda bar: bar.messages)
    return Chart(tuple(bars), peak if peak.messages > 0 else None)
