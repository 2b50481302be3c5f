"""The stored book: idempotent, append-only, and without a change that would alter how a message was read."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from campaigns.book.apply_entries import ApplyRefused, PreparedGateway
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book, Decision, Replies
from campaigns.book.grammar import read
from campaigns.book.recording import apply_changes
from campaigns.book.store import UnknownBookVersion, load_book
from tests.support.apply_files import EARLY, FILE, OVER, RUNNING, apply

HERE = Path(__file__).parent
SECOND = """
[[campaign]]
slug = "second"
name_vi = "Một chiến dịch khác"
category = "other"
organiser = "mttq"
opens_at = 2027-01-01T00:00:00+07:00
closes_at = 2027-03-01T00:00:00+07:00
[[campaign.route]]
short_code = "1408"
keywords = ["VNN"]
grammar = "fixed"
unit_vnd = 10_000
"""
GATEWAY = PreparedGateway(
    "hub",
    "standard",
    "viettel",
    "on_message",
    ("10.0.0.0/8",),
    True,
    {"secrets": [{"sealed": "b25l", "digest": "d1"}, {"env": "HUB"}], "carriers": {"vt": "viettel"}},
)


async def refusals(
    connection: asyncpg.Connection, content: str, now: datetime = EARLY
) -> list[tuple[str, int | None, str]]:
    before = await connection.fetchval("SELECT count(*) FROM book_version")
    with pytest.raises(ApplyRefused) as refused:
        await apply(connection, content, now)
    assert await connection.fetchval("SELECT count(*) FROM book_version") == before
    return [(problem.toml_path, problem.line, problem.reason) for problem in refused.value.problems]


def described(book: Book) -> list[object]:
    return [replace(campaign, id=0) for campaign in book.campaigns]


async def test_a_file_is_stored_as_it_reads(connection: asyncpg.Connection) -> None:
    file = load(HERE / "book.toml")

    lines = (await apply_changes(connection, file, [], now=EARLY)).changes.lines

    stored, written = await load_book(connection), book_from_file(file)
    assert described(stored) == described(written)
    assert dict(stored.organisations) == dict(written.organisations)
    assert len(lines) == 4 + 23 + 24
    row = await connection.fetchrow("SELECT version, file_sha256, changes FROM book_version")
    assert row is not None
    assert (row["version"], row["changes"]) == (1, lines)
    assert row["file_sha256"] == hashlib.sha256((HERE / "book.toml").read_bytes()).digest()


async def test_an_empty_database_has_the_empty_book(connection: asyncpg.Connection) -> None:
    book = await load_book(connection)

    assert (book.version, book.campaigns) == (0, ())


async def test_a_file_that_says_nothing_new_changes_nothing(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE, gateways=[GATEWAY])

    assert await apply(connection, FILE, OVER, [GATEWAY]) == []
    assert await apply(connection, "") == []
    assert (await load_book(connection)).version == 1
    assert await connection.fetchval("SELECT count(*) FROM campaign_total") == 0


async def test_tables_that_a_file_does_not_name_stay(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)

    assert await apply(connection, FILE[: FILE.index("[[campaign.route]]")]) == []
    assert len(await apply(connection, SECOND)) == 2
    assert [campaign.slug for campaign in (await load_book(connection)).campaigns] == ["vnn", "second"]


async def test_within_a_table_every_key_is_what_the_file_says(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    silent = FILE.replace('name_en = "Front"\n', "").replace('name_en = "For the poor"\n', "")
    silent = silent.replace("goal_vnd = 5_000_000_000\n", "").replace('decision = "1/QD"\n', "")

    # The number of a decision, once recorded, is not forgotten.
    assert await apply(connection, silent) == [
        'organisation mttq: name_en "Front" -> none',
        'campaign vnn: name_en "For the poor" -> none',
        "campaign vnn: goal_vnd 5_000_000_000 -> none",
    ]


async def test_replies_are_stored_and_changed_as_the_file_says_and_raise_no_version(
    connection: asyncpg.Connection,
) -> None:
    closes_at = FILE[FILE.index("closes_at") : FILE.index("\n", FILE.index("closes_at")) + 1]
    replies = 'hotline = "19001530"\nreply_closed = "Da ket thuc. Ho tro {hotline}"\n'
    await apply(connection, FILE)

    assert await apply(connection, FILE.replace(closes_at, closes_at + replies)) == [
        'campaign vnn: hotline none -> "19001530"',
        'campaign vnn: reply_closed none -> "Da ket thuc. Ho tro {hotline}"',
    ]
    (campaign,) = (await load_book(connection)).campaigns
    assert campaign.replies == Replies("19001530", reply_closed="Da ket thuc. Ho tro {hotline}")
    assert await connection.fetchval("SELECT count(*) FROM campaign_total") == 0
    assert len(await apply(connection, FILE)) == 2
    assert (await load_book(connection)).campaigns[0].replies == Replies()


FIRST = "2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 1/QD)"
SECOND_WINDOW = "2026-10-17T00:00:00+07:00 to 2027-01-31T00:00:00+07:00 (decision 2/QD)"
# label, replaced, by, line of the change
SHOWN = [
    (
        "name",
        "Vì người nghèo",
        "Vì người nghèo 2026",
        'campaign vnn: name_vi "Vì người nghèo" -> "Vì người nghèo 2026"',
    ),
    ("goal", "5_000_000_000", "6_000_000_000", "campaign vnn: goal_vnd 5_000_000_000 -> 6_000_000_000"),
    ("category", '"poverty"', '"other"', 'campaign vnn: category "poverty" -> "other"'),
    ("organiser's name", '"Front"', '"The Front"', 'organisation mttq: name_en "Front" -> "The Front"'),
    (
        "keyword",
        '"DA CAM"',
        '"DA CAM", "DACAM", "DC"',
        "campaign vnn: route 1408 DACAM | DC added (units of 20,000 VND, 1 to 100)",
    ),
    (
        "decision without another window",
        "1/QD",
        "1a/QD",
        f"campaign vnn: decision 2, {FIRST} -> {FIRST}".replace("1/QD", "1a/QD").replace("1a/QD", "1/QD", 1),
    ),
    (
        "extension",
        "1/QD" + FILE[FILE.index('"\nopens_at') : FILE.index("2027")] + "2027-01-01",
        "2/QD" + FILE[FILE.index('"\nopens_at') : FILE.index("2027")] + "2027-01-31",
        f"campaign vnn: decision 2, {FIRST} -> {SECOND_WINDOW}",
    ),
]


@pytest.mark.parametrize(("old", "new", "line"), [row[1:] for row in SHOWN], ids=[row[0] for row in SHOWN])
async def test_a_change_that_shows_raises_the_version_of_the_total(
    connection: asyncpg.Connection, old: str, new: str, line: str
) -> None:
    await apply(
        connection, FILE + SECOND.replace('organiser = "mttq"', 'organiser = "x"').replace("VNN", "X") + OTHER
    )
    assert old in FILE

    assert await apply(connection, FILE.replace(old, new), RUNNING) == [line]
    assert await apply(connection, FILE.replace(old, new), RUNNING) == []

    rows = await connection.fetch(
        "SELECT slug, carrier, slot, version, lines, messages, pledged_vnd, as_of > now() - interval '1 minute' "
        "FROM campaign_total JOIN campaign ON campaign.id = campaign_id"
    )
    assert [tuple(row) for row in rows] == [("vnn", "unknown", 0, 1, 0, 0, 0, True)]


OTHER = '\n[[organisation]]\ncode = "x"\nname_vi = "X"\n'


async def test_each_change_raises_the_version_by_one(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    for goal in (6, 7, 8):
        await apply(connection, FILE.replace("5_000_000_000", str(goal)))

    assert await connection.fetchval("SELECT version FROM campaign_total") == 3


async def test_a_new_route_holds_the_new_keywords_alone(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await apply(connection, FILE.replace('"DA CAM"', '"DACAM", "da cam"'))

    (campaign,) = (await load_book(connection)).campaigns
    assert [route.keywords for route in campaign.routes] == [("VNN", "DA CAM"), ("DACAM",)]


EXTENDED = FILE.replace("1/QD", "2/QD").replace("2027-01-01", "2027-01-31")


async def test_an_older_version_reads_as_before(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await apply(connection, EXTENDED.replace('"VNN"', '"VNN", "UH"') + SECOND.replace("VNN", "X"), RUNNING)
    on = datetime(2027, 1, 15, tzinfo=UTC)

    first, second = await load_book(connection, 1), await load_book(connection, 2)

    assert read(first, "1408", "VNN 2", on).outcome == "after_close"
    assert read(second, "1408", "VNN 2", on).outcome == "counted"
    assert [read(book, "1408", "UH", RUNNING).outcome for book in (first, second)] == ["unknown_keyword", "counted"]
    assert [len(book.campaigns) for book in (first, second)] == [1, 2]
    assert second.campaigns[0].decisions == (
        Decision("1/QD", datetime(2026, 10, 16, 17, tzinfo=UTC), datetime(2026, 12, 31, 17, tzinfo=UTC)),
        Decision("2/QD", datetime(2026, 10, 16, 17, tzinfo=UTC), datetime(2027, 1, 30, 17, tzinfo=UTC)),
    )
    assert (await load_book(connection)).version == 2
    assert (await load_book(connection, 0)).campaigns == ()
    with pytest.raises(UnknownBookVersion, match="version 3"):
        await load_book(connection, 3)


READ_BY = "INSERT INTO keyword_read SELECT 1, '1408', * FROM unnest(ARRAY[$1, $2])"
"""Some message was read by each of the two keywords of the first campaign."""
# label, file, now, path, line, part of the reason; against FILE as it was stored, and texts read by it
REFUSED = [
    (
        "end moves without a decision",
        FILE.replace("2027-01-01", "2027-01-31"),
        RUNNING,
        "campaign[0].decision",
        "recorded",
    ),
    (
        "end moves and the decision is left out",
        FILE.replace('decision = "1/QD"\n', "").replace("2027-01-01", "2027-01-31"),
        RUNNING,
        "campaign[0].decision",
        "is missing",
    ),
    ("end moves after it has passed", EXTENDED, OVER, "campaign[0].closes_at", "has passed"),
    (
        "end moves into the past",
        FILE.replace("1/QD", "2/QD").replace("2027-01-01", "2026-10-31"),
        RUNNING,
        "campaign[0].closes_at",
        "into the past",
    ),
    (
        "opening moves after it has passed",
        FILE.replace("1/QD", "2/QD").replace("2026-10-17", "2026-12-17"),
        RUNNING,
        "campaign[0].opens_at",
        "has passed",
    ),
    (
        "opening moves into the past",
        FILE.replace("1/QD", "2/QD").replace("2026-10-17", "2026-08-17"),
        EARLY,
        "campaign[0].opens_at",
        "into the past",
    ),
    (
        "keyword changes its value",
        FILE.replace("20_000", "10_000"),
        EARLY,
        "campaign[0].route[0].keywords",
        "messages were read by it",
    ),
    ("keyword changes its limit", FILE.replace("= 100", "= 99"), EARLY, "campaign[0].route[0].keywords", "max_units"),
    (
        "keyword changes its grammar",
        FILE.replace('"units"', '"fixed"'),
        EARLY,
        "campaign[0].route[0].keywords",
        "messages were read by it",
    ),
    (
        "another form of a keyword with another value",
        FILE.replace('"VNN", "DA CAM"', '"DACAM"').replace("20_000", "10_000"),
        EARLY,
        "campaign[0].route[0].keywords",
        '"DACAM" on 1408 has another',
    ),
    (
        "unknown organiser",
        FILE.replace('organiser = "mttq"', 'organiser = "none"'),
        EARLY,
        "campaign[0].organiser",
        "no organ",
    ),
    (
        "new campaign without a route",
        SECOND[: SECOND.index("[[campaign.route]]")],
        EARLY,
        "campaign[0].route",
        "is missing",
    ),
    (
        "new campaign overlaps a stored one",
        SECOND.replace("2027-01-01", "2026-12-31"),
        EARLY,
        "campaign[0].route[0].keywords",
        "campaign vnn",
    ),
    (
        "new campaign overlaps by the form without blanks",
        SECOND.replace("2027-01-01", "2026-12-31").replace("VNN", "DACAM"),
        EARLY,
        "campaign[0].route[0].keywords",
        '"DA CAM" of campaign vnn',
    ),
]


@pytest.mark.parametrize(
    ("content", "now", "path", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_a_contradiction_is_refused_with_its_place(
    connection: asyncpg.Connection, content: str, now: datetime, path: str, reason: str
) -> None:
    await apply(connection, FILE)
    await connection.execute(READ_BY, "VNN", "DA CAM")

    ((found, line, sentence),) = await refusals(connection, content, now)

    header = content.index("[[campaign.route]]" if "route[" in path else "[[campaign]]")
    key = content.find(f"\n{path.rpartition('.')[2]} =", header) + 1
    assert (found, line) == (path, content[: key or header].count("\n") + 1)
    assert reason in sentence
    assert await apply(connection, FILE, now) == []


async def test_an_extension_over_a_stored_campaign_is_refused(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE + SECOND)

    found = await refusals(connection, EXTENDED[: EXTENDED.index("[[campaign.route]]")], RUNNING)

    assert [each[:2] for each in found] == [("campaign[0]", 6)]
    assert "of campaign second" in found[0][2]


async def test_two_windows_that_meet_may_move_together_in_one_file(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE + SECOND)
    shortened = FILE.replace("1/QD", "2/QD").replace("2027-01-01", "2026-12-01")
    earlier = SECOND.replace('organiser = "mttq"', 'organiser = "mttq"\ndecision = "3/QD"').replace(
        "2027-01-01", "2026-12-01"
    )

    assert len(await apply(connection, shortened + earlier, RUNNING)) == 2


async def test_an_earlier_decision_does_not_come_back(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await apply(connection, EXTENDED, RUNNING)

    found = await refusals(connection, FILE, RUNNING)

    assert [each[0] for each in found] == ["campaign[0].decision"]
    assert "keep the newest: 2026-10-17T00:00:00+07:00 to 2027-01-31T00:00:00+07:00 (decision 2/QD)" in found[0][2]


async def test_every_contradiction_is_told_at_once(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await connection.execute(READ_BY, "VNN", "DA CAM")

    found = await refusals(
        connection, EXTENDED.replace("20_000", "10_000").replace('organiser = "mttq"', 'organiser = "q"'), OVER
    )

    assert [each[0] for each in found] == [
        "campaign[0].organiser",
        "campaign[0].closes_at",
        "campaign[0].route[0].keywords",
    ]


async def test_history_is_not_judged_by_the_clock(connection: asyncpg.Connection) -> None:
    assert await apply(connection, FILE, datetime(2030, 1, 1, tzinfo=UTC)) != []


async def test_a_gateway_is_changed_by_what_it_says_and_not_by_how_it_is_sealed(
    connection: asyncpg.Connection,
) -> None:
    assert await apply(connection, "", gateways=[GATEWAY]) == [
        "gateway hub: added (adapter standard, carrier viettel)"
    ]
    sealed_again = replace(
        GATEWAY, settings={**GATEWAY.settings, "secrets": [{"sealed": "dHdv", "digest": "d1"}, {"env": "HUB"}]}
    )
    rotated = replace(
        GATEWAY,
        networks=("10.0.0.0/8", "192.0.2.0/24"),
        settings={"secrets": [{"sealed": "dHdv", "digest": "d2"}, {"env": "HUB"}], "path_secret": {"env": "P"}},
    )

    assert await apply(connection, "", gateways=[sealed_again]) == []
    assert await connection.fetchval("SELECT settings->'secrets'->0->>'sealed' FROM gateway_account") == "b25l"
    assert await apply(connection, "", gateways=[rotated]) == [
        'gateway hub: networks ["10.0.0.0/8"] -> ["10.0.0.0/8", "192.0.2.0/24"]',
        "gateway hub: carriers changed",
        "gateway hub: path_secret changed",
        "gateway hub: secrets changed",
    ]
    assert await connection.fetchval("SELECT settings->'secrets'->0->>'sealed' FROM gateway_account") == "dHdv"
    assert await connection.fetchval("SELECT count(*) FROM gateway_account") == 1


async def test_a_gateway_is_on_or_off_as_the_file_says(connection: asyncpg.Connection) -> None:
    await apply(connection, "", gateways=[GATEWAY])

    assert await apply(connection, "", gateways=[replace(GATEWAY, enabled=False)]) == [
        "gateway hub: enabled true -> false",
        "gateway hub is off: it takes no callbacks",
    ]
    assert await apply(connection, "", gateways=[GATEWAY]) == [
        "gateway hub: enabled false -> true",
        "gateway hub is on",
    ]


async def test_the_change_is_announced_once_and_only_if_there_is_one(
    connection: asyncpg.Connection, database_dsn: str
) -> None:
    heard: list[tuple[str, object]] = []
    listener = await asyncpg.connect(database_dsn)
    for channel in ("portal1400_book", "portal1400_totals"):
        await listener.add_listener(
            channel, lambda _connection, _pid, channel, payload: heard.append((channel, payload))
        )

    await apply(connection, FILE)
    await apply(connection, FILE)
    for _ in range(50):
        await listener.fetchval("SELECT 1")
        if len(heard) >= 2:
            break
    await listener.close()

    assert sorted(heard) == [("portal1400_book", "1"), ("portal1400_totals", "")]


async def test_two_applies_at_once_are_one_after_the_other(connection: asyncpg.Connection, database_dsn: str) -> None:
    second = await asyncpg.connect(database_dsn)
    results = await asyncio.gather(apply(connection, FILE), apply(second, FILE))
    await second.close()

    assert sorted(map(len, results)) == [0, 3]
    assert (await load_book(connection)).version == 1


async def test_a_caller_may_have_begun_the_transaction(connection: asyncpg.Connection) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await apply(connection, FILE)
    await transaction.rollback()

    assert (await load_book(connection)).version == 0


async def test_the_largest_value_is_stored(connection: asyncpg.Connection) -> None:
    largest = FILE.replace("20_000", str(2**53)).replace("= 100", "= 1").replace("5_000_000_000", str(2**53))

    await apply(connection, largest)

    assert (await load_book(connection)).campaigns[0].routes[0].unit_vnd == 2**53


def test_labels_are_unique() -> None:
    for rows in (SHOWN, REFUSED):
        assert len({row[0] for row in rows}) == len(rows)
