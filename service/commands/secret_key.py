"""portal1400 secret-key new | rotate | status: another PORTAL1400_SECRET_KEY, beside the running service."""

import argparse
import json

from service.commands.opening import CommandRefused, opened
from service.commands.person import actor, name, reason
from service.commands.running import Running, running_workers
from service.commands.spooled import spooled
from service.operations.key_rotation import Behind, behind, rotate
from service.runtime.keyring import Keyring
from service.runtime.secret_key import make_secret_key
from service.runtime.settings import Settings, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    acts = parser.add_subparsers(dest="act", metavar="new | rotate | status", required=True)
    acts.add_parser("new", help="print a secret key that carries on what the present one has begun")
    put = acts.add_parser("rotate", help="bring the database under it; both are set meanwhile")
    put.add_argument("--by", metavar="NAME", type=name, help="who does it, for the record")
    put.add_argument("--reason-text", metavar="WHY", type=reason, help="why it is done, for the record")
    put.add_argument("--json", action="store_true", help="print one JSON object")
    status = acts.add_parser("status", help="whether the former one may be forgotten")
    status.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 1 when the former key is still needed."""
    settings = read_settings()
    if arguments.act == "new":
        print(make_secret_key(Keyring(settings.require_secret_key()).root))
        return 0
    if arguments.act == "rotate":
        _require_both(settings, await running_workers(settings))
    async with opened(settings, may_migrate=False) as ready:
        connection = await ready.database.connect("portal1400 secret-key")
        try:
            if arguments.act == "rotate":
                return _tell_done(await rotate(connection, ready.keyring, actor(arguments)), arguments)
            left = await behind(connection, ready.keyring)
        finally:
            await connection.close()
    return _tell_left(left, await spooled(settings), arguments)


def _require_both(settings: Settings, workers: list[Running]) -> None:
    if settings.secret_key_previous is None:
        raise CommandRefused(
            "PORTAL1400_SECRET_KEY_PREVIOUS is not set: set it to the former key, and PORTAL1400_SECRET_KEY to the "
            "new one"
        )
    if lacking := [str(each.index) for each in workers if each.secret_keys < 2]:
        raise CommandRefused(
            f"running worker(s) {', '.join(lacking)} know one key alone, and could not go on: reload the service "
            "first, on every machine (systemctl reload portal1400)"
        )


def _tell_done(done: Behind, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(done._asdict() | {"changed": not done.is_nothing}))
    elif done.is_nothing:
        print("nothing to do: the database is under this key already")
    else:
        print(
            f"{done.days} key(s) of days wrapped anew; secrets of {done.accounts} account(s) and {done.factors} "
            "second factor(s) sealed anew"
        )
    return 0


def _tell_left(left: Behind, waiting: list[str], arguments: argparse.Namespace) -> int:
    needed = [f"{left.days} key(s) of days are wrapped with the former key"] if left.days else []
    needed += [f"{left.accounts} account(s) have secrets sealed with the former key"] if left.accounts else []
    needed += [f"{left.factors} second factor(s) are sealed with the former key"] if left.factors else []
    needed += ["the database names the former key as its own"] if left.is_named else []
    needed += waiting
    if arguments.json:
        print(json.dumps({"former_key_needed": bool(needed), "because": needed}))
    else:
        for each in needed or ["the former key is not needed by the database, nor by a spool of this machine"]:
            print(each)
    return 1 if needed else 0
