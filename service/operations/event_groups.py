"""Which callbacks may change what becomes of one another: those whose events name a common message or charge.

All others can be tried apart from one another, each in a short transaction, with the same result.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import asyncpg

from gateways.events import Charge, Event, Message

Item = TypeVar("Item")
Name = tuple[int, str, str]
"""An account's id, what is named (`message`, `charge`, or the `number` of a donor), and its name."""

SELECT_OWNERS = """
SELECT t.account_id, t.charge_id, o.message_ref
FROM unnest($1::integer[], $2::text[]) AS t (account_id, charge_id)
CROSS JOIN LATERAL (
    SELECT message_ref FROM charge_owner AS c WHERE c.account_id = t.account_id AND c.charge_id = t.charge_id
) AS o
WHERE o.message_ref IS NOT NULL
"""


def names_in(account_id: int, events: Iterable[Event]) -> set[Name]:
    """What the events of a callback name. A number only where a charge may have to be matched by it."""
    names: set[Name] = set()
    for event in events:
        if isinstance(event, Message):
            names |= {(account_id, "message", event.native_id), (account_id, "number", event.msisdn)}
            continue
        charge = event.charge_id if isinstance(event, Charge) else event.charge_ref
        if charge is not None:
            names.add((account_id, "charge", charge))
        if event.message_ref is not None:
            names.add((account_id, "message", event.message_ref))
        elif isinstance(event, Charge) and event.msisdn is not None:
            names.add((account_id, "number", event.msisdn))
    return names


def is_unnamed(event: Event) -> bool:
    """Whether it is a charge that is matched with a message by its donor's number."""
    return isinstance(event, Charge) and event.message_ref is None


async def owners_of(connection: asyncpg.Connection, names: Iterable[Name]) -> list[set[Name]]:
    """The stored charges among `names`, each with the message to which it belongs."""
    charges = sorted({(account_id, name) for account_id, kind, name in names if kind == "charge"})
    if not charges:
        return []
    found = await connection.fetch(SELECT_OWNERS, *map(list, zip(*charges, strict=True)))
    return [
        {(row["account_id"], "charge", row["charge_id"]), (row["account_id"], "message", row["message_ref"])}
        for row in found
    ]


def grouped(
    items: Sequence[tuple[Item, set[Name]]], ties: Iterable[set[Name]], with_numbers: frozenset[int]
) -> list[list[Item]]:
    """`items` in groups that have no name in common, in the order of their first items; each group in order.

    `ties` are names that mean one thing; `with_numbers` the accounts whose charges are matched by number.
    """
    group: dict[Name, Name] = {}

    def root(name: Name) -> Name:
        while (above := group.setdefault(name, name)) != name:
            group[name] = name = group[above]
        return name

    told = [{name for name in names if name[1] != "number" or name[0] in with_numbers} for _, names in items]
    for names in (*told, *ties):
        first, *others = sorted(names) or [(0, "", "")]
        for other in others:
            group[root(other)] = root(first)
    groups: dict[object, list[Item]] = {}
    for place, ((item, _), names) in enumerate(zip(items, told, strict=True)):
        key: object = root(min(names)) if names else place
        groups.setdefault(key, []).append(item)
    return list(groups.values())
