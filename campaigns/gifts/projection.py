"""Gifts, folded from all of their stored events, and the difference to what is written: states, lines, reviews.

Runs under the accounts' locks (`store.lock_accounts`). Every statement takes all gifts of a batch at once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from campaigns.gifts.event_rows import Key, columns
from campaigns.gifts.events import Charges, GiftRow, LineSum, owners_named, select_lines, select_reversals
from campaigns.gifts.folding import Folded, GiftEvents, Line, Notice, fold
from campaigns.gifts.gift import Basis, GiftState

MESSAGE_CAUSE = "message"
"""The cause of the line that a message writes whose account charges on message."""
MOVED_OUT = "moved_out:"
MOVED_IN = "moved_in:"
"""The causes of the two lines of a gift that was moved to another campaign, before the number of that act."""


class MoneyLine(NamedTuple):
    """A money line of the stage `pledged`, columns in the order of RECORD_LINES' arrays."""

    gift_id: UUID
    cause: str
    campaign_id: int
    carrier: str
    messages: int
    units: int
    vnd: int
    at: datetime


async def project(
    connection: asyncpg.Connection,
    gifts: Mapping[Key, GiftRow],
    charges: Charges,
    slot: int,
    unlisted: Collection[UUID] = (),
) -> list[MoneyLine]:
    """Fold each of `gifts` from all its events and write what differs; returns the new money lines.

    `charges` hold at least those of the gifts. A line is never changed: where a later event shows that one
    should not stand, a line with the opposite sign and the cause `2:` and so on is added to it. `unlisted` are
    notices that no longer stand for review, whatever becomes of the gifts.
    """
    changes = await changes_of(connection, gifts, charges)
    await _write_gifts(connection, changes.gifts)
    await record_lines(connection, changes.lines, slot)
    await _write_reviews(connection, changes.listed, [*changes.unlisted, *unlisted])
    return changes.lines


async def changes_of(connection: asyncpg.Connection, gifts: Mapping[Key, GiftRow], charges: Charges) -> "Changes":
    """Fold each of `gifts` from all its events; returns what differs from what is written. Writes nothing."""
    changes = Changes([], [], [], {})
    if not gifts:
        return changes
    reversals, listed = await select_reversals(connection, gifts, charges)
    listed |= charges.listed
    lines_by_gift = await select_lines(connection, gifts)
    owners = await owners_named(connection, reversals, charges)
    belonging: dict[Key, dict[str, list[Notice]]] = {}
    for charge_key, owner in charges.owners().items():
        belonging.setdefault(owner, {})[charge_key[1]] = list(charges.notices[charge_key].values())
    for key, row in gifts.items():
        lines = lines_by_gift.get(row.id, {})
        facts = GiftEvents(
            _basis(row, lines), row.message_ref, row.message_at, row.units, row.amount_vnd, belonging.get(key, {}),
            reversals.get(key, []), owners.get(key, {}),
        )  # fmt: skip
        changes.add(row, lines, facts, listed)
    return changes


class Changes(NamedTuple):
    """By what folded gifts differ from what is written of them."""

    gifts: list[tuple[GiftRow, Folded]]
    lines: list[MoneyLine]
    unlisted: list[UUID]
    listed: dict[UUID, tuple[str, int, str]]

    def add(self, row: GiftRow, lines: Mapping[str, LineSum], facts: GiftEvents, listed: Mapping[UUID, str]) -> None:
        """Fold one gift and note what of it differs from what is written."""
        folded = fold(facts)
        self.lines.extend(_difference(row, lines, folded.lines))
        if _is_other(row, facts.basis, folded):
            self.gifts.append((row, folded))
        kinds = {notice.id: "charge" for notices in facts.charges.values() for notice in notices}
        kinds |= {reversal.id: "reversal" for reversal in facts.reversals}
        for event, kind in kinds.items():
            reason = folded.listed.get(event)
            if reason is not None and reason != listed.get(event):
                self.listed[event] = kind, row.account_id, reason
            elif reason is None and event in listed:
                self.unlisted.append(event)


def _basis(row: GiftRow, lines: Mapping[str, LineSum]) -> Basis:
    """By the message's own line: what its account's `charging` said when it was stored, whatever it says now."""
    if row.reading != "counted":
        return Basis.UNCOUNTED
    return Basis.ON_MESSAGE if MESSAGE_CAUSE in lines else Basis.ON_REPORT


def _is_other(row: GiftRow, basis: Basis, folded: Folded) -> bool:
    state, taken = folded.gift.state, folded.gift.reversed_vnd
    if row.state is not None:
        return (row.state, row.reversed_vnd) != (state, taken)
    # A gift that stands as its message alone made it needs no row.
    untouched = GiftState.COUNTED if basis is Basis.ON_MESSAGE else GiftState.UNCOUNTED
    return state is not untouched or taken > 0


def _difference(row: GiftRow, lines: Mapping[str, LineSum], wanted: Mapping[str, Line]) -> Iterable[MoneyLine]:
    """The lines that make what is written of a gift equal to what is wanted, cause by cause.

    They belong to the campaign that holds the gift now: what was moved to it is given back by it.
    """
    assert row.campaign_id is not None or not wanted  # noqa: S101 -- only a counted message has money
    for cause in sorted((lines.keys() | wanted.keys()) - {MESSAGE_CAUSE}):
        if cause.startswith((MOVED_OUT, MOVED_IN)):
            continue
        held, line = lines.get(cause, LineSum()), wanted.get(cause)
        messages, units, vnd = (line.messages, line.units, line.vnd) if line else (0, 0, 0)
        change = messages - held.messages, units - held.units, vnd - held.vnd
        at = line.at if line else held.at
        if any(change) and at is not None and row.holder_id is not None:
            name = f"{held.count + 1}:{cause}" if held.count else cause
            yield MoneyLine(row.id, name, row.holder_id, row.carrier, *change, at)


