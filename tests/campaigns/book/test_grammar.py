"""How texts are read: the cases that carriers and organisers agreed on, edges, and what holds for every text."""

import json
import re
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book, Campaign, Decision, Grammar, Route
from campaigns.book.grammar import AMOUNT_RULES, GRAMMAR_VERSION, Reading, fold, read

HERE = Path(__file__).parent
BOOK = book_from_file(load(HERE / "book.toml"))
CASES = [json.loads(line) for line in (HERE / "readings.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case['short_code']}" for n, case in enumerate(CASES, start=1)])
def test_an_agreed_case_is_read_as_agreed(case: dict[str, Any]) -> None:
    reading = read(BOOK, case["short_code"], case["text"], datetime.fromisoformat(case["at"]))

    assert reading.outcome == case["outcome"]
    assert (reading.campaign, reading.units, reading.amount_vnd) == (
        case["campaign"],
        case["units"],
        case["amount_vnd"],
    )
    assert reading.folded == fold(case["text"])
    assert reading.grammar_version == GRAMMAR_VERSION


def day(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


def campaign(number: int, slug: str, opens: int, closes: int, *routes: Route) -> Campaign:
    decisions = (Decision(None, day(opens), day(closes)),)
    return Campaign(number, slug, slug, None, "other", "mttq", None, decisions, routes)


def fixed(*keywords: str, unit_vnd: int = 20_000) -> Route:
    return Route("1400", keywords, Grammar.FIXED, unit_vnd, 1)


def units(*keywords: str) -> Route:
    return Route("1400", keywords, Grammar.UNITS, 20_000, 100)


# Windows in days: early 10-20, late 20-30, far 40-50.
EDGES = Book(
    1,
    [
        campaign(1, "early", 10, 20, units("VN"), fixed("DA CAM", "DACAM", "DC")),
        campaign(2, "late", 20, 30, fixed("VN"), fixed("DAC AM", unit_vnd=10_000), units("A B C")),
        campaign(3, "far", 40, 50, units("VNN", "VN"), Route("1400", ("K",), Grammar.THOUSANDS, 1_000, 2_000)),
        campaign(4, "odd", 10, 50, units("TET2026", "U-H", "GUI")),
    ],
)

# label, text, day, outcome, campaign, keyword, units
EDGE_ROWS = [
    ("longest first", "VNN", 45, "counted", "far", "VNN", 1),
    ("longest even if closed", "VNN", 15, "before_open", "far", "VNN", None),
    ("shorter when the longest runs on", "VNNX", 15, "unknown_keyword", None, None, None),
    ("digits follow the shorter", "VN9", 15, "counted", "early", "VN", 9),
    ("window holds at its opening", "VN", 20, "counted", "late", "VN", 1),
    ("before all: nearest", "VN", 1, "before_open", "early", "VN", None),
    ("between: nearer to the end", "VN", 34, "after_close", "late", "VN", None),
    ("between: nearer to the opening", "VN", 36, "before_open", "far", "VN", None),
    ("equally near: the earlier", "VN", 35, "after_close", "late", "VN", None),
    ("after all: nearest", "VN", 60, "after_close", "far", "VN", None),
    ("the meant route's grammar judges", "VN 2", 25, "wrong_syntax", "late", "VN", None),
    ("first of equal keywords", "DACAM", 15, "counted", "early", "DA CAM", 1),
    ("blank of the one keyword only", "DAC AM", 15, "before_open", "late", "DAC AM", None),
    ("met without blanks by both", "DACAM", 25, "counted", "late", "DAC AM", 1),
    ("alias", "DC", 15, "counted", "early", "DC", 1),
    ("some blanks left out", "AB C7", 25, "counted", "late", "A B C", 7),
    ("blank after the keyword's letters", "A B C 7", 25, "counted", "late", "A B C", 7),
    ("blank where there is none", "V N", 15, "unknown_keyword", None, None, None),
    ("keyword of letters and digits", "tet2026 3", 15, "counted", "odd", "TET2026", 3),
    ("digits run on from digits", "TET20263", 15, "counted", "odd", "TET2026", 3),
    ("keyword with a hyphen", "u-h 2", 15, "counted", "odd", "U-H", 2),
    ("another letter of another script runs on", "VNж", 15, "unknown_keyword", None, None, None),
    ("a number sign does not run on", "VN½", 15, "wrong_syntax", "early", "VN", None),
    ("advertisement is dropped once", "VN GUI 1400 GUI 1400", 15, "wrong_syntax", "early", "VN", None),
    ("advertisement without its blank", "VN GUI1400", 15, "wrong_syntax", "early", "VN", None),
    ("advertisement with two blanks inside", "VN gửi  1400", 15, "counted", "early", "VN", 1),
    ("advertisement after punctuation", "VN 2.GUI 1400", 15, "counted", "early", "VN", 2),
    ("advertisement in quotes", "VN 2 'gửi 1400'!", 15, "counted", "early", "VN", 2),
    ("advertisement with letters glued", "VN 2XGUI 1400", 15, "wrong_syntax", "early", "VN", None),
    ("advertisement alone leaves no keyword", "GUI 1400", 15, "unknown_keyword", None, None, None),
    ("thousands at the limit", "K2000K", 45, "counted", "far", "K", 2000),
    ("thousands with six digits", "K 002000K", 45, "wrong_syntax", "far", "K", None),
    ("thousands with two blanks", "K 20  K", 45, "counted", "far", "K", 20),
    ("thousands, Kelvin sign", "K 20\u212a", 45, "counted", "far", "K", 20),
    ("plus is mathematics", "VN +", 15, "wrong_syntax", "early", "VN", None),
    ("currency is not trimmed", "VN 5$", 15, "wrong_syntax", "early", "VN", None),
    ("angle brackets are trimmed", "<<VN 5>>", 15, "counted", "early", "VN", 5),
    ("modifier symbols are trimmed", "VN 5^`", 15, "counted", "early", "VN", 5),
    ("spacing accent is a blank", "VN\u00b45", 15, "counted", "early", "VN", 5),
    ("zero width inside", "V\u200bN\u200d 5", 15, "counted", "early", "VN", 5),
    ("soft hyphen inside", "V\u00adN 5", 15, "counted", "early", "VN", 5),
    ("controls are not blanks", "V\x00N\x01 5", 15, "counted", "early", "VN", 5),
    ("separator controls are blanks", "VN\x1c5", 15, "counted", "early", "VN", 5),
    ("next line is a blank", "VN\x855", 15, "counted", "early", "VN", 5),
    ("line separator is a blank", "VN\u20285", 15, "counted", "early", "VN", 5),
    ("Ogham space is a blank", "VN\u16805", 15, "counted", "early", "VN", 5),
    ("circled digit", "VN \u2464", 15, "counted", "early", "VN", 5),
    ("combining marks", "V\u0301\u0323N\u0300 5\u20e3", 15, "counted", "early", "VN", 5),
    ("emoji of several parts", "VN 5 \U0001f468\U0001f3fd\u200d\U0001f9b0", 15, "counted", "early", "VN", 5),
    ("flag", "\U0001f1fb\U0001f1f3 VN 5", 15, "counted", "early", "VN", 5),
    ("unassigned", "VN 5 \U0001fb00\U000e0fff\uffff", 15, "counted", "early", "VN", 5),
    ("lone surrogate is damage", "VN 5 \ud83d", 15, "wrong_syntax", "early", "VN", None),
    ("private use is damage", "VN 5 \uf8ff", 15, "wrong_syntax", "early", "VN", None),
    ("sharp s becomes two letters", "VNß", 15, "unknown_keyword", None, None, None),
    ("only what is trimmed", "\u200b\t<\u2764\ufe0f>", 15, "empty_text", None, None, None),
    ("digits alone", "5", 15, "unknown_keyword", None, None, None),
]


@pytest.mark.parametrize(
    ("text", "on", "outcome", "slug", "keyword", "count"),
    [row[1:] for row in EDGE_ROWS],
    ids=[row[0] for row in EDGE_ROWS],
)
def test_an_edge_is_read_by_the_rule(
    text: str, on: int, outcome: str, slug: str | None, keyword: str | None, count: int | None
) -> None:
    reading = read(EDGES, "1400", text, day(on))

    assert (reading.outcome, reading.campaign, reading.keyword, reading.units) == (outcome, slug, keyword, count)
    assert (reading.amount_vnd is None) == (count is None)


def test_labels_are_unique() -> None:
    assert len({row[0] for row in EDGE_ROWS}) == len(EDGE_ROWS)


def test_every_grammar_reads_its_own_example() -> None:
    assert set(AMOUNT_RULES) == set(Grammar)
    for grammar, rule in AMOUNT_RULES.items():
        rest, count = rule.example
        book = Book(1, [campaign(1, "one", 10, 20, Route("1400", ("XX",), grammar, 1_000, max(count, 1)))])
        assert read(book, "1400", f"XX {rest}", day(15)).units == count


def test_a_window_is_open_at_its_first_instant_and_closed_at_its_last() -> None:
    instant = timedelta(microseconds=1)
    outcomes = [
        read(EDGES, "1400", "DC", at).outcome.value for at in (day(10) - instant, day(10), day(20) - instant, day(20))
    ]

    assert outcomes == ["before_open", "counted", "counted", "after_close"]


def test_the_newest_decision_is_the_window() -> None:
    extended = Campaign(
        1,
        "x",
        "x",
        None,
        "other",
        "mttq",
        None,
        (Decision("1", day(10), day(20)), Decision("2", day(10), day(30))),
        (fixed("XX"),),
    )

    assert read(Book(2, [extended]), "1400", "XX", day(25)).outcome == "counted"


def test_an_empty_book_knows_no_code() -> None:
    assert read(Book(0, []), "1400", "VN", day(1)).outcome == "unknown_short_code"


ODD_CHARACTERS = (
    " \t\u00a0\u200b\u0301\u0323đĐơưỨẤ5٥²①₫<>.,!?'\"-KNVvnGUI1408\ud800\U0001f468\ufe0f\u20e3ßıİŉǆﬁ가각\u1100\u1161"
)
texts = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text(st.sampled_from(ODD_CHARACTERS), max_size=30),
    st.text(st.characters(max_codepoint=127)),
)


