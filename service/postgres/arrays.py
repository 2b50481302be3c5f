"""Connections that know PostgreSQL's own array types, and need not ask the server what an `integer[]` is.

asyncpg knows the base types by heart, but of their arrays only `text[]` and `oid[]`. The first statement of a
connection that has another sends a recursive query over the catalogue, which takes the server some twenty
milliseconds: a third of what it does for a start of ours, and as much after every lost connection. Their numbers are
part of PostgreSQL (`src/include/catalog/pg_type.dat`) and have never changed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg

ARRAYS = {
    1000: (16, "_bool"),
    1001: (17, "_bytea"),
    1005: (21, "_int2"),
    1007: (23, "_int4"),
    1016: (20, "_int8"),
    1115: (1114, "_timestamp"),
    1182: (1082, "_date"),
    1185: (1184, "_timestamptz"),
    1187: (1186, "_interval"),
    1231: (1700, "_numeric"),
    2951: (2950, "_uuid"),
    3807: (3802, "_jsonb"),
}
"""Number of an array type: the number of its elements' type, and its name."""


class _NotAsked(NamedTuple):
    """Stands for the statement by which asyncpg would have asked: as none was sent, nothing was replaced by it."""

    name: str = "known"


class Connection(asyncpg.Connection):
    """A connection that asks the server only about types of our own."""

    __slots__ = ()

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float | None) -> tuple[Sequence[Any], Any]:
        """The types of these numbers, and the statement that was sent for them. Raises what the database raises."""
        wanted = frozenset(typeoids)
        known = [_described(oid) for oid in wanted & ARRAYS.keys()]
        if len(known) == len(wanted):
            return known, _NotAsked()
        asked, statement = await super()._introspect_types(wanted - ARRAYS.keys(), timeout)  # type: ignore[misc]  # a private name, held by tests/test_house.py
        return [*known, *asked], statement


def _described(oid: int) -> dict[str, Any]:
    element, name = ARRAYS[oid]
    return {
        "oid": oid,
        "ns": "pg_catalog",
        "name": name,
        "kind": b"b",
        "basetype": None,
        "elemtype": element,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
    }
