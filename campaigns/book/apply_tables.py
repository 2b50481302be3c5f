"""The tables of the apply file, key by key: what each may hold."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from campaigns.book.book import Grammar
from campaigns.book.grammar import fold
from campaigns.book.sentences import say

AMOUNT_VND_MAX = 2**53
"""Above it JavaScript no longer counts one by one."""
THOUSANDS_UNIT_VND = 1_000
UNITS_MAX = {Grammar.FIXED: 9_999, Grammar.UNITS: 9_999, Grammar.THOUSANDS: 99_999}
"""As many as the digits that the grammar reads."""
KEYWORD_LETTERS_MAX = 40
KEYWORDS_MAX = 50
YEARS = range(2000, 2101)
CODE = r"[a-z0-9-]{1,80}"
TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional controls (Unicode, UAX 9), by which a name would be shown as another one."""


def _plain(text: str) -> str:
    if not text.strip() or any(map(_is_control, text)):
        raise ValueError(say("must hold letters and no control characters; correct it"))
    return text


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in TURNS


def _within_years(at: datetime) -> datetime:
    if at.year not in YEARS:
        raise ValueError(say("must lie in the years {first} to {last}; correct it", first=YEARS[0], last=YEARS[-1]))
    if at.microsecond:
        raise ValueError(say("must be a whole second; leave its fraction out"))
    return at.astimezone(UTC)


def _keyword(written: str) -> str:
    keyword = fold(written)
    if not keyword[:1].isalpha():
        raise ValueError(say("must begin with a letter once folded; donors could not text it"))
    if len(keyword) > KEYWORD_LETTERS_MAX:
        raise ValueError(
            say("must not be longer than {max_length} characters; shorten it", max_length=KEYWORD_LETTERS_MAX)
        )
    return written


def _each_once(keywords: list[str]) -> list[str]:
    if len({fold(each) for each in keywords}) < len(keywords):
        raise ValueError(say("holds a keyword twice, once folded; remove one of them"))
    return keywords


def _code(written: str) -> str:
    if re.fullmatch(CODE, written):
        return written
    if re.fullmatch(CODE, written.lower()):
        raise ValueError(say('must be written in small letters; did you mean "{code}"?', code=written.lower()))
    raise ValueError(say("must be 1 to 80 of a-z, 0-9 and -; correct it"))


Name = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_plain)]
Code = Annotated[str, AfterValidator(_code)]
Moment = Annotated[AwareDatetime, AfterValidator(_within_years)]
Vnd = Annotated[int, Field(ge=1, le=AMOUNT_VND_MAX)]
Keyword = Annotated[str, Field(max_length=200), AfterValidator(_keyword)]
Keywords = Annotated[list[Keyword], Field(min_length=1, max_length=KEYWORDS_MAX), AfterValidator(_each_once)]
ShortCode = Annotated[str, Field(pattern=r"^[0-9]{3,6}$")]
Hotline = Annotated[str, Field(min_length=1, max_length=30)]
ReplyTemplate = Annotated[str, Field(min_length=1, max_length=300)]
"""What it may hold is judged with the campaign's other texts (replies.py)."""


Category = Literal[
    "poverty",
    "storm_flood",
    "drought_salinity",
    "epidemic",
    "fire",
    "incident",
    "agent_orange",
    "sea_islands",
    "children",
    "other",
]
GrammarName = Literal["fixed", "units", "thousands"]


class _Table(BaseModel):
    # Strict: TOML has types, and 20_000.0 or "20000" where an integer is meant is a mistake to be told. Built at its
    # first use: no start of a worker waits for it.
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class OrganisationTable(_Table):
    """An `[[organisation]]`."""

    code: Code
    name_vi: Name
    name_en: Name | None = None


class CampaignTable(_Table):
    """A `[[campaign]]` without its routes. The window is `opens_at <= t < closes_at`."""

    slug: Code
    name_vi: Name
    name_en: Name | None = None
    category: Category
    organiser: Code
    decision: Name | None = None
    opens_at: Moment
    closes_at: Moment
    goal_vnd: Vnd | None = None
    hotline: Hotline | None = None
    reply_thank_you: ReplyTemplate | None = None
    reply_wrong_form: ReplyTemplate | None = None
    reply_closed: ReplyTemplate | None = None
    withdrawn: Literal[False] = False


class WithdrawnCampaignTable(_Table):
    """A `[[campaign]]` with `withdrawn = true`: its other keys may stay, and mean nothing any more."""

    slug: Code
    name_vi: Name | None = None
    name_en: Name | None = None
    category: Category | None = None
    organiser: Code | None = None
    decision: Name | None = None
    opens_at: Moment | None = None
    closes_at: Moment | None = None
    goal_vnd: Vnd | None = None
    hotline: Hotline | None = None
    reply_thank_you: ReplyTemplate | None = None
    reply_wrong_form: ReplyTemplate | None = None
    reply_closed: ReplyTemplate | None = None
    withdrawn: Literal[True]


class RouteTable(_Table):
    """A `[[campaign.route]]`. Which of the optional keys a grammar requires is judged where it is read."""

    short_code: ShortCode
    keywords: Keywords
    grammar: GrammarName
    unit_vnd: Vnd | None = None
    max_units: Annotated[int, Field(ge=1)] | None = None
    withdrawn: Literal[False] = False


class WithdrawnRouteTable(_Table):
    """A `[[campaign.route]]` with `withdrawn = true`: its other keys may stay, and mean nothing any more."""

    short_code: ShortCode
    keywords: Keywords
    grammar: GrammarName | None = None
    unit_vnd: Vnd | None = None
    max_units: Annotated[int, Field(ge=1)] | None = None
    withdrawn: Literal[True]
