"""The command line. Each command is a module of service/commands; exit 0 done, 1 refused or failed, 2 usage."""

import argparse
import asyncio
import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from service.runtime import journal
from service.runtime.garbage import importing
from service.runtime.processes import forbid_core_dumps
from service.runtime.refusals import Refused

COMMANDS = {
    "demo": "a portal with simulated carriers on this machine; prints the addresses to open",
    "serve": "the service, configured by the environment",
    "migrate": "apply pending migrations",
    "apply": "make organisations, campaigns, routes and gateway accounts as a file says",
    "read": "show how a text would be read",
    "simulate": "play carriers over HTTP and compare what grew with what was sent",
    "resend": "what a carrier should send again: ids that are missing, and times in which nothing came",
    "digest": "what each account handed over on a day, signed, for both sides to compare",
    "conformance": "play a test account's carrier against the running service, case by case",
    "check": "validate settings, database, book and accounts",
    "support": "a file for whoever helps: settings, states, versions, last lines; no secret, nothing of donors",
    "preflight": "go or no-go before a broadcast: asks the running workers, their database, and an alert",
    "history": "what each version of the book changed, from which file and by whom",
    "find": "what is known of one id: a sender's own, or a request's",
    "list": "what waits for a person: what did not count, charges without a message, conflicts, misfits, tests",
    "export": "messages without persons, money lines or totals, as CSV or for Excel",
    "received": "which ids of a carrier we have from one time to another",
    "gateway": "make a link's secrets and its apply entry; list, show, rotate and test the links there are",
    "quarantine": "list, show and replay callbacks that were kept for a person",
    "reattribute": "propose that gifts be moved to the campaign they belong to; list, show, withdraw",
    "top": "the night on a terminal: money, links, acknowledgement, spool, what is wrong",
    "verify": "recompute every total from the facts",
    "user": "add, list, disable and reset the people who work at the campaign desk",
    "grant-read": "let a PostgreSQL role read what an auditor needs, and nothing about persons",
    "erase": "forget a person who asks for it, by the number on stdin; money stays as it is",
    "secret-key": "make the next PORTAL1400_SECRET_KEY, and put it in the former one's place beside the service",
    "backup": "write the database to a file, beside live intake, with a manifest of its figures",
    "restore": "bring a backup into an empty database, or only try it (--drill), and check every figure",
}
OUTPUT_ERRORS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""What writing to a closed pipe, a full disk or a terminal that has gone fails with."""
HIDDEN = {"worker": "one worker of `serve --workers N`, which alone starts it"}
"""Commands that are not for people: not shown by --help."""


def entry() -> None:
    """The console script. It holds keys, as every command may: nothing of its memory is left on a disk."""
    forbid_core_dumps()
    with importing():
        if (name := "".join(sys.argv[1:2])) in COMMANDS | HIDDEN:
            _module(name)
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. A module of a command is imported only when it is asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="portal1400",
        allow_abbrev=False,
        description="Text-donation tracker for Vietnam's National Humanitarian Portal 1400.",
        epilog="Settings come from the environment (prefix PORTAL1400_); deploy/env.example lists them all.",
    )
    parser.add_argument("--version", action="version", version=f"portal1400 {version('portal1400')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, sentence in (COMMANDS | {name: HIDDEN[name] for name in given[:1] if name in HIDDEN}).items():
        description = sentence[0].upper() + sentence[1:] + "."
        command = commands.add_parser(name, help=sentence, description=description, allow_abbrev=False)
        if given[:1] == [name]:
            _module(name).add_arguments(command)
    parsed = parser.parse_args(given)
    module = _module(parsed.command)
    try:
        code: int = asyncio.run(module.run(parsed))
        if sys.stdout is not None:
            sys.stdout.flush()
    except Refused as refused:
        return refuse(*refused.problems)
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS or error.filename is not None:
            raise
        return _output_lost(error)
    except KeyboardInterrupt:
        return 130
    return code


def _module(command: str) -> ModuleType:
    return import_module(f"service.commands.{command.replace('-', '_')}")


def _output_lost(error: OSError) -> int:
    """Nobody reads what we print, or there is no room for it. What is still waiting to be printed is forgotten."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 1  # `| head` has seen enough, and wants no sentence
    return refuse(f"the output cannot be written ({error.strerror}): what was printed so far is not complete")


def refuse(*sentences: str) -> int:
    """Say why a command did nothing; returns exit code 1."""
    with suppress(OSError):  # nobody is left to hear it
        for sentence in sentences:
            print(journal.sentence(f"portal1400: {sentence}"), file=sys.stderr)
    return 1
