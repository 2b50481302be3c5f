"""What the templates are given: a campaign in the words of one language, and the groups of the front page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from campaigns.book.book import VIETNAM, Book, Campaign, CampaignState, Decision, Grammar, Organisation, Route
from campaigns.gifts.corrections import Correction
from campaigns.totals.totals import CARRIERS, UNCOUNTED_REASONS, CampaignTotals, CarrierTotals
from service.web.words import Language, Words

RECENTLY = timedelta(days=90)
"""How long a closed campaign keeps its card: its reconciliation is still going on."""

UNITS_EXAMPLE = 5
THOUSANDS_EXAMPLE = 50
TYPED = ("keyword", "pattern", "code")
"""What a donor types, set in bold."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What to text for one route: the sentence, what it is worth, other spellings."""

    sentence: Markup
    value: Markup
    aliases: str | None


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A campaign on a page. `totals` is None until this worker has seen the database."""

    slug: str
    name: str
    name_language: Language
    organiser: str
    organiser_language: Language
    state: CampaignState
    instructions: tuple[Instruction, ...]
    has_units: bool
    """Whether a number of units says anything: not where each message is one, nor where one is a thousand đồng."""
    window: str
    decisions: tuple[str, ...]
    changes_at: int | None
    goal_vnd: int | None
    totals: CampaignTotals | None
    shares: tuple[CarrierTotals, ...]
    meaning: str
    quote: str
    uncounted: str
    given_back: str
    corrections: tuple[str, ...]


def campaign_view(
    campaign: Campaign,
    book: Book,
    totals: CampaignTotals | None,
    words: Words,
    now: datetime,
    corrections: Sequence[Correction] = (),
) -> CampaignView:
    """The campaign as it stands at `now`."""
    state = campaign.state_at(now)
    name, name_language = name_of(campaign, words)
    organisation = book.organisations.get(campaign.organiser)
    organiser, organiser_language = (
        name_of(organisation, words) if organisation else (campaign.organiser, Language.VI)
    )
    changes = {CampaignState.UPCOMING: campaign.opens_at, CampaignState.OPEN: campaign.closes_at}.get(state)
    return CampaignView(
        slug=campaign.slug,
        name=name,
        name_language=name_language,
        organiser=organiser,
        organiser_language=organiser_language,
        state=state,
        instructions=tuple(_instruction(route, words) for route in campaign.routes),
        has_units=_has_units(campaign),
        window=_window("window", campaign, words),
        decisions=tuple(_decisions(campaign.decisions, words)),
        changes_at=int(changes.timestamp()) if changes else None,
        goal_vnd=totals.goal_vnd if totals else campaign.goal_vnd,
        totals=totals,
        shares=tuple(_every_share(totals)),
        meaning=_meaning(totals, words),
        quote=_quote(totals, name, words),
        uncounted=_uncounted(totals, words),
        given_back=_reversed(totals, words),
        corrections=tuple(_corrected(each, book, words) for each in corrections),
    )


def name_of(named: Campaign | Organisation, words: Words) -> tuple[str, Language]:
    """A name and the language it is in: Vietnamese where there is no other."""
    if words.language is Language.EN and named.name_en:
        return named.name_en, Language.EN
    return named.name_vi, Language.VI


def _has_units(campaign: Campaign) -> bool:
    grammars = {route.grammar for route in campaign.routes}
    return Grammar.THOUSANDS not in grammars and any(route.max_units > 1 for route in campaign.routes)


def _instruction(route: Route, words: Words) -> Instruction:
    keyword, *others = route.keywords
    code, unit = route.short_code, words.money(route.unit_vnd)
    aliases = words("aliases", list=words.either(others), keyword=keyword) if others else None
    if route.grammar is Grammar.THOUSANDS:
        count = min(THOUSANDS_EXAMPLE, route.max_units)
        limit = words("limit_thousands", max=route.max_units)
        sentence = words.rich("text_thousands", TYPED, pattern=f"{keyword} NK", limit=limit, code=code)
        amount = words.money(count * route.unit_vnd)
        value = words.rich("value_thousands", example=f"{keyword} {count}K", amount=amount)
    elif route.grammar is Grammar.UNITS and route.max_units > 1:
        count = min(UNITS_EXAMPLE, route.max_units)
        limit = words("limit_units", max=route.max_units)
        sentence = words.rich("text_units", TYPED, keyword=keyword, pattern=f"{keyword} n", limit=limit, code=code)
        amount = words.money(count * route.unit_vnd)
        value = words.rich("value_units", keyword=keyword, unit=unit, example=f"{keyword} {count}", amount=amount)
    else:
        sentence = words.rich("text_fixed", TYPED, keyword=keyword, code=code)
        value = words.rich("value_fixed", unit=unit)
    return Instruction(sentence, value, aliases)


def _window(key: str, window: Campaign | Decision, words: Words) -> str:
    return words(key, opens=words.moment(window.opens_at), closes=words.closing(window.closes_at))


def _corrected(correction: Correction, book: Book, words: Words) -> str:
    other = book.by_slug.get(correction.other)
    return words(
        "corrected_in" if correction.vnd >= 0 else "corrected_out",
        date=words.date(correction.at),
        messages=words.messages(abs(correction.messages)),
        amount=words.money(abs(correction.vnd)),
        other=name_of(other, words)[0] if other else correction.other,
        ground=words(f"ground_{correction.ground}"),
    )


def _decisions(decisions: tuple[Decision, ...], words: Words) -> Iterable[str]:
    """One line each, in the order they were recorded; a single one without a number says nothing new."""
    if len(decisions) == 1 and decisions[0].number is None:
        return
    before: Decision | None = None
    for decision in decisions:
        if before is None:
            key = "decision_first"
        else:
            key = "decision_extension" if decision.closes_at > before.closes_at else "decision_change"
        number = decision.number or words("decision_unnumbered")
        yield words(key, number=number, window=_window("window_of_decision", decision, words))
        before = decision


def _every_share(totals: CampaignTotals | None) -> Iterable[CarrierTotals]:
    """All carriers, so that a carrier's first gift fills a row instead of pushing the page down."""
    known = {share.carrier: share for share in totals.by_carrier} if totals else {}
    return (known.get(carrier) or CarrierTotals(carrier, 0, 0, 0) for carrier in CARRIERS)


