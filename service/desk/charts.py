"""Charts of the desk: up to four campaigns on one axis, by the clock or by the time since each of them opened.

The server sums and writes; the browser only draws. A question is asked in the pulse's line, so that all who look at
charts and at the first page ask the database once a second together, and is answered again for some seconds.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlencode

import asyncpg
import orjson
from aiohttp import web

from campaigns.book.book import VIETNAM, Campaign
from service.desk.desk import HEADERS, Desk
from service.desk.door import Row, Visit
from service.desk.figures import ORDER
from service.desk.pulse import Pulse, PulseBusy
from service.desk.roles import Act
from service.web.words import Language, Words

CAMPAIGNS_MAX = 4
OFFERED_OPENLY_MAX = 60
"""The others are folded away."""
POINTS_MAX = 1_500
"""Of a line; a longer range has larger points."""
TABLE_ROWS = 100
KEPT_MAX = 64
MINUTE = timedelta(minutes=1)
BUCKETS = MappingProxyType({"minute": MINUTE, "hour": timedelta(hours=1), "day": timedelta(days=1)})
FRESH_SECONDS = MappingProxyType({"minute": 5.0, "hour": 15.0, "day": 60.0})
"""How long the answer to a question is good, by its bucket."""
SPANS = MappingProxyType(
    {
        "1h": timedelta(hours=1),
        "6h": timedelta(hours=6),
        "24h": timedelta(hours=24),
        "3d": timedelta(days=3),
        "7d": timedelta(days=7),
        "30d": timedelta(days=30),
        "all": timedelta(days=400),
    }
)
AXES = ("clock", "opening")
MEASURES = ("messages", "vnd", "total")
MIDNIGHT = datetime(2000, 1, 1, tzinfo=VIETNAM)
"""From where buckets of the clock are counted: hours and days of Vietnam."""

# Since the opening a line tells a total, and nothing is left out of it: what lies before (given back of a gift that
# was moved to the campaign) is of the first minute, what lies ahead of our clock by a carrier's is of the newest.
SELECT_LINES = """
SELECT l.number, date_bin($1::interval, least(greatest(m.minute, l.first), l.last), l.origin) AS at,
       sum(m.messages)::bigint AS messages, sum(m.pledged_vnd)::bigint AS vnd
