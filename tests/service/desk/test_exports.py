"""Exports: opened again by another library they hold what the API says, and nothing that runs or names a person."""

import argparse
import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from python_calamine import CalamineWorkbook

from campaigns.gifts.exported import EXPORTS, FACTS, Kind
from service.commands import export
from service.desk import spreadsheets
from service.desk.assembly import API_PREFIX
from service.desk.roles import Act, Role
from service.desk.spreadsheets import FORMULA, Csv, Explanation, Sheet, Xlsx, cell
from service.runtime.refusals import Refused
from tests.support.desk import logged_in, object_in, person, token_of
from tests.support.portal import SECRET_KEY, Portal, eventually, message

logins = (f"xuat{number}" for number in count())
NUMBER = "84912345678"
KINDS = (Kind.TEXT, Kind.SENDERS, Kind.COUNT, Kind.VND, Kind.MOMENT, Kind.MINUTE, Kind.DAY)
HEADINGS = ("Chữ", "Mã của bên gửi", "Số suất", "Số tiền", "Lúc", "Phút", "Ngày")
AT = datetime(2026, 10, 17, 18, 30, 5, 250_000, UTC)
ROWS: tuple[tuple[Any, ...], ...] = (
    ("=1+1", f"id-{NUMBER}", 3, 9_007_199_254_740, AT, AT, AT),
    ("Ủng hộ <&> \x07 _x0041_", "-2", -1, -20_000, None, None, None),
    ('a "b", c\nd', "@x", None, None, AT, AT, AT),
)


def made(sheet: Sheet, *pieces: tuple[tuple[Any, ...], ...]) -> bytes:
    """The whole file."""
    return sheet.begin() + b"".join(sheet.take(rows) for rows in pieces) + sheet.end()


def explained() -> Explanation:
    """An explanation of the columns above."""
    return Explanation("Giải thích", ["Về tệp"], [f"là {each}" for each in HEADINGS], [("counted", "Được tính")])


def test_csv_is_marked_as_utf8_and_holds_nothing_that_a_spreadsheet_would_run() -> None:
    content = made(Csv(HEADINGS, KINDS), ROWS)
    assert content.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in content
    assert list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))) == [
        list(HEADINGS),
        ["'=1+1", "id-[redacted]", "3", "9007199254740", "2026-10-18T01:30:05.250000+07:00",
         "2026-10-18T01:30:05.250000+07:00", "2026-10-18"],
        ["Ủng hộ <&> \x07 _x0041_", "'-2", "-1", "-20000", "", "", ""],
        ['a "b", c\nd', "'@x", "", "", "2026-10-18T01:30:05.250000+07:00", "2026-10-18T01:30:05.250000+07:00",
         "2026-10-18"],
    ]  # fmt: skip


def test_a_workbook_has_numbers_and_dates_as_such_and_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    local = datetime(2026, 10, 18, 1, 30, 5, 250_000)  # noqa: DTZ001 -- spreadsheets know no zones
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = [
        ["=1+1", "id-[redacted]", 3.0, 9_007_199_254_740.0, local, local, day.date()],
        ["Ủng hộ <&> \ufffd _x0041_", "-2", -1.0, -20_000.0, "", "", ""],
        ['a "b", c\nd', "@x", "", "", local, local, day.date()],
    ]
    monkeypatch.setattr(spreadsheets, "SHEET_ROWS_MAX", 2)
    content = made(Xlsx("Tin nhắn", HEADINGS, KINDS, explained()), ROWS[:1], ROWS[1:])
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    assert book.sheet_names == ["Tin nhắn", "Tin nhắn (2)", "Giải thích"]
    first, second, about = (book.get_sheet_by_name(name).to_python() for name in book.sheet_names)
    assert first == [list(HEADINGS), *rows[:2]]
    assert second == [list(HEADINGS), rows[2]]
    assert ["Số tiền", "là Số tiền"] in about
    assert ["counted", "Được tính"] in about
    with ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        assert "<f>" not in packed.read("xl/worksheets/sheet1.xml").decode()
        assert 'autoFilter ref="A1:G3"' in packed.read("xl/worksheets/sheet1.xml").decode()


