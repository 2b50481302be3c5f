"""portal1400 gateway new | list | show | rotate | test: links to carriers, and their secrets, each shown once."""

import argparse
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from gateways.account import AccountCarrier
from gateways.gateway import Gateway
from gateways.registry import ADAPTERS, SENDERS
from service.catalog.account_rows import AccountRow, load_account_rows
from service.catalog.account_secrets import unknowable
from service.catalog.account_tables import SupportedCharging
from service.catalog.accounts import LoadedAccount, load_accounts
from service.catalog.drafts import (
    SUFFIXES,
    DraftRefused,
    Wanted,
    Window,
    address_of,
    draft,
    own_key,
    place_of,
    places_in,
    toml_of,
)
from service.catalog.secret_windows import BEGINS, ENDS
from service.commands.opening import CommandRefused, opened, require_account
from service.commands.printing import as_json, as_local, moment, visible
from service.runtime.clock import utc_now
from service.runtime.environment import process_environment
from service.runtime.settings import read_settings
from service.simulator.links import NO_PROOF
from service.simulator.trying import try_link

THERE_NOW = "the secret that stands there now"
HIDDEN_STEP = "(path secret)"
REAL_SOON = "It is a test account: nothing that it sends is counted until `test = true` is taken out and applied."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    acts = parser.add_subparsers(dest="act", metavar="new | list | show | rotate | test", required=True)
    new = acts.add_parser("new", help="secrets for a new link, its [[gateway]] entry, and what the carrier needs")
    new.add_argument("protocol", metavar="PROTOCOL", choices=sorted(ADAPTERS))
    new.add_argument("code", metavar="CODE", help="the account in its address: a-z, 0-9 and -")
    new.add_argument("--carrier", metavar="C", choices=get_args(AccountCarrier))
    new.add_argument("--charging", metavar="C", choices=get_args(SupportedCharging))
    new.add_argument("--network", metavar="NET", action="append", default=[], help="the carrier's addresses; repeat")
    new.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a key of the protocol; repeat")
    new.add_argument("--url", metavar="URL", help="how the carrier reaches us (default PORTAL1400_PUBLIC_URL)")
    new.add_argument("--real", action="store_true", help="what it sends is money at once; else it is for tests first")
    _add_place(new)
    listing = acts.add_parser("list", help="the links there are, and whether they can serve")
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    show = acts.add_parser("show", help="one link: its keys, where its secrets lie, what it lacks; never a secret")
    show.add_argument("code", metavar="CODE")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    rotate = acts.add_parser("rotate", help="a second secret beside the one there is: both are right meanwhile")
    rotate.add_argument("code", metavar="CODE")
    rotate.add_argument(
        "--key", metavar="KEY", choices=sorted(SUFFIXES), help="which secret, where there are several"
    )
    rotate.add_argument("--until", metavar="TIME", type=moment, help="when the old ones end by themselves")
    _add_place(rotate)
    test = acts.add_parser("test", help="send a ping over the link's own address, with its own secrets")
    test.add_argument("code", metavar="CODE")
    test.add_argument("--target", metavar="URL", help="the running service (default PORTAL1400_LISTEN)")
    test.add_argument("--json", action="store_true", help="print one JSON object")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--files", metavar="DIR", type=Path, help="write our side's secrets to files there, not to the screen"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    if arguments.act == "new":
        return _new(arguments)
    return await {"list": _list, "show": _show, "rotate": _rotate, "test": _test}[arguments.act](arguments)


def _new(arguments: argparse.Namespace) -> int:
    try:
        own = dict(own_key(each) for each in arguments.set)
    except ValueError as fault:
        raise CommandRefused(f"--set: {fault}") from None
    carrier = arguments.carrier or ("from_message" if ADAPTERS[arguments.protocol].tells_carrier else None)
    if carrier is None:
        raise CommandRefused(
            f"--carrier: no message of {arguments.protocol} says who charges the donor; say it here, or every gift "
            "is of the carrier `unknown`"
        )
    folder = _folder(arguments.files)
    wanted = Wanted(
        arguments.protocol, arguments.code, carrier, arguments.charging, tuple(arguments.network), own,
        not arguments.real, arguments.url or read_settings().public_url, folder,
    )  # fmt: skip
    try:
        made = draft(wanted)
    except DraftRefused as refused:
        raise CommandRefused(list(refused.sentences)) from None
    _keep(made.placed, folder)
    if arguments.json:
        shown = {"code": wanted.code, "entry": made.entry, "carrier_side": made.handover}
        print(as_json(shown | _placed_json(made.placed, folder)))
        return 0
    print("# 1. Into the apply file:\n")
    print(made.entry)
    _tell_placed(made.placed, folder)
    print("# 3. To the carrier, on a way that nobody else reads. No command shows it again.\n")
    print(*made.handover, sep="\n")
    if wanted.is_test:
        print(f"\n# {REAL_SOON}")
    return 0


