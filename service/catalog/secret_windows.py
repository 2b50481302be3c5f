"""Secrets that are right for a time only: `{ secret = "env:NAME", not_before = TIME, not_after = TIME }`.

In a list of secrets each may have a window of its own, `not_before` inclusive and `not_after` exclusive, so that a
rotation begins and ends by itself. Stored beside the secret as text, in RFC 3339.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateways.registry import ADAPTERS

BEGINS, ENDS = "not_before", "not_after"
_KEYS = frozenset({"secret", BEGINS, ENDS})
Place = tuple[str, int]
"""A key, and the position in its list; 0 for a secret that is written alone."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The settings of a file without windows, the windows by place, and what is wrong with them."""

    settings: dict[str, Any] = field(repr=False)
    stored: dict[Place, dict[str, str]]
    faults: list[tuple[tuple[str | int, ...], str]]


def without_windows(adapter: str, settings: Mapping[str, Any]) -> Windows:
    """`settings` with each secret as if it had no window."""
    found = Windows(dict(settings), {}, [])
    for name in settings.keys() & ADAPTERS[adapter].settings_model.SECRET_KEYS:
        value = settings[name]
        if isinstance(value, list):
            found.settings[name] = [
                _plain(found, each, (name, position), (name, position)) for position, each in enumerate(value)
            ]
        else:
            found.settings[name] = _plain(found, value, (name, 0), (name,))
    return found


def _plain(found: Windows, value: Any, place: Place, told: tuple[str | int, ...]) -> Any:
    if not isinstance(value, Mapping):
        return value
    faults = [f"has a key {key} that means nothing; remove it" for key in sorted(value.keys() - _KEYS)]
    if not isinstance(value.get("secret"), str):
        faults.append("has no secret beside its times; add it as text")
    times = {name: value[name] for name in (BEGINS, ENDS) if name in value}
    faults += [
        f"{name} must be a time with a zone, as 2026-12-01T00:00:00+07:00; correct it"
        for name, at in times.items()
        if not isinstance(at, datetime) or at.tzinfo is None
    ]
    if not faults and len(times) == 2 and not times[BEGINS] < times[ENDS]:
        faults.append("not_before lies behind not_after, so it would never be right; correct them")
    found.faults.extend((told, fault) for fault in faults)
    if not faults:
        found.stored[place] = {name: at.isoformat() for name, at in times.items()}
    return value.get("secret") if isinstance(value.get("secret"), str) else "x"


def with_windows(stored: dict[str, Any], windows: Mapping[Place, Mapping[str, str]]) -> dict[str, Any]:
    """Settings in their stored form, each window beside its secret."""
    for (name, position), window in windows.items():
        if isinstance(stored[name], list):
            stored[name][position] = {**stored[name][position], **window}
        else:
            stored[name] = {**stored[name], **window}
    return stored


def is_open(secret: Mapping[str, str], now: datetime) -> bool:
    """Whether a stored secret is right at `now`."""
    begins, ends = window_of(secret)
    return (begins is None or begins <= now) and (ends is None or now < ends)


def window_of(secret: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """From when and until when a stored secret is right; None: without that end."""
    begins, ends = (secret.get(name) for name in (BEGINS, ENDS))
    return (
        None if begins is None else datetime.fromisoformat(begins),
        None if ends is None else datetime.fromisoformat(ends),
    )


def next_change(secret: Mapping[str, str], now: datetime) -> datetime | None:
    """When a stored secret next begins or ends to be right."""
    return min((at for at in window_of(secret) if at is not None and at > now), default=None)
