"""Who sits before a command: their language, and their account of the operating system."""

import argparse
import os
import pwd
from collections.abc import Mapping
from typing import get_args

from campaigns.book.apply_entries import Language
from campaigns.gifts.quarantined import Actor
from service.runtime.phone_numbers import without_numbers_of_people

NAME_LETTERS_MAX = 100
REASON_LETTERS_MAX = 500
LANGUAGE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""What tells the language of messages: the first that is set decides (POSIX, environment variables, 8.2)."""


def add_language(parser: argparse.ArgumentParser) -> None:
    """The option --lang."""
    parser.add_argument("--lang", choices=get_args(Language), help="of the sentences; else as LC_ALL or LANG says")


def language_of(asked: Language | None, environ: Mapping[str, str] = os.environ) -> Language:
    """The language asked for, else that of the environment: Vietnamese where it begins with vi, English otherwise."""
    if asked is not None:
        return asked
    told = next((environ[name] for name in LANGUAGE_VARIABLES if environ.get(name)), "")
    return "vi" if told.lower().startswith("vi") else "en"


def name(given: str) -> str:
    """A person's name on the command line, kept for ever as a reason is. Raises ArgumentTypeError."""
    if not 1 <= len(given.strip()) <= NAME_LETTERS_MAX or not given.isprintable():
        raise argparse.ArgumentTypeError(f"a name of 1 to {NAME_LETTERS_MAX} letters")
    if without_numbers_of_people(given) != given:
        raise argparse.ArgumentTypeError("a name and no phone number: it is kept for ever")
    return given.strip()


def reason(given: str) -> str:
    """Why something is done, on the command line: kept for ever, so no phone number is. Raises ArgumentTypeError."""
    if not 1 <= len(given.strip()) <= REASON_LETTERS_MAX or not given.isprintable():
        raise argparse.ArgumentTypeError(f"a reason of 1 to {REASON_LETTERS_MAX} letters, in one line")
    return without_numbers_of_people(given.strip())


def os_user() -> str:
    """The account's name, whatever the environment says; its number where it has none, as in a container."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def actor(arguments: argparse.Namespace) -> Actor:
    """Who acts, from --by and --reason-text, which is of the type `reason`."""
    return Actor(os_user(), arguments.by, arguments.reason_text)
