"""What a dashboard is made of: rows of panels, each a title, a sentence, a unit and what it asks of Prometheus."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

COLUMNS = 24
STAT_HEIGHT, CURVE_HEIGHT = 5, 8
SOURCE = models.DataSourceRef("prometheus", "${datasource}")
"""The Prometheus that is chosen in the dashboard: no identifier of somebody's Grafana stands in a file."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One query and how its series are named. `$campaign` and `$account` are what is chosen in the dashboard."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves, or with `is_stat` the figures of now. `width` in columns of 24.

    From `orange` and `red` on it changes its colour; with `falls` it does below them.
    """

    title: str
    means: str
    unit: str
    asks: Sequence[Ask]
    width: int = 12
    is_stat: bool = False
    is_stacked: bool = False
    orange: float | None = None
    red: float | None = None
    falls: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels under it, which fill whole lines of 24 columns."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. `name` is its file's, and the end of its uid."""

    name: str
    title: str
    means: str
    rows: Sequence[Row]


def built(board: Board) -> models.Dashboard:
    """The dashboard as Grafana reads it. Raises ValueError for a row with a hole in it."""
    made = (
        dashboard.Dashboard(f"portal1400: {board.title}")
        .uid(f"portal1400-{board.name}")
        .description(board.means)
        .tags(["portal1400"])
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("portal1400").type(models.DashboardLinkType.DASHBOARDS).tags(["portal1400"]))
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr('ALERTS{alertname=~"Portal1400.*", alertstate="firing"}')
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, asked in VARIABLES.items():
        if any(f'"${name}"' in ask.expr for row in board.rows for panel in row.panels for ask in panel.asks):
            made = made.with_variable(
                dashboard.QueryVariable(name)
                .label(name.capitalize())
                .datasource(SOURCE)
                .query(asked)
                .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(models.VariableSort.ALPHABETICAL_ASC)
                .multi(True)
                .include_all(True)
                .all_value(".*")
            )
    numbers = itertools.count(1)
    y = 0
    for row in board.rows:
        made = made.with_row(
            dashboard.Row(row.title).id(next(numbers)).grid_pos(models.GridPos(h=1, w=COLUMNS, x=0, y=y))
        )
        y += 1
        x = 0
        for panel in row.panels:
            height = STAT_HEIGHT if panel.is_stat else CURVE_HEIGHT
            place = models.GridPos(h=height, w=panel.width, x=x, y=y)
            made = made.with_panel(_panel(panel).id(next(numbers)).grid_pos(place))
            x += panel.width
            if x == COLUMNS:
                x, y = 0, y + height
        if x:
            raise ValueError(
                f"{board.name}, {row.title}: {COLUMNS - x} of {COLUMNS} columns are left: widen its panels"
            )
    return made.build()


VARIABLES = {
    "campaign": "label_values(portal1400_campaign_pledged_vnd, campaign)",
    "account": "label_values(portal1400_callbacks_total, account)",
}


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    made: stat.Panel | timeseries.Panel
    if panel.is_stat:
        made = (
            stat.Panel()
            .graph_mode(shapes.BigValueGraphMode.NONE)
            .text_mode(shapes.BigValueTextMode.VALUE_AND_NAME)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )
    else:
        made = (
            timeseries.Panel()
            .line_width(1)
            .fill_opacity(35 if panel.is_stacked else 10)
            .show_points(shapes.VisibilityMode.NEVER)
            .legend(
                common.VizLegendOptions()
                .display_mode(shapes.LegendDisplayMode.TABLE)
                .placement(shapes.LegendPlacement.BOTTOM)
                .show_legend(True)
                .calcs(["lastNotNull", "max"])
            )
            .tooltip(
                common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
            )
        )
        if panel.is_stacked:
            made = made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
        if panel.orange is not None or panel.red is not None:
            made = made.thresholds_style(
                common.GraphThresholdsStyleConfig().mode(shapes.GraphTresholdsStyleMode.DASHED)
            )
    made = made.title(panel.title).description(panel.means).unit(panel.unit).datasource(SOURCE)
    if not panel.is_stat:
        made = made.min(0)
    made = made.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps(panel)))
    for letter, ask in zip("ABCDEFG", panel.asks, strict=False):
        query = prometheus.Dataquery().expr(ask.expr).legend_format(ask.legend).ref_id(letter).datasource(SOURCE)
        made = made.with_target(query.instant() if panel.is_stat else query.range())
    return made


def _steps(panel: Panel) -> list[models.Threshold]:
    """Green, and from the limits on orange and red; the other way round for what must not fall."""
    limits = [("orange", panel.orange), ("red", panel.red)]
    given = [(colour, limit) for colour, limit in limits if limit is not None]
    if not panel.falls:
        return [models.Threshold(None, "green"), *(models.Threshold(limit, colour) for colour, limit in given)]
    # Below the lowest limit it is the worst colour.
    steps = [models.Threshold(None, given[-1][0])]
    for (_, limit), (above, _) in zip(reversed(given), [*reversed(given[:-1]), ("green", None)], strict=True):
        steps.append(models.Threshold(limit, above))
    return steps
