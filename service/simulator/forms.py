"""What donors text: the forms that count, the wrong forms they really send, and what no campaign knows.

In a form, `{key}` is the keyword, `{low}`, `{title}`, `{accented}` and `{shut}` the same as phones change it
(small letters, a capital first, Vietnamese letters, blanks lost), `{spread}` its letters apart; `{n}` the
number, `{wide}` the number in full-width digits, `{over}` one more than the greatest; `{code}` the short code,
`{other}` another one. Each stands with its weight.
"""

import random
from collections.abc import Sequence
from typing import Final

from campaigns.book.book import Grammar, Route

Form = tuple[str, int]

_ADVERTISED: Final = " gửi {code}"

COUNTED: Final[dict[Grammar, tuple[Form, ...]]] = {
    Grammar.FIXED: (
        ("{key}", 50),
        ("{low}", 22),
        ("{title}", 9),
        ("{shut}", 4),
        ("{accented}", 3),
        (" {key} ", 3),
        ("{key}.", 3),
        ("{key}" + _ADVERTISED, 2),
        ('"{key}"', 1),
        ("<{key}>", 1),
        ("{key} \N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", 2),
    ),
    Grammar.UNITS: (
        ("{key} {n}", 48),
        ("{low} {n}", 18),
        ("{key}{n}", 10),
        ("{title} {n}", 8),
        ("{low}{n}", 4),
        ("{key}  {n}", 2),
        (" {key}   {n} ", 1),
        ("{key} 0{n}", 1),
        ("{key}\n{n}", 1),
        ("{key}\N{NO-BREAK SPACE}{n}", 1),
        ("{key} {wide}", 1),
        ("{key} {n}.", 2),
        ("<{key} {n}>", 1),
        ('"{key} {n}"', 1),
        ("{key} {n}" + _ADVERTISED, 1),
        ("{accented} {n}", 1),
        ("{key} {n} \N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", 1),
    ),
    Grammar.THOUSANDS: (
        ("{key} {n}K", 58),
        ("{low} {n}k", 20),
        ("{key}{n}K", 8),
        ("{title} {n}k", 6),
        ("{key} {n} K", 4),
        ("{low} {n}k" + _ADVERTISED, 2),
        ("{accented} {n}K", 2),
    ),
}
ONE_UNIT: Final[tuple[Form, ...]] = (*COUNTED[Grammar.FIXED][:9], ("{key} 1", 20))
"""In the grammar `units`, the keyword alone is one unit, and that is how most donors of one unit text."""

WRONG: Final[dict[Grammar, tuple[Form, ...]]] = {
    Grammar.FIXED: (("{key} 2", 5), ("{key} 5", 3), ("{key} 20K", 2), ("{key} 50.000", 1), ("{low} ung ho", 2)),
    Grammar.UNITS: (
        ("{key} n", 10),
        ("{key} X", 3),
        ("{key} {n}K", 6),
        ("{key}{n}K", 3),
        ("{key} {over}", 2),
        ("{key} 0", 2),
        ("{key} -1", 1),
        ("{key} 1.5", 1),
        ("{key} 5 10", 1),
        ("{key}.{n}", 3),
        ("{key},{n}", 2),
        ("{key}: {n}", 2),
        ("{key} gui {other}", 2),
        ("{key} {n} chuc ba con binh an", 4),
        ("{key} {n} & chuc suc khoe", 1),
        ("{key} five", 1),
        ("{key} \N{ARABIC-INDIC DIGIT FIVE}", 1),
    ),
    Grammar.THOUSANDS: (
        ("{key} {n}", 10),
        ("{key}", 5),
        ("{key} K", 2),
        ("{key} 1.000K", 3),
        ("{key} 1,000K", 1),
        ("{key} {n}KK", 1),
        ("{key} {over}K", 2),
        ("{key} 0K", 1),
    ),
}
UNKNOWN: Final[tuple[Form, ...]] = (
    ("{key}X", 4),
    ("{spread}", 4),
    ("5 {key}", 3),
    ("GUI {code}", 2),
    ("Vì người nghèo 3", 3),
    ("ủng hộ đồng bào", 3),
    ("???", 1),
    ("", 1),
    ("   ", 1),
)

UNITS_TEXTED: Final = ((1, 51), (2, 18), (3, 9), (5, 16), (10, 4), (20, 1), (50, 1))
"""How many units donors give at once, with weights: 3.04 in the mean, where 2020 had 58,000 to 72,000 VND."""
THOUSANDS_TEXTED: Final = ((10, 15), (20, 33), (30, 5), (50, 31), (100, 14), (200, 2))
"""The same in thousands of VND: 43,100 in the mean, where 2021 had 46,296 VND."""

_ACCENTS = str.maketrans("AEIOUDaeioud", "ÁÊÍÔỦĐáêíôủđ")
_WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def drawn(chance: random.Random, weighted: Sequence[tuple[str, int]]) -> str:
    """One of the forms, by weight."""
    return chance.choices([form for form, _ in weighted], [weight for _, weight in weighted])[0]


def units_texted(chance: random.Random, route: Route) -> int:
    """How many units a donor of `route` gives: 1 in `fixed`, never more than the route allows."""
    if route.grammar is Grammar.FIXED:
        return 1
    table = UNITS_TEXTED if route.grammar is Grammar.UNITS else THOUSANDS_TEXTED
    units = chance.choices([units for units, _ in table], [weight for _, weight in table])[0]
    return min(units, route.max_units)


def counted_text(chance: random.Random, route: Route, keyword: str, units: int) -> str:
    """A text that gives `units` by the grammar of `route`."""
    is_one = route.grammar is Grammar.UNITS and units == 1
    return filled(drawn(chance, ONE_UNIT if is_one else COUNTED[route.grammar]), route, keyword, units)


def wrong_text(chance: random.Random, route: Route, keyword: str) -> str:
    """A text that names the campaign and cannot be counted."""
    return filled(drawn(chance, WRONG[route.grammar]), route, keyword, units_texted(chance, route))


def unknown_text(chance: random.Random, route: Route, keyword: str) -> str:
    """A text that names no campaign at all, or nothing."""
    return filled(drawn(chance, UNKNOWN), route, keyword, 1)


def filled(form: str, route: Route, keyword: str, units: int) -> str:
    """`form` with its places filled."""
    return form.format(
        key=keyword,
        low=keyword.lower(),
        title=keyword.capitalize(),
        accented=keyword.translate(_ACCENTS),
        shut=keyword.replace(" ", ""),
        spread=" ".join(keyword.replace(" ", "")),
        n=units,
        wide=str(units).translate(_WIDE),
        over=route.max_units + 1,
        code=route.short_code,
        other="1407" if route.short_code != "1407" else "1408",
    )
