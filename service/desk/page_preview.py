"""The public page of a proposed campaign as it would look, for those who may see the proposal."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from campaigns.book.apply_entries import ApplyRefused
from campaigns.book.book import Book, Campaign
from campaigns.book.book_after import book_after
from campaigns.book.campaign_changes import changes_of
from campaigns.book.store import load_stored
from campaigns.lifecycle.proposals import Proposal
from service.desk.api import About, bad_parameter, not_found, query, reading
from service.desk.approvals import Approvals
from service.desk.desk import Desk
from service.desk.door import Row, Visit
from service.desk.proposing import OPEN_STATES, unfit
from service.desk.roles import Act
from service.web.words import Language, Words


class PageValues(Protocol):
    """What campaign.html is filled with for a campaign of a book that is not in force."""

    async def __call__(
        self, campaign: Campaign, book: Book, words: Words, now: datetime, *, is_new: bool
    ) -> Mapping[str, Any]:
        """The values at `now`."""


def rows(desk: Desk, values: PageValues) -> list[Row]:
    """The address. `values` are made where the public pages are, which the desk does not know."""
    return [Row("GET", "/proposals/{id}/page", Act.SEE_PROPOSALS, PagePreviews(desk, values).show)]


def api_rows(desk: Desk, values: PageValues) -> list[Row]:
    """The same for programs."""
    previews, asked = (
        PagePreviews(desk, values),
        (
            query("campaign", "one of several", type="string", maxLength=80),
            query("lang", "the page's language", type="string", enum=list(Language), default=Language.VI),
        ),
    )
    about = About("getProposalPage", "The public page as it would look", ("text/html",), asked, None, (404, 409))
    return [Row("GET", "/proposals/{id}/page", Act.SEE_PROPOSALS, reading(previews.show_by_api), about)]


class PagePreviews:
    """Handler of previews."""

    def __init__(self, desk: Desk, values: PageValues) -> None:
        self._desk = desk
        self._values = values
        self._approvals = Approvals(desk)

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/proposals/{id}/page`: as if it were approved now; `?campaign=` names one of several. Of what is
        decided there is none: the public page says it.
        """
        proposal = await self._approvals.found(request, visit)
        try:
            page = None if proposal is None else await self._page(request, visit, proposal)
        except ApplyRefused:
            return await self._approvals.shown(request, visit, 409, "proposal_refused")
        return page or await self._desk.page("desk_refused.html", visit, 404, why="nowhere")

    async def show_by_api(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /api/v1/desk/proposals/{id}/page?campaign=&lang=`: the same page."""
        asked = request.query.get("lang", Language.VI)
        if asked not in set(Language):
            raise bad_parameter("lang")
        visit = replace(visit, words=self._desk.words[Language(asked)], query=tuple(request.query.items()))
        proposal = await self._approvals.found(request, visit)
        try:
            page = None if proposal is None else await self._page(request, visit, proposal)
        except ApplyRefused as refused:
            raise unfit(refused) from None
        if page is None:
            raise not_found()
        return page

    async def _page(self, request: web.Request, visit: Visit, proposal: Proposal) -> web.Response | None:
        """The page; None where the proposal would open nothing of this name. Raises ApplyRefused."""
        if proposal.state not in OPEN_STATES:
            return None
        now, file = self._desk.clock(), proposal.file
        async with (
            self._desk.borrow() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            stored = await load_stored(connection)
        book = book_after(stored, changes_of(file, [], stored, now))
        slugs = [each.slug for each in file.campaigns]
        slug = request.query.get("campaign") or next(iter(slugs), "")
        if slug not in slugs:
            return None
        is_new = slug not in stored.book.by_slug
        values = await self._values(book.by_slug[slug], book, visit.words, now, is_new=is_new)
        return await self._desk.page("campaign_preview.html", visit, number=proposal.id, is_new=is_new, **values)
