"""How soon a password would be guessed, by zxcvbn (Wheeler, USENIX Security 2016), which knows common ones.

What people here choose is put before it: Vietnamese words of leaked passwords, our own names, the person's.
"""

import re
import unicodedata
from collections.abc import Iterator

GUESSES_MIN = 10**10
"""zxcvbn's highest score: who has stolen the hashes guesses for years, at some 60 ms a guess."""
LETTERS_LOOKED_AT = 48
"""The longer, the dearer: what so many letters withstand is enough."""
WORDS = (
    "1400", "cong1400", "cong", "congnhandao", "nhandao", "quyengop", "ungho", "tuthien", "matran", "mttq",
    "chuthapdo", "bandieuhanh", "matkhau", "mk", "khongbiet", "khongnho", "quenmatkhau", "dangnhap", "quantri",
    "anhyeuem", "emyeuanh", "yeuem", "yeuanh", "anhnhoem", "emnhoanh", "vochong", "congchua", "hoangtu",
    "tinhyeu", "tinhban", "giadinh", "conyeu", "bome", "mebo", "maimai", "hanhphuc", "maythang", "xinchao",
    "chaoban", "camon", "vietnam", "vietnamvodich", "hochiminh", "bacho", "conghoaxahoichunghiavietnam",
    "doclaptudohanhphuc", "conghoaxahoi", "chunghia", "doclap", "tudo", "hanoi", "saigon", "tphcm", "danang",
    "haiphong", "cantho", "nghean", "thanhhoa", "nguyen", "tran", "le", "pham", "hoang", "huynh", "phan", "vu", "vo",
    "dang", "bui", "do", "ho", "ngo", "duong", "ly", "tuyet", "mat", "khau", "xin", "chao", "thang", "nam", "ngay",
)  # fmt: skip
"""Folded, the most usual first: each place is a guess more."""
_TWINS = str.maketrans("@!|$+{[<đ", "41157(((d")
"""Of the signs that stand for one letter the commonest alone: zxcvbn tries all of them with each other."""


def is_guessed_soon(password: str, *names: str) -> bool:
    """Whether fewer than GUESSES_MIN guesses find it, by somebody who knows these names of the person.

    It may take some tens of milliseconds: call it in a thread. Diacritics, blanks and case add nothing.
    """
    # A tenth of a second and 15 MB, for the few who choose a password.
    from zxcvbn.matching import RANKED_DICTIONARIES, build_ranked_dict, omnimatch
    from zxcvbn.scoring import most_guessable_match_sequence

    given = _folded(password)[:LETTERS_LOOKED_AT]
    if not given:
        return True
    own = [*WORDS[:1], *dict.fromkeys(_parts(*names)), *WORDS[1:]]
    # Its own entrance keeps a person's names in a dictionary that all threads share.
    dictionaries = {**RANKED_DICTIONARIES, "user_inputs": build_ranked_dict(own)}
    found = most_guessable_match_sequence(given, omnimatch(given, dictionaries))
    return bool(found["guesses"] < GUESSES_MIN)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.lower())
    kept = (letter for letter in plain if not unicodedata.combining(letter) and not letter.isspace())
    return "".join(kept).translate(_TWINS)


def _parts(*names: str) -> Iterator[str]:
    for name in names:
        parts = [part for part in re.split(r"[\W_]+", name) if part]
        yield from map(_folded, (name, "".join(parts), *parts))
