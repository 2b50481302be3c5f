"""What a change of the book says, as people read it: in their language, with times as everywhere at the desk."""

import re
from datetime import datetime
from typing import get_args

from campaigns.book.apply_tables import GrammarName
from campaigns.book.sentences import Sentence, in_vietnamese
from campaigns.book.stored_lines import again
from campaigns.book.vietnamese import VIETNAMESE
from service.desk.plain_sentences import PLAIN
from service.desk.proposal_forms import FIELDS
from service.web.words import Language, Words

GRAMMARS = get_args(GrammarName)
AMOUNT = re.compile(r"[0-9_]{1,30}")
"""As an apply file writes a number."""
_TIME = re.compile(r"(?P<until> (?:to|đến) )?(?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\+07:00)")


def spoken(sentence: str, words: Words) -> str:
    """A sentence about the book in the reader's language. A time behind "to" is an end, which no longer counts."""

    def told(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found["at"])
        return f"{found['until']}{words.closing(at)}" if found["until"] else words.moment(at)

    return _TIME.sub(told, _in_words(sentence, words))


def _in_words(sentence: object, words: Words) -> str:
    if not isinstance(sentence, Sentence):
        return str(sentence)
    is_vietnamese = words.language is Language.VI
    if sentence.template is None:
        return in_vietnamese(sentence) if is_vietnamese else str(sentence)
    own = VIETNAMESE[sentence.template] if is_vietnamese else sentence.template
    plain = PLAIN[sentence.template][0 if is_vietnamese else 1] if sentence.template in PLAIN else own
    amount = str(sentence.values.get("key", "")).endswith("_vnd")
    values = {name: _value(name, value, words, is_vnd=amount) for name, value in sentence.values.items()}
    return plain.format(**values, **labels(words))


def _value(name: str, value: object, words: Words, *, is_vnd: bool) -> str:
    """What stands in a place of a sentence: keys and words of the file by what the form calls them."""
    told = _in_words(value, words)
    if name == "key" and told in FIELDS:
        return label(told, words)
    if name == "grammar" and told in GRAMMARS:
        return words(f"grammar_{told}")
    if is_vnd and AMOUNT.fullmatch(told):
        return words.money(int(told))
    return told


def label(field: str, words: Words) -> str:
    """What the form calls a field, without what stands in brackets behind it."""
    return words(f"field_{field}").partition(" (")[0]


def labels(words: Words) -> dict[str, str]:
    """The labels and forms of a text that a sentence of PLAIN may name."""
    forms = {f"grammar_{each}": words(f"grammar_{each}") for each in GRAMMARS}
    return {f"field_{each}": label(each, words) for each in FIELDS} | forms


def spoken_again(line: str, words: Words) -> str:
    """The same for a line of the book's history, which is kept in English."""
    return spoken(again(line), words)