FROM unnest($2::integer[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::boolean[], $7::boolean[])
        WITH ORDINALITY AS l (campaign_id, first, last, origin, reaches_back, reaches_ahead, number)
    JOIN campaign_minute AS m ON m.campaign_id = l.campaign_id
        AND m.minute >= CASE WHEN l.reaches_back THEN '-infinity' ELSE l.first END
        AND m.minute <= CASE WHEN l.reaches_ahead THEN 'infinity' ELSE l.last END
GROUP BY 1, 2 ORDER BY 1, 2
"""


class Question(NamedTuple):
    """What is drawn: campaigns by their ids, and how."""

    campaigns: tuple[int, ...]
    bucket: str
    span: str
    axis: str


class Choice(NamedTuple):
    """What somebody asked for, as far as it can be drawn."""

    campaigns: tuple[Campaign, ...]
    bucket: str
    span: str
    axis: str
    measure: str
    notes: tuple[str, ...]

    @property
    def query(self) -> str:
        """As an address says it."""
        return urlencode(
            [*(("campaign", each.slug) for each in self.campaigns), ("bucket", self.bucket), ("span", self.span),
             ("axis", self.axis), ("measure", self.measure)]
        )  # fmt: skip

    @property
    def question(self) -> Question:
        """Without what does not change the figures that are read."""
        return Question(tuple(each.id for each in self.campaigns), self.bucket, self.span, self.axis)


class Line(NamedTuple):
    """A campaign's points: offset in seconds on the axis, messages and VND."""

    until: int
    """The offset up to which there can be any."""
    points: Mapping[int, tuple[int, int]]


class Lines(NamedTuple):
    """All lines of a question. `start` and `end` are the axis in seconds: of the epoch, or since opening."""

    start: int
    end: int
    step: int
    lines: tuple[Line, ...]
    read_at: datetime
    """The database was asked then: what came later is not in it."""


class Drawn(NamedTuple):
    """A chart as it is shown: the axis, a column of values for each campaign, and the rows of its table."""

    x: list[int]
    values: list[list[int | None]]
    rows: list[tuple[str, list[str]]]
    is_cut: bool
    """Whether the chart has older rows than its table."""
    common: tuple[str, list[str]] | None
    """What each had when as much time had passed as for the youngest: on the axis since opening only."""
    read_at: datetime


def rows(desk: Desk, pulse: Pulse) -> list[Row]:
    """The addresses of the charts."""
    charts = Charts(desk, pulse)
    return [
        Row("GET", "/charts", Act.SEE_FIGURES, charts.show),
        Row("GET", "/charts/data", Act.SEE_FIGURES, charts.data),
    ]


class Charts:
    """Handlers of the charts."""

    def __init__(self, desk: Desk, pulse: Pulse) -> None:
        self._desk, self._pulse = desk, pulse
        self._kept: OrderedDict[Question, tuple[datetime, Lines]] = OrderedDict()
        self._reading: dict[Question, asyncio.Lock] = {}

    async def show(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/charts?campaign=&campaign=&bucket=&span=&axis=&measure=`."""
        offered = _offered(self._desk, visit)
        choice = choice_of(request, visit.words, offered, self._desk.clock())
        lines = await self._lines(choice) if choice.campaigns else None
        return await self._desk.page(
            "desk_charts.html", visit, offered=offered, choice=choice, names=_names(choice, visit.words),
            drawn=drawn(lines, choice, visit.words) if lines else None, now=self._desk.clock(),
            limits={"campaigns": CAMPAIGNS_MAX, "rows": TABLE_ROWS, "offered": OFFERED_OPENLY_MAX},
            options={"bucket": BUCKETS, "span": SPANS, "axis": AXES, "measure": MEASURES},
        )  # fmt: skip

    async def data(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """`GET /desk/charts/data?...`: the same as JSON: `x`, `values` of each line, and `table` as it is shown.

        `at`: when it was read, in milliseconds.
        """
        choice = choice_of(request, visit.words, _offered(self._desk, visit), self._desk.clock())
        lines = await self._lines(choice) if choice.campaigns else None
        if lines is None:
            return web.Response(status=503, headers={**HEADERS, "Retry-After": "5"})
        made = drawn(lines, choice, visit.words)
        names = _names(choice, visit.words)
        table = await self._desk.fill("desk_chart_table.html", visit, drawn=made, names=names)
        at = int(made.read_at.timestamp() * 1000)
        body = orjson.dumps({"at": at, "x": made.x, "values": made.values, "table": table})
        return web.Response(body=body, content_type="application/json", headers=HEADERS)

    async def _lines(self, choice: Choice) -> Lines | None:
        """The figures, some seconds old at most; None where they cannot be had now."""
        question = choice.question
        async with self._reading.setdefault(question, asyncio.Lock()):
            now = self._desk.clock()
            kept = self._kept.get(question)
            if kept is not None and (now - kept[0]).total_seconds() < FRESH_SECONDS[question.bucket]:
                return kept[1]
            found: list[Lines] = []

            async def read(connection: asyncpg.Connection) -> None:
                found.append(await _read(connection, choice, now))

            try:
                await self._pulse.ask(read)
            except PulseBusy:
                return kept[1] if kept is not None else None
            if not found:
                return None
            self._kept[question] = now, found[0]
            self._kept.move_to_end(question)
            while len(self._kept) > KEPT_MAX:
                gone, _ = self._kept.popitem(last=False)
                self._reading.pop(gone, None)
            return found[0]


async def _read(connection: asyncpg.Connection, choice: Choice, now: datetime) -> Lines:
    bucket, span = BUCKETS[choice.bucket], SPANS[choice.span]
    end = now.replace(second=0, microsecond=0) + MINUTE
    is_clock = choice.axis == "clock"
    origins, since, until = [], [], []
    for each in choice.campaigns:
        # Gifts are summed by whole minutes: the one in which a campaign opens is its first.
        opened = each.opens_at.replace(second=0, microsecond=0)
        origins.append(MIDNIGHT if is_clock else opened)
        since.append(_floor(end - span, bucket, MIDNIGHT) if is_clock else opened)
        until.append(end if is_clock else min(end, opened + span))
    if is_clock:
        # A range begins no earlier than anything of it.
        first = min(each.opens_at for each in choice.campaigns)
        since = [max(each, _floor(first, bucket, MIDNIGHT)) for each in since]
    ids = [each.id for each in choice.campaigns]
    last = [each - MINUTE for each in until]
    reaches_back = [not is_clock] * len(ids)
    reaches_ahead = [not is_clock and each == end for each in until]
    found = await connection.fetch(SELECT_LINES, bucket, ids, since, last, origins, reaches_back, reaches_ahead)
    zero = [datetime.fromtimestamp(0, VIETNAM) if is_clock else each for each in origins]
    points: list[dict[int, tuple[int, int]]] = [{} for _ in ids]
    for row in found:
        place = row["number"] - 1
        points[place][int((row["at"] - zero[place]).total_seconds())] = row["messages"], row["vnd"]
    ends = [int((each - start).total_seconds()) for each, start in zip(until, zero, strict=True)]
    starts = [int((each - start).total_seconds()) for each, start in zip(since, zero, strict=True)]
    lines = tuple(Line(*each) for each in zip(ends, points, strict=True))
    return Lines(min(starts), max(ends), int(bucket.total_seconds()), lines, now)


def _floor(at: datetime, bucket: timedelta, origin: datetime) -> datetime:
    return at - (at - origin) % bucket


def drawn(lines: Lines, choice: Choice, words: Words) -> Drawn:
    """Columns and table of what was read; a bucket without a message is 0, one that has not come is nothing."""
    x = list(range(lines.start, lines.end, lines.step))
    place = 0 if choice.measure == "messages" else 1
    values: list[list[int | None]] = []
    for line in lines.lines:
        total, column = 0, list[int | None]()
        for at in x:
            value = line.points.get(at, (0, 0))[place]
            total += value
            column.append(None if at >= line.until else total if choice.measure == "total" else value)
        values.append(column)
    say = words.number if choice.measure == "messages" else words.money
    told = [
        (_moment(at, choice, words), ["–" if column[row] is None else say(column[row] or 0) for column in values])
        for row, at in reversed(list(enumerate(x)))
        if any(column[row] is not None for column in values)
    ]
    return Drawn(x, values, told[:TABLE_ROWS], len(told) > TABLE_ROWS, _common(lines, choice, words), lines.read_at)


def _common(lines: Lines, choice: Choice, words: Words) -> tuple[str, list[str]] | None:
    youngest = min(line.until for line in lines.lines)
    until = youngest - youngest % lines.step
    if choice.axis != "opening" or until <= 0:
        return None
    place, say = (0, words.messages) if choice.measure == "messages" else (1, words.money)
    sums = [sum(figures[place] for at, figures in line.points.items() if at < until) for line in lines.lines]
    return words("charts_common", span=words.length(until)), [say(each) for each in sums]


def _moment(at: int, choice: Choice, words: Words) -> str:
    if choice.axis == "opening":
        return words("since_opening", span=words.length(at))
    moment = datetime.fromtimestamp(at, VIETNAM)
    return words.date(moment) if choice.bucket == "day" else words.moment(moment)


def _offered(desk: Desk, visit: Visit) -> list[Campaign]:
    """Campaigns that have opened and that `visit` may see, as the first page orders them."""
    now = desk.clock()
    mine = [each for each in desk.book().campaigns if visit.sees(each.organiser) and each.opens_at <= now]
    mine.sort(key=lambda each: (ORDER[each.state_at(now)], -each.opens_at.timestamp()))
    return mine


def _usual_span(campaigns: Sequence[Campaign], now: datetime) -> str:
    """A day; of an appeal that has just opened less, for a day of hours would show it as one point."""
    age = max((now - each.opens_at for each in campaigns), default=SPANS["24h"])
    return next(name for name, length in SPANS.items() if name == "24h" or age <= length)


def choice_of(request: web.Request, words: Words, offered: Sequence[Campaign], now: datetime) -> Choice:
    """What is asked for; what cannot be is left out, and what cannot be drawn is told and drawn otherwise."""
    query, notes = request.query, list[str]()
    by_slug = {each.slug: each for each in offered}
    asked = dict.fromkeys(by_slug[slug] for slug in query.getall("campaign", []) if slug in by_slug)
    campaigns = tuple(asked)[:CAMPAIGNS_MAX] or tuple(offered[:1])

    def one_of(name: str, known: Sequence[str] | Mapping[str, object], usual: str) -> str:
        given = query.get(name, usual)
        return given if given in known else usual

    measure, axis = one_of("measure", MEASURES, "messages"), one_of("axis", AXES, "clock")
    span = one_of("span", SPANS, _usual_span(campaigns, now))
    bucket = one_of("bucket", BUCKETS, "hour" if SPANS[span] > SPANS["6h"] else "minute")
    if len(asked) > CAMPAIGNS_MAX:
        notes.append(words("charts_too_many", count=str(CAMPAIGNS_MAX)))
    if measure == "total" and axis == "clock":
        axis = "opening"
        notes.append(words("charts_total_axis"))
    if SPANS[span] / BUCKETS[bucket] > POINTS_MAX:
        bucket = next(each for each, length in BUCKETS.items() if SPANS[span] / length <= POINTS_MAX)
        notes.append(words("charts_coarser", bucket=words(f"bucket_{bucket}")))
    return Choice(campaigns, bucket, span, axis, measure, tuple(notes))


def _names(choice: Choice, words: Words) -> list[str]:
    is_english = words.language is Language.EN
    return [each.name_en if is_english and each.name_en else each.name_vi for each in choice.campaigns]
