"""Which routes would be met by one text at one moment, so that nobody could say whose gift it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from campaigns.book.apply_entries import ApplyProblem, CampaignEntry, SourcePosition
from campaigns.book.book import Decision, Route
from campaigns.book.sentences import Sentence, say


@dataclass(frozen=True, slots=True)
class Claim:
    """A campaign's claim to the keywords of a route, within the window of `decision`.

    `is_stored`: the route is not of the file but of the stored book. Its `place` is then that of its campaign in
    the file, which may move the window, or None where the file does not name the campaign.
    """

    slug: str
    decision: Decision
    route: Route
    place: SourcePosition | None
    is_stored: bool = False


def clashes(claims: Iterable[Claim]) -> Iterator[ApplyProblem]:
    """Every pair of claims that cannot stand together, told at the place of the later one in the file.

    Two campaigns clash when some text would meet their keywords equally long, on one code, at one moment.
    As every blank of a keyword may be left out, that is whenever the keywords are equal without blanks. One
    campaign may repeat a keyword's form (an alias), but only with the same value.
    """
    held: dict[tuple[str, str], list[tuple[Claim, str]]] = {}
    for claim in claims:
        told: set[str] = set()
        for keyword in claim.route.keywords:
            group = held.setdefault((claim.route.short_code, keyword.replace(" ", "")), [])
            for other, other_keyword in group:
                # Told from the side that the file can change; a pair of the stored book alone was judged before.
                pair = (claim, keyword, other, other_keyword)
                ours, own_keyword, theirs, their_keyword = pair if claim.place else (*pair[2:], *pair[:2])
                reason = _reason(ours, own_keyword, theirs, their_keyword)
                if reason and ours.place is not None and other.slug not in told:
                    told.add(other.slug)
                    yield ApplyProblem(ours.place.toml_path, ours.place.line, reason)
            group.append((claim, keyword))


def claims_of(campaigns: Iterable[CampaignEntry]) -> Iterator[Claim]:
    """The claims that the routes of an apply file make."""
    for entry in campaigns:
        for each in entry.routes:
            place = SourcePosition(f"{each.place.toml_path}.keywords", each.place.of("keywords"))
            yield Claim(entry.slug, entry.decision, each.route, place)


def _reason(claim: Claim, keyword: str, other: Claim, other_keyword: str) -> Sentence | None:
    code = claim.route.short_code
    if claim.slug == other.slug:
        if claim.route is other.route:
            return None
        if keyword == other_keyword and (claim.is_stored or other.is_stored):
            return None  # that it says another thing is judged where the campaign is: it may be a correction
        if _terms(claim.route) != _terms(other.route):
            return say(
                '"{keyword}" on {code} has another grammar, unit_vnd or max_units than "{other}" of this campaign, '
                "and one text meets both; give both the same, or choose another keyword",
                keyword=keyword, code=code, other=other_keyword,
            )  # fmt: skip
        if keyword == other_keyword:
            return say('"{keyword}" on {code} stands twice in this campaign; remove one', keyword=keyword, code=code)
        return None
    ours, theirs = claim.decision, other.decision
    if ours.opens_at < theirs.closes_at and theirs.opens_at < ours.closes_at:
        return say(
            '"{keyword}" on {code} meets the same texts as "{other}" of campaign {slug} while both are open; '
            "choose another keyword, code or window",
            keyword=keyword, code=code, other=other_keyword, slug=other.slug,
        )  # fmt: skip
    return None


def _terms(route: Route) -> tuple[str, int, int]:
    return route.grammar, route.unit_vnd, route.max_units
