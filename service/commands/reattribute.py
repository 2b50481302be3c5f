"""portal1400 reattribute propose | list | show | withdraw: gifts counted for the wrong campaign.

What is proposed here is approved at the desk, by somebody who has logged in: a shell proves nobody a second person.
"""

import argparse
import sys
from typing import Any

import asyncpg

from campaigns.audit.entries import Who
from campaigns.gifts import reattribution
from campaigns.gifts.move_plan import GIFTS_MAX, Figures, MovePlan, MoveRefused, plan_of
from campaigns.gifts.reattribution import GROUNDS, Reattribution
from service.commands.opening import CommandRefused, opened, require_live
from service.commands.person import os_user, reason
from service.commands.printing import ROWS_MAX, as_json, as_local, row_count, visible
from service.runtime.clock import utc_now
from service.runtime.phone_numbers import without_numbers
from service.runtime.settings import read_settings

WHY = {
    "no_gifts": "no id was given: name the senders' ids, or give them a line each on stdin with -",
    "too_many": f"more than {GIFTS_MAX} ids: make several proposals",
    "unknown_gift": "the account has no message of these ids",
    "not_counted": "these do not count or were given back: there is nothing to move",
    "confirmed": "the carrier has confirmed these: to correct them belongs to the reconciliation",
    "claimed": "these are part of another proposal that has not ended",
    "several_campaigns": "these messages belong to several campaigns: make a proposal for each",
    "unknown_campaign": "there is no such campaign, or it was withdrawn",
    "same_campaign": "these messages belong to that campaign already",
    "not_open": "the campaign that would take them is not open",
    "ended": "there is no such proposal that waits: see `portal1400 reattribute list`",
    "changed": "the gifts have changed since they were proposed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    acts = parser.add_subparsers(dest="act", metavar="propose | list | show | withdraw", required=True)
    propose = acts.add_parser("propose", help="propose to move gifts; somebody else approves it at the desk")
    propose.add_argument("account", metavar="ACCOUNT", help="the gateway over which the messages came")
    propose.add_argument("campaign", metavar="CAMPAIGN", help="the slug of the campaign to which they belong")
    propose.add_argument("ids", metavar="ID", nargs="+", help="the senders' ids; - reads them from stdin")
    propose.add_argument("--ground", choices=GROUNDS, required=True, help="who was mistaken; the public is told")
    propose.add_argument("--reason-text", metavar="WHY", type=reason, required=True, help="for the desk alone")
    propose.add_argument("--dry-run", action="store_true", help="show both totals before and after; propose nothing")
    listing = acts.add_parser("list", help="proposals, the newest first")
    listing.add_argument("--limit", metavar="N", type=row_count, default=ROWS_MAX, help=f"rows (default {ROWS_MAX})")
    listing.add_argument("--before", metavar="N", type=int, help="those with a lower number, for the next page")
    show = acts.add_parser("show", help="one proposal, and what approving it would do")
    withdraw = acts.add_parser("withdraw", help="withdraw a proposal that waits")
    for each in (show, withdraw):
        each.add_argument("number", metavar="N", type=int)
    withdraw.add_argument("--reason-text", metavar="WHY", type=reason, help="for the record")
    for each in (propose, listing, show, withdraw):
        each.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        require_live(ready)
        try:
            return await ACTS[arguments.act](connection, arguments)
        except MoveRefused as refused:
            about = " ".join(without_numbers(each) for each in refused.about)
            raise CommandRefused(f"{WHY.get(refused.why, refused.why)}{f': {about}' if about else ''}") from None


async def _propose(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    ids = [line.strip() for line in sys.stdin] if arguments.ids == ["-"] else arguments.ids
    made = None
    async with connection.transaction():
        plan = await plan_of(
            connection, arguments.account, [each for each in ids if each], arguments.campaign, now=utc_now()
        )
        if not arguments.dry_run:
            made = await reattribution.propose(
                connection, Who(f"os:{os_user()}"), plan, arguments.ground, arguments.reason_text
            )
    if arguments.json:
        print(as_json({"proposal": made, **_planned(plan)}))
        return 0
    _print_plan(plan)
    if made is not None:
        print(f"proposed as number {made}: it waits at /desk/reattributions/{made} for somebody's approval")
    return 0


async def _list(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    found = await reattribution.select_reattributions(
        connection, before=arguments.before, rows_max=arguments.limit + 1
    )
    shown = found[: arguments.limit]
    before = shown[-1].id if len(found) > len(shown) else None
    if arguments.json:
        print(as_json({"rows": [_plain(each) for each in shown], "before": before}))
        return 0
    for each in shown:
        print(visible(_line(each)))
    if before is not None:
        print(f"more: --before {before}")
    none = "no gifts were moved, and nobody has proposed it" if arguments.before is None else "there are none before"
    print(f"{len(shown)} shown" if shown else none)
    return 0


async def _show(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    found = await reattribution.select_reattributions(connection, None, arguments.number)
    if not found:
        raise MoveRefused("ended")
    plan, why_not = None, None
    if found[0].state == "proposed":
        try:
            plan = await reattribution.plan_of_proposal(connection, found[0], utc_now())
        except MoveRefused as refused:
            why_not = refused.why
    if arguments.json:
        print(as_json({**_plain(found[0]), "plan": _planned(plan) if plan else None, "why_not": why_not}))
        return 0
    print(visible(_line(found[0])))
    print(visible(f"why      {found[0].ground}; {found[0].reason}"))
    if plan is not None:
        _print_plan(plan)
    if why_not is not None:
        print(f"cannot be approved as it is: {WHY.get(why_not, why_not)}")
    return 0


async def _withdraw(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    who = Who(f"os:{os_user()}")
    await reattribution.end(connection, who, arguments.number, "withdrawn", arguments.reason_text)
    print(as_json({"withdrawn": arguments.number}) if arguments.json else f"withdrawn {arguments.number}")
    return 0


ACTS = {"propose": _propose, "list": _list, "show": _show, "withdraw": _withdraw}


def _line(move: Reattribution) -> str:
    ended = f", {move.state} by {move.ended_by} {as_local(move.ended_at)}" if move.ended_at else ", waits"
    return (
        f"{move.id:>5}  {move.giver} -> {move.taker}  {move.gifts} gifts, proposed by {move.made_by} "
        f"{as_local(move.made_at)}{ended}"
    )


def _print_plan(plan: MovePlan) -> None:
    for campaign, before, after in (
        (plan.giver, plan.giver_before, plan.giver_after),
        (plan.taker, plan.taker_before, plan.taker_after),
    ):
        print(f"{campaign.slug}: {_figures(before)} -> {_figures(after)}")


def _figures(each: Figures) -> str:
    return f"{each.messages} messages, {each.units} units, {each.vnd} VND"


def _plain(move: Reattribution) -> dict[str, Any]:
    return {**move._asdict(), "moved": move.moved._asdict()}


def _planned(plan: MovePlan) -> dict[str, Any]:
    return {
        plan.giver.slug: {"before": plan.giver_before._asdict(), "after": plan.giver_after._asdict()},
        plan.taker.slug: {"before": plan.taker_before._asdict(), "after": plan.taker_after._asdict()},
        "moved": plan.moved._asdict(),
    }
