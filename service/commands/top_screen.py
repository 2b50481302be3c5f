"""The night on a terminal of 80 columns and 24 lines: what asks for somebody comes first, in words and in colour."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from campaigns.book.book import VIETNAM
from service.commands.printing import visible

CAMPAIGNS_MAX, WRONG_MAX = 4, 5
ROOM = 16
"""Lines for campaigns, accounts and what is wrong; the others are headings, gaps and figures."""
STYLES = {"call": "bold white on red", "look": "black on yellow", "ok": "green", "none": "dim"}
LEVELS = ("nothing is shed", "new streams are shed", "pages are shed", "totals are shed")
STALE_SECONDS, OLD_SECONDS = 5.0, 30.0
"""Of the totals; as the dashboards have it."""
LATE_SECONDS = 1.0
"""Of an answer; as the service level has it."""


def screen(night: Mapping[str, Any]) -> RenderableType:
    """The whole screen."""
    wrong = night["wrong"][:WRONG_MAX]
    campaigns = night["campaigns"][: CAMPAIGNS_MAX - (len(night["campaigns"]) > CAMPAIGNS_MAX)]
    room = max(1, ROOM - min(CAMPAIGNS_MAX, len(night["campaigns"])) - max(1, len(wrong)))
    return Group(
        _head(night),
        _campaigns(campaigns, len(night["campaigns"]) - len(campaigns)),
        _accounts(night["accounts"], room),
        *_figures(night),
        *_wrong(night["wrong"], wrong),
    )


def _head(night: Mapping[str, Any]) -> Text:
    workers = night["workers"]
    ready = sum(each["ready"] for each in workers)
    at = datetime.fromtimestamp(night["at"], VIETNAM)
    head = Text(f"portal1400  {at:%H:%M:%S}  ")
    head.append(f"{ready} of {len(workers)} workers ready", _style(ready < len(workers) or not workers))
    head.append(f"  {number(night['viewers'])} viewers")
    return head


def _campaigns(shown: Sequence[Mapping[str, Any]], more: int) -> Table:
    table = _table(("campaign", "left", 28), ("VND", "right", 16), ("messages", "right", 10),
                   ("VND/min", "right", 13), ("/min", "right", 7))  # fmt: skip
    for row in shown:
        figures = (row["pledged_vnd"], row["messages"], row["vnd_per_minute"], row["messages_per_minute"])
        table.add_row(Text(visible(row["campaign"])), *map(number, figures))
    if more:
        table.add_row(Text(f"and {more} more", style="dim"))
    if not shown:
        table.add_row(Text("none is known", style="dim"))
    return table


def _accounts(accounts: Sequence[Mapping[str, Any]], room: int) -> Table:
    """The worst first, as they come."""
    table = _table(("account", "left", 28), ("state", "left", 9), ("silent", "right", 9), ("/min", "right", 9),
                   ("errors", "right", 8), ("ours", "right", 8))  # fmt: skip
    shown = accounts if len(accounts) <= room else accounts[: room - 1]
    for row in shown:
        table.add_row(
            Text(visible(row["account"])),
            Text(row["state"], style=STYLES[row["light"]]),
            seconds(row["silent_seconds"]),
            number(row["callbacks_per_minute"]),
            share(row["error_share"]),
            share(row["our_error_share"]),
        )
    if len(shown) < len(accounts):
        table.add_row(Text(f"and {len(accounts) - len(shown)} more", style="dim"))
    if not accounts:
        table.add_row(Text("none is known", style="dim"))
    return table


def _figures(night: Mapping[str, Any]) -> list[Text]:
    answered, spool, broken = night["acknowledgement"], night["spool"], night["invariants_broken"]
    age, level = night["totals_age_seconds"], night["load_level"]
    rate, p99 = answered["per_second"], answered["p99_seconds"]
    waiting = f"{number(spool['records'])} wait, oldest {seconds(spool['oldest_seconds'])}"
    checked = "not checked here" if broken is None else f"WRONG: {', '.join(broken)}" if broken else "hold"
    parts: Sequence[Sequence[tuple[str, str, str]]] = (
        (
            ("acknowledged", f"{number(rate)}/s", ""),
            ("99 % within", "-" if p99 is None else f"{p99 * 1000:,.0f} ms", _style((p99 or 0.0) > LATE_SECONDS)),
            ("told to come later", number(answered["told_later"]), _style(answered["told_later"] > 0)),
        ),
        (
            (
                "spool",
                "refuses" if not spool["writable"] else waiting if spool["records"] else "empty",
                _style(not spool["writable"], spool["records"] > 0),
            ),
            ("load", LEVELS[min(level, len(LEVELS) - 1)], _style(level > 1, level > 0)),
        ),
        (
            (
                "totals",
                "not read yet" if age is None else f"{age:.1f} s old",
                _style(age is None or age > OLD_SECONDS, age is not None and age > STALE_SECONDS),
            ),
            ("figures", checked, _style(bool(broken))),
        ),
    )
    lines = [Text()]
    for row in parts:
        line = Text(no_wrap=True, overflow="ellipsis")
        for name, value, style in row:
            line.append(f"{name} ").append(value, style).append("   ")
        lines.append(line)
    return lines


def _wrong(every: Sequence[str], shown: Sequence[str]) -> list[Text]:
    if not every:
        return [Text("nothing is wrong", style="green")]
    lines = [Text(visible(sentence), style="yellow", no_wrap=True, overflow="ellipsis") for sentence in shown]
    if len(shown) < len(every):
        lines[-1] = Text(f"and {len(every) - len(shown) + 1} more: /readyz", style="yellow")
    return lines


def _style(is_bad: bool, is_odd: bool = False) -> str:
    return STYLES["call"] if is_bad else STYLES["look"] if is_odd else "green"


def _table(*columns: tuple[str, Any, int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", width=80)
    for name, side, width in columns:
        table.add_column(name, justify=side, width=width, no_wrap=True, overflow="ellipsis")
    return table


def number(value: float | None) -> str:
    """With commas between thousands; a dash where nothing is known."""
    return "-" if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """In percent; a dash where nothing came."""
    return "-" if value is None else f"{value:.1%}"


def seconds(value: float | None) -> str:
    """A time that has passed, in its largest unit."""
    if value is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value:.0f} s"