def fold_by_rule(text: str) -> str:
    """The contract's rule step by step, by itself: the oracle for `fold`, which comes to the same with a table."""
    blanked = "".join(" " if character.isspace() else character for character in text)
    composed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", blanked))
    kept = [each for each in composed if unicodedata.category(each)[0] != "M"]
    kept = [each for each in kept if unicodedata.category(each) not in ("Cc", "Cf")]
    # Đ is a letter of its own and has no decomposition.
    folded = re.sub(" +", " ", "".join(kept).upper().replace("Đ", "D"))
    while folded and is_outer(folded[0]):
        folded = folded[1:]
    while folded and is_outer(folded[-1]):
        folded = folded[:-1]
    return folded


def is_outer(character: str) -> bool:
    """Whether the ends of a text are trimmed of `character`."""
    category = unicodedata.category(character)
    return category[0] == "P" or category in ("So", "Sk", "Cn") or character in " <>"


@given(texts)
@example("\u1100\u200b\u1161")
@example("x\u0345\u0301")
def test_folding_by_table_is_folding_by_rule(text: str) -> None:
    assert fold(text) == fold_by_rule(text)


@given(texts)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(texts)
def test_a_folded_text_holds_what_the_rule_leaves(text: str) -> None:
    folded = fold(text)

    assert not [each for each in folded if unicodedata.category(each)[0] == "M"]
    assert not [each for each in folded if unicodedata.category(each) in ("Cc", "Cf")]
    assert not [each for each in folded if each.isspace() and each != " "]
    assert "  " not in folded
    assert folded == folded.upper()
    assert not {"đ", "Đ"} & set(folded)
    for end in folded[:1] + folded[-1:]:
        category = unicodedata.category(end)
        assert category[0] != "P"
        assert category not in ("So", "Sk", "Cn")
        assert end not in " <>"


