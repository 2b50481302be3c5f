"""The tables of the apply file, key by key, and a sentence for each way in which a value can be wrong."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from campaigns.book.book import Grammar
from campaigns.book.grammar import fold

AMOUNT_VND_MAX = 2**53
"""Above it JavaScript no longer counts one by one."""
THOUSANDS_UNIT_VND = 1_000
UNITS_MAX = {Grammar.FIXED: 9_999, Grammar.UNITS: 9_999, Grammar.THOUSANDS: 99_999}
"""As many as the digits that the grammar reads."""
KEYWORD_LETTERS_MAX = 40
KEYWORDS_MAX = 50
YEARS = range(2000, 2101)


def _plain(text: str) -> str:
    if not text.strip() or any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        raise ValueError("must hold letters and no control characters; correct it")
    return text


def _within_years(at: datetime) -> datetime:
    if at.year not in YEARS:
        raise ValueError(f"must lie in the years {YEARS[0]} to {YEARS[-1]}; correct it")
    return at.astimezone(UTC)


def _folded_keyword(written: str) -> str:
    keyword = fold(written)
    if not keyword[:1].isalpha():
        raise ValueError("must begin with a letter once folded; donors could not text it")
    if len(keyword) > KEYWORD_LETTERS_MAX:
        raise ValueError(f"must not be longer than {KEYWORD_LETTERS_MAX} characters; shorten it")
    return keyword


def _each_once(keywords: list[str]) -> list[str]:
    if len(set(keywords)) < len(keywords):
        raise ValueError("holds a keyword twice, once folded; remove one of them")
    return keywords


Name = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_plain)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,80}$")]
Moment = Annotated[AwareDatetime, AfterValidator(_within_years)]
Vnd = Annotated[int, Field(ge=1, le=AMOUNT_VND_MAX)]
Keyword = Annotated[str, Field(max_length=200), AfterValidator(_folded_keyword)]


class _Table(BaseModel):
    # Strict: TOML has types, and 20_000.0 or "20000" where an integer is meant is a mistake to be told.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


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
    category: Literal[
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
    organiser: Code
    decision: Name | None = None
    opens_at: Moment
    closes_at: Moment
    goal_vnd: Vnd | None = None


class RouteTable(_Table):
    """A `[[campaign.route]]`. Which of the optional keys a grammar requires is judged where it is read."""

    short_code: Annotated[str, Field(pattern=r"^[0-9]{3,6}$")]
    keywords: Annotated[list[Keyword], Field(min_length=1, max_length=KEYWORDS_MAX), AfterValidator(_each_once)]
    grammar: Literal["fixed", "units", "thousands"]
    unit_vnd: Vnd | None = None
    max_units: Annotated[int, Field(ge=1)] | None = None


SENTENCES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a key of this table; correct its name or remove it",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty; fill it in",
    "string_too_long": "must not be longer than {max_length} characters; shorten it",
    "int_type": "must be a whole number; write it without quotes, point or fraction",
    "greater_than_equal": "must be at least {ge}; correct it",
    "less_than_equal": "must be at most {le}; correct it",
    "literal_error": "must be one of {expected}; correct it",
    "datetime_type": "must be a time with a zone, as in 2026-10-17T00:00:00+07:00",
    "timezone_aware": "needs a time zone, as in 2026-10-17T00:00:00+07:00",
    "list_type": "must be a list; put it in square brackets",
    "too_short": "must not be empty; add at least one",
    "too_long": "holds more than {max_length}; split it",
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be a table of keys and values",
}
"""By pydantic's type of the error. What is not listed is told in pydantic's own words."""

PATTERN_SENTENCES = {
    r"^[a-z0-9-]{1,80}$": "must be 1 to 80 of a-z, 0-9 and -; correct it",
    r"^[0-9]{3,6}$": "must be 3 to 6 digits; correct it",
}


def sentence(error: Mapping[str, Any]) -> str:
    """What is wrong, and what to do, in a sentence without the value itself. `error` is one of pydantic's."""
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return PATTERN_SENTENCES.get(pattern, f"must look like {pattern}; correct it")
    if error["type"] in SENTENCES:
        return SENTENCES[error["type"]].format(**context)
    return str(error["msg"]).removeprefix("Value error, ")
