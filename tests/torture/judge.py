"""What must hold when the faults are over: compared by id between the database, the ledger and the viewers."""

import fcntl
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tests.torture.events import ON_REPORT, Event, Key, Kind, is_counted
from tests.torture.ledger import Ledger

EVIDENCE_MAX = 5

STORED_MESSAGES = """
SELECT a.code, m.native_id, m.reading, c.slug, m.units, m.amount_vnd, line.messages, line.units AS net_units, line.vnd
FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id LEFT JOIN campaign AS c ON c.id = m.campaign_id
LEFT JOIN LATERAL (
    SELECT sum(l.messages)::bigint AS messages, sum(l.units)::bigint AS units, sum(l.vnd)::bigint AS vnd
    FROM money_line AS l WHERE l.gift_id = m.id AND l.stage = 'pledged'
) AS line ON true
"""
STORED_CHARGES = """
SELECT a.code, n.native_id, n.status AS reading, n.amount_vnd, n.message_ref
FROM charge_notice AS n JOIN gateway_account AS a ON a.id = n.account_id
"""
STORED_REVERSALS = """
SELECT a.code, r.native_id, r.scope AS reading, r.amount_vnd, r.message_ref
FROM reversal AS r JOIN gateway_account AS a ON a.id = r.account_id
"""
CONFLICTS = """
SELECT a.code, c.kind, c.native_id, count(*) FROM conflict AS c JOIN gateway_account AS a ON a.id = c.account_id
GROUP BY 1, 2, 3
"""
SHOWN = """
SELECT c.slug, sum(t.version)::bigint AS version, sum(t.messages)::bigint AS messages, sum(t.units)::bigint AS units,
       sum(t.pledged_vnd)::bigint AS vnd
FROM campaign_total AS t JOIN campaign AS c ON c.id = t.campaign_id GROUP BY c.slug
"""


Row = Mapping[str, Any]
"""One row of a statement above, by column."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database holds, by id."""

    rows: Mapping[Key, Row]
    twice: list[Key]
    conflicts: Mapping[Key, int]
    shown: Mapping[str, Row]


async def facts(dsn: str) -> Facts:
    """Read them all, past the proxy and past the service."""
    connection = await asyncpg.connect(dsn)
    try:
        rows: dict[Key, Row] = {}
        twice: list[Key] = []
        for kind, sql in (
            (Kind.MESSAGE, STORED_MESSAGES),
            (Kind.CHARGE, STORED_CHARGES),
            (Kind.REVERSAL, STORED_REVERSALS),
        ):
            for row in await connection.fetch(sql):
                key = (row["code"], kind, row["native_id"])
                if key in rows:
                    twice.append(key)
                rows[key] = dict(row)
        conflicts = {
            (row["code"], Kind(row["kind"]), row["native_id"]): int(row["count"])
            for row in await connection.fetch(CONFLICTS)
        }
        shown = {row["slug"]: dict(row) for row in await connection.fetch(SHOWN)}
    finally:
        await connection.close()
    return Facts(rows, twice, conflicts, shown)


def judged(held: Facts, ledger: Ledger) -> list[str]:
    """A sentence with ids for everything that is not as it must be; empty: all is well."""
    found = _Findings()
    found.add("stored twice", held.twice)
    found.add("stored, but never sent", held.rows.keys() - ledger.ids.keys())
    found.add("stored out of a callback that cannot be read", held.rows.keys() & ledger.refused)
    stored: dict[Key, Event] = {}
    for key, sent in ledger.ids.items():
        row = held.rows.get(key)
        settled = sent.acknowledged | sent.told_conflict
        if row is None:
            if settled:
                found.add("acknowledged, but not stored", [key])
            continue
        places = [place for place, event in enumerate(sent.contents) if _is_this(row, event)]
        if not places:
            found.add("stored with a content that was never sent", [key])
            continue
        stored[key] = sent.contents[places[0]]
        others = settled - set(places)
        kept = held.conflicts.get(key, 0)
        if kept < len(others):
            found.add("answered for a content that is neither stored nor kept as a conflict", [key])
        if kept >= len(sent.contents):
            found.add("more conflicts kept than other contents were sent", [key])
    found.add("a conflict of an id that was never sent", held.conflicts.keys() - ledger.ids.keys())
    _judge_money(held, stored, found)
    return [*found.sentences(), *ledger.complaints]


