"""Tables as files for spreadsheets, made piece by piece in flat memory: CSV (RFC 4180) and XLSX (ECMA-376).

XlsxWriter makes the frame of a workbook: styles, headings, the sheet of explanations. It hands out a workbook only
when all of it is there, and a proxy in front does not wait so long, so rows are put into the frame here as they come.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from xml.sax.saxutils import escape

from campaigns.book.book import VIETNAM
from campaigns.gifts.exported import Kind
from service.runtime.phone_numbers import without_numbers

if TYPE_CHECKING:
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MARK = "\ufeff"
"""By which Excel knows UTF-8."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet would take for the beginning of a formula; some take the signs of full width, too."""
SHEET_ROWS_MAX = 1_048_576 - 1
"""Of a sheet of Excel, without the headings; what is more goes on in the next sheet."""
SHEET_BYTES_MAX = 1_900 * 2**20
"""Of a sheet before it is packed: from 2 GiB on a ZIP archive needs fields that not every reader knows."""
EPOCH = datetime(1899, 12, 30, tzinfo=timezone(timedelta(hours=7)))
"""From where spreadsheets count days; of Vietnam's clock of today, which was another one then."""
DAY = timedelta(days=1)
NUMBER_FORMATS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.TEXT: "@", Kind.SENDERS: "@", Kind.COUNT: "#,##0", Kind.VND: "#,##0", Kind.DAY: "dd/mm/yyyy",
        Kind.MINUTE: "dd/mm/yyyy hh:mm", Kind.MOMENT: "dd/mm/yyyy hh:mm:ss.000",
    }
)  # fmt: skip
WIDTHS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.TEXT: 16, Kind.SENDERS: 24, Kind.COUNT: 12, Kind.VND: 18, Kind.DAY: 12, Kind.MINUTE: 17, Kind.MOMENT: 24
    }
)  # fmt: skip
# What XML 1.0 cannot hold, and what ECMA-376 (22.4.2.4) would read as an escape of its own.
UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]|_(?=x[0-9A-Fa-f]{4}_)")

Row = Sequence[Any]


class Sheet(Protocol):
    """A file in the making: each call returns the bytes that are ready."""

    media_type: str

    def begin(self) -> bytes:
        """What stands before the rows."""

    def take(self, rows: Sequence[Row]) -> bytes:
        """More rows."""

    def end(self) -> bytes:
        """What stands behind them."""


class Csv:
    """UTF-8 with its mark, comma, CRLF. Times are RFC 3339 in Vietnam's zone, numbers are digits, nothing is empty
    but what there is not; what a spreadsheet would take for a formula begins with an apostrophe.
    """

    media_type = "text/csv; charset=utf-8"

    def __init__(self, headings: Sequence[str], kinds: Sequence[Kind]) -> None:
        self._headings = headings
        self._plain = [PLAIN[kind] for kind in kinds]

    def begin(self) -> bytes:
        """The mark and the headings."""
        return MARK.encode() + self._written([self._headings])

    def take(self, rows: Sequence[Row]) -> bytes:
        """More rows."""
        plain = self._plain
        return self._written(
            [["" if value is None else form(value) for form, value in zip(plain, row, strict=True)] for row in rows]
        )

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def _written(self, rows: Sequence[Row]) -> bytes:
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\r\n").writerows(rows)
        return lines.getvalue().encode()


def cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + value if value.startswith(FORMULA) or value.lstrip().startswith(FORMULA) else value


def _text(value: object) -> str:
    return cell(str(value))


def _senders(value: object) -> str:
    return cell(without_numbers(str(value)))


def _number(value: int) -> str:
    return str(value)


def _moment(value: datetime) -> str:
    return value.astimezone(VIETNAM).isoformat()


def _day(value: datetime) -> str:
    return value.astimezone(VIETNAM).date().isoformat()


PLAIN: Mapping[Kind, Callable[[Any], str]] = MappingProxyType(
    {
        Kind.TEXT: _text, Kind.SENDERS: _senders, Kind.COUNT: _number, Kind.VND: _number, Kind.MOMENT: _moment,
        Kind.MINUTE: _moment, Kind.DAY: _day,
    }
)  # fmt: skip


