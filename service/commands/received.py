"""portal1400 received ACCOUNT --from T --to T: which ids of a carrier we have, in the order of their arrival."""

import argparse
from datetime import timedelta
from uuid import UUID

from campaigns.gifts.received import select_received
from service.catalog.accounts import load_accounts
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import as_json, as_local, moment, request_id, visible
from service.runtime.settings import read_settings

WINDOW_MAX = timedelta(hours=24)
IDS_MAX = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("account", metavar="ACCOUNT", help="the gateway's code")
    parser.add_argument(
        "--from", dest="since", metavar="TIME", type=moment, required=True, help="received then or later"
    )
    parser.add_argument("--to", dest="until", metavar="TIME", type=moment, required=True, help="received before")
    parser.add_argument("--limit", metavar="N", type=int, default=1_000, help=f"ids of a page, at most {IDS_MAX}")
    parser.add_argument("--after", metavar="ID", type=request_id, help="go on behind what `next` said")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Print a page of ids, as the sender wrote them: they are for nobody but the sender."""
    if not arguments.since < arguments.until <= arguments.since + WINDOW_MAX:
        raise CommandRefused("--to: must lie after --from, at most 24 hours")
    if not 1 <= arguments.limit <= IDS_MAX:
        raise CommandRefused(f"--limit: want 1 to {IDS_MAX}")
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        rows = await require_account(connection, arguments.account)
        account = load_accounts(rows.values(), ready.keyring.settings.unseal, {}).by_code.get(arguments.account)
        account_id = rows[arguments.account].id
        page = await select_received(
            connection,
            account_id,
            account_id if account is None else account.events_id,
            arguments.since,
            arguments.until,
            rows_max=arguments.limit,
            after=arguments.after,
        )
    if arguments.json:
        ids = [
            {"kind": each.kind, "id": each.native_id, "received_at": each.received_at, "said": each.said,
             "request": each.request, "test": each.is_test}
            for each in page.events
        ]  # fmt: skip
        print(as_json({"account": arguments.account, "ids": ids, "next": page.next, "quarantined": page.quarantined}))
        return 0
    for each in page.events:
        test = "  test" if each.is_test else ""
        print(visible(f"{as_local(each.received_at)}  {each.kind:8}  {each.native_id}  {each.said}{test}"))
    _tell_end(len(page.events), page.next, page.quarantined)
    return 0


def _tell_end(count: int, following: UUID | None, quarantined: int) -> None:
    print(f"{count} id(s)" + (f"; more: --after {following}" if following else ""))
    if quarantined:
        print(f"{quarantined} callback(s) of this time lie in quarantine, without an id: see `quarantine list`")
