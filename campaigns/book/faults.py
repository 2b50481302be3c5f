"""What pydantic finds wrong in a table, as sentences for a person: the one translator of the apply file."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from campaigns.book.sentences import Sentence, say
from campaigns.book.vietnamese import VIETNAMESE

Place = tuple[str | int, ...]

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
    "tuple_type": "must be a list; put it in square brackets",
    "too_short": "must not be empty; add at least one",
    "too_long": "holds more than {max_length}; split it",
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be a table of keys and values",
}
"""By pydantic's type of the error. What is not listed is told in pydantic's own words."""

PATTERN_SENTENCES = {
    r"^[a-z0-9-]{1,60}$": "must be 1 to 60 of a-z, 0-9 and -; correct it",
    r"^[0-9a-f]{64}$": "must be 64 of 0-9 and a-f: the SHA-256 of a certificate's public key; correct it",
    r"^[0-9]{3,6}$": "must be 3 to 6 digits; correct it",
}


def faults(error: ValidationError) -> Iterator[tuple[Place, str]]:
    """Each place that is wrong, and why. A reason never holds the value itself.

    A list with a wrong item counts as too short as well: the item is what is told.
    """
    found = error.errors(include_url=False, include_input=False)
    inner = {fault["loc"][:length] for fault in found for length in range(1, len(fault["loc"]))}
    for fault in found:
        if fault["loc"] not in inner:
            yield fault["loc"], sentence(fault)


def sentence(fault: Mapping[str, Any]) -> str:
    """What is wrong, and what to do. `fault` is one of pydantic's."""
    context = fault.get("ctx", {})
    if fault["type"] == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        if pattern in PATTERN_SENTENCES:
            return say(PATTERN_SENTENCES[pattern])
        return say("must look like {pattern}; correct it", pattern=pattern)
    if fault["type"] == "literal_error":
        # pydantic puts the last of several behind an "or" of English.
        return say(SENTENCES["literal_error"], expected=str(context["expected"]).replace(" or ", ", "))
    if fault["type"] in SENTENCES:
        return say(SENTENCES[fault["type"]], **context)
    ours = context.get("error")
    if isinstance(ours, ValueError) and ours.args and isinstance(ours.args[0], Sentence):
        return ours.args[0]
    own = str(fault["msg"]).removeprefix("Value error, ")
    # What a protocol itself says of its settings; protocols do not know this table.
    return say(own) if own in VIETNAMESE else own
