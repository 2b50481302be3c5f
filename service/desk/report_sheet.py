"""A sheet of A4 that is filled from the top and never becomes two: text, tables, columns. PDF by ReportLab."""

import io
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

PLAIN, BOLD = "DejaVuSansCondensed", "DejaVuSansCondensed-Bold"
FONT_FILES = {PLAIN: "dejavu-sans-condensed.ttf", BOLD: "dejavu-sans-condensed-bold.ttf"}
"""Fonts with all letters of Vietnamese; what a file uses of them is put into it."""
WIDTH, HEIGHT = A4
MARGIN = 42.0
INNER: float = WIDTH - 2 * MARGIN
LEADING = 1.3
FOOT = 14.0
"""Kept free above the lower margin."""
GREY = 0.35


class SheetFull(Exception):
    """More was written than the sheet holds."""


@cache
def _register() -> None:
    folder = files("service.web") / "vendor"
    for name, file in FONT_FILES.items():
        pdfmetrics.registerFont(TTFont(name, io.BytesIO((folder / file).read_bytes())))


class ReportSheet:
    """One page in the making; lengths are points of 1/72 inch."""

    def __init__(self, title: str, language: str) -> None:
        _register()
        self._out = io.BytesIO()
        # Invariant: the same figures make the same bytes, so that two copies can be compared.
        self._canvas = Canvas(self._out, pagesize=A4, lang=language, invariant=1)
        self._canvas.setTitle(title)
        self._y: float = HEIGHT - MARGIN

    @property
    def left(self) -> float:
        """How much of the sheet is left."""
        return self._y - MARGIN - FOOT

    def space(self, height: float) -> None:
        """Leave some room."""
        self._y -= height

    def text(self, text: str, size: float = 9.0, *, bold: bool = False, grey: bool = False) -> None:
        """A paragraph over the whole width. Raises SheetFull."""
        font = BOLD if bold else PLAIN
        for line in simpleSplit(text, font, size, INNER):
            self._down(size * LEADING)
            self._write(MARGIN, line, font, size, GREY if grey else 0.0)

    def heading(self, text: str) -> None:
        """The heading of a part, with a line below it. Raises SheetFull."""
        self.space(7)
        self.text(text, 10.5, bold=True)
        self.space(2.5)
        self._canvas.setLineWidth(0.6)
        self._canvas.line(MARGIN, self._y, WIDTH - MARGIN, self._y)
        self.space(1)

    def table(self, rows: Sequence[Sequence[str]], widths: Sequence[float], size: float = 8.5) -> None:
        """Rows of which the first are headings and the first column is text; widths are shares. Raises SheetFull."""
        self._rows(rows, MARGIN, INNER, widths, size)

    def columns(self, head: Sequence[str], rows: Sequence[Sequence[str]], count: int, size: float) -> None:
        """A long narrow table beside itself: `count` columns of it, each with its headings. Raises SheetFull."""
        height = -(-len(rows) // count)
        gap, top, lowest = 14.0, self._y, self._y
        width = (INNER - gap * (count - 1)) / count
        for place in range(count):
            part = rows[place * height : (place + 1) * height]
            if part:
                self._y = top
                self._rows([head, *part], MARGIN + place * (width + gap), width, [1.0] * len(head), size)
                lowest = min(lowest, self._y)
        self._y = lowest

    def foot(self, lines: Sequence[str], size: float = 7.0) -> None:
        """What stands at the lower edge."""
        y = MARGIN - 2 + size * LEADING * (len(lines) - 1)
        for line in lines:
            self._canvas.setFont(PLAIN, size)
            self._canvas.setFillGray(GREY)
            self._canvas.drawString(MARGIN, y, simpleSplit(line, PLAIN, size, INNER)[0])
            y -= size * LEADING

    def finished(self) -> bytes:
        """The file."""
        self._canvas.showPage()
        self._canvas.save()
        return self._out.getvalue()

    def _rows(
        self, rows: Sequence[Sequence[str]], left: float, width: float, widths: Sequence[float], size: float
    ) -> None:
        for number, row in enumerate(rows):
            self._down(size * LEADING)
            x = left
            for place, (cell, share) in enumerate(zip(row, widths, strict=True)):
                font = BOLD if number == 0 else PLAIN
                own = width * share / sum(widths)
                if place == 0:
                    fitting = simpleSplit(cell, font, size, own) or [""]
                    self._write(x, fitting[0], font, size, 0.0)
                else:
                    self._canvas.setFont(font, size)
                    self._canvas.setFillGray(0.0)
                    self._canvas.drawRightString(x + own, self._y, cell)
                x += own

    def _write(self, x: float, text: str, font: str, size: float, gray: float) -> None:
        self._canvas.setFont(font, size)
        self._canvas.setFillGray(gray)
        self._canvas.drawString(x, self._y, text)

    def _down(self, height: float) -> None:
        if self.left < height:
            raise SheetFull
        self._y -= height
