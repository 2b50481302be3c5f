"""portal1400 erase: forget a person who asks for it. The number is read from stdin: everybody sees arguments."""

import argparse
import getpass
import json
import re
import sys
from datetime import datetime

from gateways.wire.fields import MSISDN_PATTERN, msisdn_of
from service.commands.opening import CommandRefused, opened, require_live
from service.commands.person import actor, name, reason
from service.commands.printing import as_local
from service.commands.spooled import spooled
from service.operations.erasure import Erased, Found, erase_person, erased_at, find_person
from service.runtime.phone_numbers import digits_of
from service.runtime.settings import Settings, read_settings

HELD = {
    "messages": "number, its hash and text of messages",
    "raw_callback": "callbacks as they came",
    "conflict_callback": "callbacks kept for a conflict",
    "test_callback": "callbacks of test accounts",
    "quarantine": "callbacks in quarantine that were replayed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--yes", action="store_true", help="erase; without it only what would be erased is told")
    parser.add_argument("--by", metavar="NAME", type=name, help="who does it, for the record")
    parser.add_argument(
        "--reason-text", metavar="WHY", type=reason, help="why, for the record: a file number, never the number"
    )
    parser.add_argument(
        "--undecided-too", action="store_true", help="also quarantined callbacks that may be gifts not counted yet"
    )
    parser.add_argument("--receipt", metavar="CODE", help="only tell whether the number was erased with this receipt")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Tell what is kept, or end it; 1 when something is left that another run has to end."""
    settings = read_settings()
    who = actor(arguments)
    if arguments.yes and not (who.name and who.reason):
        raise CommandRefused("what is erased does not come back: say --by NAME and --reason-text WHY too")
    msisdn = _asked()
    for option, said in (("--reason-text", arguments.reason_text), ("--by", arguments.by)):
        if msisdn[2:] in digits_of(said or ""):
            raise CommandRefused(f"{option} names the number, and would be kept for ever: name a file of yours")
    async with opened(settings, may_migrate=False) as ready:
        require_live(ready)
        connection = await ready.database.connect("portal1400 erase", may_take_long=True)
        try:
            if arguments.receipt is not None:
                return _tell_proof(await erased_at(connection, msisdn, arguments.receipt), arguments)
            found = await find_person(connection, ready.keyring, msisdn)
            erased = None
            if arguments.yes:
                erased = await erase_person(connection, found, msisdn, who, undecided_too=arguments.undecided_too)
        finally:
            await connection.close()
    return _tell(found, erased, await _left(settings, found, arguments), arguments)


def _asked() -> str:
    """The number typed or piped in. Raises CommandRefused, which does not repeat it."""
    typed = getpass.getpass("number (not shown): ") if sys.stdin.isatty() else sys.stdin.readline()
    number = re.sub(r"[\s.-]", "", typed)
    if not re.fullmatch(MSISDN_PATTERN, number):
        raise CommandRefused("stdin: want one mobile number of Vietnam, as 0912345678 or +84912345678")
    return msisdn_of(number)


async def _left(settings: Settings, found: Found, arguments: argparse.Namespace) -> list[str]:
    """A sentence for each thing that this run does not end."""
    left = [f"{each}: run this again when it is empty" for each in await spooled(settings)]
    if found.kept.waiting:
        left.append(
            f"{found.kept.waiting} row(s) wait for their charge or message and go within a day: run this again then"
        )
    if found.undecided and not arguments.undecided_too:
        left.append(
            f"{len(found.undecided)} callback(s) in quarantine may be gifts that are not counted: replay them and "
            "run this again, or give them up with --undecided-too"
        )
    return left


def _tell(found: Found, erased: Erased | None, left: list[str], arguments: argparse.Namespace) -> int:
    counts = dict(found.counts)
    if arguments.undecided_too:
        counts["quarantine"] += len(found.undecided)
    ids = found.kept.in_ids
    if arguments.json:
        said = {"erased": erased is not None, "counts": counts, "left": left, "ids_of_senders": ids}
        if erased is not None:
            said |= {"at": as_local(erased.at), "receipt": erased.receipt}
        print(json.dumps(said, ensure_ascii=False))
        return 1 if left else 0
    for what, sentence in HELD.items():
        print(f"{'erased' if erased else 'kept  '} {counts[what]:>7}  {sentence}")
    if ids:
        print(f"stay   {ids:>7}  ids that the sender made of the number: by them a gift is counted once")
    for each in left:
        print(f"left     {each}")
    if erased is None:
        print("nothing was erased: --yes, with --by and --reason-text, does it")
    else:
        print(f"receipt  {erased.receipt}: give it to the person; with it `erase --receipt` proves that it was done")
    return 1 if left else 0


def _tell_proof(at: datetime | None, arguments: argparse.Namespace) -> int:
    when = as_local(at) if at is not None else None
    if arguments.json:
        print(json.dumps({"erased_at": when}))
    else:
        print(f"erased at {when}" if when else "no erasure of this number has this receipt")
    return 0 if when else 1