def test_every_character_folds_by_table_as_by_rule() -> None:
    for start in range(0, sys.maxunicode + 1, 0x1000):
        text = "A".join(["", *map(chr, range(start, start + 0x1000)), ""])
        assert fold(text) == fold_by_rule(text), hex(start)


@given(texts, st.sampled_from(["1400", "1408", "", "\ud800"]), st.integers(0, 60))
def test_reading_is_total_and_repeats_itself(text: str, short_code: str, on: int) -> None:
    reading = read(EDGES, short_code, text, day(on))

    assert reading == read(EDGES, short_code, text, day(on))
    is_counted = reading.outcome == "counted"
    assert (reading.units is not None, reading.amount_vnd is not None) == (is_counted, is_counted)
    assert (reading.campaign is None) == (reading.campaign_id is None) == (reading.keyword is None)


@given(texts, st.integers(0, 60))
def test_a_text_reads_as_its_folded_self(text: str, on: int) -> None:
    assert read(EDGES, "1400", fold(text), day(on)) == read(EDGES, "1400", text, day(on))


KEYWORDS = [
    (met.slug, route, keyword) for met in EDGES.campaigns for route in met.routes for keyword in route.keywords
]


def slowly_met(keyword: str, text: str) -> int | None:
    """The rule word for word: an optional blank for each of the keyword's, then no letter."""
    begun = re.match(re.escape(keyword).replace("\\ ", " ?"), text)
    if begun is None or unicodedata.category((text[begun.end() :] + ".")[0]).startswith("L"):
        return None
    return len(keyword.replace(" ", ""))


@given(st.text(st.sampled_from("VNDAC MTKUHGI-5"), max_size=12).map(fold))
def test_the_longest_keyword_is_found_as_by_trying_each(text: str) -> None:
    lengths = {keyword: slowly_met(keyword, text) for _, _, keyword in KEYWORDS}
    longest = max((length for length in lengths.values() if length is not None), default=None)

    found, _ = EDGES.keywords_by_code["1400"].longest(text)

    assert [met.keyword for met in found] == [
        keyword for _, _, keyword in KEYWORDS if longest is not None and lengths[keyword] == longest
    ]


def test_a_reading_cannot_be_changed() -> None:
    reading = read(EDGES, "1400", "VN", day(15))

    with pytest.raises(AttributeError):
        reading.units = 5  # type: ignore[misc]  # that it is refused is the point
    assert isinstance(reading, Reading)