@pytest.mark.parametrize("begins", [*FORMULA, " =", "\u00a0@", " \n+"])
def test_however_a_formula_begins_its_cell_is_a_text(begins: str) -> None:
    assert cell(f"{begins}1") == f"'{begins}1"
    assert cell(f"x{begins}1") == f"x{begins}1"


@pytest.mark.parametrize("kind", [Csv, Xlsx])
def test_what_was_handed_out_is_kept_no_more(kind: type[Sheet]) -> None:
    sheet: Sheet = Csv(HEADINGS, KINDS) if kind is Csv else Xlsx("x", HEADINGS, KINDS, explained())
    sheet.begin()
    sizes = [len(sheet.take(ROWS * 100)) for _ in range(12)]
    assert max(sizes) < 64 * 1024
    assert sum(sizes) > 12 * 500
    assert len(sheet.end()) < 64 * 1024


async def taken(portal: Portal, token: str, name: str, **query: str) -> tuple[int, bytes]:
    """An export by API."""
    async with portal.http.get(
        f"{portal.base}{API_PREFIX}/exports/{name}", params=query, headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        return answer.status, await answer.read()


def read(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV by their headings."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


async def test_exports_say_what_the_api_says_and_who_took_them_is_recorded(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message(f"x-{NUMBER}", "VNN 7", msisdn=NUMBER))
    await portal.post(message("=x-2", "VNN mot suat", msisdn=NUMBER))
    await portal.post(message("x-3", "BL", short_code="1407", msisdn=NUMBER))

    async def is_published() -> bool:
        return bool((await portal.totals())["messages"] >= 1)

    await eventually(is_published)
    login = next(logins)
    user_id = await person(portal, login, Role.AUDITOR)
    token, _ = await token_of(portal, user_id, Act.EXPORT_FACTS, Act.EXPORT_TOTALS)
    found = {}
    for name in EXPORTS:
        status, content = await taken(portal, token, name, campaign="vnn")
        assert status == 200
        assert NUMBER.encode() not in content
        found[name] = read(content)
        assert list(found[name][0]) == list(EXPORTS[name].columns)
    async with portal.http.get(f"{portal.base}/api/v1/campaigns/vnn/totals") as answer:
        totals = await answer.json()
    for name in ("minutes", "hours", "days", "carriers"):
        for figure in ("messages", "units", "pledged_vnd"):
            assert sum(int(row[figure]) for row in found[name]) == totals[figure], (name, figure)
    by_carrier = {row["carrier"]: row for row in found["carriers"]}
    for share in totals["by_carrier"]:
        assert int(by_carrier[share["carrier"]]["pledged_vnd"]) == share["pledged_vnd"]
    assert sum(int(row["wrong_syntax"]) for row in found["carriers"]) == totals["uncounted"]["wrong_syntax"]
    assert sum(int(row["vnd"]) for row in found["money-lines"]) == totals["pledged_vnd"]
    readings = Counter(row["reading"] for row in found["messages"])
    assert (readings["counted"], readings["wrong_syntax"]) == (
        totals["messages"] + totals["reversed"]["messages"], totals["uncounted"]["wrong_syntax"],
    )  # fmt: skip
    ids = {row["native_id"] for row in found["messages"]}
    assert {"x-[redacted]", "'=x-2"} <= ids
    assert "x-3" not in ids
    visitor = await logged_in(portal, user_id)
    page = await visitor.get("/exports")
    assert page.text.count("formaction=") == 2 * len(EXPORTS)
    status, content = await taken(portal, token, "messages", campaign="vnn", format="xlsx", headings="vi")
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    assert book.sheet_names == ["Tin nhắn", "Giải thích"]
    rows = book.get_sheet_by_index(0).to_python()
    assert (rows[0][:3], len(rows) - 1) == (["Mã tin", "Cổng nhận lúc", "Thời gian của tin"], len(found["messages"]))
    assert isinstance(rows[1][1], datetime)
    taken_at = next(str(line[0]) for line in book.get_sheet_by_index(1).to_python() if login in str(line[0]))
    assert re.match(r"Lấy lúc \d\d:\d\d", taken_at)
    own = await visitor.get("/exports/days?campaign=vnn&since=2026-01-01")
    assert own.headers["Content-Type"].startswith("text/csv")
    name = own.headers["Content-Disposition"].removeprefix("attachment; ")
    assert re.fullmatch(r'filename="portal1400-days-vnn-[0-9-]{15}\.csv"', name)
    assert own.text.startswith("\ufeffThời gian,Chương trình,Nhà mạng")
    backwards = {"since": "2026-10-18", "until": "2026-10-17"}
    for query in ({"format": "pdf"}, {"since": "gestern"}, {"headings": "fr"}, {"campaign": "../x"},
                  {"campaign": "vnm"}, backwards):  # fmt: skip
        assert (await taken(portal, token, "days", **query))[0] == 400
    assert (await visitor.get("/exports/days?since=gestern")).status == 400
    # Totals of now would be taken for those of the days that were asked for.
    for day in ("since", "until"):
        refused = await visitor.get(f"/exports/carriers?{day}=2026-10-17")
        assert (refused.status, "tổng đến lúc này, không tính riêng" in refused.text) == (400, True)
        assert (await taken(portal, token, "carriers", **{day: "2026-10-17"}))[0] == 400
    entries = await portal.fetch(
        "SELECT subject, after->>'format' AS format, after->>'campaign' AS campaign FROM audit_entry "
        "WHERE act = 'export' AND who = $1 ORDER BY id",
        login,
    )
    asked = [*((name, "csv", "vnn") for name in EXPORTS), ("messages", "xlsx", "vnn"), ("days", "csv", "vnn")]
    assert [tuple(entry) for entry in entries] == asked


async def test_a_manager_takes_along_nothing_of_another_organisation(desk_portal: Portal) -> None:
    portal = desk_portal
    await portal.post(message("m-1", "BL", short_code="1407"))
    await portal.post(message("m-2", "VNN 2"))
    user_id = await person(portal, next(logins), Role.MANAGER, "redcross")
    token, _ = await token_of(portal, user_id, Act.EXPORT_FACTS, Act.EXPORT_TOTALS)
    for name in EXPORTS:
        rows = read((await taken(portal, token, name))[1])
        assert {row["campaign"] for row in rows} == {"bao-lu"}, name
        assert (await taken(portal, token, name, campaign="vnn"))[0] == 400, "an empty file would say: nothing"
    visitor = await logged_in(portal, user_id)
    assert "vnn" not in (await visitor.get("/exports")).text
    press = await logged_in(portal, await person(portal, next(logins), Role.PRESS))
    page = await press.get("/exports")
    assert [f"/desk/exports/{name}" in page.text for name in EXPORTS] == [name not in FACTS for name in EXPORTS]


def alone(file: Path) -> bytes:
    """The bytes of the only file of its folder."""
    assert list(file.parent.iterdir()) == [file]
    return file.read_bytes()


async def test_the_command_writes_the_same_file(
    desk_portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORTAL1400_DATABASE_URL", desk_portal.dsn)
    monkeypatch.setenv("PORTAL1400_SECRET_KEY", SECRET_KEY)
    await desk_portal.post(message("c-1", "VNN 1"))
    token, _ = await token_of(desk_portal, await person(desk_portal, next(logins), Role.FINANCE), Act.EXPORT_FACTS)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    capsys.readouterr()
    told = parser.parse_args(["money-lines", str(tmp_path), "--headings", "keys", "--campaign", "vnn", "--json"])
    assert await export.run(told) == 0
    file = Path(object_in(capsys.readouterr().out)["file"])
    assert alone(file) == (await taken(desk_portal, token, "money-lines", campaign="vnn"))[1]
    assert await export.run(parser.parse_args(["days", str(tmp_path / "ngay.xlsx")])) == 0
    assert CalamineWorkbook.from_path(str(tmp_path / "ngay.xlsx")).sheet_names == ["Theo ngày", "Giải thích"]
    span = ["--since", "2026-10-17T00:00:00+07:00"]
    for wrong in (
        ["days", str(tmp_path / "a.pdf")],
        ["days", "--campaign", "none"],
        ["carriers", *span],
    ):
        with pytest.raises(Refused):
            await export.run(parser.parse_args(wrong))
    (entry,) = await desk_portal.fetch("SELECT who FROM audit_entry WHERE act = 'export' AND subject = 'money-lines' "
                                       "AND who LIKE 'os:%'")  # fmt: skip
    assert entry["who"].startswith("os:")
