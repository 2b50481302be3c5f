"""The receipt code of a message: what its donor can name to whoever asks, and nobody can make up.

It is derived from the message's key by a secret, so that it is the same at every repeat, needs no place to be kept
and can be checked by whoever has both. 14 letters of 23 are 63 bits. A fifteenth is a check: weights that differ,
modulo a prime, find one wrong letter and any two that changed places.
"""

import hmac
from typing import Final

LETTERS: Final = "3479ACDEFGHJKMNPQRTVWXY"
"""Each is told from all others, written and on a screen: no 0 O, 1 I L, 2 Z, 5 S, 6, 8 B, U."""
CODE_LETTERS = 14
GROUP_LETTERS = 5


def receipt_code(key: bytes, account_id: int, native_id: str) -> str:
    """The code of the message that the account's sender calls `native_id`, as in `ACDEF-GHJKM-NPQRT`."""
    number = int.from_bytes(hmac.digest(key, b"%d:%b" % (account_id, native_id.encode()), "sha256"), "big")
    places = []
    for _ in range(CODE_LETTERS):
        number, place = divmod(number, len(LETTERS))
        places.append(place)
    letters = "".join(LETTERS[place] for place in (*places, _check(places)))
    return "-".join(letters[at : at + GROUP_LETTERS] for at in range(0, len(letters), GROUP_LETTERS))


def as_receipt(written: str) -> str | None:
    """What somebody wrote or read out, in the form of a code; None where it cannot be one."""
    letters = "".join(each for each in written.upper() if each.isalnum())
    if len(letters) != CODE_LETTERS + 1 or any(each not in LETTERS for each in letters):
        return None
    places = [LETTERS.index(each) for each in letters]
    if _check(places[:-1]) != places[-1]:
        return None
    return "-".join(letters[at : at + GROUP_LETTERS] for at in range(0, len(letters), GROUP_LETTERS))


def _check(places: list[int]) -> int:
    return -sum(weight * place for weight, place in enumerate(places, start=2)) % len(LETTERS)
