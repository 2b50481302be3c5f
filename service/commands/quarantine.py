"""portal1400 quarantine list | show | replay: callbacks kept for a person, and their way into the totals."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from campaigns.gifts.quarantined import (
    Actor,
    Choice,
    Quarantined,
    Replayed,
    Sums,
    count_quarantined,
    record_opened,
    select_acts,
    select_quarantined,
    select_sealed,
)
from gateways.callback import Callback
from service.commands.opening import CommandRefused, opened, require_account, require_live
from service.commands.person import actor, name, reason
from service.commands.printing import add_listing, as_json, as_local, moment, request_id, visible
from service.operations.quarantine_replay import QuarantineReplay, replaying
from service.runtime.settings import read_settings

REASON = "those with this outcome, or with these words in their reason"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    acts = parser.add_subparsers(dest="act", metavar="list | show | replay", required=True)
    listing = acts.add_parser("list", help="how many by day, account and reason, and the first of them")
    add_listing(listing)
    add_filter(listing)
    show = acts.add_parser("show", help="one of them, and what replaying it now would do")
    show.add_argument("id", metavar="ID", type=request_id)
    show.add_argument("--open", action="store_true", help="show what it says, personal data too; is recorded")
    _add_person(show)
    show.add_argument("--json", action="store_true", help="print one JSON object")
    replay = acts.add_parser("replay", help="read again with today's parser, secrets and book, and store")
    replay.add_argument("ids", metavar="ID", nargs="*", type=request_id)
    replay.add_argument("--account", metavar="CODE", help="those of this gateway")
    replay.add_argument("--since", metavar="TIME", type=moment, help="those received then or later, RFC 3339")
    replay.add_argument("--reason", metavar="R", help=REASON)
    replay.add_argument("--dry-run", action="store_true", help="show what would be counted; change nothing")
    replay.add_argument(
        "--trust-source", action="store_true", help="answer for the sender where what failed was not kept"
    )
    _add_person(replay)
    replay.add_argument("--json", action="store_true", help="print one JSON object")


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Which of the quarantine are listed."""
    parser.add_argument("--reason", metavar="R", help=REASON)
    parser.add_argument("--all", action="store_true", help="also those that were replayed into the store")


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", metavar="NAME", type=name, help="who does it, for the record")
    parser.add_argument("--reason-text", metavar="WHY", type=reason, help="why it is done, for the record")


