"""How totals reach whoever looks."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import RATE, quantile

LIVE = Board(
    "live",
    "live fan-out",
    "How totals reach whoever looks: viewers, pages and API, connections, and what is shed so that gifts are taken.",
    [
        Row(
            "Viewers",
            [
                Panel(
                    "Viewers per worker",
                    "Open event streams on each worker. They come in about equal shares, because workers accept "
                    "from one queue; after a restart of one they are uneven for a while.",
                    "short",
                    [Ask("portal1400_stream_viewers", "{{instance}}")],
                ),
                Panel(
                    "Viewers cut off",
                    "Viewers that did not read what they were sent, per second. Some always do; very many at once "
                    "is a network between us and them that is full.",
                    "short",
                    [Ask(f"sum(rate(portal1400_stream_viewers_dropped_total[{RATE}]))", "viewers")],
                ),
                Panel(
                    "Age of the totals, per worker",
                    "How long ago each worker read the totals that it shows. A saw of a second is normal; a "
                    "straight line is a worker that does not reach the database.",
                    "s",
                    [Ask("portal1400_totals_age_seconds < Inf", "{{instance}}")],
                    orange=5,
                    red=30,
                ),
                Panel(
                    "Published ahead of the database",
                    "Campaigns of which the database holds less than viewers were shown. It belongs at 0: anything "
                    "else is a backup that was restored, or a standby that lost something.",
                    "short",
                    [Ask("max(portal1400_published_ahead_of_database)", "campaigns")],
                    red=1,
                ),
            ],
        ),
        Row(
            "Pages and API",
            [
                Panel(
                    "Public requests",
                    "Requests to pages and API per second, by route. A cache in front takes most of a crowd, so "
                    "this is what it lets through.",
                    "reqps",
                    [Ask(f"sum by (route) (rate(portal1400_public_requests_total[{RATE}])) > 0", "{{route}}")],
                ),
                Panel(
                    "Public answers, by status",
                    "How they were answered. 304 is a cache that asked again and had the newest; 503 is what was "
                    "shed; 500 is our fault, and in the log as request_failed.",
                    "reqps",
                    [Ask(f"sum by (status) (rate(portal1400_public_requests_total[{RATE}])) > 0", "{{status}}")],
                ),
                Panel(
                    "Time of a public answer",
                    "The slowest hundredth of public requests, by route. Long series take longest, because they are "
                    "read from the database and sent in pieces.",
                    "s",
                    [Ask(quantile(0.99, "portal1400_public_request_seconds", "route"), "{{route}}")],
                    orange=0.5,
                ),
                Panel(
                    "Public requests shed",
                    "Pages, series and streams refused with 503 so that callbacks are taken, per second. See "
                    "Overload in docs/operations.md for the order in which that happens.",
                    "reqps",
                    [Ask(f"sum by (surface) (rate(portal1400_shed_total[{RATE}]))", "{{surface}}")],
                ),
            ],
        ),
        Row(
            "Load and connections",
            [
                Panel(
                    "Load level",
                    "What each worker sheds: 0 nothing, 1 new streams, 2 pages too, 3 totals too. Callbacks are "
                    "never shed; above 1 for half a minute it alerts.",
                    "short",
                    [Ask("portal1400_load_level", "{{instance}}")],
                    orange=1,
                    red=2,
                ),
                Panel(
                    "Public connections",
                    "Open connections by whose they are: carriers that proved themselves, viewers of a stream, and "
                    "everybody else, over all workers.",
                    "short",
                    [Ask("sum by (state) (portal1400_connections)", "{{state}}")],
                    is_stacked=True,
                ),
                Panel(
                    "Connections, of those there may be",
                    "How much of each worker's bound is taken. Near 1 strangers are closed to make room; carriers "
                    "and viewers stay. PORTAL1400_CONNECTIONS_MAX and file descriptors set it.",
                    "percentunit",
                    [
                        Ask(
                            "sum by (instance) (portal1400_connections) / on (instance) portal1400_connections_max",
                            "{{instance}}",
                        )
                    ],
                    orange=0.75,
                    red=0.95,
                ),
                Panel(
                    "Connections closed for room",
                    "Connections of strangers that were closed, or not taken, because there were too many, per "
                    "second. A flood from few addresses shows here and costs the others nothing.",
                    "short",
                    [Ask(f"sum(rate(portal1400_connections_closed_for_room_total[{RATE}]))", "connections")],
                ),
            ],
        ),
    ],
)
