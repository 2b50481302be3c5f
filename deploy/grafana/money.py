"""What was pledged, and whether every figure equals its facts."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import BROKEN, CAMPAIGNS, COUNTED, PLEDGED, RATE

MONEY = Board(
    "money",
    "money and invariants",
    "What was pledged, whether every published figure equals its facts, and whether it could be brought back.",
    [
        Row(
            "Money",
            [
                PLEDGED,
                COUNTED,
                BROKEN,
                Panel(
                    "Ahead of the database",
                    "Campaigns of which the database holds less than was published. Not 0: somebody restored a "
                    "backup, or a standby lost something.",
                    "locale",
                    [Ask("max(portal1400_published_ahead_of_database)", "campaigns")],
                    width=6,
                    is_stat=True,
                    red=1,
                ),
                Panel(
                    "VND of the last hour, by carrier",
                    "Money that was committed as pledged within an hour, by the carrier that charges it. Reversals "
                    "are not taken off here, they show in the published totals.",
                    "locale",
                    [
                        Ask(
                            f"sum by (carrier) (increase(portal1400_pledged_vnd_total{{{CAMPAIGNS}}}[1h]))",
                            "{{carrier}}",
                        )
                    ],
                    is_stacked=True,
                ),
                Panel(
                    "VND per message",
                    "What a counted message brings in the mean, by campaign. It changes when a price or an "
                    "advertisement changes, and otherwise hardly ever.",
                    "locale",
                    [
                        Ask(
                            f"sum by (campaign) (rate(portal1400_pledged_vnd_total{{{CAMPAIGNS}}}[{RATE}])) "
                            f"/ sum by (campaign) (rate(portal1400_messages_total{{{CAMPAIGNS}}}[{RATE}]))",
                            "{{campaign}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Invariants",
            [
                Panel(
                    "Invariants, one by one",
                    "Rows by which each invariant is broken, as the last check of any worker found it. All lines "
                    "belong at 0; no lines at all means that nobody checks.",
                    "short",
                    [Ask("max by (invariant) (portal1400_invariant_difference)", "{{invariant}}")],
                    red=1,
                ),
                Panel(
                    "Age of the check of everything",
                    "How long ago the check in turn last came through everything, by subject. With ten million "
                    "gifts a pass takes some twenty minutes.",
                    "s",
                    [
                        Ask(
                            "time() - max by (subject) (portal1400_invariants_pass_timestamp_seconds)",
                            "{{subject}}",
                        )
                    ],
                    orange=86_400,
                ),
            ],
        ),
        Row(
            "Brought back",
            [
                Panel(
                    "Last backup and last drill",
                    "How long ago this machine made a backup, and how long ago one was restored to try it. Older "
                    "than 36 hours and 40 days they alert; not shown where it was never done.",
                    "s",
                    [
                        Ask(
                            "time() - max by (act) (portal1400_last_backup_timestamp_seconds > 0)",
                            "{{act}}",
                        )
                    ],
                ),
                Panel(
                    "Certificate",
                    "Days until the certificate ends that carriers and viewers meet at PORTAL1400_PUBLIC_URL. Not "
                    "shown where that address is not https, or cannot be met from here.",
                    "d",
                    [Ask("(min(portal1400_certificate_expires_timestamp_seconds) - time()) / 86400", "days left")],
                    orange=21,
                    red=7,
                    falls=True,
                ),
            ],
        ),
    ],
)
