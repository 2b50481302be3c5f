"""portal1400 resend ACCOUNT --from T --to T: what a carrier should send again, to hand to its engineer."""

import argparse
from datetime import UTC, datetime, timedelta

from campaigns.gifts.quarantined import Choice, count_quarantined
from campaigns.gifts.resending import RANGES_MAX, Resend, select_resend
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import as_json, as_local, moment
from service.commands.spooled import spooled
from service.runtime.settings import read_settings

WINDOW_MAX = timedelta(hours=24)
STILL_COMING = timedelta(minutes=2)
"""What was sent just now may still be on its way."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("account", metavar="ACCOUNT", help="the gateway's code")
    parser.add_argument("--from", dest="since", metavar="TIME", type=moment, required=True, help="RFC 3339")
    parser.add_argument("--to", dest="until", metavar="TIME", type=moment, required=True, help="at most 24 h later")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print what is missing, or that nothing is."""
    since, until = arguments.since, arguments.until
    if not since < until <= since + WINDOW_MAX:
        raise CommandRefused("--to: must lie after --from, at most 24 hours")
    if until > datetime.now(UTC) - STILL_COMING:
        raise CommandRefused("--to: must lie two minutes back: what was sent just now may still be on its way")
    settings = read_settings()
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 resend", may_take_long=True)
        try:
            rows = await require_account(connection, arguments.account)
            found = await select_resend(connection, rows[arguments.account].id, since, until)
            choice = Choice(account=arguments.account, since=since)
            kept = sum(each.callbacks for each in await count_quarantined(connection, choice))
        finally:
            await connection.close()
    waiting = await spooled(settings)
    shown = _shown(arguments.account, since, until, found) | {"quarantined": kept, "spool": waiting}
    if arguments.json:
        print(as_json(shown))
    else:
        _tell(arguments.account, since, until, found)
        if kept:
            print(f"{kept} callback(s) since then lie in quarantine and may be among these: see `quarantine list`")
        for each in waiting:
            print(f"wait until the spool is empty and ask again: {each}")
    return 0


def _shown(account: str, since: datetime, until: datetime, found: Resend) -> dict[str, object]:
    return {
        "account": account,
        "from": since,
        "to": until,
        "counted_up": found.is_counted_up,
        "missing": sum(each.count for each in found.ranges),
        "complete": found.is_complete,
        "ranges": [{"first": each.first, "last": each.last, "count": each.count} for each in found.ranges],
        "silences": [
            {"from": as_local(each.begins_at), "to": as_local(each.ends_at), "expected": each.expected}
            for each in found.silences
        ],
    }


def _tell(account: str, since: datetime, until: datetime, found: Resend) -> None:
    print(f"please send again, for {account}, what you sent from {as_local(since)} to {as_local(until)}:")
    for each in found.ranges:
        print(f"  ids   {each.first} to {each.last} ({each.count})" if each.count > 1 else f"  id    {each.first}")
    for silence in found.silences:
        times = f"{as_local(silence.begins_at)} to {as_local(silence.ends_at)}"
        print(f"  time  {times}: nothing came, about {silence.expected:.0f} were to be expected")
    if not found.is_complete:
        print(f"  and more: these are the first {RANGES_MAX} ranges")
    if not found.is_counted_up:
        print("  by its ids nothing can be told: they are not counted up for us alone, or too few came")
    elif not found.ranges and not found.silences:
        print("  nothing: no id is missing, and there was no silence")
    print("under the same ids: a repeat is always safe")
