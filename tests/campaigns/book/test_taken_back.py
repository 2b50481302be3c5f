"""What was applied by mistake is taken back by the file, until some message was read by it."""

from datetime import datetime

import asyncpg
import pytest

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import load
from campaigns.book.book import Book
from campaigns.book.grammar import read
from campaigns.book.recording import AppliedBy, apply_changes
from campaigns.book.store import load_book
from tests.support.apply_files import EARLY, FILE, RUNNING, apply

GONE = '[[campaign]]\nslug = "vnn"\nwithdrawn = true\n'
KEYWORD_GONE = FILE.replace('["VNN", "DA CAM"]', '["VNN"]') + (
    '[[campaign.route]]\nshort_code = "1408"\nkeywords = ["đa cam"]\nwithdrawn = true\n'
)
READ = "INSERT INTO keyword_read SELECT id, '1408', $1 FROM campaign"


async def refusal(connection: asyncpg.Connection, content: str, now: datetime = EARLY) -> tuple[str, str]:
    with pytest.raises(ApplyRefused) as refused:
        await apply(connection, content, now)
    (problem,) = refused.value.problems
    return problem.toml_path, problem.reason


def amount(book: Book, text: str) -> int | None:
    return read(book, "1408", text, RUNNING).amount_vnd


# label, the file as corrected, the line that says so
CORRECTED = [
    (
        "price",
        FILE.replace("20_000", "10_000"),
        (
            "campaign vnn: route 1408 VNN | DA CAM corrected, units of 20,000 VND, 1 to 100 -> "
            "units of 10,000 VND, 1 to 100"
        ),
    ),
    ("keyword", KEYWORD_GONE, "campaign vnn: route 1408 DA CAM withdrawn (units of 20,000 VND, 1 to 100)"),
    (
        "window",
        FILE.replace("2027-01-01", "2027-02-01"),
        (
            "campaign vnn: corrected, 2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 1/QD) -> "
            "2026-10-17T00:00:00+07:00 to 2027-02-01T00:00:00+07:00 (decision 1/QD)"
        ),
    ),
    (
        "number of the decision",
        FILE.replace("1/QD", "11/QD"),
        (
            "campaign vnn: corrected, 2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 1/QD) -> "
            "2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 11/QD)"
        ),
    ),
    (
        "whole campaign",
        GONE,
        "campaign vnn: withdrawn, 2026-10-17T00:00:00+07:00 to 2027-01-01T00:00:00+07:00 (decision 1/QD)",
    ),
]


@pytest.mark.parametrize(("content", "line"), [row[1:] for row in CORRECTED], ids=[row[0] for row in CORRECTED])
async def test_what_nobody_texted_yet_is_corrected(connection: asyncpg.Connection, content: str, line: str) -> None:
    await apply(connection, FILE)

    assert await apply(connection, content) == [line]
    assert await apply(connection, content) == []

    before = await load_book(connection, 1)
    assert [(each.slug, len(each.decisions)) for each in before.campaigns] == [("vnn", 1)]
    assert (amount(before, "VNN 2"), amount(before, "DA CAM")) == (40_000, 20_000)
    for campaign in (await load_book(connection)).campaigns:
        assert len(campaign.decisions) == 1


async def test_the_corrected_book_reads_by_what_the_file_says(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await apply(connection, KEYWORD_GONE.replace("20_000", "10_000"))

    now = await load_book(connection)

    assert (amount(now, "VNN 2"), amount(now, "DA CAM")) == (20_000, None)


async def test_a_withdrawn_campaign_frees_its_keyword_and_may_come_back(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await apply(connection, GONE)
    assert (await load_book(connection)).campaigns == ()
    other = FILE.replace('"vnn"', '"other"').replace("20_000", "10_000")
    await apply(connection, other)
    assert amount(await load_book(connection), "VNN") == 10_000

    back = FILE.replace("VNN", "X").replace("DA CAM", "Y").replace("1/QD", "2/QD")
    assert len(await apply(connection, back)) == 2

    book = await load_book(connection)
    assert [each.number for each in book.by_slug["vnn"].decisions] == ["2/QD"]
    assert book.by_slug["vnn"].id == (await load_book(connection, 1)).by_slug["vnn"].id
    assert (amount(book, "X"), amount(book, "VNN")) == (20_000, 10_000)


# label, the keyword that was texted, the file, place, part of the reason
TOO_LATE = [
    ("campaign", "DA CAM", GONE, "campaign[0].withdrawn", "messages were read by this campaign"),
    ("keyword", "DA CAM", KEYWORD_GONE, "campaign[0].route[1].withdrawn", 'messages were read by "DA CAM"'),
    ("price", "VNN", FILE.replace("20_000", "10_000"), "campaign[0].route[0].keywords", "write units of 20,000 VND"),
    ("window", "VNN", FILE.replace("2027-01-01", "2027-02-01"), "campaign[0].decision", "name the new decision"),
    ("goal", "VNN", FILE.replace("5_000_000_000", "6_000_000_000"), "campaign[0].goal_vnd", "5,000,000,000 VND"),
]


@pytest.mark.parametrize(
    ("keyword", "content", "place", "reason"), [row[1:] for row in TOO_LATE], ids=[row[0] for row in TOO_LATE]
)
async def test_what_a_message_was_read_by_stays(
    connection: asyncpg.Connection, keyword: str, content: str, place: str, reason: str
) -> None:
    await apply(connection, FILE)
    await connection.execute(READ, keyword)

    found, sentence = await refusal(connection, content)

    assert found == place
    assert reason in sentence


async def test_a_keyword_beside_the_one_that_was_texted_is_still_withdrawn(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await connection.execute(READ, "VNN")

    assert len(await apply(connection, KEYWORD_GONE, RUNNING)) == 1


async def test_a_goal_moves_with_another_decision_when_messages_were_read(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    await connection.execute(READ, "VNN")

    lines = await apply(connection, FILE.replace("5_000_000_000", "6_000_000_000").replace("1/QD", "2/QD"), RUNNING)

    assert "campaign vnn: goal_vnd 5_000_000_000 -> 6_000_000_000" in lines


async def test_a_campaign_keeps_a_keyword(connection: asyncpg.Connection) -> None:
    await apply(connection, FILE)
    routes = FILE.index("[[campaign.route]]")

    place, _ = await refusal(connection, FILE[:routes] + FILE[routes:] + "withdrawn = true\n")

    assert place == "campaign[0].route[0].withdrawn"


async def test_a_version_keeps_its_file_and_who_applied_it(connection: asyncpg.Connection) -> None:
    gone = load(FILE.encode())
    await apply_changes(connection, gone, [], now=EARLY, who=AppliedBy("portal", "Nguyễn Văn A"))

    row = await connection.fetchrow(
        "SELECT os_user, applied_by, takes_back, content FROM book_version JOIN applied_file ON sha256 = file_sha256"
    )
    assert row is not None
    assert tuple(row)[:3] == ("portal", "Nguyễn Văn A", False)
    assert '"goal_vnd": 5000000000' in row["content"]


def test_labels_are_unique() -> None:
    for rows in (CORRECTED, TOO_LATE):
        assert len({row[0] for row in rows}) == len(rows)
