"""What several dashboards show, and what their queries have in common."""

from deploy.grafana.panels import Ask, Panel

RATE = "$__rate_interval"
ACCOUNTS = 'account=~"$account"'
CAMPAIGNS = 'campaign=~"$campaign"'
GENUINE = 'outcome!~"unauthenticated|stale|malformed|too_large"'
LATER = 'outcome=~"overloaded|unavailable"'
EVERY_MESSAGE = (
    f"sum by (carrier) (rate(portal1400_messages_total[{RATE}]) or rate(portal1400_uncounted_messages_total[{RATE}]))"
)


def quantile(share: float, family: str, by: str = "") -> str:
    """The time within which `share` of what `family` saw was done."""
    grouped = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({family}_bucket[{RATE}])))"


PLEDGED = Panel(
    "Pledged, VND",
    "What the portal shows the public for each campaign: pledged gifts after reversals, not yet confirmed by the "
    "carriers. All workers publish the same figure, so the largest is taken.",
    "locale",
    [Ask(f"max by (campaign) (portal1400_campaign_pledged_vnd{{{CAMPAIGNS}}})", "{{campaign}}")],
    width=8,
    is_stat=True,
)
COUNTED = Panel(
    "Counted messages",
    "Messages that count for each campaign, as published. A message may carry several units, so this is not their "
    "number.",
    "locale",
    [Ask(f"max by (campaign) (portal1400_campaign_messages{{{CAMPAIGNS}}})", "{{campaign}}")],
    width=6,
    is_stat=True,
)
ALERTS = Panel(
    "Alerts firing",
    "How many alerts of deploy/prometheus/rules.yml fire now; docs/alerts.md says what to do for each. "
    "It stays 0 when Prometheus has not loaded the rules.",
    "locale",
    [Ask('sum(ALERTS{alertname=~"Portal1400.*", alertstate="firing"}) or vector(0)', "alerts")],
    width=3,
    is_stat=True,
    red=1,
)
BROKEN = Panel(
    "Invariants broken",
    "Rows by which published figures differ from their facts, over all invariants. Anything but 0 means: do not "
    "quote totals, run `portal1400 verify`.",
    "locale",
    [Ask("sum(max by (invariant) (portal1400_invariant_difference))", "rows")],
    width=4,
    is_stat=True,
    red=1,
)
FRESHNESS = Panel(
    "Age of the totals",
    "How long ago the worker that is furthest behind read the totals that it shows. Read once a second at least; "
    "above thirty seconds nobody should quote them as live.",
    "s",
    [Ask("max(portal1400_totals_age_seconds < Inf)", "age")],
    width=3,
    is_stat=True,
    orange=5,
    red=30,
)
SILENCE = Panel(
    "Silence per account",
    "Seconds since an account's last genuine callback. A saw with small teeth is normal; a straight line upwards is "
    "an account that has stopped. Accounts that sent nothing since the service started are not shown.",
    "s",
    [Ask(f"time() - max by (account) (portal1400_last_callback_timestamp_seconds{{{ACCOUNTS}}})", "{{account}}")],
    orange=60,
    red=120,
)
TOLD_LATER = Panel(
    "Told to come later",
    "Share of an account's genuine callbacks that were answered overloaded or unavailable. Most carriers do not come "
    "again, so this belongs at 0; above 1 % it alerts.",
    "percentunit",
    [
        Ask(
            f"sum by (account) (rate(portal1400_callbacks_total{{{ACCOUNTS}, {LATER}}}[{RATE}])) "
            f"/ sum by (account) (rate(portal1400_callbacks_total{{{ACCOUNTS}, {GENUINE}}}[{RATE}]))",
            "{{account}}",
        )
    ],
    red=0.01,
)
ANSWER = Panel(
    "Time to answer",
    "From a callback's last byte to our answer: the middle, and the slowest hundredth per protocol. Carriers hang "
    "up after 5 to 17 seconds; above half a second it alerts.",
    "s",
    [
        Ask(quantile(0.5, "portal1400_callback_seconds"), "p50"),
        Ask(quantile(0.99, "portal1400_callback_seconds", "adapter"), "p99 {{adapter}}"),
    ],
    orange=0.5,
)
SPOOL = Panel(
    "Callbacks in the spool",
    "Acknowledged, safe on a worker's disk, and not in the database yet. Anything but 0 for a minute means that the "
    "database is away.",
    "short",
    [Ask("portal1400_spool_records", "{{instance}}")],
    orange=1,
)
WORKERS = Panel(
    "Workers that answer",
    "Workers that Prometheus reaches. Ports without a worker in prometheus.yml do not count.",
    "locale",
    [Ask('sum(up{job="portal1400"})', "workers")],
    width=4,
    is_stat=True,
)
VIEWERS = Panel(
    "Viewers",
    "Open event streams of the public pages, on all workers. Where a worker has as many as it may, further viewers "
    "are told to try again.",
    "locale",
    [Ask("sum(portal1400_stream_viewers)", "viewers")],
    width=4,
    is_stat=True,
)