def _folder(given: Path | None) -> str | None:
    if given is None:
        return None
    if not given.is_dir():
        raise CommandRefused(f"--files: {given} is no folder: make it first, for the service's own account alone")
    return str(given.resolve())


def _keep(placed: Sequence[tuple[str, str]], folder: str | None) -> None:
    """Our side's secrets as files for the owner alone. What is there already is never written over."""
    if folder is None:
        return
    for path, secret in placed:
        if not secret:
            continue
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise CommandRefused(f"{path} is there already: a secret is never written over; move it away") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")


def _tell_placed(placed: Sequence[tuple[str, str]], folder: str | None) -> None:
    if folder is not None:
        print("# 2. Written, for the account that runs this command alone; the service's own has to read them:\n")
        for path, secret in placed:
            print(path if secret else f"{path}  (put in what the carrier hands out)")
    else:
        print("# 2. Into the service's environment file:\n")
        print(*(f"{name}={secret or '(what the carrier hands out)'}" for name, secret in placed), sep="\n")
    print()


def _placed_json(placed: Sequence[tuple[str, str]], folder: str | None) -> dict[str, Any]:
    if folder is not None:
        return {"files": [path for path, _ in placed]}
    return {"environment": {name: secret or None for name, secret in placed}}


async def _list(arguments: argparse.Namespace) -> int:
    rows, loaded = await _accounts(None)
    shown = [_summary(row, loaded.get(row.code)) for row in rows]
    if arguments.json:
        print(as_json({"count": len(shown), "gateways": shown}))
        return 0
    for each in shown:
        state = each["state"] + (", test" if each["test"] else "")
        print(visible(f"{each['code']:24} {each['adapter']:15} {each['carrier']:13} {each['charging']:11} {state}"))
        for problem in each["problems"]:
            print(visible(f"  {problem}"))
    nothing = "no gateway was applied yet: `portal1400 gateway new` makes an entry"
    print(f"{len(shown)} gateway(s)" if shown else nothing)
    return 0


async def _show(arguments: argparse.Namespace) -> int:
    rows, loaded = await _accounts(arguments.code)
    (row,) = [each for each in rows if each.code == arguments.code]
    adapter = ADAPTERS.get(row.adapter)
    secret_keys = frozenset[str]() if adapter is None else adapter.settings_model.SECRET_KEYS
    # Of a protocol that we do not know nobody can say what is a secret.
    settings = {key: value for key, value in row.settings.items() if adapter is not None and key not in secret_keys}
    secret_step = HIDDEN_STEP if row.settings.get("path_secret") else None
    url = address_of(read_settings().public_url, row.adapter, row.code, None)
    shown = _summary(row, loaded.get(row.code)) | {
        "address": url + (f"/{secret_step}" if secret_step else ""),
        "networks": row.networks,
        "settings": settings,
        "secrets": {
            key: [
                (place or "stored, sealed")
                + (f" from {as_local(begins)}" if begins else "")
                + (f" until {as_local(ends)}" if ends else "")
                for place, (begins, ends) in places_in(row.settings, key)
            ]
            for key in sorted(secret_keys)
            if row.settings.get(key)
        },
    }
    if arguments.json:
        print(as_json(shown))
        return 0
    for name, value in shown.items():
        if isinstance(value, Mapping):
            for key, each in value.items():
                print(visible(f"{key:14} {', '.join(each) if name == 'secrets' else toml_of(each)}"))
        elif value not in (None, (), []):
            print(visible(f"{name:14} {', '.join(value) if isinstance(value, list | tuple) else value}"))
    return 0


def _summary(row: AccountRow, account: LoadedAccount | None) -> dict[str, Any]:
    problems = ["its protocol is not one of this version"]
    if account is not None:
        problems = [each for each in (account.problem, *account.left_out, *account.warnings) if each]
    is_on = row.enabled or bool(row.test)
    can_serve = account is not None and account.is_usable
    return {
        "code": row.code,
        "adapter": row.adapter,
        "carrier": row.carrier,
        "charging": row.charging,
        "state": "off" if not is_on else "on" if can_serve else "cannot serve",
        "test": account is not None and account.is_test,
        "problems": problems,
    }


