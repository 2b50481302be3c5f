"""What a proposed keyword lies beside on its short code: who had it before, and what is one slip of a finger away."""

from typing import NamedTuple

from campaigns.book.apply_entries import ApplyFile
from campaigns.book.book import Book, Campaign
from service.desk.forms import is_one_off


class Neighbour(NamedTuple):
    """A keyword of another campaign. `kind`: `same`, at another time; or `near`, at the same time."""

    kind: str
    keyword: str
    short_code: str
    other: Campaign
    other_keyword: str


def neighbours(file: ApplyFile, book: Book) -> list[Neighbour]:
    """Those of every keyword that `file` names. Two campaigns with one keyword at one time are refused before."""
    found = []
    for entry in file.campaigns:
        decision = entry.decision
        for proposed in (each.route for each in entry.routes):
            for other in book.campaigns:
                if other.slug == entry.slug:
                    continue
                is_parallel = other.opens_at < decision.closes_at and decision.opens_at < other.closes_at
                for route in other.routes:
                    if route.short_code != proposed.short_code:
                        continue
                    for keyword in proposed.keywords:
                        for beside in route.keywords:
                            if keyword == beside:
                                found.append(Neighbour("same", keyword, route.short_code, other, beside))
                            elif is_parallel and is_one_off(keyword, beside):
                                found.append(Neighbour("near", keyword, route.short_code, other, beside))
    return found
