"""What a change of the book says, as people read it: in their language, with times as everywhere at the desk."""

import re
from datetime import datetime

from campaigns.book.sentences import in_vietnamese
from campaigns.book.stored_lines import again
from service.web.words import Language, Words

_TIME = re.compile(r"(?P<until> (?:to|đến) )?(?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\+07:00)")


def spoken(sentence: str, words: Words) -> str:
    """A sentence about the book in the reader's language. A time behind "to" is an end, which no longer counts."""

    def told(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found["at"])
        return f"{found['until']}{words.closing(at)}" if found["until"] else words.moment(at)

    text = in_vietnamese(sentence) if words.language is Language.VI else str(sentence)
    return _TIME.sub(told, text)


def spoken_again(line: str, words: Words) -> str:
    """The same for a line of the book's history, which is kept in English."""
    return spoken(again(line), words)