async def _accounts(code: str | None) -> tuple[list[AccountRow], Mapping[str, LoadedAccount]]:
    """Every account as stored and as it serves. Raises CommandRefused where `code` is none of them."""
    async with opened(read_settings(), may_migrate=False) as ready, ready.database.borrow() as connection:
        if code is not None:
            await require_account(connection, code)
        rows = await load_account_rows(connection)
        return rows, load_accounts(rows, ready.keyring.settings.unseal, process_environment()).by_code


async def _rotate(arguments: argparse.Namespace) -> int:
    if arguments.until is not None and arguments.until <= utc_now():
        raise CommandRefused("--until: lies in the past: the old secret would be refused as soon as that is applied")
    rows, loaded = await _accounts(arguments.code)
    (row,) = [each for each in rows if each.code == arguments.code]
    account = loaded.get(row.code)
    if account is None:
        raise CommandRefused(f"{row.code}: its protocol is not one of this version; upgrade it")
    key = _key_to_rotate(row, account.gateway, arguments.key)
    present = places_in(row.settings, key)
    folder = _folder(arguments.files)
    number = 2
    while (place := place_of(row.code, key, folder, number)) in [each for each, _ in present]:
        number += 1
    theirs = account.gateway.secret_is_theirs and key == "secrets"
    secret = "" if theirs else unknowable(row.adapter, key)
    placed = ((place.partition(":")[2], secret),)
    _keep(placed, folder)
    both = [*(_until(each or THERE_NOW, window, arguments.until) for each, window in present), place]
    line = f"{key} = {toml_of(both)}"
    told = _new_secret(row, key, secret)
    if arguments.json:
        print(as_json({"code": row.code, "line": line, "carrier_side": told} | _placed_json(placed, folder)))
        return 0
    print(f"# 1. Into the [[gateway]] {row.code} of the apply file; apply it when 2 is done. Then both are right:\n")
    print(line + "\n")
    _tell_placed(placed, folder)
    print("# 3. To the carrier, on a way that nobody else reads. No command shows it again.\n")
    print(*(told or ("(the carrier hands it out)",)), sep="\n")
    if arguments.until is None:
        print("\n# 4. Once the carrier uses the new one alone, leave the old one out of the list and apply again.")
    return 0


async def _test(arguments: argparse.Namespace) -> int:
    rows, loaded = await _accounts(arguments.code)
    (row,) = [each for each in rows if each.code == arguments.code]
    account, settings = loaded.get(row.code), read_settings()
    if account is None or not account.is_usable or not account.enabled:
        fault = "it is off" if account is not None and not account.enabled else _summary(row, account)["problems"][0]
        raise CommandRefused(f"{row.code} cannot be tried: {fault}")
    if not SENDERS[row.adapter](row.code, account.gateway.settings).holds_proof:
        raise CommandRefused(f"{row.code} cannot be tried from here: {NO_PROOF}")
    target = arguments.target or f"http://{settings.listen}"
    tried = await try_link(target, row.code, row.adapter, account.gateway.settings)
    if arguments.json:
        print(as_json({"code": row.code, "proven": tried.is_proven, "status": tried.status, "answer": tried.told}))
    elif tried.is_proven:
        seen, test = tried.told.get("peer"), ", a test account" if tried.told.get("test") else ""
        print(visible(f"{row.code}: every factor passes from {seen}{test}; nothing was stored"))
    elif tried.status is None:
        print(f"{row.code}: nobody answers at {target}")
    else:
        print(f"{row.code}: refused with {tried.status}; the service's log names the factor that failed")
        if row.networks:
            print(f"  its networks are {', '.join(row.networks)}: what is sent from here must be from one")
    return 0 if tried.is_proven else 1


def _until(secret: str, window: Window, until: datetime | None) -> Any:
    """A secret of the file with the window that it has, or ends with `until`."""
    begins, ends = window[0], until or window[1]
    times = {name: at for name, at in ((BEGINS, begins), (ENDS, ends)) if at is not None}
    return {"secret": secret, **times} if times else secret


def _new_secret(row: AccountRow, key: str, secret: str) -> tuple[str, ...]:
    if not secret:
        return ()
    if key == "path_secret":
        return (f"address   {address_of(read_settings().public_url, row.adapter, row.code, secret)}",)
    return (f"{'secret' if key == 'secrets' else key:9} {secret}",)


def _key_to_rotate(row: AccountRow, gateway: Gateway[Any], asked: str | None) -> str:
    there = [key for key in SUFFIXES if row.settings.get(key)]
    if asked is None and len(there) == 1:
        return there[0]
    if asked in there:
        return asked
    if not there:
        raise CommandRefused(
            f"{row.code} has no secret of its own ({gateway.name}, by its networks): nothing to rotate"
        )
    raise CommandRefused(f"{row.code} has {' and '.join(there)}: say which by --key")
