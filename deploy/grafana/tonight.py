"""One screen for a televised night."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import (
    ALERTS,
    ANSWER,
    BROKEN,
    CAMPAIGNS,
    COUNTED,
    FRESHNESS,
    PLEDGED,
    RATE,
    SILENCE,
    SPOOL,
    TOLD_LATER,
    VIEWERS,
    WORKERS,
)

TONIGHT = Board(
    "tonight",
    "tonight",
    "One screen for a televised night: money, rate, each carrier, what we answer, what waits, how fresh the totals "
    "are.",
    [
        Row(
            "The night",
            [PLEDGED, COUNTED, ALERTS, BROKEN, FRESHNESS],
        ),
        Row(
            "Money and messages",
            [
                Panel(
                    "VND per minute",
                    "Money pledged per carrier and minute, for the chosen campaigns, before reversals are taken off "
                    "it.",
                    "short",
                    [
                        Ask(
                            f"sum by (carrier) (rate(portal1400_pledged_vnd_total{{{CAMPAIGNS}}}[{RATE}])) * 60",
                            "{{carrier}}",
                        )
                    ],
                    is_stacked=True,
                ),
                Panel(
                    "Messages per minute",
                    "Counted messages per carrier and minute, for the chosen campaigns. The curves have the same "
                    "shape on a televised evening; one that leaves the others needs a call.",
                    "short",
                    [
                        Ask(
                            f"sum by (carrier) (rate(portal1400_messages_total{{{CAMPAIGNS}}}[{RATE}])) * 60",
                            "{{carrier}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Carriers",
            [
                Panel(
                    "Each account's light",
                    "Green: heard within the last minute. Orange: a minute of silence. Red: two, which is the time "
                    "to call the carrier's duty engineer, unless the broadcast is over.",
                    "s",
                    SILENCE.asks,
                    width=16,
                    is_stat=True,
                    orange=60,
                    red=120,
                ),
                WORKERS,
                VIEWERS,
                TOLD_LATER,
                ANSWER,
            ],
        ),
        Row("What waits", [SPOOL, SILENCE]),
    ],
)