class Xlsx:
    """A workbook: the rows, then a sheet that explains the columns. Numbers are numbers; times are dates of
    Vietnam's clock, for spreadsheets know no zones.
    """

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

    def __init__(self, title: str, headings: Sequence[str], kinds: Sequence[Kind], explained: "Explanation") -> None:
        self._title, self._headings, self._kinds, self._explained = title[:24], headings, kinds, explained
        self._out = _Buffer()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED)
        first = self._frame([0])
        text = first.read("xl/worksheets/sheet1.xml").decode()
        before, sample, _ = re.split(r'(?s)(<row r="2".*?</row>)', text, maxsplit=1)
        styles = re.findall(r'<c r="[A-Z]+2" s="([0-9]+)"', sample)
        # How far the rows reach is not known yet.
        self._before = re.sub(r"<dimension [^>]*/>", "", before).encode()
        names = [_column(place) for place in range(len(kinds))]
        self._open = [f'<c r="{name}%d" s="{style}"' for name, style in zip(names, styles, strict=True)]
        self._written = [IN_SHEET[kind] for kind in kinds]
        self._counts: list[int] = []
        self._bytes = 0
        self._sheet: Any = None

    def begin(self) -> bytes:
        """The beginning of the first sheet."""
        self._next_sheet()
        return self._out.taken()

    def take(self, rows: Sequence[Row]) -> bytes:
        """More rows; a new sheet where one is full."""
        fitting = 0 if self._bytes > SHEET_BYTES_MAX else SHEET_ROWS_MAX - self._counts[-1]
        self._write(rows[:fitting])
        if rows[fitting:]:
            self._end_sheet(self._frame(self._counts))
            self._next_sheet()
            self._write(rows[fitting:])
        return self._out.taken()

    def end(self) -> bytes:
        """The end of the last sheet, and the frame around all of them."""
        frame = self._frame(self._counts)
        self._end_sheet(frame)
        of_rows = {f"xl/worksheets/sheet{number}.xml" for number in range(1, len(self._counts) + 1)}
        for name in frame.namelist():
            if name not in of_rows:
                self._zip.writestr(name, frame.read(name))
        self._zip.close()
        return self._out.taken()

    def _write(self, rows: Sequence[Row]) -> None:
        number = self._counts[-1] + 1
        pieces = list[str]()
        for row in rows:
            number += 1
            pieces.append(f'<row r="{number}">')
            for opened, written, value in zip(self._open, self._written, row, strict=True):
                if value is not None:
                    pieces.append(opened % number)
                    pieces.append(written(value))
            pieces.append("</row>")
        content = "".join(pieces).encode()
        self._sheet.write(content)
        self._bytes += len(content)
        self._counts[-1] += len(rows)

    def _next_sheet(self) -> None:
        self._counts.append(0)
        self._bytes = 0
        self._sheet = self._zip.open(f"xl/worksheets/sheet{len(self._counts)}.xml", "w")
        self._sheet.write(self._before)

    def _end_sheet(self, frame: zipfile.ZipFile) -> None:
        text = frame.read(f"xl/worksheets/sheet{len(self._counts)}.xml")
        self._sheet.write(text[text.index(b"</sheetData>") :])
        self._sheet.close()

    def _frame(self, counts: Sequence[int]) -> zipfile.ZipFile:
        """The workbook without its rows: one data sheet for each of `counts`, each with headings and a sample row."""
        # Loaded when the first workbook is made, in a thread: no start of a worker waits for it.
        from xlsxwriter import Workbook

        content = io.BytesIO()
        # In constant memory texts stand in their cells, so that no table of them has to be kept.
        with Workbook(content, {"constant_memory": True, "in_memory": False}) as book:
            for place, count in enumerate(counts):
                name = self._title if place == 0 else f"{self._title} ({place + 1})"
                self._head(book, book.add_worksheet(name), count)
            self._explained.write(book, self._headings)
        return zipfile.ZipFile(io.BytesIO(content.getvalue()))

    def _head(self, book: "Workbook", sheet: "Worksheet", count: int) -> None:
        bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
        formats = [book.add_format({"num_format": NUMBER_FORMATS[kind]}) for kind in self._kinds]
        for place, kind in enumerate(self._kinds):
            sheet.set_column(place, place, WIDTHS[kind])
        for place, heading in enumerate(self._headings):
            sheet.write_string(0, place, heading, bold)
        for place, form in enumerate(formats):
            sheet.write_blank(1, place, None, form)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(1, count), len(self._headings) - 1)


class Explanation:
    """The sheet that explains: lines about the whole, then each column in a row, then what values mean."""

    def __init__(
        self, title: str, lines: Sequence[str], columns: Sequence[str], values: Sequence[tuple[str, str]]
    ) -> None:
        """`columns`: what each column holds, in order; `values`: those that are words of the system, explained."""
        self._title, self._lines, self._columns, self._values = title, lines, columns, values

    def write(self, book: "Workbook", headings: Sequence[str]) -> None:
        """Write it behind the sheets there are."""
        sheet = book.add_worksheet(self._title)
        bold = book.add_format({"bold": True})
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        sheet.set_column(0, 0, 32)
        sheet.set_column(1, 1, 100)
        at = 0
        for line in self._lines:
            sheet.write_string(at, 0, line)
            at += 1
        at += 1
        for heading, meaning in zip(headings, self._columns, strict=True):
            sheet.write_string(at, 0, heading, bold)
            sheet.write_string(at, 1, meaning, wrapped)
            at += 1
        at += 1
        for value, meaning in self._values:
            sheet.write_string(at, 0, value)
            sheet.write_string(at, 1, meaning, wrapped)
            at += 1


class _Buffer(io.RawIOBase):
    """Where the archive is written to; it cannot go back, so that what was taken may be sent."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._ready += data
        return len(data)

    def taken(self) -> bytes:
        ready = bytes(self._ready)
        self._ready.clear()
        return ready


def _column(place: int) -> str:
    return chr(ord("A") + place)


def _string(value: object) -> str:
    text = escape(UNFIT.sub(_escaped, str(value)))
    return f' t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _escaped(found: "re.Match[str]") -> str:
    letter = found[0]
    return "_x005F_" if letter == "_" else "\ufffd"


def _own_string(value: object) -> str:
    return _string(without_numbers(str(value)))


def _integer(value: int) -> str:
    return f"><v>{value}</v></c>"


def _serial(value: datetime) -> str:
    return f"><v>{(value - EPOCH) / DAY:.11f}</v></c>"


def _whole_day(value: datetime) -> str:
    return f"><v>{(value - EPOCH).days}</v></c>"


IN_SHEET: Mapping[Kind, Callable[[Any], str]] = MappingProxyType(
    {
        Kind.TEXT: _string, Kind.SENDERS: _own_string, Kind.COUNT: _integer, Kind.VND: _integer,
        Kind.MOMENT: _serial, Kind.MINUTE: _serial, Kind.DAY: _whole_day,
    }
)  # fmt: skip
"""What follows the beginning of a cell."""
