"""A person is forgotten: whatever is kept about a number is found by its hash, or by opening what is sealed.

Callbacks are kept as they came, in any protocol's words, so each is opened and searched for the number in every
spelling a request may have. That costs with what is kept, some minutes for tens of millions of callbacks, and runs
beside the intake. What the person gave stays: no money line and no message says who it was.
"""

import base64
import hashlib
import hmac
import html
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import unquote_to_bytes
from uuid import UUID

import asyncpg

from campaigns.gifts.privacy import SEALED, Kept, erase, select_kept, select_proofs
from campaigns.gifts.quarantined import Actor
from service.runtime.keyring import Keyring, SealBroken, Sealer

CURSOR_ROWS = 500
RECEIPT_BYTES = 15
"""A multiple of five, so that Base32 fills it without padding."""
# Blanks and signs of every script: none is of letters or digits of ASCII.
_BETWEEN = rb"[^0-9A-Za-z]{0,7}"
_BEFORE = re.compile(
    rb"(?:^|[^0-9]|20[0-9]{6}|20[0-9]{10}|20[0-9]{12}|1[5-9][0-9]{8}|1[5-9][0-9]{11})(?:(?:00)?84%b0?|0)?%b$"
    % (_BETWEEN, _BETWEEN)
)
_BEFORE_BYTES = 40
_BEHIND = re.compile(rb"(?![0-9])|20[2-9][0-9](?:0[1-9]|1[0-2])|1[5-9][0-9]{8}(?:[0-9]{3})?(?![0-9])")
"""Within a longer row of digits nine are nobody's number, unless the rest is a time: senders make ids of both."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){9,}")
_OTHER_DIGITS = re.compile(rb"\xef\xbc[\x90-\x99]|\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]")
"""In UTF-8: of full width, Arabic-Indic, and those of Persian."""
_ESCAPED = re.compile(rb"\\u([0-9A-Fa-f]{4})")


def _base64(content: bytes) -> bytes:
    def plain(found: re.Match[bytes]) -> bytes:
        run = found[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        # A single letter more than whole bytes have is no Base64: it belongs to what comes before or after.
        return base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + b"==")

    return b" ".join(plain(found) for found in _BASE64.finditer(content))


def _hex(content: bytes) -> bytes:
    return b" ".join(bytes.fromhex(found[0].decode()) for found in _HEX.finditer(content))


SPELLINGS: tuple[Callable[[bytes], bytes], ...] = (
    lambda content: content,
    lambda content: unquote_to_bytes(content.replace(b"+", b" ")),
    lambda content: html.unescape(content.decode("latin-1")).encode("utf-8", "replace"),
    lambda content: _ESCAPED.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), content),
    lambda content: content.replace(b"\0", b""),
    _base64,
    _hex,
)
"""What a request may say its bytes in: as they are, percent-encoded, escaped in XML or JSON, UTF-16, Base64, hex."""


def _ascii_digits(content: bytes) -> bytes:
    """Digits of other scripts as 0 to 9: the last byte of each ends in its value."""
    return _OTHER_DIGITS.sub(lambda found: b"%d" % (found[0][-1] & 0x0F), content)


def mention(msisdn: str) -> Callable[[bytes], bool]:
    """Whether a callback's bytes name `msisdn`, with or without a country code, or signs between its digits."""
    digits = re.compile(_BETWEEN.join(b"%c" % digit for digit in msisdn[2:].encode()))

    def is_in(content: bytes) -> bool:
        # The nine digits first, which are found soon where they are not.
        return any(
            _BEHIND.match(content, found.end())
            and _BEFORE.search(content[max(0, found.start() - _BEFORE_BYTES) : found.start()])
            for found in digits.finditer(content)
        )

    return lambda content: any(is_in(_ascii_digits(spelled(content))) for spelled in SPELLINGS)


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept about a number. `callbacks` by table with their days; `undecided` are those of quarantine that
    were never replayed into the store: each may be a gift that is not counted yet.
    """

    kept: Kept
    callbacks: dict[str, list[tuple[UUID, date]]]
    undecided: list[tuple[UUID, date]]

    @property
    def counts(self) -> dict[str, int]:
        """How much of what."""
        return {"messages": len(self.kept.messages)} | {table: len(rows) for table, rows in self.callbacks.items()}


async def find_person(connection: asyncpg.Connection, keyring: Keyring, msisdn: str) -> Found:
    """Everything kept about `msisdn`, in one snapshot."""
    names = mention(msisdn)
    callbacks: dict[str, list[tuple[UUID, date]]] = {table: [] for table in SEALED}
    undecided: list[tuple[UUID, date]] = []
    keys: dict[date, Sealer | None] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        kept = await select_kept(connection, keyring.number_hash(msisdn), msisdn[2:])
        for table, about in SEALED.items():
            async for row in connection.cursor(about.select, prefetch=CURSOR_ROWS):
                day = row["day"]
                if day not in keys:
                    keys[day] = await keyring.find_day(connection, day)
                sealer = keys[day]
                if sealer is None:
                    continue  # what its key sealed nobody reads any more
                try:
                    plain = sealer.unseal(bytes(row["sealed"]), about.associated + row["id"].bytes)
                except SealBroken:
                    continue
                if names(plain):
                    (callbacks[table] if row["is_decided"] else undecided).append((row["id"], day))
    return Found(kept, callbacks, undecided)


@dataclass(frozen=True, slots=True)
class Erased:
    """When it was done, and the code with which the person, and nobody else, can prove it."""

    at: datetime
    receipt: str


async def erase_person(
    connection: asyncpg.Connection, found: Found, msisdn: str, who: Actor, *, undecided_too: bool
) -> Erased:
    """End what was `found`, in one transaction. What waits for its charge, and ids of senders, stay."""
    receipt = base64.b32encode(secrets.token_bytes(RECEIPT_BYTES)).decode()
    callbacks = dict(found.callbacks)
    if undecided_too:
        callbacks["quarantine"] = [*callbacks["quarantine"], *found.undecided]
    at = await erase(connection, found.kept.messages, callbacks, who, _proof(receipt, msisdn))
    return Erased(at, "-".join(_fives(receipt)))


async def erased_at(connection: asyncpg.Connection, msisdn: str, receipt: str) -> datetime | None:
    """When `msisdn` was erased by the act that gave this receipt; None where there is no such act."""
    expected = _proof(re.sub(r"[\s-]", "", receipt).upper(), msisdn)
    for proof, at in await select_proofs(connection):
        if hmac.compare_digest(proof, expected):
            return at
    return None


def _proof(receipt: str, msisdn: str) -> bytes:
    return hmac.digest(receipt.encode(), b"erased:" + msisdn.encode(), hashlib.sha256)


def _fives(letters: Sequence[str]) -> Iterator[str]:
    return ("".join(letters[place : place + 5]) for place in range(0, len(letters), 5))
