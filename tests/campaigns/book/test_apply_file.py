"""The apply file by itself: what it may say, and a place and a sentence for everything else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import Book, Grammar, Organisation
from campaigns.book.sentences import in_vietnamese
from campaigns.book.toml_headers import toml_lines
from tests.support.apply_files import CAMPAIGN, ORGANISATION, ROUTE

HERE = Path(__file__).parent
GOOD = ORGANISATION + CAMPAIGN + ROUTE
"""Headers in the lines 1, 4 and 11."""


def refusals(content: str | bytes) -> list[tuple[str, int | None, str]]:
    with pytest.raises(ApplyRefused) as refused:
        load(content if isinstance(content, bytes) else content.encode())
    return [(problem.toml_path, problem.line, problem.reason) for problem in refused.value.problems]


def test_a_good_file_becomes_a_book() -> None:
    book = book_from_file(load(GOOD.encode()))

    assert isinstance(book, Book)
    assert book.organisations == {"mttq": Organisation("mttq", "Mặt trận", None)}
    (campaign,) = book.campaigns
    assert (campaign.id, campaign.slug, campaign.goal_vnd) == (1, "vnn", None)
    assert campaign.opens_at == datetime(2026, 10, 16, 17, tzinfo=UTC)
    (route,) = campaign.routes
    assert (route.keywords, route.grammar, route.unit_vnd, route.max_units) == (("VNN",), Grammar.UNITS, 20_000, 100)


def test_an_empty_file_is_right() -> None:
    assert book_from_file(load(b"")).campaigns == ()


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())

    assert load(path).campaigns[0].place.line == 4


def test_optional_keys_have_their_defaults() -> None:
    thousands = GOOD.replace('"units"', '"thousands"').replace("unit_vnd = 20_000\n", "")
    fixed = GOOD.replace('"units"', '"fixed"').replace("max_units = 100\n", "")

    assert load(thousands.encode()).campaigns[0].routes[0].route.unit_vnd == 1_000
    assert load(fixed.encode()).campaigns[0].routes[0].route.max_units == 1


def test_keywords_are_folded() -> None:
    file = load(GOOD.replace('["VNN"]', '["đa  cam", "dacam."]').encode())

    assert file.campaigns[0].routes[0].route.keywords == ("DA CAM", "DACAM")


# label, what is replaced in GOOD, by what, path, line, part of the reason
ROWS = [
    (
        "unknown table",
        ORGANISATION,
        '[[organization]]\ncode = "x"\n' + ORGANISATION,
        "organization",
        1,
        "not a table",
    ),
    ("table in single brackets", "[[organisation]]", "[organisation]", "organisation", 1, "double brackets"),
    ("inline instead of a table", ORGANISATION, 'organisation = ["mttq"]\n', "organisation", 1, "double brackets"),
    ("unknown key", 'slug = "vnn"', 'slug = "vnn"\nnote = "x"', "campaign[0].note", 6, "not a key"),
    ("missing key", 'organiser = "mttq"\n', "", "campaign[0].organiser", 4, "is missing"),
    ("slug with capitals", '"vnn"', '"Vnn"', "campaign[0].slug", 5, 'did you mean "vnn"?'),
    ("slug too long", '"vnn"', f'"{"v" * 81}"', "campaign[0].slug", 5, "1 to 80"),
    ("code of another shape", 'code = "mttq"', 'code = "MTTQ"', "organisation[0].code", 2, 'did you mean "mttq"?'),
    ("blank name", '"Vì người nghèo"', '"  "', "campaign[0].name_vi", 6, "letters"),
    ("control in a name", '"Vì người nghèo"', '"a\\u0000b"', "campaign[0].name_vi", 6, "control"),
    ("turned letters in a name", '"Vì người nghèo"', '"a\\u202eb"', "campaign[0].name_vi", 6, "control"),
    ("name too long", '"Vì người nghèo"', f'"{"x" * 301}"', "campaign[0].name_vi", 6, "300"),
    ("unknown category", '"poverty"', '"poor"', "campaign[0].category", 7, "'storm_flood'"),
    ("time without zone", "00+07:00\nclo", "00\nclo", "campaign[0].opens_at", 9, "time zone"),
    ("date for a time", "2026-10-17T00:00:00+07:00", "2026-10-17", "campaign[0].opens_at", 9, "a time with a zone"),
    ("time as text", "2026-10-17T00:00:00+07:00", '"2026-10-17T00:00:00+07:00"', "campaign[0].opens_at", 9, "a time"),
    ("year out of range", "2027-01-01", "2127-01-01", "campaign[0].closes_at", 10, "2000 to 2100"),
    ("part of a second", "01T00:00:00+07:00", "01T00:00:00.5+07:00", "campaign[0].closes_at", 10, "whole second"),
    ("window of no length", "2027-01-01", "2026-10-17", "campaign[0].closes_at", 10, "later than opens_at"),
    ("goal of nothing", ROUTE, "goal_vnd = 0\n" + ROUTE, "campaign[0].goal_vnd", 11, "at least 1"),
    ("goal as float", ROUTE, "goal_vnd = 5e9\n" + ROUTE, "campaign[0].goal_vnd", 11, "whole number"),
    ("goal over 2^53", ROUTE, f"goal_vnd = {2**53 + 1}\n" + ROUTE, "campaign[0].goal_vnd", 11, "at most"),
    ("empty decision", ROUTE, 'decision = ""\n' + ROUTE, "campaign[0].decision", 11, "empty"),
    ("short code as number", '"1408"', "1408", "campaign[0].route[0].short_code", 12, "quotes"),
    ("short code too short", '"1408"', '"14"', "campaign[0].route[0].short_code", 12, "3 to 6 digits"),
    ("short code of other digits", '"1408"', '"14٠8"', "campaign[0].route[0].short_code", 12, "3 to 6 digits"),
    ("short code with line end", '"1408"', '"1408\\n"', "campaign[0].route[0].short_code", 12, "3 to 6 digits"),
    ("no keyword", '["VNN"]', "[]", "campaign[0].route[0].keywords", 13, "at least one"),
    ("keyword not in a list", '["VNN"]', '"VNN"', "campaign[0].route[0].keywords", 13, "square brackets"),
    ("keyword of punctuation", '["VNN"]', '["VNN", "..."]', "campaign[0].route[0].keywords[1]", 13, "a letter"),
    ("keyword of digits", '["VNN"]', '["5VN"]', "campaign[0].route[0].keywords[0]", 13, "a letter"),
    ("keyword too long", '["VNN"]', f'["{"V" * 41}"]', "campaign[0].route[0].keywords[0]", 13, "40"),
    ("keyword twice once folded", '["VNN"]', '["VNN", "vnn."]', "campaign[0].route[0].keywords", 13, "twice"),
    (
        "too many keywords",
        '["VNN"]',
        str(["A" + chr(65 + n // 26) + chr(65 + n % 26) for n in range(51)]),
        "campaign[0].route[0].keywords",
        13,
        "more than 50",
    ),
    ("unknown grammar", '"units"', '"unit"', "campaign[0].route[0].grammar", 14, "'thousands'"),
    ("value as float", "20_000", "20_000.0", "campaign[0].route[0].unit_vnd", 15, "whole number"),
    ("value as boolean", "20_000", "true", "campaign[0].route[0].unit_vnd", 15, "whole number"),
    ("value of nothing", "20_000", "0", "campaign[0].route[0].unit_vnd", 15, "at least 1"),
    ("no value", "unit_vnd = 20_000\n", "", "campaign[0].route[0].unit_vnd", 11, "required in the grammar units"),
    ("amount over 2^53", "20_000", str(2**53), "campaign[0].route[0].unit_vnd", 15, "times max_units"),
    ("no max_units", "max_units = 100\n", "", "campaign[0].route[0].max_units", 11, "required in the grammar units"),
    ("max_units of nothing", "max_units = 100", "max_units = 0", "campaign[0].route[0].max_units", 16, "at least 1"),
    (
        "max_units over four digits",
        "max_units = 100",
        "max_units = 10_000",
        "campaign[0].route[0].max_units",
        16,
        "9999",
    ),
    ("thousands of another value", '"units"', '"thousands"', "campaign[0].route[0].unit_vnd", 15, "1_000"),
    ("code twice", CAMPAIGN, ORGANISATION + CAMPAIGN, "organisation[1].code", 5, "organisation[0]"),
    ("keyword in two routes", ROUTE, ROUTE + ROUTE, "campaign[0].route[1].keywords", 19, "twice"),
    (
        "same form with another value",
        ROUTE,
        ROUTE + ROUTE.replace("VNN", "V NN").replace("20_000", "10_000"),
        "campaign[0].route[1].keywords",
        19,
        "another grammar, unit_vnd or max_units",
    ),
    (
        "header within a string",
        'slug = "vnn"',
        'name_en = """\\\n[[campaign]] \\\n[[campaign.route]]""""\nslug = "V"',
        "campaign[0].slug",
        8,
        "small letters",
    ),
    (
        "header within an array",
        '["VNN"]',
        '[\n["VNN"]\n]',
        "campaign[0].route[0].keywords[0]",
        13,
        "quotes",
    ),
    (
        "header with quotes, blanks and comment",
        "[[campaign.route]]",
        '# [[campaign]]\n  [[ campaign . "route" ]] # [[x]]\nnote = 1',
        "campaign[0].route[0].note",
        13,
        "not a key",
    ),
    (
        "inline route tells its campaign's header",
        ROUTE,
        'route = [{short_code = "1", keywords = ["A"], grammar = "fixed", unit_vnd = 1}]\n',
        "campaign[0].route[0].short_code",
        11,
        "3 to 6 digits",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "path", "line", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_refusal_names_path_line_and_reason(old: str, new: str, path: str, line: int | None, reason: str) -> None:
    assert old in GOOD

    found = refusals(GOOD.replace(old, new, 1))

    assert [(each[0], each[1]) for each in found] == [(path, line)]
    assert reason in found[0][2]


def other(slug: str, opens: str, closes: str, keywords: str, code: str = "1408") -> str:
    campaign = CAMPAIGN.replace('"vnn"', f'"{slug}"')
    campaign = campaign.replace("opens_at = 2026-10-17", f"opens_at = {opens}")
    campaign = campaign.replace("closes_at = 2027-01-01", f"closes_at = {closes}")
    return campaign + ROUTE.replace('["VNN"]', keywords).replace("1408", code)


# label, window and keywords of a second campaign, whether it overlaps the first: VNN | DA CAM, until 1 January
OVERLAPS = [
    ("same keyword, same time", ("2026-10-17", "2027-01-01", '["VNN"]'), True),
    ("one day in common", ("2026-12-31", "2027-02-01", '["VNN"]'), True),
    ("around the other", ("2026-01-01", "2028-01-01", '["vnn"]'), True),
    ("begins where the other ends", ("2027-01-01", "2027-02-01", '["VNN"]'), False),
    ("ends where the other begins", ("2026-10-01", "2026-10-17", '["VNN"]'), False),
    ("without the blank", ("2026-10-17", "2027-01-01", '["DACAM"]'), True),
    ("blank elsewhere", ("2026-10-17", "2027-01-01", '["DAC AM"]'), True),
    ("as an alias behind another", ("2026-10-17", "2027-01-01", '["X", "đa cam"]'), True),
    ("another code", ("2026-10-17", "2027-01-01", '["VNN"]', "1407"), False),
    ("longer keyword", ("2026-10-17", "2027-01-01", '["VNNX"]'), False),
    ("shorter keyword", ("2026-10-17", "2027-01-01", '["VN"]'), False),
]


@pytest.mark.parametrize(("second", "overlaps"), [row[1:] for row in OVERLAPS], ids=[row[0] for row in OVERLAPS])
def test_campaigns_overlap_when_some_text_would_meet_both(second: tuple[str, ...], overlaps: bool) -> None:
    content = GOOD.replace('["VNN"]', '["VNN", "DA CAM"]') + other("second", *second)
    if not overlaps:
        assert len(load(content.encode()).campaigns) == 2
        return

    ((path, line, reason),) = refusals(content)

    assert (path, line) == ("campaign[1].route[0].keywords", 26)
    assert "of campaign vnn while both are open" in reason


def test_aliases_of_one_campaign_do_not_overlap() -> None:
    content = GOOD.replace('["VNN"]', '["DA CAM", "DACAM", "DC"]') + ROUTE.replace("VNN", "DAC AM")

    assert len(load(content.encode()).campaigns[0].routes) == 2


def test_every_problem_is_told_at_once() -> None:
    content = GOOD.replace('"vnn"', '"V"').replace('"1408"', "1408").replace('code = "mttq"', 'code = ""')

    assert [each[:2] for each in refusals(content)] == [
        ("organisation[0].code", 2),
        ("campaign[0].slug", 5),
        ("campaign[0].route[0].short_code", 12),
    ]


def test_a_refusal_reads_as_a_line_for_each_problem(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(GOOD.replace("20_000", "0").replace('"vnn"', '"v!"'))

    with pytest.raises(ApplyRefused) as refused:
        load(path)

    assert str(refused.value).splitlines() == [
        f"{path}:5 campaign[0].slug (campaign 1, slug): must be 1 to 80 of a-z, 0-9 and -; correct it",
        f"{path}:15 campaign[0].route[0].unit_vnd (campaign 1, route 1, unit_vnd): must be at least 1; correct it",
    ]
    reason = refused.value.problems[1].reason
    assert in_vietnamese(reason) == "phải từ 1 trở lên; hãy sửa lại"
    assert refused.value.lines("vi") == [
        f"{path}:5 campaign[0].slug (chiến dịch 1, slug): phải gồm 1 đến 80 ký tự a-z, 0-9 và -; hãy sửa lại",
        f"{path}:15 campaign[0].route[0].unit_vnd (chiến dịch 1, cách nhắn 1, unit_vnd): {in_vietnamese(reason)}",
    ]


UNREADABLE = [
    ("no value", b"a = 1\nb = \n", 2, "column 5"),
    ("unclosed string", b'a = "secret-value', None, "ends too early"),
    ("not UTF-8", b'a = "\xff"', None, "UTF-8"),
    ("too large", b"#" * (1024 * 1024 + 1), None, "larger than 1048576 bytes"),
    ("nested without end", b"a = " + b"[" * 100_000, None, "nesting"),
    ("a key of parts without end", b"a." * 200 + b"a = 1", None, "nesting"),
    ("a header of parts without end", b"[" + b'"a" . ' * 200 + b"a]", None, "nesting"),
    ("number without end", b"a = " + b"9" * 5_000, None, "number"),
    ("key twice", b"a = 1\na = 2\n", 2, "leave one of the two"),
    ("key twice at the end", b"a = 1\na = 2", None, "leave one of the two"),
]


@pytest.mark.parametrize(
    ("content", "line", "reason"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
def test_what_is_no_toml_is_refused_with_its_place(content: bytes, line: int | None, reason: str) -> None:
    ((path, found_line, found),) = refusals(content)

    assert (path, found_line) == ("", line)
    assert reason in found
    assert "secret" not in found


def test_a_missing_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ApplyRefused, match="No such file"):
        load(tmp_path / "none.toml")


LIMITS = [
    ("organisations", "[[organisation]]\n", 1001, "organisation"),
    ("campaigns", "[[campaign]]\n", 1001, "campaign"),
    ("gateways", "[[gateway]]\n", 1001, "gateway"),
]


@pytest.mark.parametrize(("table", "count", "path"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_tables_are_limited_in_number(table: str, count: int, path: str) -> None:
    ((found, _, reason),) = refusals(table * count)

    assert (found, "1000 times" in reason) == (path, True)


def test_routes_of_a_campaign_are_limited_in_number() -> None:
    ((path, line, _),) = refusals(ORGANISATION + CAMPAIGN + "[[campaign.route]]\n" * 51)

    assert (path, line) == ("campaign[0].route", 4)


def test_gateways_are_kept_as_they_are_with_their_place() -> None:
    file = load((GOOD + '[[gateway]]\ncode = "a"\nanything = {b = [1]}\n').encode())

    assert file.gateways[0].raw == {"code": "a", "anything": {"b": [1]}}
    assert (file.gateways[0].place.toml_path, file.gateways[0].place.line) == ("gateway[0]", 17)


def test_headers_are_counted_below_their_parents() -> None:
    text = "[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n  [[a.b]]\n[c]\n[c.'d e']\nx = '''\n[[a]]\n''''\n[e]"

    assert toml_lines(text) == {
        ("a", 0): 1,
        ("a", 0, "b", 0): 2,
        ("a", 0, "b", 1): 3,
        ("a", 1): 4,
        ("a", 1, "b", 0): 5,
        ("c",): 6,
        ("c", "d e"): 7,
        ("c", "d e", "x"): 8,
        ("e",): 11,
    }


def test_an_array_over_several_lines_holds_no_header() -> None:
    assert toml_lines("a = [\n[1, 2],\n[[3]],\n{ b = [\n[4]\n] },\n]\n[c]") == {("a",): 1, ("c",): 8}


# label, replaced in GOOD, by, line, part of the reason
SLIPS = [
    ("curly quotes", '"Vì người nghèo"', "“Vì người nghèo”", 6, "curly quotation marks"),
    ("day before month", "2027-01-01T00:00:00+07:00", "28/11/2026", 10, "2026-11-28T20:07:00+07:00"),
    ("points in a number", "20_000", "1.500.000.000", 15, "with points"),
    ("commas in a number", "20_000", "1,500,000,000", 15, "with commas"),
    ("midnight as 24:00", "2027-01-01T00", "2026-12-31T24", 10, "00:00 of the next day"),
    ("time without seconds", "2027-01-01T00:00:00", "2027-01-01T00:00", 10, "write it whole"),
    ("zone without colon", "2027-01-01T00:00:00+07:00", "2027-01-01T00:00:00+0700", 10, "write it whole"),
    ("zone of hours alone", "2027-01-01T00:00:00+07:00", "2027-01-01 00:00:00+07", 10, "write it whole"),
    ("blank before the zone", "2027-01-01T00:00:00+07:00", "2027-01-01T00:00:00 +07:00", 10, "write it whole"),
    ("time as it is spoken", "2027-01-01T00:00:00+07:00", "2027-01-01 8h30", 10, "write it whole"),
    ("thirty-first of November", "2027-01-01", "2026-11-31", 10, "its month does not have"),
    ("keyword without quotes", '["VNN"]', "[UH]", 13, '["UH", "UNG HO"]'),
    ("single brackets twice", CAMPAIGN, CAMPAIGN.replace("[[campaign]]", "[campaign]") * 2, 11, "[[campaign]]"),
]


@pytest.mark.parametrize(("old", "new", "line", "reason"), [row[1:] for row in SLIPS], ids=[row[0] for row in SLIPS])
def test_a_common_slip_is_told_by_its_name(old: str, new: str, line: int, reason: str) -> None:
    assert old in GOOD

    ((path, found_line, found),) = refusals(GOOD.replace(old, new, 1))

    assert (path, found_line) == ("", line)
    assert reason in found
    assert in_vietnamese(found) not in (found, "")


def test_a_keyword_that_every_text_would_lose_is_refused() -> None:
    ((path, line, reason),) = refusals(GOOD.replace('"VNN"', '"HSTS gửi 1408"'))

    assert (path, line) == ("campaign[0].route[0].keywords[0]", 13)
    assert "dropped from every text" in reason


def test_what_is_withdrawn_is_in_no_book_and_needs_no_other_key() -> None:
    file = load((ORGANISATION + '[[campaign]]\nslug = "vnn"\nwithdrawn = true\n').encode())

    assert [each.slug for each in file.withdrawn] == ["vnn"]
    assert book_from_file(file).campaigns == ()


@pytest.mark.parametrize("rows", [ROWS, OVERLAPS, UNREADABLE, LIMITS, SLIPS])
def test_labels_are_unique(rows: list[tuple[object, ...]]) -> None:
    assert len({row[0] for row in rows}) == len(rows)