def _meaning(totals: CampaignTotals | None, words: Words) -> str:
    if totals is None or totals.confirmed_vnd is None:
        return words("pledged_meaning")
    return words("pledged_confirmed", confirmed=words.money(totals.confirmed_vnd))


def _quote(totals: CampaignTotals | None, name: str, words: Words) -> str:
    if totals is None:
        return words("no_figures")
    _, vnd = totals.reversed
    given_back = words("quote_reversed", amount=words.money(vnd)) if vnd else ""
    return words(
        "quote" if totals.confirmed_vnd is None else "quote_confirmed",
        time=f"{totals.as_of.astimezone(VIETNAM):%H:%M:%S}",
        date=words.date(totals.as_of),
        messages=words.messages(totals.messages),
        amount=words.money(totals.pledged_vnd),
        confirmed=words.stage(totals.confirmed_vnd),
        reversed=given_back,
        campaign=name,
    )


def _reversed(totals: CampaignTotals | None, words: Words) -> str:
    """What was given back, in a sentence; nothing where nothing was."""
    if totals is None or not any(totals.reversed):
        return ""
    messages, vnd = totals.reversed
    return words("reversed", messages=words.messages(messages), amount=words.money(vnd))


def _uncounted(totals: CampaignTotals | None, words: Words) -> str:
    counts = totals.uncounted if totals else (0, 0, 0)
    named = zip(UNCOUNTED_REASONS, counts, strict=True)
    return words("uncounted", **{reason: words.number(count) for reason, count in named})


@dataclass(frozen=True, slots=True)
class Groups:
    """The campaigns of the front page: open first, then upcoming, then closed."""

    open: tuple[Campaign, ...]
    upcoming: tuple[Campaign, ...]
    closed: tuple[Campaign, ...]
    older: tuple[Campaign, ...]


def group(campaigns: Iterable[Campaign], now: datetime) -> Groups:
    """Open by what opened last, so that tonight's appeal stands first; upcoming by what opens next, closed by what
    ended last.
    """
    by_state: dict[CampaignState, list[Campaign]] = {state: [] for state in CampaignState}
    for campaign in campaigns:
        by_state[campaign.state_at(now)].append(campaign)
    closed = sorted(by_state[CampaignState.CLOSED], key=lambda campaign: campaign.closes_at, reverse=True)
    return Groups(
        tuple(sorted(by_state[CampaignState.OPEN], key=lambda campaign: campaign.opens_at, reverse=True)),
        tuple(sorted(by_state[CampaignState.UPCOMING], key=lambda campaign: campaign.opens_at)),
        tuple(campaign for campaign in closed if now - campaign.closes_at < RECENTLY),
        tuple(campaign for campaign in closed if now - campaign.closes_at >= RECENTLY),
    )
