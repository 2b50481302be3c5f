"""portal1400 user add | list | disable | reset | link: who works at the campaign desk."""

import argparse
import asyncio

import asyncpg

from campaigns.audit.entries import Who
from service.commands.opening import CommandRefused, opened
from service.commands.person import name, os_user, reason
from service.commands.printing import as_json, as_local, visible
from service.desk.passkeys import count_passkeys
from service.desk.passwords import hash_password, one_time_password
from service.desk.people import (
    ONE_TIME_HOURS,
    PersonRefused,
    add_person,
    disable_person,
    reset_person,
    select_people,
)
from service.desk.provider_links import Link, link_person, select_linked_logins
from service.desk.roles import Role
from service.runtime.settings import read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    acts = parser.add_subparsers(dest="act", metavar="add | list | disable | reset | link", required=True)
    add = acts.add_parser("add", help="make somebody; prints a password that lets in once")
    add.add_argument("login", metavar="LOGIN", help="2 to 40 of a-z 0-9 . _ -")
    add.add_argument("--name", metavar="NAME", type=name, required=True, help="as colleagues know the person")
    add.add_argument("--role", choices=[role.value for role in Role], required=True)
    add.add_argument(
        "--organisation", metavar="CODE", action="append", default=[], help="of a manager; may be given again"
    )
    listing = acts.add_parser("list", help="everybody, with role and state")
    disable = acts.add_parser("disable", help="let somebody in no more; ends sessions, revokes tokens")
    reset = acts.add_parser("reset", help="a new password that lets in once, a new second factor, no passkeys")
    link = acts.add_parser("link", help="let somebody in by the OpenID provider too, or no more; ends sessions")
    of = link.add_mutually_exclusive_group(required=True)
    of.add_argument("--oidc-subject", metavar="SUBJECT", help="the provider's own name for the person (sub)")
    of.add_argument("--none", action="store_true", help="take the link away")
    for one in (disable, reset, link):
        one.add_argument("login", metavar="LOGIN")
        one.add_argument("--reason-text", metavar="WHY", type=reason, help="why it is done, for the record")
    for one in (add, listing, disable, reset, link):
        one.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Do what was asked; 0 also when somebody was disabled already."""
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        try:
            return await ACTS[arguments.act](connection, arguments)
        except PersonRefused as refused:
            raise CommandRefused([str(refused)]) from None


async def _add(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    password, phc = await _password()
    role = Role(arguments.role)
    await add_person(connection, _who(), arguments.login, arguments.name, role, arguments.organisation, phc)
    return _show_password(arguments, password)


async def _reset(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    password, phc = await _password()
    await reset_person(connection, _who(), arguments.login, phc, arguments.reason_text)
    return _show_password(arguments, password)


async def _disable(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    is_new = await disable_person(connection, _who(), arguments.login, arguments.reason_text)
    if arguments.json:
        print(as_json({"login": arguments.login, "disabled": True, "changed": is_new}))
    else:
        print(f"{arguments.login} is let in no more" if is_new else f"{arguments.login} was disabled already")
    return 0


async def _link(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    link = None
    if not arguments.none:
        issuer = read_settings().oidc_issuer
        if issuer is None:
            raise CommandRefused(["PORTAL1400_OIDC_ISSUER is not set: no provider lets anybody in"])
        link = Link(issuer, arguments.oidc_subject)
    is_new = await link_person(connection, _who(), arguments.login, link, arguments.reason_text)
    if arguments.json:
        print(as_json({"login": arguments.login, "linked": link is not None, "changed": is_new}))
    else:
        print(f"{arguments.login} is {'linked' if link else 'not linked'}{'' if is_new else ', as before'}")
    return 0


async def _list(connection: asyncpg.Connection, arguments: argparse.Namespace) -> int:
    people, linked = await select_people(connection), await select_linked_logins(connection)
    passkeys = await count_passkeys(connection)
    if arguments.json:
        rows = [
            {
                "login": each.login, "name": each.name, "role": each.role,
                "organisations": list(each.organisations), "second_factor": each.is_enrolled,
                "linked": each.login in linked, "passkeys": passkeys.get(each.id, 0),
                "one_time_until": each.one_time_until, "disabled_at": each.disabled_at, "created_at": each.created_at,
            }
            for each in people
        ]  # fmt: skip
        print(as_json({"count": len(rows), "rows": rows}))
        return 0
    for each in people:
        of = f" of {', '.join(each.organisations)}" if each.organisations else ""
        state = "has not logged in yet" if each.one_time_until else "" if each.is_enrolled else "no second factor"
        if each.disabled_at is not None:
            state = f"disabled {as_local(each.disabled_at)}"
        keys = f"passkeys: {passkeys[each.id]}" if each.id in passkeys else ""
        states = [each for each in (state, "linked" if each.login in linked else "", keys) if each]
        print(visible("; ".join([f"{each.login}  {each.role}{of}  {each.name}", *states])))
    print(f"{len(people)} in all" if people else "nobody yet: `portal1400 user add LOGIN --name NAME --role admin`")
    return 0


ACTS = {"add": _add, "list": _list, "disable": _disable, "reset": _reset, "link": _link}


async def _password() -> tuple[str, str]:
    password = one_time_password()
    return password, await asyncio.to_thread(hash_password, password)


def _show_password(arguments: argparse.Namespace, password: str) -> int:
    if arguments.json:
        shown = {"login": arguments.login, "one_time_password": password, "valid_hours": ONE_TIME_HOURS}
        print(as_json(shown))
        return 0
    print(f"{arguments.login} enters at /desk with this password, once, within {ONE_TIME_HOURS} hours:")
    print(f"  {password}")
    print("It is shown only here. At the first login a password of one's own and a second factor are asked for.")
    return 0


def _who() -> Who:
    return Who(f"os:{os_user()}")
