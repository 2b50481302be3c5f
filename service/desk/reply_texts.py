"""The SMS by which proposed campaigns would answer their donors: at their longest, with encoding and length."""

from typing import NamedTuple

from campaigns.book.apply_entries import ApplyFile
from campaigns.book.book import Book
from campaigns.book.replies import SMS_LETTERS_MAX, ReplyKind, longest, template_of

ENCODING = "GSM-7"
"""The default alphabet of an SMS, seven bits a letter (3GPP TS 23.038, section 6.2.1): no other letter is applied."""


class ReplyText(NamedTuple):
    """A reply at the longest values that gifts can fill it with. `kind` is a ReplyKind; lengths are in septets."""

    campaign: str
    kind: str
    text: str
    encoding: str
    septets: int
    septets_max: int
    messages: int
    """So many SMS it takes: a text that takes two is refused before it comes here."""


def reply_texts(file: ApplyFile, book: Book) -> list[ReplyText]:
    """Those of every campaign of `file`; `book` has the routes that a campaign keeps beside those of the file."""
    found = []
    for entry in file.campaigns:
        stored = book.by_slug.get(entry.slug)
        routes = [*(each.route for each in entry.routes), *(() if stored is None else stored.routes)]
        for kind in ReplyKind:
            template = template_of(entry.replies, kind)
            if template is not None:
                text = longest(template, entry.replies, routes)
                found.append(ReplyText(entry.slug, kind.value, text, ENCODING, len(text), SMS_LETTERS_MAX, 1))
    return found
