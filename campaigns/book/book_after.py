"""The book as it would be by changes that nobody has written yet. Pure; what writes them is recording.py."""

from dataclasses import replace

from campaigns.book.book import Book, Campaign
from campaigns.book.changes import Changes, Stored


def book_after(stored: Stored, changes: Changes) -> Book:
    """The next version. Ids of new campaigns tell them apart and mean nothing: the database gives them others."""
    book = stored.book
    known = {each.id: each for each in (*book.campaigns, *changes.campaigns)}
    behind = max((*known, *stored.withdrawn.values()), default=0)
    for number, entry in enumerate(changes.new_campaigns, behind + 1):
        known[number] = Campaign(
            number, entry.slug, entry.name_vi, entry.name_en, entry.category, entry.organiser, entry.goal_vnd,
            (), (), entry.replies,
        )  # fmt: skip
    ids = {each.slug: each.id for each in known.values()}
    for campaign_id, count in changes.withdrawn_decisions:
        decisions = known[campaign_id].decisions
        kept = decisions[: 0 if count is None else len(decisions) - count]
        known[campaign_id] = replace(known[campaign_id], decisions=kept)
    for campaign_id, gone in changes.withdrawn_routes:
        routes = tuple(each for each in known[campaign_id].routes if each != gone)
        known[campaign_id] = replace(known[campaign_id], routes=routes)
    for slug, decision in changes.decisions:
        campaign = known[ids[slug]]
        known[campaign.id] = replace(campaign, decisions=(*campaign.decisions, decision))
    for slug, route, _ in changes.routes:
        campaign = known[ids[slug]]
        known[campaign.id] = replace(campaign, routes=(*campaign.routes, route))
    organisations = {**book.organisations, **{each.code: each for each in changes.organisations}}
    return Book(book.version + 1, [each for each in known.values() if each.decisions], organisations.values())
