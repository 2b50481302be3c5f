"""The form of a campaign with one route: what is typed in it as an apply file, and such a file as a form."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from campaigns.book.book import VIETNAM

FIELDS = (
    "slug", "name_vi", "name_en", "category", "organiser", "decision", "opens_at", "closes_at", "goal_vnd",
    "short_code", "keywords", "grammar", "unit_vnd", "max_units",
)  # fmt: skip
NUMBERS = frozenset({"goal_vnd", "unit_vnd", "max_units"})
NUMBER = re.compile(r"[0-9]{1,18}|[0-9]{1,3}([ \u00a0._,])[0-9]{3}(\1[0-9]{3}){0,4}")
"""Digits, or groups of three behind one mark: "5,5" is no 55, and "5.000.000.00" lacks a nought."""
MOMENTS = frozenset({"opens_at", "closes_at"})
ROUTE_FIELDS = frozenset({"short_code", "keywords", "grammar", "unit_vnd", "max_units"})


def tables_in(form: Mapping[str, str]) -> dict[str, Any]:
    """The form as the tables of an apply file; what is no number or time stays as it was typed, to be told."""
    campaign: dict[str, Any] = {}
    route: dict[str, Any] = {}
    for name in FIELDS:
        value = form.get(name, "").strip()
        if value:
            (route if name in ROUTE_FIELDS else campaign)[name] = _typed(name, value)
    return {"campaign": [{**campaign, "route": [route] if route else []}]}


def _typed(name: str, value: str) -> Any:
    if name in NUMBERS:
        return int(re.sub(r"[^0-9]", "", value)) if NUMBER.fullmatch(value) else value
    if name == "keywords":
        return [each.strip() for each in value.split(",") if each.strip()]
    if name in MOMENTS:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        # A browser's own field sends no zone; where one was typed, it is meant.
        return moment if moment.tzinfo else moment.replace(tzinfo=VIETNAM)
    return value


def form_of(tables: Mapping[str, Any]) -> dict[str, str] | None:
    """The form that says what an apply file's tables say; None where a form cannot say all of it."""
    campaigns = tables.get("campaign", ())
    if tables.get("organisation") or len(campaigns) != 1 or len(campaigns[0].get("route", ())) != 1:
        return None
    campaign = {name: value for name, value in campaigns[0].items() if value is not None}
    route = {name: value for name, value in campaign.pop("route")[0].items() if value is not None}
    form = {name: _shown(value) for name, value in {**campaign, **route}.items() if name in FIELDS}
    is_whole = tables_in(form) == {"campaign": [{**campaign, "route": [route]}]}
    return form if is_whole else None


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(VIETNAM):%Y-%m-%dT%H:%M}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
