"""Sentences for whoever writes an apply file: each is English, and carries the same in Vietnamese."""

from collections.abc import Mapping
from types import MappingProxyType

from campaigns.book.vietnamese import VIETNAMESE

NO_VALUES: Mapping[str, object] = MappingProxyType({})


class Sentence(str):
    """An English text with its Vietnamese form. It is a `str`: where no language is asked for, it reads English."""

    vietnamese: str
    template: str | None
    """The row that it was said by, to be said in other words elsewhere; None where there is none."""
    values: Mapping[str, object]

    def __new__(
        cls, english: str, vietnamese: str, template: str | None = None, values: Mapping[str, object] = NO_VALUES
    ) -> "Sentence":
        """Both forms, ready to be shown."""
        made = super().__new__(cls, english)
        made.vietnamese, made.template, made.values = vietnamese, template, values
        return made


def say(template: str, **values: object) -> Sentence:
    """`template` with its `values` filled in, in both languages. Raises KeyError where VIETNAMESE has no such row.

    A value that is a Sentence itself is filled in by the form of each language.
    """
    translated = {name: in_vietnamese(value) if isinstance(value, str) else value for name, value in values.items()}
    return Sentence(template.format(**values), VIETNAMESE[template].format(**translated), template, values)


def join(separator: str, sentences: "list[Sentence] | list[str]") -> Sentence:
    """Several, one behind the other."""
    return Sentence(separator.join(sentences), separator.join(in_vietnamese(each) for each in sentences))


def in_vietnamese(text: str) -> str:
    """The Vietnamese form; `text` itself where it has none, as a name or a number has."""
    return text.vietnamese if isinstance(text, Sentence) else text


def vnd(amount: int) -> Sentence:
    """An amount of money as it is read in each language: 5,000,000,000 VND, 5.000.000.000 đồng."""
    return Sentence(f"{amount:,} VND", f"{amount:,} đồng".replace(",", "."))