WRITE_GIFTS = """
INSERT INTO gift (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd, reversed_vnd)
SELECT message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd, reversed_vnd
FROM unnest(
    $1::uuid[], $2::integer[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::integer[], $8::bigint[],
    $9::bigint[]
) AS t (message_id, account_id, message_ref, state, campaign_id, carrier, units, pledged_vnd, reversed_vnd)
ON CONFLICT (message_id) DO UPDATE SET state = excluded.state, reversed_vnd = excluded.reversed_vnd
"""


async def _write_gifts(connection: asyncpg.Connection, changed: Sequence[tuple[GiftRow, Folded]]) -> None:
    rows = [
        (
            row.id, row.account_id, row.message_ref, folded.gift.state.value, row.campaign_id, row.carrier, row.units,
            row.amount_vnd, folded.gift.reversed_vnd,
        )
        for row, folded in changed
    ]  # fmt: skip
    if rows:
        await connection.execute(WRITE_GIFTS, *zip(*rows, strict=True))


# What a campaign gave back of a gift is never less than nothing (campaigns/totals/reversed.py). A statement sees none
# of the lines that it adds: `old` is what was written before of the gift's reversals in that campaign.
RECORD_LINES = """
WITH line AS (
    INSERT INTO money_line (gift_id, stage, cause, campaign_id, carrier, messages, units, vnd, at)
    SELECT gift_id, 'pledged', cause, campaign_id, carrier, messages, units, vnd, at
    FROM unnest(
        $1::uuid[], $2::text[], $3::integer[], $4::text[], $5::integer[], $6::integer[], $7::bigint[],
        $8::timestamptz[]
    ) AS t (gift_id, cause, campaign_id, carrier, messages, units, vnd, at)
    RETURNING gift_id, campaign_id, carrier, cause, messages, units, vnd, at
), given AS (
    SELECT campaign_id, carrier,
           sum(greatest(-old.messages - taken.messages, 0) - greatest(-old.messages, 0)) AS messages,
           sum(greatest(-old.vnd - taken.vnd, 0) - greatest(-old.vnd, 0)) AS vnd
    FROM (
        SELECT gift_id, campaign_id, carrier, sum(messages) AS messages, sum(vnd) AS vnd
        FROM line WHERE cause ~ '^([0-9]+:)?reversal:' GROUP BY gift_id, campaign_id, carrier
    ) AS taken CROSS JOIN LATERAL (
        SELECT coalesce(sum(messages), 0) AS messages, coalesce(sum(vnd), 0) AS vnd FROM money_line AS held
        WHERE held.gift_id = taken.gift_id AND held.stage = 'pledged' AND held.campaign_id = taken.campaign_id
            AND held.cause ~ '^([0-9]+:)?reversal:'
    ) AS old
    GROUP BY campaign_id, carrier
), minute AS (
    INSERT INTO campaign_minute AS old (campaign_id, minute, carrier, slot, messages, units, pledged_vnd)
    SELECT campaign_id, date_trunc('minute', at), carrier, $9, sum(messages), sum(units), sum(vnd)
    FROM line GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT ON CONSTRAINT campaign_minute_key DO UPDATE SET
        messages = old.messages + excluded.messages, units = old.units + excluded.units,
        pledged_vnd = old.pledged_vnd + excluded.pledged_vnd
)
INSERT INTO campaign_total AS old (
    campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd, reversed_messages, reversed_vnd,
    wrong_syntax, before_open, after_close, as_of
)
SELECT campaign_id, carrier, $9, 1, count(*), sum(line.messages), sum(line.units), sum(line.vnd),
       coalesce(min(given.messages), 0), coalesce(min(given.vnd), 0), 0, 0, 0, clock_timestamp()
FROM line LEFT JOIN given USING (campaign_id, carrier)
GROUP BY campaign_id, carrier ORDER BY campaign_id, carrier
ON CONFLICT ON CONSTRAINT campaign_total_key DO UPDATE SET
    version = old.version + 1, lines = old.lines + excluded.lines, messages = old.messages + excluded.messages,
    units = old.units + excluded.units, pledged_vnd = old.pledged_vnd + excluded.pledged_vnd,
    reversed_messages = old.reversed_messages + excluded.reversed_messages,
    reversed_vnd = old.reversed_vnd + excluded.reversed_vnd,
    as_of = greatest(old.as_of, excluded.as_of)
"""


async def record_lines(connection: asyncpg.Connection, lines: Sequence[MoneyLine], slot: int) -> None:
    """Append money lines and add them to the roll-ups of `slot`."""
    if lines:
        await connection.execute(RECORD_LINES, *columns(lines, MoneyLine), slot)


LIST_FOR_REVIEW = """
INSERT INTO review (event_id, kind, account_id, reason)
SELECT event_id, kind, account_id, reason
FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::text[]) AS t (event_id, kind, account_id, reason)
ON CONFLICT (event_id) DO UPDATE SET reason = excluded.reason
"""
UNLIST = "DELETE FROM review WHERE event_id = ANY($1::uuid[])"


async def _write_reviews(
    connection: asyncpg.Connection, listed: Mapping[UUID, tuple[str, int, str]], unlisted: Sequence[UUID]
) -> None:
    """The list is a projection too: an event that a later one explains is taken off it."""
    if listed:
        rows = [(event, *rest) for event, rest in listed.items()]
        await connection.execute(LIST_FOR_REVIEW, *zip(*rows, strict=True))
    if unlisted:
        await connection.execute(UNLIST, unlisted)
