"""The public JSON objects as pydantic models: what /api/v1/openapi.json says, and what tests hold answers against."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from campaigns.gifts.reattribution import Ground
from campaigns.totals.rollups import Bucket
from campaigns.totals.totals import Carrier

VND = Annotated[int, Field(ge=0, description="integer VND")]
COUNT = Annotated[int, Field(ge=0)]


class _Object(BaseModel):
    # Built at its first use: no start waits for what it may not need.
    model_config = ConfigDict(defer_build=True, extra="forbid")


class CarrierShare(_Object):
    """A carrier's part of a sum."""

    carrier: Carrier
    messages: int
    units: int
    pledged_vnd: int


class Uncounted(_Object):
    """Messages whose keyword named this campaign but that did not count."""

    wrong_syntax: COUNT
    before_open: COUNT
    after_close: COUNT


class Reversed(_Object):
    """What was given back: `messages` and `pledged_vnd` of the totals are already net of it."""

    messages: Annotated[COUNT, Field(description="messages given back whole")]
    vnd: Annotated[VND, Field(description="of all reversals, partial ones too")]


NO_SOURCE = "; null: this stage has no source for the campaign yet"


class Totals(_Object):
    """A campaign's figures at one version. Equal version, equal bytes; ignore a lower one. Never add."""

    campaign: str
    version: COUNT
    as_of: Annotated[AwareDatetime, Field(description="the database's time of the newest change included")]
    messages: COUNT
    units: COUNT
    pledged_vnd: Annotated[VND, Field(description="pledged by donors, not yet confirmed by the carriers")]
    confirmed_vnd: Annotated[VND | None, Field(description="the carriers' billing figure" + NO_SOURCE)]
    received_vnd: Annotated[VND | None, Field(description="transferred to the fund" + NO_SOURCE)]
    disbursed_vnd: Annotated[VND | None, Field(description="spent by the fund" + NO_SOURCE)]
    goal_vnd: VND | None
    reversed: Reversed
    by_carrier: list[CarrierShare]
    uncounted: Uncounted


class ByReason(_Object):
    """Messages without a campaign, by reason."""

    unknown_keyword: COUNT
    unknown_short_code: COUNT
    empty_text: COUNT


class OrphanCharges(_Object):
    """Succeeded charges whose message has not come."""

    count: COUNT
    vnd: Annotated[COUNT | None, Field(description="null: their sum is beyond 2^53 - 1")]


class Unallocated(_Object):
    """What arrived and belongs to no campaign."""

    version: COUNT
    as_of: AwareDatetime | None
    messages: COUNT
    by_reason: ByReason
    orphan_charges: OrphanCharges


class AllTotals(_Object):
    """Every campaign's totals, and what belongs to none."""

    campaigns: list[Totals]
    unallocated: Annotated[Unallocated | None, Field(description="null: not read since this worker started")]


class DecisionObject(_Object):
    """A written decision and its window: opens_at <= t < closes_at."""

    decision: str | None
    opens_at: AwareDatetime
    closes_at: AwareDatetime


class RouteObject(_Object):
    """What to text: a keyword to a short code."""

    short_code: str
    keywords: list[str]
    grammar: Literal["fixed", "units", "thousands"]
    unit_vnd: VND
    max_units: Annotated[int, Field(ge=1)]


class CampaignObject(_Object):
    """A campaign: names, window by its newest decision, routes and goal."""

    slug: str
    name_vi: str
    name_en: Annotated[str, Field(description="the Vietnamese one where there is no other")]
    category: str
    organiser: str
    state: Literal["upcoming", "open", "closed"]
    opens_at: AwareDatetime
    closes_at: AwareDatetime
    decisions: list[DecisionObject]
    routes: list[RouteObject]
    goal_vnd: VND | None


class Campaigns(_Object):
    """Every campaign, in the order they were applied."""

    campaigns: list[CampaignObject]


class PointObject(_Object):
    """The sum of one bucket, by message time; reversals count in the minute they came. Not cumulative."""

    at: AwareDatetime
    messages: int
    units: int
    pledged_vnd: int
    by_carrier: list[CarrierShare]


class SeriesObject(_Object):
    """Sums per bucket in Asia/Ho_Chi_Minh; empty buckets are left out. `from` inclusive, `to` exclusive."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    campaign: str
    version: COUNT
    bucket: Bucket
    since: Annotated[AwareDatetime, Field(alias="from")]
    until: Annotated[AwareDatetime, Field(alias="to")]
    points: list[PointObject]


class CorrectionObject(_Object):
    """Gifts that were moved between two campaigns, by two people; what this campaign gave is negative."""

    number: COUNT
    at: AwareDatetime
    messages: int
    units: int
    vnd: Annotated[int, Field(description="integer VND")]
    other_campaign: str
    ground: Annotated[
        Ground, Field(description="a wrong keyword was announced; or a carrier, donors or the portal were mistaken")
    ]


class CorrectionsObject(_Object):
    """By what a campaign's total changed that is neither a gift nor a carrier's reversal, the oldest first."""

    campaign: str
    corrections: list[CorrectionObject]


class StreamState(_Object):
    """The data of a stream's event `state`, for those who ask with `?state=true`."""

    age_seconds: Annotated[
        Annotated[float, Field(ge=0)] | None,
        Field(description="since this server last read its database; above 2 figures are not live; null: not yet"),
    ]
    book_version: Annotated[COUNT, Field(description="after another one ask for /api/v1/campaigns again")]
    withdrawn: Annotated[
        bool, Field(description="the one campaign of this stream is in the book no more: take its figures down")
    ]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = None
