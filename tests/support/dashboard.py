"""The dashboards as files, and everything they ask."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}


def panels_of(name: str) -> list[dict[str, Any]]:
    """The panels of one dashboard, without its headings."""
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


PANELS: list[tuple[str, dict[str, Any]]] = [(name, panel) for name in DASHBOARDS for panel in panels_of(name)]


def panel_queries() -> dict[str, list[str]]:
    """What each panel asks, by the title; a panel that several dashboards have asks the same in each."""
    found: dict[str, list[str]] = {}
    for _, panel in PANELS:
        asked = [target["expr"] for target in panel["targets"]]
        assert found.setdefault(panel["title"], asked) == asked, panel["title"]
    return found


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Title and expression of everything the dashboards ask, each once."""
    for title, asked in panel_queries().items():
        for number, expr in enumerate(asked):
            yield f"{title} {'ABCDEFG'[number]}", expr
    annotations = {
        annotation["name"]: annotation["expr"]
        for dashboard in DASHBOARDS.values()
        for annotation in dashboard["annotations"]["list"]
        if "expr" in annotation
    }
    yield from ((f"annotation {name}", expr) for name, expr in annotations.items())
