"""The events of the log as the code writes them: `python -m tests.support.log_events` mends docs/logs.md.

What a row of the page means is written there, by hand, and kept; a new event gets a row that waits for its sentence.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.listeners.turned_away import NO_FAULT, Kind

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/logs.md"
PACKAGES = ("service", "campaigns", "gateways", "metrics")
PRIORITIES = {"error": 3, "warning": 4, "info": 6}
FAILURE = ("error", "where")
"""What `describe_failure` tells."""
STRAY = ("address", "adapter", "fault", "left_out", "listed", "method", "peer", "request")
WRITTEN_BY = {"_tell": ("warning", ("connections_max", "viewers")), "_explain": ("error", ("code", "pid", "reason"))}
"""Functions that write a line by the name they are given: its level, and keys beside those in the call."""
OTHERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "callback": (
        ("info", "warning"),
        ("account", "adapter", "events", "flags", "forwarded", "listed", "milliseconds", "one_in", "outcome", "peer",
         "reading", "reason", "request", "status", "tried"),
    ),
    "load_level": (
        ("info", "warning"), ("before", "lag_milliseconds", "oldest_milliseconds", "queue_share", "shed_level"),
    ),
    "side_figures": (("error", "warning"), ("reason",)),
    "log_lines_lost": (("warning",), ("count",)),
    "log_line_not_rendered": (("error",), ("of", *FAILURE)),
    **{
        kind.value: (("info",) if kind in NO_FAULT else ("warning",), STRAY)
        for kind in Kind
        if kind is not Kind.UNKNOWN_ACCOUNT
    },
}  # fmt: skip
"""Events whose name or level is no constant where they are written: levels and keys."""
ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| [^|]* \| (.*) \|$", re.MULTILINE)
MISSING = "?"


@dataclass
class Event:
    """One event: the levels that it is written at, and the keys that its lines may have."""

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The function's name and the call of everything in a file that names an event."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "repeat":
            if len(node.args) + len(node.keywords) == 3:
                yield "repeat", node
        elif isinstance(node.func, ast.Attribute) and isinstance(node.args[0].value, str):
            on = ast.unparse(node.func.value)
            is_log = on in {"log", "self._log"} or on.startswith("structlog.get_logger(")
            if node.func.attr in (WRITTEN_BY if on == "self" else PRIORITIES if is_log else ()):
                yield node.func.attr, node


def events() -> dict[str, Event]:
    """Events by name."""
    found: dict[str, Event] = defaultdict(Event)
    for name, (levels, keys) in OTHERS.items():
        found[name] = Event(set(levels), set(keys))
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for function, call in calls(path):
                (named, *_), level = call.args, function
                assert isinstance(named, ast.Constant)
                name, keys = str(named.value), tuple[str, ...]()
                if function == "repeat":
                    name, level, keys = f"{name}_failed", "warning", FAILURE
                elif function in WRITTEN_BY:
                    level, keys = WRITTEN_BY[function]
                event = found[name]
                event.levels.add(level)
                event.keys.update(keys)
                for keyword in call.keywords:
                    if keyword.arg is not None and function != "repeat":
                        event.keys.add(keyword.arg)
                    elif keyword.arg is None and level != "repeat":
                        told = "describe_failure" in ast.unparse(keyword.value) or name == "library_complained"
                        event.keys.update(FAILURE if told else ())
    return dict(found)


def rows(sentences: dict[str, str]) -> str:
    """The table's rows, by name."""
    lines = []
    for name, event in sorted(events().items()):
        levels = sorted(event.levels, key=PRIORITIES.__getitem__)
        priority = ", ".join(f"{level} ({PRIORITIES[level]})" for level in levels)
        keys = ", ".join(f"`{key}`" for key in sorted(event.keys)) or "-"
        lines.append(f"| `{name}` | {priority} | {keys} | {sentences.get(name, MISSING)} |")
    return "\n".join(lines)


def up_to_date(page: str) -> str:
    """The page with the rows of today's code."""
    sentences = dict(ROW.findall(page))
    first, *_, last = ROW.finditer(page)
    return page[: first.start()] + rows(sentences) + page[last.end() :]


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
