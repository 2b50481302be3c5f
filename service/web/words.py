"""Words and figures as a reader of one language sees them. Every sentence stands in one of TEXT_FILES."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import orjson
from markupsafe import Markup, escape

from campaigns.book.book import VIETNAM

SCRIPT_TEXTS = (
    "thousands_mark",
    "decimal_mark",
    "money",
    "percent",
    "percent_under",
    "date",
    "months",
    "days_pad",
    "as_of",
    "messages_one",
    "messages_many",
    "ago_seconds",
    "ago_minutes",
    "ago_hours",
    "connecting",
    "live",
    "lost",
    "lost_more",
    "stale",
    "never_seen",
    "goal",
    "goal_reached",
    "uncounted",
    "pledged_meaning",
    "pledged_confirmed",
    "quote",
    "quote_confirmed",
    "quote_reversed",
    "reversed",
    "no_figures_yet",
    "copied",
    "version",
    "chart_peak",
    "chart_quiet",
)
"""What the script needs of the table; it gets nothing else."""

TEXT_FILES = ("texts.toml", "desk.toml", "desk_reattribution.toml", "desk_exports.toml", "desk_charts.toml")
"""The public pages' sentences, those of the desk, of gifts that are moved, of files that are taken along,
and of figures as they move."""
BOLD = Markup("<b>{}</b>")
WHOLE = Markup("<span>{}</span>")
FOREIGN = Markup('<span lang="{}">{}</span>')


class Language(StrEnum):
    """The languages of the pages, the default first."""

    VI = "vi"
    EN = "en"


NO_LANGUAGES: Mapping[str, Language] = MappingProxyType({})


class Words:
    """One language's texts, and how it writes money (integer VND), counts and Vietnam's time."""

    def __init__(self, language: Language, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = dict(texts)
        self._months = texts["months"].split(",")
        self.for_script = orjson.dumps({key: texts[key] for key in SCRIPT_TEXTS}).decode()

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key` with its places filled. Raises KeyError for a text that does not exist."""
        return self._texts[key].format(**values)

    def rich(
        self, key: str, bold: tuple[str, ...] = (), languages: Mapping[str, Language] = NO_LANGUAGES, **values: str
    ) -> Markup:
        """The same as markup: every value escaped and kept together, those named in `bold` set in bold type.

        Those in `languages` are marked as written in another one.
        """
        marked = {name: (BOLD if name in bold else WHOLE).format(value) for name, value in values.items()}
        marked |= {name: FOREIGN.format(language, values[name]) for name, language in languages.items()}
        return Markup(escape(self._texts[key])).format(**marked)  # noqa: S704 -- our own text, escaped

    def number(self, value: int) -> str:
        """A whole number with marks between thousands."""
        return re.sub(r"\B(?=([0-9]{3})+$)", self._texts["thousands_mark"], str(value))

    def money(self, value_vnd: int) -> str:
        """VND as this language writes it."""
        return self("money", amount=self.number(value_vnd))

    def stage(self, value_vnd: int | None) -> str:
        """The VND of a stage of money; None is a stage that nobody has recorded, and is never written as 0."""
        return self._texts["no_figures_yet"] if value_vnd is None else self.money(value_vnd)

    def messages(self, count: int) -> str:
        """A number of messages with its noun."""
        return self("messages_one" if count == 1 else "messages_many", count=self.number(count))

    def percent(self, part: int, whole: int) -> str:
        """`part` of `whole` to a tenth of a percent, rounded down so that a goal is never reached too early.

        What is less than a tenth and more than nothing is told as that.
        """
        under = 0 < part * 1000 < whole
        tenths = 1 if under else max(0, part) * 1000 // whole
        number = self.number(tenths // 10) + self._texts["decimal_mark"] + str(tenths % 10)
        return self("percent_under" if under else "percent", number=number)

    def date(self, at: datetime) -> str:
        """The day in Vietnam."""
        local = at.astimezone(VIETNAM)
        day = str(local.day).zfill(int(self._texts["days_pad"]))
        return self("date", day=day, month=self._months[local.month - 1], year=local.year)

    def moment(self, at: datetime) -> str:
        """Minute and day in Vietnam; with its seconds where there are any: texts count from that second on."""
        local = at.astimezone(VIETNAM)
        return self("moment", time=f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}", date=self.date(at))

    def typed(self, value: str) -> str:
        """What a field of a date or a time in Vietnam holds; empty where that is none."""
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return ""
        if at.tzinfo is not None:
            return ""
        local = at.replace(tzinfo=VIETNAM)
        return self.moment(local) if len(value) > len("2026-10-17") else self.date(local)

    def minute(self, at: datetime) -> str:
        """The minute in Vietnam, of a day that is plain from where it stands."""
        return f"{at.astimezone(VIETNAM):%H:%M}"

    def closing(self, at: datetime) -> str:
        """An exclusive end as decisions write it: midnight is 24:00 of the day before."""
        local = at.astimezone(VIETNAM)
        if (local.hour, local.minute, local.second) == (0, 0, 0):
            return self("moment", time="24:00", date=self.date(local - timedelta(days=1)))
        return self.moment(local)

    def as_of(self, at: datetime) -> str:
        """When figures were true, to the second, never rounded up."""
        return self("as_of", time=f"{at.astimezone(VIETNAM):%H:%M:%S}", date=self.date(at))

    def tenths(self, count: int) -> str:
        """So many tenths as a number with one decimal."""
        return f"{self.number(count // 10)}{self._texts['decimal_mark']}{count % 10}"

    def left(self, seconds: float) -> str:
        """How long something still takes: days, hours and minutes, never more than it is."""
        minutes = max(0, int(seconds)) // 60
        days, hours = minutes // 1440, minutes // 60 % 24
        key = "left_days" if days else "left_hours" if hours else "left_minutes"
        return self(key, days=days, hours=hours, minutes=minutes % 60)

    def length(self, seconds: int) -> str:
        """A time after something, to the minute where it is short."""
        minutes = seconds // 60
        if minutes >= 1440:
            return self("length_days", days=minutes // 1440, hours=minutes // 60 % 24)
        return self("length_hours", hours=minutes // 60, minutes=minutes % 60)

    def ago(self, seconds: float) -> str:
        """An age in its largest whole unit."""
        whole = int(seconds)
        for size, key in ((3600, "ago_hours"), (60, "ago_minutes")):
            if whole >= size:
                return self(key, count=self.number(whole // size))
        return self("ago_seconds", count=whole)

    def either(self, items: Iterable[str]) -> str:
        """`a`, `a or b`, `a, b or c`."""
        *first, last = items
        return self("either", first=", ".join(first), last=last) if first else last


def read_texts() -> dict[str, dict[str, str]]:
    """The table of texts: key, then language. Raises KeyError for a key that two files have."""
    table: dict[str, dict[str, str]] = {}
    for name in TEXT_FILES:
        read = tomllib.loads((files("service.web") / name).read_text(encoding="utf-8"))
        if twice := table.keys() & read.keys():
            raise KeyError(*sorted(twice))
        table |= read
    return table


@cache
def load_words() -> Mapping[Language, Words]:
    """Both languages, read once a process. Raises KeyError when a text lacks one."""
    table = read_texts()
    return MappingProxyType(
        {language: Words(language, {key: entry[language] for key, entry in table.items()}) for language in Language}
    )
