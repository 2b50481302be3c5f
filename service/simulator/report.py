"""What came of a simulation, for people and for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.simulator.compare import Row
from service.simulator.hubs import Replied
from service.simulator.playing import Progress
from service.simulator.tally import Figures

HEADINGS = ("campaign", "carrier or reason", "", "sent", "grown", "difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one run. `attempts` counts HTTP requests, `retries` those sent again, by the status that came."""

    target: str
    seed: int
    profile: str | None
    notes: tuple[str, ...]
    progress: Progress
    attempts: int
    retries: Mapping[str, int]
    rows: tuple[Row, ...]
    replied: tuple[Replied, ...] = ()

    @property
    def is_right(self) -> bool:
        """Whether everything was acknowledged, the totals grew by just that, and who is owed a reply had one."""
        is_replied = all(each.is_right for each in self.replied)
        return is_replied and not self.progress.trouble and all(row.is_right for row in self.rows)

    def document(self) -> dict[str, Any]:
        """All of it as a JSON object; money in integer VND."""
        progress = self.progress
        return {
            "target": self.target,
            "seed": self.seed,
            "profile": self.profile,
            "equal": self.is_right,
            "sent": {
                "messages": progress.messages,
                "callbacks": progress.due,
                "repeats": progress.repeats,
                "conflicts": progress.conflicts,
                "disconnects": progress.cut,
                "reports": progress.reports,
                "requests": self.attempts,
                "retries": dict(self.retries),
                "seconds": round(progress.seconds, 3),
                "messages_per_second": round(progress.messages / progress.seconds, 1) if progress.seconds else 0.0,
                "behind_seconds_max": round(progress.latest_seconds, 3),
            },
            "trouble": dict(progress.trouble),
            "notes": list(self.notes),
            "replies": [each.document() for each in self.replied],
            "figures": [
                {
                    "campaign": row.campaign,
                    "place": row.place,
                    "expected": _object(row.expected),
                    "grown": _object(row.grown),
                    "difference": _object(row.difference),
                }
                for row in self.rows
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report as a table and sentences."""
        yield from self.notes
        table = [HEADINGS, *(line for row in self.rows for line in _table_lines(row))]
        widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
        for line in table:
            left = (cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True))
            right = (cell.rjust(width) for cell, width in zip(line[3:], widths[3:], strict=True))
            yield "  ".join((*left, *right)).rstrip()
        progress = self.progress
        pace = progress.messages / progress.seconds if progress.seconds else 0.0
        yield (
            f"{progress.messages} messages in {progress.due} callbacks and {progress.seconds:.1f} s "
            f"({pace:.0f}/s, at most {progress.latest_seconds:.2f} s behind); {progress.repeats} repeats, "
            f"{progress.conflicts} conflicts, {progress.cut} cut connections, {progress.reports} reports of charges, "
            f"{sum(self.retries.values())} retries"
        )
        for what, times in progress.trouble.items():
            yield f"{times} x {what}"
        yield from (each.line() for each in self.replied)
        wrong = sum(not row.is_right for row in self.rows)
        if self.is_right:
            yield "equal: the totals grew by exactly what was sent"
        elif wrong:
            yield f"NOT EQUAL: {wrong} figures grew by something else than what was sent"
        else:
            yield "NOT RIGHT: the totals are those of what was acknowledged, but some answers or replies were wrong"


def _table_lines(row: Row) -> Iterator[tuple[str, ...]]:
    names: tuple[tuple[str, int, int, int], ...] = (
        ("messages", row.expected.messages, row.grown.messages, row.difference.messages),
        ("units", row.expected.units, row.grown.units, row.difference.units),
        ("VND", row.expected.vnd, row.grown.vnd, row.difference.vnd),
    )
    for position, (name, expected, grown, difference) in enumerate(names):
        if position == 0 or expected or grown:
            first = ((row.campaign or "(no campaign)"), row.place) if position == 0 else ("", "")
            yield *first, name, f"{expected:,}", f"{grown:,}", f"{difference:+,}" if difference else "0"


def _object(figures: Figures) -> dict[str, int]:
    return {"messages": figures.messages, "units": figures.units, "pledged_vnd": figures.vnd}
