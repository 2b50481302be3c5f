"""portal1400 find ACCOUNT ID: what is known of one callback or event. ID is the sender's own, or a request's."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg

from campaigns.gifts.finding import EVENTS_MAX, Found, as_request, find
from campaigns.gifts.quarantined import Choice, Quarantined, select_quarantined
from campaigns.gifts.receipts import as_receipt, receipt_code
from service.catalog.account_rows import AccountRow
from service.catalog.accounts import load_accounts
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import as_json, as_local, visible
from service.commands.spooled import spooled
from service.operations.quarantine_search import holding
from service.runtime.keyring import Keyring
from service.runtime.phone_numbers import without_numbers
from service.runtime.settings import read_settings

ID_LETTERS_MAX = 200
SENT = ("native_id", "charge_id", "charge", "message", "cause")
"""Columns with ids of senders, who may make them of numbers."""
LEFT_OUT = ("id", "gift_id", "event_id", "account_id", "day")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("account", metavar="ACCOUNT", help="the gateway's code")
    parser.add_argument("id", metavar="ID", help="the sender's id, or a request's (x-portal1400-request)")
    parser.add_argument(
        "--receipt", metavar="CODE", type=_receipt, help="tell whether a donor's receipt code is this message's"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _receipt(given: str) -> str:
    """A code as somebody wrote it or read it out. Raises ArgumentTypeError."""
    code = as_receipt(given)
    if code is None:
        raise argparse.ArgumentTypeError("no receipt code: a letter is wrong or missing, or two changed places")
    return code


async def run(arguments: argparse.Namespace) -> int:
    """Print what is known; 1 where that is nothing. No number and no text."""
    asked = arguments.id.strip()
    if not 1 <= len(asked) <= ID_LETTERS_MAX or not asked.isprintable():
        raise CommandRefused(f"ID: want 1 to {ID_LETTERS_MAX} letters, as the sender wrote it")
    settings = read_settings()
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 find")
        try:
            rows = await require_account(connection, arguments.account)
            account_id, stored_under = _account(rows, ready.keyring, arguments.account)
            found = await find(connection, stored_under, asked, sent_over=account_id)
            kept, is_complete = await _quarantined(connection, ready.keyring, account_id, asked)
        finally:
            await connection.close()
    waiting = await spooled(settings)
    ids = {code: row.id for code, row in rows.items()}
    shown = _shown(found, asked, lambda code, ref: receipt_code(ready.keyring.receipt_key, ids[code], ref)) | {
        "quarantine": [_without(row._asdict()) for row in kept],
        "quarantine_complete": is_complete,
        "events_complete": not any(len(rows) == EVENTS_MAX for rows in found),
        "spool": waiting,
    }
    if arguments.receipt is not None:
        shown["receipt_is_its"] = any(row["receipt"] == arguments.receipt for row in shown["messages"])
    is_known = bool(found) or bool(kept)
    if arguments.json:
        print(as_json({"account": arguments.account, "id": asked, "known": is_known} | shown))
    else:
        _tell(shown, is_known, arguments.account)
    return 0 if is_known else 1


def _account(rows: Mapping[str, AccountRow], keyring: Keyring, code: str) -> tuple[int, int]:
    """The account's id, and that of the account under which its events are stored."""
    loaded = load_accounts(rows.values(), keyring.settings.unseal, {}).by_code.get(code)
    return rows[code].id, rows[code].id if loaded is None else loaded.events_id


async def _quarantined(
    connection: asyncpg.Connection, keyring: Keyring, account_id: int, asked: str
) -> tuple[list[Quarantined], bool]:
    """The callbacks with this id, or that hold it, and whether all that might were looked at."""
    request = as_request(asked)
    search = await holding(connection, keyring, account_id, asked)
    ids = [*search.ids, *([request] if request is not None else [])]
    return await select_quarantined(connection, Choice(ids, is_done_too=True)) if ids else [], search.is_complete


def _shown(found: Found, asked: str, receipt: Callable[[str, str], str]) -> dict[str, Any]:
    """Rows as they are shown: each message with its lines and receipt code, each event with its review."""
    reviews = {row["event_id"]: row["reason"] for row in found.reviews}

    def shown(row: Mapping[str, Any]) -> dict[str, Any]:
        sent = {name: row[name] for name in SENT if row.get(name)}
        return _without(row) | {name: each if each == asked else without_numbers(each) for name, each in sent.items()}

    def lines_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [shown(line) for line in found.lines if line["gift_id"] == message["id"]]

    return {
        "messages": [
            shown(row) | {"receipt": receipt(row["account"], row["native_id"]), "lines": lines_of(row)}
            for row in found.messages
        ],
        "charges": [shown(row) | {"review": reviews.get(row["id"])} for row in found.charges],
        "reversals": [shown(row) | {"review": reviews.get(row["id"])} for row in found.reversals],
        "conflicts": [shown(row) for row in found.conflicts],
        "tests": [shown(row) for row in found.tests],
    }


def _without(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in LEFT_OUT}
    return {"request": row["id"], **kept} if "size_bytes" in row else kept


def _tell(shown: Mapping[str, Any], is_known: bool, account: str) -> None:
    for name, kind in KINDS.items():
        for row in shown[name]:
            print(visible(f"{kind:11} {row.get('native_id') or row['request']} of {row['account']}"))
            _tell_row(row)
            for line in row.get("lines", ()):
                place = f"{as_local(line['at'])} {line['campaign']} {line['stage']}"
                sums = f"{line['messages']:+} messages, {line['units']:+} units, {line['vnd']:+} VND"
                print(visible(f"  money        {place} {sums} ({line['cause']})"))
    if (is_its := shown.get("receipt_is_its")) is not None:
        print(f"receipt      is {'this' if is_its else 'no'} message's")
    if not shown["events_complete"]:
        print(f"{EVENTS_MAX} events of a kind are shown, and there may be more of this id")
    if not shown["quarantine_complete"]:
        print("quarantine   holds more of this account than was looked through; `quarantine list` shows it")
    for each in shown["spool"]:
        print(f"spool        {each}; what is in it can be found once it is replayed")
    if not is_known:
        print(
            f"nothing is known of this id for {account}: no message, charge, reversal or conflict is stored under "
            "it, and nothing in quarantine holds it. Not kept, but in the log: the request of a repeat (the sender's "
            "own id finds what it repeats), and what an address that is not listed sent without its proof"
        )


KINDS = {
    "messages": "message",
    "charges": "charge",
    "reversals": "reversal",
    "conflicts": "conflict",
    "tests": "test",
    "quarantine": "quarantined",
}


def _tell_row(row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        # An amount of 0 is told: it may be what is wrong.
        if name in ("native_id", "account", "lines") or value is None or value is False or value == []:
            continue
        write: Callable[[Any], str] = WRITTEN.get(type(value).__name__, str)
        print(visible(f"  {name:12} {write(value)}"))


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)


WRITTEN: Mapping[str, Callable[[Any], str]] = {"datetime": as_local, "list": _listed}