async def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 1 when something that was to be replayed was not."""
    if arguments.act == "list":
        return await show_list(arguments)
    who = actor(arguments)
    return await (_show if arguments.act == "show" else _replay)(arguments, who)


async def show_list(arguments: argparse.Namespace) -> int:
    """Counts and rows, nothing of what was sent."""
    choice = Choice(None, arguments.account, arguments.reason, arguments.since, arguments.all)
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        if arguments.account is not None:
            await require_account(connection, arguments.account)
        counts = await count_quarantined(connection, choice)
        rows = await select_quarantined(connection, choice, arguments.limit)
    total = sum(each.callbacks for each in counts)
    if arguments.json:
        listed = [each._asdict() for each in counts]
        print(as_json({"count": total, "counts": listed, "rows": [_row_json(row) for row in rows]}))
        return 0
    for count in counts:
        account = count.account or "(no account)"
        print(f"{count.callbacks:>7}  {count.day}  {account}  {count.outcome}: {count.reason}")
    for row in rows:
        done = f"; replayed {as_local(row.replayed_at)}: {row.replayed_as}" if row.replayed_at else ""
        print(f"{row.id}  {as_local(row.received_at)}  {row.account}  {row.outcome}: {row.reason}{done}")
    if total > len(rows):
        print(f"{total - len(rows)} more: --limit shows them")
    what = "kept, replayed ones too" if arguments.all else "in quarantine"
    print(f"{total} callback(s) {what}" if total else "nothing that was asked for is in quarantine")
    return 0


async def _show(arguments: argparse.Namespace, who: Actor) -> int:
    if arguments.open and not (who.name and who.reason):
        raise CommandRefused("--open shows personal data and is recorded: say --by NAME and --reason-text WHY too")
    async with _working() as (connection, work):
        (row,) = await _chosen(connection, Choice([arguments.id], is_done_too=True))
        sealed = await select_sealed(connection, row.id)
        callback = await work.opened(row, sealed)
        (now,) = await work.rehearse([row])
        if arguments.open:
            await record_opened(connection, row.id, who)
        acts = await select_acts(connection, row.id)
    headers = sorted(callback.headers)
    about = {
        "method": callback.method,
        "headers": headers,
        "query_bytes": len(callback.query),
        "body_bytes": len(callback.body),
        "delivery_report": callback.is_delivery_report,
    }
    if arguments.json:
        shown = _row_json(row) | about | {"now": _replayed_json(now), "acts": [each._asdict() for each in acts]}
        print(as_json(shown | (_content(callback) if arguments.open else {})))
        return 0
    print(f"{row.id}  {as_local(row.received_at)}  {row.account}, {row.adapter}")
    print(f"kept as  {row.outcome}: {row.reason}")
    print(f"request  {callback.method}, headers {', '.join(headers) or 'none'}")
    print(f"size     query {about['query_bytes']} bytes, body {about['body_bytes']} bytes")
    print(f"now      {_in_words(now)}")
    for act in acts:
        by = f"{act.acted_by} (account {act.os_user})" if act.acted_by else act.os_user
        parts = (f"{act.what} by {by}", act.outcome, act.found, act.reason)
        print(f"act      {as_local(act.acted_at)} {'; '.join(part for part in parts if part)}")
    if arguments.open:
        for part, said in _content(callback).items():
            print(visible(f"{part:8} {said}"))
    return 0


def _content(callback: Callback) -> dict[str, Any]:
    return {
        "query": callback.query,
        "header_values": dict(callback.headers),
        "body": callback.body.decode("utf-8", "backslashreplace"),
    }


async def _replay(arguments: argparse.Namespace, who: Actor) -> int:
    chosen = (arguments.ids, arguments.account, arguments.reason, arguments.since)
    if not any(chosen):
        print("usage: portal1400 quarantine replay ID..., or --account, --reason or --since", file=sys.stderr)
        return 2
    if arguments.trust_source and not (who.name and who.reason):
        raise CommandRefused("--trust-source answers for a sender: say --by NAME and --reason-text WHY too")
    async with _working() as (connection, work):
        if arguments.account is not None:
            await require_account(connection, arguments.account)
        # By name also what was replayed before, to be told so.
        choice = Choice(arguments.ids or None, *chosen[1:], is_done_too=bool(arguments.ids))
        rows = await _chosen(connection, choice)
        if arguments.dry_run:
            ended = await work.rehearse(rows, is_source_trusted=arguments.trust_source)
        else:
            ended = []
            for row in rows:
                ended.append(await work.replay(row, who, is_source_trusted=arguments.trust_source))
                if not arguments.json:
                    print(f"{row.id}  {_in_words(ended[-1])}", flush=True)
    _tell(ended, len(rows), arguments)
    return 0 if all(each.is_good for each in ended) and len(ended) == len(rows) else 1


def _tell(ended: Sequence[Replayed], asked: int, arguments: argparse.Namespace) -> None:
    sums: dict[str, Sums] = {}
    for each in ended:
        for slug, counted in each.counted.items():
            sums[slug] = sums.get(slug, Sums()).plus(*counted)
    stored = sum(each.is_stored for each in ended)
    left = sum(not each.is_good for each in ended)
    if arguments.json:
        print(
            as_json(
                {
                    "dry_run": arguments.dry_run,
                    "callbacks": [_replayed_json(each) for each in ended],
                    "stored": stored,
                    "left": left,
                    "not_looked_at": asked - len(ended),
                    "counted": {slug: counted._asdict() for slug, counted in sums.items()},
                }
            )
        )
        return
    if arguments.dry_run:
        for each in ended:
            print(f"{each.row.id}  {_in_words(each)}")
    would = "would be " if arguments.dry_run else ""
    for slug, (messages, units, vnd) in sorted(sums.items()):
        print(f"{would}counted  {slug}: {messages} messages, {units} units, {vnd} VND")
    if not sums:
        print(f"{would}counted  nothing")
    print(f"{stored} callback(s) {would}stored, {left} left in quarantine")
    if asked > len(ended):
        print(f"{asked - len(ended)} not looked at: too many speak of the same message; ask for fewer")


@asynccontextmanager
async def _working() -> AsyncIterator[tuple[asyncpg.Connection, QuarantineReplay]]:
    """A connection of one's own, and the replay over it."""
    async with opened(read_settings(), may_migrate=False) as ready:
        require_live(ready)
        async with replaying(ready.database, ready.keyring, "portal1400 quarantine") as found:
            yield found


async def _chosen(connection: asyncpg.Connection, choice: Choice) -> list[Quarantined]:
    rows = await select_quarantined(connection, choice)
    if missing := sorted(set(choice.ids or ()) - {UUID(bytes=row.id.bytes) for row in rows}):
        raise CommandRefused(
            [
                f"no callback {each} is in quarantine: `portal1400 quarantine list --all` shows those that are"
                for each in missing
            ]
        )
    return rows


def _in_words(each: Replayed) -> str:
    counted = "; ".join(
        f"{slug} {sums.messages} messages, {sums.units} units, {sums.vnd} VND" for slug, sums in each.counted.items()
    )
    # How its texts were read, which of a duplicate is no second counting.
    found = f"read as {each.found}" if each.is_stored else each.found
    return f"{each.outcome}: " + "; ".join(part for part in (found, counted) if part)


def _row_json(row: Quarantined) -> dict[str, Any]:
    left_out = ("account_id", "day")
    return {name: value for name, value in row._asdict().items() if name not in left_out}


def _replayed_json(each: Replayed) -> dict[str, Any]:
    return {
        "id": each.row.id,
        "outcome": each.outcome,
        "found": each.found,
        "stored": each.is_stored,
        "counted": {slug: sums._asdict() for slug, sums in each.counted.items()},
    }
