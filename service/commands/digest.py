"""portal1400 digest DAY: what each account handed over on a day, signed, for both sides to compare."""

import argparse
import asyncio
import base64
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from campaigns.book.book import VIETNAM
from metrics.account_digests import AccountDay, days_of, digest_accounts, final_at
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import as_json, as_local, visible
from service.runtime.keyring import Keyring
from service.runtime.settings import read_settings

FIRST_DAY = date(2000, 1, 1)
IDS_BYTES_MAX = 1024 * 1024 * 1024
IDS_SHOWN_MAX = 100
NO_TIME_LIMIT = "SET LOCAL statement_timeout = 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("day", metavar="DAY", nargs="?", type=_day, help="a day in Vietnam, as in 2026-10-17")
    parser.add_argument("--account", metavar="CODE", help="of this gateway alone")
    parser.add_argument("--ids", metavar="FILE", type=Path, help="the carrier's ids, one a line: who lacks which")
    parser.add_argument("--key", action="store_true", help="print the public key, in PEM, and nothing else")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print the digests; with `--ids` 1 where the two sides differ."""
    settings = read_settings()
    if arguments.key:
        print(_public(_signer(Keyring.of(settings))).decode(), end="")
        return 0
    if arguments.day is None:
        raise CommandRefused("DAY: want a day in Vietnam, as in 2026-10-17")
    if arguments.day > datetime.now(VIETNAM).date():
        raise CommandRefused("DAY: has not begun in Vietnam, and nothing is signed of it")
    if arguments.day < FIRST_DAY:
        raise CommandRefused(f"DAY: lies before {FIRST_DAY}, and no message bears such a time")
    if arguments.ids is not None and arguments.account is None:
        raise CommandRefused("--ids: whose they are is said by --account")
    theirs = await asyncio.to_thread(_ids, arguments.ids) if arguments.ids is not None else None
    ours: set[str] = set()
    elsewhere: dict[str, date] = {}
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 digest", may_take_long=True)
        try:
            if arguments.account is not None:
                await require_account(connection, arguments.account)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(NO_TIME_LIMIT)
                see = (lambda _: None) if theirs is None else ours.add
                found = await digest_accounts(connection, arguments.day, arguments.account, see)
                if theirs is not None:
                    elsewhere = await days_of(connection, arguments.account, sorted(theirs - ours))
        finally:
            await connection.close()
        signer = _signer(ready.keyring)
    document = statement(arguments.day, found, datetime.now(UTC))
    signature = base64.b64encode(signer.sign(document.encode())).decode()
    missing = (
        None
        if theirs is None
        else {"ours": sorted(theirs - ours - elsewhere.keys()), "theirs": sorted(ours - theirs)}
    )
    if arguments.json:
        shown = {"day": arguments.day, "final": datetime.now(UTC) >= final_at(arguments.day)}
        accounts = [asdict(each) for each in found]
        more = {} if missing is None else {"missing": missing, "other_days": elsewhere}
        print(as_json({**shown, "accounts": accounts, "signed": document, "signature": signature, **more}))
    else:
        print(document, end="")
        print(f"signature {signature}")
        if missing is not None:
            told = [f"{each} {_why(of, arguments.day)}" for each, of in sorted(elsewhere.items())]
            _tell(missing["ours"], told, missing["theirs"])
    return 1 if missing and (elsewhere or any(missing.values())) else 0


def statement(day: date, found: Iterable[AccountDay], now: datetime) -> str:
    """What is signed: lines, each ended by a line feed."""
    state = "final" if now >= final_at(day) else f"not final before {as_local(final_at(day))}"
    lines = ["portal1400 digest 1", f"day {day.isoformat()} +07:00", f"as of {as_local(now)}, {state}"]
    lines += [
        f"account {each.account} messages {each.messages} units {each.units} vnd {each.vnd} sha256 {each.sha256}"
        for each in found
    ]
    return "".join(f"{line}\n" for line in lines)


def _why(of: date, day: date) -> str:
    return "came too late for it" if of == day else f"bears a time of {of.isoformat()}"


def _tell(ours: Sequence[str], elsewhere: Sequence[str], theirs: Sequence[str]) -> None:
    for ids, sentence in (
        (ours, "did not come to us"),
        (elsewhere, "came, and are not of this digest"),
        (theirs, "are ours and not in the file"),
    ):
        print(f"{len(ids)} id(s) {sentence}")
        for each in ids[:IDS_SHOWN_MAX]:
            print(visible(f"  {each}"))
        if len(ids) > IDS_SHOWN_MAX:
            print(f"  and {len(ids) - IDS_SHOWN_MAX} more: --json lists them")


def _ids(path: Path) -> set[str]:
    try:
        if path.stat().st_size > IDS_BYTES_MAX:
            raise CommandRefused(f"{path} is larger than {IDS_BYTES_MAX // 1024**2} MiB")
        # Editors of Windows write a mark first, and end lines in their own way. Blanks are an id's own.
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise CommandRefused(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandRefused(f"{path} is not UTF-8: want the ids, one a line") from None
    return {line for line in lines if line.strip()}


def _day(given: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise argparse.ArgumentTypeError("want a day, for example 2026-10-17") from None


def _signer(keyring: Keyring) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keyring.statement_seed)


def _public(signer: Ed25519PrivateKey) -> bytes:
    return signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
