"""What was promised, and how much of the allowance is used up."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import ACCOUNTS, GENUINE, LATER

ACKNOWLEDGED = 0.999
"""Of an account's genuine callbacks this share is to be acknowledged: carriers hardly ever come again."""
IN_TIME = 0.99
"""Of callbacks this share is to be answered within a second."""
PAGES = 0.995
"""Of public requests this share is to be answered, within half a second."""


def failed(window: str) -> str:
    """The share of each account's genuine callbacks that was told to come later."""
    return (
        f"sum by (account) (rate(portal1400_callbacks_total{{{ACCOUNTS}, {LATER}}}[{window}])) "
        f"/ sum by (account) (rate(portal1400_callbacks_total{{{ACCOUNTS}, {GENUINE}}}[{window}]))"
    )


SLO = Board(
    "slo",
    "service levels",
    "What was promised and how much of the allowance is used up: acknowledgement, its time, the age of totals, the "
    "pages.",
    [
        Row(
            "Acknowledged",
            [
                Panel(
                    "Acknowledged, last hour",
                    f"Share of each account's genuine callbacks that we acknowledged within the hour. Promised are "
                    f"{ACKNOWLEDGED:.1%}: what is missing are gifts that may never come again.",
                    "percentunit",
                    [Ask(f"1 - {failed('1h')}", "{{account}}")],
                    width=24,
                    is_stat=True,
                    orange=0.9999,
                    red=ACKNOWLEDGED,
                    falls=True,
                ),
                Panel(
                    "Burn rate of the acknowledgements",
                    "How many times faster than promised the allowance is used up, over five minutes and over an "
                    "hour. At 14.4 in both a month's allowance is gone in two days.",
                    "short",
                    [
                        Ask(f"({failed('5m')}) / {1 - ACKNOWLEDGED:.3f}", "{{account}} 5m"),
                        Ask(f"({failed('1h')}) / {1 - ACKNOWLEDGED:.3f}", "{{account}} 1h"),
                    ],
                    orange=6,
                    red=14.4,
                ),
                Panel(
                    "Answered within a second",
                    "Share of callbacks of each protocol that were answered within a second, over five minutes. "
                    f"Promised are {IN_TIME:.0%}; carriers hang up after 5 to 17 seconds.",
                    "percentunit",
                    [
                        Ask(
                            'sum by (adapter) (rate(portal1400_callback_seconds_bucket{le="1.0"}[5m])) '
                            "/ sum by (adapter) (rate(portal1400_callback_seconds_count[5m]))",
                            "{{adapter}}",
                        )
                    ],
                    red=IN_TIME,
                    falls=True,
                ),
            ],
        ),
        Row(
            "Shown",
            [
                Panel(
                    "Totals older than two seconds",
                    "Share of the last ten minutes in which a worker showed totals that it had read more than two "
                    "seconds before. It belongs at 0 while the database answers.",
                    "percentunit",
                    [
                        Ask(
                            "avg_over_time((portal1400_totals_age_seconds > bool 2)[10m:])",
                            "{{instance}}",
                        )
                    ],
                    red=0.01,
                ),
                Panel(
                    "Public answers in time",
                    "Share of public requests, by route, that were answered within half a second, over five "
                    f"minutes. Promised are {PAGES:.1%} for pages and totals; long series take longer by nature.",
                    "percentunit",
                    [
                        Ask(
                            'sum by (route) (rate(portal1400_public_request_seconds_bucket{le="0.5"}[5m])) '
                            "/ sum by (route) (rate(portal1400_public_request_seconds_count[5m]))",
                            "{{route}}",
                        )
                    ],
                    red=PAGES,
                    falls=True,
                ),
                Panel(
                    "Public requests that failed",
                    "Share of public requests that were answered 500 or 503, over five minutes. 503 is what was "
                    "shed so that gifts are taken, 500 a fault of ours.",
                    "percentunit",
                    [
                        Ask(
                            'sum(rate(portal1400_public_requests_total{status=~"500|503"}[5m])) '
                            "/ sum(rate(portal1400_public_requests_total[5m]))",
                            "failed",
                        )
                    ],
                    red=1 - PAGES,
                ),
                Panel(
                    "Allowance left",
                    "What is left of each account's allowance of callbacks that were told to come later, over the "
                    "seven days before now. At 0 it is used up; below it was overdrawn.",
                    "percentunit",
                    [Ask(f"1 - ({failed('7d')}) / {1 - ACKNOWLEDGED:.3f}", "{{account}}")],
                    orange=0.5,
                    red=0,
                    falls=True,
                ),
            ],
        ),
    ],
)
