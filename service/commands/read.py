"""portal1400 read: shows how a text would be read, from the database's book or an apply file's."""

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.apply_file import book_from_file, load
from campaigns.book.book import VIETNAM, Book
from campaigns.book.grammar import Reading, read
from campaigns.book.store import load_book
from gateways.wire.fields import SHORT_CODE_PATTERN, short_code_of, storable_text
from service.commands.opening import CommandRefused, opened
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--at", metavar="TIME", help="the message's time, RFC 3339; default now")
    parser.add_argument("--book", metavar="FILE.toml", type=Path, help="read by this apply file, without a database")
    parser.add_argument("--stdin", action="store_true", help='read JSON lines {"short_code","text","at"} instead')
    parser.add_argument("short_code", nargs="?", metavar="CODE")
    parser.add_argument("text", nargs="?", metavar="TEXT")


async def run(arguments: argparse.Namespace) -> int:
    """Answer one JSON object per text, in order."""
    if not arguments.stdin and (arguments.short_code is None or arguments.text is None):
        print("usage: portal1400 read [--at TIME] CODE TEXT, or --stdin", file=sys.stderr)
        return 2
    book = _book_of_file(arguments.book) if arguments.book else await _book_of_database()
    if not arguments.stdin:
        at = _moment(arguments.at, "--at")
        print(_answer(book, arguments.short_code, arguments.text, at))
        return 0
    if isinstance(sys.stdin, TextIOWrapper):
        # A broken byte is in a text, as it is when a carrier sends it, and no reason to end.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(sys.stdin, start=1):
        if line.strip():
            print(_answer(book, *_asked(line, number, arguments.at)))
    return 0


def reading_of(book: Book, short_code: str, text: str, at: datetime) -> Reading:
    """The reading of a text as every adapter hands it on: its code without prefixes, the text made storable.

    What is no short code in any spelling is asked for as it is.
    """
    is_code = re.fullmatch(SHORT_CODE_PATTERN, short_code) is not None
    kept, _ = storable_text(text)
    return read(book, short_code_of(short_code) if is_code else short_code, kept, at)


def _answer(book: Book, short_code: str, text: str, at: datetime) -> str:
    reading = reading_of(book, short_code, text, at)
    return json.dumps(
        {
            "outcome": reading.outcome.value,
            "campaign": reading.campaign,
            "keyword": reading.keyword,
            "units": reading.units,
            "amount_vnd": reading.amount_vnd,
            "folded": reading.folded,
            "grammar_version": reading.grammar_version,
        },
        ensure_ascii=True,
    )


def _asked(line: str, number: int, default_at: str | None) -> tuple[str, str, datetime]:
    place = f"standard input, line {number}"
    try:
        asked = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        raise CommandRefused([f"{place}: not JSON, or too deeply nested; want one flat object a line"]) from None
    if not isinstance(asked, dict) or not all(isinstance(asked.get(name), str) for name in ("short_code", "text")):
        raise CommandRefused([f'{place}: want an object with the strings "short_code", "text" and perhaps "at"'])
    at = asked.get("at", default_at)
    if at is not None and not isinstance(at, str):
        raise CommandRefused([f'{place}: "at" must be a string with an RFC 3339 time'])
    return asked["short_code"], asked["text"], _moment(at, f'{place}, "at"')


def _moment(given: str | None, place: str) -> datetime:
    if given is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise CommandRefused([f"{place}: want RFC 3339, for example 2026-10-17T20:00:00+07:00"]) from None
    return at if at.tzinfo else at.replace(tzinfo=VIETNAM)


def _book_of_file(path: Path) -> Book:
    try:
        return book_from_file(load(path))
    except ApplyRefused as refused:
        raise CommandRefused(str(refused).splitlines()) from None


async def _book_of_database() -> Book:
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        return await load_book(connection)
