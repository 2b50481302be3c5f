"""Words, figures, chart and files of the pages, each on its own."""

import re
from dataclasses import replace
from importlib.resources import files

import pytest

from campaigns.totals.totals import CARRIERS, UNCOUNTED_REASONS
from service.pages.chart import draw
from service.pages.views import group
from service.web.assets import CONTENT_TYPES
from service.web.words import SCRIPT_TEXTS, Language, load_words, read_texts
from tests.support.pages_site import BOOK, NOW, OLD, ORANGE, POOR, VACCINE, hour

WORDS = load_words()
VI, EN = WORDS[Language.VI], WORDS[Language.EN]


def test_every_file_of_the_folder_is_on_the_list() -> None:
    shipped = {each.name for each in (files("service.web") / "static").iterdir() if each.is_file()}
    assert shipped == set(CONTENT_TYPES)


def test_the_chart_has_sixty_minutes_and_its_peak() -> None:
    chart = draw(hour(), NOW)
    assert len(chart.bars) == 60
    assert (chart.bars[0].time, chart.bars[-1].time) == ("19:31", "20:30")
    assert chart.peak is not None
    assert (chart.peak.time, chart.peak.messages, chart.peak.height) == ("20:05", 400, 100)
    assert all(0 <= bar.height <= 100 for bar in chart.bars)


def test_a_minute_of_reversals_has_no_bar() -> None:
    point = replace(hour().points[0], messages=-3, pledged_vnd=-60_000)
    chart = draw(replace(hour(), points=(point,)), NOW)
    assert chart.peak is None
    assert {bar.height for bar in chart.bars} == {0}


def test_groups_follow_what_happens_next() -> None:
    found = group(BOOK.campaigns, NOW)
    assert (found.open, found.upcoming, found.closed, found.older) == ((POOR,), (VACCINE,), (ORANGE,), (OLD,))


@pytest.mark.parametrize(
    ("value", "vi", "en"),
    [
        (0, "0\u00a0₫", "₫0"),
        (999, "999\u00a0₫", "₫999"),
        (12_345_000, "12.345.000\u00a0₫", "₫12,345,000"),
        (2**53 - 1, "9.007.199.254.740.991\u00a0₫", "₫9,007,199,254,740,991"),
        (-20_000, "-20.000\u00a0₫", "₫-20,000"),
    ],
)
def test_money_is_written_as_each_language_does(value: int, vi: str, en: str) -> None:
    assert (VI.money(value), EN.money(value)) == (vi, en)


@pytest.mark.parametrize(
    ("part", "vi", "en"),
    [(0, "0,0%", "0.0%"), (999, "99,9%", "99.9%"), (1000, "100,0%", "100.0%"), (-5, "0,0%", "0.0%")],
)
def test_a_goal_is_never_reached_too_early(part: int, vi: str, en: str) -> None:
    assert (VI.percent(part, 1000), EN.percent(part, 1000)) == (vi, en)
    assert VI.percent(9_999_999, 10_000_000) == "99,9%"


@pytest.mark.parametrize(
    ("part", "vi", "en"),
    [(1, "dưới 0,1%", "under 0.1%"), (4_999_999, "dưới 0,1%", "under 0.1%"), (5_000_000, "0,1%", "0.1%")],
)
def test_a_first_gift_is_never_no_percent(part: int, vi: str, en: str) -> None:
    assert (VI.percent(part, 5_000_000_000), EN.percent(part, 5_000_000_000)) == (vi, en)


@pytest.mark.parametrize(
    ("value", "vi", "en"),
    [
        ("2026-11-10", "10/11/2026", "10 November 2026"),
        ("2026-11-10T08:30", "08:30 ngày 10/11/2026", "08:30 on 10 November 2026"),
        ("10/11/2026", "", ""), ("", "", ""), ("0001-01-01T00:00+14:00", "", ""),
    ],
)  # fmt: skip
def test_a_field_says_which_day_it_holds(value: str, vi: str, en: str) -> None:
    told = [load_words()[each].typed(value).replace("\u00a0", " ") for each in (Language.VI, Language.EN)]
    assert told == [vi, en]


def test_one_message_is_not_one_messages() -> None:
    assert (EN.messages(1), EN.messages(2), VI.messages(1)) == (
        "1\u00a0message",
        "2\u00a0messages",
        "1\u00a0tin\u00a0nhắn",
    )


def test_both_languages_are_complete_with_the_same_places() -> None:
    for key, entry in read_texts().items():
        assert set(entry) == {"vi", "en"}, key
        assert all(entry.values()), key
        vi, en = (sorted(re.findall(r"\{(\w+)\}", entry[language])) for language in ("vi", "en"))
        assert set(vi) == set(en), key
    assert all(len(read_texts()["months"][language].split(",")) == 12 for language in ("vi", "en"))


def test_the_script_gets_what_it_asks_for_and_tables_are_covered() -> None:
    table = read_texts()
    static = files("service.web") / "static"
    script = "".join((static / name).read_text(encoding="utf-8") for name in ("live.js", "words.js", "chart.js"))
    asked = set(re.findall(r'"([a-z]+(?:_[a-z]+)*)"', script))
    assert set(re.findall(r'text\(\s*"(\w+)"', script)) <= set(SCRIPT_TEXTS)
    assert set(SCRIPT_TEXTS) <= asked
    assert set(CARRIERS) <= set(table)
    assert all("{" + reason + "}" in table["uncounted"]["vi"] for reason in UNCOUNTED_REASONS)