def _is_this(row: Row, event: Event) -> bool:
    meaning = event.meaning
    if event.kind is not Kind.MESSAGE:
        return bool(row["reading"] == meaning.reading and row["amount_vnd"] == meaning.vnd)
    held = (row["reading"], row["slug"], row["units"], row["amount_vnd"])
    return held == (meaning.reading, meaning.campaign, meaning.units, meaning.vnd)


def _judge_money(held: Facts, stored: Mapping[Key, Event], found: "_Findings") -> None:
    """Each gift's lines against what its events say, and each campaign's figures against its gifts."""
    belonging: defaultdict[Key, list[Event]] = defaultdict(list)
    for event in stored.values():
        if event.gift:
            belonging[event.account, Kind.MESSAGE, event.gift].append(event)
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, event in stored.items():
        if event.kind is not Kind.MESSAGE:
            continue
        expected = worth(event, belonging[key])
        row = held.rows[key]
        if (row["messages"] or 0, row["net_units"] or 0, row["vnd"] or 0) != expected:
            found.add("its money is not what its events say", [key])
        if event.meaning.campaign is not None:
            for name, figure in zip(("messages", "units", "vnd"), expected, strict=True):
                sums[event.meaning.campaign][name] += figure
    for slug in sums.keys() | held.shown.keys():
        shown = held.shown.get(slug)
        for name in ("messages", "units", "vnd"):
            figure = int(shown[name]) if shown is not None else 0
            if figure != sums[slug][name]:
                found.say(f"{slug} shows {figure} {name}, its gifts are {sums[slug][name]}")


def worth(message: Event, belonging: Iterable[Event]) -> tuple[int, int, int]:
    """Messages, units and VND that a stored message counts, with the stored events that speak of it."""
    others = list(belonging)
    if not is_counted(message):
        return 0, 0, 0
    if message.account in ON_REPORT and not any(each.meaning.reading == "succeeded" for each in others):
        return 0, 0, 0
    reversals = [each for each in others if each.kind is Kind.REVERSAL]
    if any(each.scope == "total" for each in reversals):
        return 0, 0, 0
    taken = sum(each.meaning.vnd or 0 for each in reversals)
    return 1, message.meaning.units or 0, (message.meaning.vnd or 0) - taken


def in_spool(data_dir: Path) -> dict[str, int]:
    """Records by spool file, read once the service has ended; only files that hold any."""
    found: dict[str, int] = {}
    for path in sorted((data_dir / "spool").glob("*.sqlite")):
        connection = sqlite3.connect(path)
        try:
            (count,) = connection.execute("SELECT count(*) FROM record").fetchone()
        finally:
            connection.close()
        if count:
            found[path.name] = int(count)
    return found


def has_unclaimed(data_dir: Path) -> bool:
    """Whether a spool file has no owner now: a worker that was killed left it, and nobody has adopted it yet."""
    for path in (data_dir / "spool").glob("*.sqlite"):
        with path.with_suffix(".lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return True
    return False


def compared(published: Mapping[str, Any], shown: Mapping[str, Row]) -> list[str]:
    """What a worker publishes for each campaign against what the database's own sums are."""
    wrong: list[str] = []
    for slug, totals in published.items():
        row = shown.get(slug)
        held = (row["version"], row["messages"], row["units"], row["vnd"]) if row is not None else (0, 0, 0, 0)
        said = (totals["version"], totals["messages"], totals["units"], totals["pledged_vnd"])
        # A version counts what `apply` changed too; the figures are what is compared.
        if said[1:] != held[1:]:
            wrong.append(f"{slug} is published as {said[1:]}, the database holds {held[1:]}")
    return wrong


class _Findings:
    """Keys by what is wrong with them."""

    def __init__(self) -> None:
        self._keys: defaultdict[str, list[Key]] = defaultdict(list)
        self._said: list[str] = []

    def add(self, what: str, keys: Iterable[Key]) -> None:
        self._keys[what] += keys

    def say(self, sentence: str) -> None:
        self._said.append(sentence)

    def sentences(self) -> list[str]:
        """One for each kind of fault, with its count and the first ids."""
        listed = []
        for what, keys in self._keys.items():
            if keys:
                some = ", ".join("/".join(key) for key in sorted(keys)[:EVIDENCE_MAX])
                listed.append(f"{len(keys)} {what}: {some}")
        return [*listed, *self._said]
