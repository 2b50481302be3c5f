"""portal1400 list NAME: what waits for a person, what test accounts sent, and who opened or ended personal data."""

import argparse
from typing import Any

from campaigns.gifts.listed import WORKLISTS, CursorRefused, Filter, select_page
from campaigns.gifts.privacy import select_acts
from campaigns.gifts.worklists import LISTS, list_open
from service.commands import quarantine
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import ROWS_MAX, add_listing, as_json, as_local, row_count, visible
from service.desk.lists import shown
from service.runtime.phone_numbers import without_numbers
from service.runtime.settings import read_settings

HELP = {
    "conflicts": "ids that came again with other content: both are kept, the money stays as it was told first",
    "tests": "what test accounts sent, repeats too: none of it is money",
    "reviews": "charges and reversals that did not fit their gift, or whose message did not come",
    "replies": "replies that their hub refused, that were given up, or that may have been sent or not",
}
PAGED = {
    "wrong-syntax": "messages that name a campaign in a wrong form, or came before its opening",
    "after-close": "messages that came after their campaign had closed",
    "charged-not-counted": "of both what a hub has charged, because the spool had to say yes",
    "unallocated": "messages that meet no keyword or short code, or are empty",
    "orphan-charges": "charges whose message has not come",
}
"""The lists of the desk that are shown a page at a time, the newest first, with numbers masked."""
assert {*PAGED, *HELP, "quarantine"} == {*WORKLISTS, "tests", "replies"}  # noqa: S101 -- each list of the desk is here too
assert HELP.keys() == LISTS.keys()  # noqa: S101 -- each list has its sentence
STATE = {"conflicts": "open", "reviews": "open", "replies": "open", "tests": "kept"}
"""What the rows of a list are as long as they stand in it."""
SENT = ("native_id", "message")
"""Columns with ids of senders, who may make them of numbers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    every = " | ".join((*PAGED, *HELP, "quarantine", "accesses"))
    names = parser.add_subparsers(dest="name", metavar=every, required=True)
    for name, sentence in PAGED.items():
        listing = names.add_parser(name, help=sentence)
        add_listing(listing)
        listing.add_argument("--cursor", metavar="CURSOR", help="of the page before, for the next one")
    for name, sentence in HELP.items():
        add_listing(names.add_parser(name, help=sentence))
    kept = names.add_parser("quarantine", help="callbacks kept for a person, as `quarantine list` shows them")
    add_listing(kept)
    quarantine.add_filter(kept)
    accesses = names.add_parser("accesses", help="who opened or ended personal data, the newest first")
    accesses.add_argument("--limit", metavar="N", type=row_count, default=ROWS_MAX, help=f"rows (default {ROWS_MAX})")
    accesses.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print counts by day, account and reason, then the oldest rows. No number and no text."""
    if arguments.name == "quarantine":
        return await quarantine.show_list(arguments)
    if arguments.name == "accesses":
        return await _show_accesses(arguments)
    if arguments.name in PAGED:
        return await _show_page(arguments)
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        if arguments.account is not None:
            await require_account(connection, arguments.account)
        found = await list_open(connection, arguments.name, arguments.account, arguments.since, arguments.limit)
    rows = [_shown(row) for row in found.rows]
    if arguments.json:
        print(as_json({"count": found.total, "counts": found.counts, "rows": rows}))
        return 0
    for count in found.counts:
        print(f"{count['count']:>7}  {count['day']}  {count['account']}  {count['reason']}")
    for row in rows:
        more = "; ".join(f"{name} {value}" for name, value in row.items() if name not in FIRST and value is not None)
        print(visible(f"{row['request']}  {as_local(row['received_at'])}  {row['account']}  {more}"))
    if found.total > len(rows):
        print(f"{found.total - len(rows)} more: --limit shows them")
    print(
        f"{found.total} in this list" if found.total else f"nothing: no {arguments.name} are {STATE[arguments.name]}"
    )
    return 0


async def _show_accesses(arguments: argparse.Namespace) -> int:
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        found = await select_acts(connection, arguments.limit + 1)
    acts, is_cut = found[: arguments.limit], len(found) > arguments.limit
    if arguments.json:
        print(as_json({"rows": acts, "more": is_cut}))
        return 0
    for act in acts:
        by = f"{act['acted_by']} (account {act['os_user']})" if act["acted_by"] else act["os_user"]
        about = ", ".join(f"{name} {value}" for name, value in dict(act["about"]).items())
        line = f"{as_local(act['acted_at'])}  {act['what']}  {by}  {about}; {act['reason'] or 'no reason given'}"
        print(visible(line))
    if is_cut:
        print("more: a higher --limit shows them")
    print(f"{len(acts)} shown" if acts else "nobody has opened or ended personal data")
    return 0


async def _show_page(arguments: argparse.Namespace) -> int:
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        if arguments.account is not None:
            await require_account(connection, arguments.account)
        chosen = Filter(arguments.account, since=arguments.since)
        try:
            page = await select_page(connection, arguments.name, chosen, arguments.limit, arguments.cursor)
        except CursorRefused:
            raise CommandRefused(["--cursor is none that a page ended with: leave it out at first"]) from None
        rows = await shown(connection, ready.keyring, page.rows)
    if arguments.json:
        print(as_json({"rows": rows, "cursor": page.cursor}))
        return 0
    for row in rows:
        more = "; ".join(f"{name} {value}" for name, value in row.items() if name not in FIRST and value is not None)
        print(visible(f"{row['request']}  {as_local(row['received_at'])}  {row['account']}  {more}"))
    if page.cursor:
        print(f"more: --cursor {page.cursor}")
    print(f"{len(rows)} shown" if rows else f"nothing: {arguments.name} is empty")
    return 0


FIRST = ("request", "received_at", "account")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: without_numbers(row[name]) for name in SENT if row.get(name)}
