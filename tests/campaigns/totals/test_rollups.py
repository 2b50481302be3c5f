"""Whatever senders claim, the totals can be read; and what cannot be summed stops nothing but itself."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from campaigns.book.apply_file import load
from campaigns.book.recording import apply_changes
from campaigns.schema.partitions import make_partitions
from campaigns.totals.rollups import FigureUnreadable, select_totals, select_unallocated
from campaigns.totals.totals import FIGURE_MAX
from gateways.wire.fields import AMOUNT_VND_MAX
from service.intake.entry import Row
from tests.support.rows import NOW, Driven, charge_row, driven, entry, message_row, reversal_row

CLAIM = st.sampled_from([0, 1, 20_000, 100_000, AMOUNT_VND_MAX - 1, AMOUNT_VND_MAX])
EVENT = st.tuples(st.sampled_from(["message", "charge", "reversal"]), CLAIM, st.integers(0, 3))
CLAIMED_BEFORE = 2**63 - 2
"""As if some nine million charges of the largest amount had come before."""


@pytest.fixture
async def writer(database_dsn: str, connection: asyncpg.Connection) -> AsyncIterator[Driven]:
    """A writer on a fresh database, where a great deal was claimed before."""
    await make_partitions(connection, NOW.date(), days=1)
    await connection.execute("INSERT INTO installation (kind, key_check) VALUES ('live', '')")
    made = driven(lambda: asyncpg.connect(database_dsn))
    made.writer.start()
    await made.store([entry(charge_row("first", None))])
    await connection.execute("UPDATE unallocated_total SET orphan_vnd = $1", CLAIMED_BEFORE)
    yield made
    await made.writer.stop(5)


def row_of(kind: str, claim: int, gift: int, name: str) -> Row:
    """An event that claims money; of several that claim for one gift, the message may or may not come."""
    if kind == "message":
        return message_row(f"m-{name.split('/')[0]}-{gift}", claimed_vnd=claim)
    if kind == "charge":
        return charge_row(f"c-{name}", f"m-{name.split('/')[0]}-{gift}", amount_vnd=claim)
    return reversal_row(f"r-{name}", f"m-{name.split('/')[0]}-{gift}", claim)


async def test_no_sequence_of_claims_makes_the_totals_unreadable(
    writer: Driven, connection: asyncpg.Connection
) -> None:
    numbers = count()
    orphans = CLAIMED_BEFORE
    loop = asyncio.get_running_loop()

    async def claimed(events: list[tuple[str, int, int]]) -> None:
        nonlocal orphans
        story = next(numbers)
        rows = [row_of(*event, f"{story}/{place}") for place, event in enumerate(events)]
        fates = await writer.store([entry(row) for row in rows])
        assert {fate for each in fates for fate in each} <= {"new", "duplicate"}, fates
        gifts = {gift for kind, _, gift in events if kind == "message"}
        orphans += sum(claim for kind, claim, gift in events if kind == "charge" and gift not in gifts)
        await select_totals(connection)
        found = await select_unallocated(connection)
        assert found.orphan_vnd is None, "it is beyond what can be shown"
        assert await connection.fetchval("SELECT sum(orphan_vnd) FROM unallocated_total") == orphans

    @given(st.lists(EVENT, min_size=1, max_size=8))
    @examples(max_examples=40, suppress_health_check=list(HealthCheck))
    def every_sequence(events: list[tuple[str, int, int]]) -> None:
        asyncio.run_coroutine_threadsafe(claimed(events), loop).result(30)

    await asyncio.to_thread(every_sequence)


# What is stored -> the sum of the orphan charges as it is read; "unreadable": the whole line is.
STORED = {
    "the most that is shown": ("orphan_vnd = 9007199254740991", FIGURE_MAX),
    "one more": ("orphan_vnd = 9007199254740992", None),
    "beyond 64 bits": ("orphan_vnd = 1e30", None),
    "no number": ("orphan_vnd = 'NaN'", None),
    "without end": ("orphan_vnd = 'Infinity'", None),
    "a count that cannot be": ("orphan_charges = 9223372036854775807", "unreadable"),
    "a version that cannot be": ("version = 9223372036854775807", "unreadable"),
}


@pytest.mark.parametrize("label", STORED)
async def test_a_side_figure_that_cannot_be_shown_is_told_apart(
    writer: Driven, connection: asyncpg.Connection, label: str
) -> None:
    change, expected = STORED[label]
    await connection.execute(f"UPDATE unallocated_total SET {change}")
    if expected == "unreadable":
        with pytest.raises(FigureUnreadable):
            await select_unallocated(connection)
        return
    assert (await select_unallocated(connection)).orphan_vnd == expected


ORGANISATION = '[[organisation]]\ncode = "o"\nname_vi = "O"\n'
CAMPAIGN = """
[[campaign]]
slug = "{slug}"
name_vi = "V"
category = "other"
organiser = "o"
opens_at = 2026-01-01T00:00:00+07:00
closes_at = 2027-01-01T00:00:00+07:00
[[campaign.route]]
short_code = "1408"
keywords = ["{slug}"]
grammar = "fixed"
unit_vnd = 20_000
"""
FILL = """
INSERT INTO campaign_total (campaign_id, carrier, slot, version, lines, messages, units, pledged_vnd, wrong_syntax,
                            before_open, after_close, as_of)
SELECT id, carrier, 1, 5, 1, 1, 1, 20000, 0, 0, 0, now() FROM campaign, unnest('{viettel,gmobile}'::text[]) AS carrier
"""
RAISE = """
UPDATE campaign_total SET messages = messages + 1, version = version + $2
WHERE campaign_id = (SELECT id FROM campaign WHERE slug = $1)
"""
VERSIONS = {"no other version": (0, False), "a higher version": (1, True), "a lower version": (-1, True)}


async def test_only_what_has_another_version_is_read_again(connection: asyncpg.Connection) -> None:
    async def apply(*slugs: str) -> None:
        content = ORGANISATION + "".join(CAMPAIGN.format(slug=slug) for slug in slugs)
        await apply_changes(connection, load(content.encode()), [], now=NOW)

    await apply("aa", "bb")
    await connection.execute(FILL)
    assert await select_totals(connection, []) == await select_totals(connection)
    for label, (rise, is_read) in VERSIONS.items():
        before = await select_totals(connection)
        await connection.execute(RAISE, "aa", rise)
        after = await select_totals(connection, before)
        assert (after == await select_totals(connection)) is is_read, label
        assert after[1] is before[1], "it was not read"
        assert [each.campaign for each in after] == ["aa", "bb"]
    await apply("aa", "bb", "cc")
    assert [each.campaign for each in await select_totals(connection, before[1:])] == ["aa", "bb", "cc"]
