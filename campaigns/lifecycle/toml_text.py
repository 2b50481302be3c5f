"""Organisations and campaigns written as an apply file, so that a form and a file say the same in one language."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from campaigns.book.apply_tables import CampaignTable, OrganisationTable, RouteTable
from campaigns.book.book import VIETNAM, Campaign, Grammar

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def toml_of(tables: Mapping[str, Any]) -> str:
    """The tables `organisation` and `campaign` of an apply file (`ApplyFile.tables`) as TOML 1.0."""
    return "\n".join([*_organisations(tables), *_campaigns(tables)]).strip() + "\n"


def tables_of(campaign: Campaign) -> dict[str, Any]:
    """A stored campaign as the table that an apply file would have."""
    return {
        "slug": campaign.slug,
        "name_vi": campaign.name_vi,
        "name_en": campaign.name_en,
        "category": campaign.category,
        "organiser": campaign.organiser,
        "decision": campaign.decisions[-1].number,
        "opens_at": campaign.opens_at.astimezone(VIETNAM),
        "closes_at": campaign.closes_at.astimezone(VIETNAM),
        "goal_vnd": campaign.goal_vnd,
        **asdict(campaign.replies),
        "route": [
            {
                "short_code": route.short_code,
                "keywords": list(route.keywords),
                "grammar": str(route.grammar),
                "unit_vnd": route.unit_vnd,
                "max_units": None if route.grammar is Grammar.FIXED else route.max_units,
            }
            for route in campaign.routes
        ],
    }


def _organisations(tables: Mapping[str, Any]) -> Iterator[str]:
    for table in tables.get("organisation", ()):
        yield "[[organisation]]"
        yield from _keys(table, OrganisationTable.model_fields)
        yield ""


def _campaigns(tables: Mapping[str, Any]) -> Iterator[str]:
    for table in tables.get("campaign", ()):
        yield "[[campaign]]"
        yield from _keys(table, CampaignTable.model_fields)
        for route in table.get("route", ()):
            yield ""
            yield "  [[campaign.route]]"
            yield from (f"  {line}" for line in _keys(route, RouteTable.model_fields))
        yield ""


def _keys(table: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if table.get(name) is not None:
            yield f"{name} = {_value(table[name])}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    text = "".join(_ESCAPES.get(letter) or _letter(letter) for letter in str(value))
    return f'"{text}"'


def _letter(letter: str) -> str:
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
