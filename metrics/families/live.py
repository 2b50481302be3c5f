"""Families of the live totals: what is published, how old it is, and who watches."""

from collections.abc import Iterable

from metrics.families.register import Register


class LiveFamilies:
    """Published totals and their viewers."""

    def __init__(self, register: Register) -> None:
        room = register.room("Live totals")
        self.campaign_pledged_vnd = room.gauge(
            "portal1400_campaign_pledged_vnd",
            "VND pledged to a campaign, as published",
            ["campaign"],
            unit="VND",
            query="max by (campaign) (portal1400_campaign_pledged_vnd)",
        )
        self.campaign_messages = room.gauge(
            "portal1400_campaign_messages",
            "Messages counted for a campaign, as published",
            ["campaign"],
            unit="messages",
            query="max by (campaign) (portal1400_campaign_messages)",
        )
        self.totals_age = room.gauge(
            "portal1400_totals_age_seconds",
            "How long ago this worker last read the totals that it shows; infinite before the first time",
            unit="seconds",
            query="max(portal1400_totals_age_seconds)",
        )
        self.published_ahead = room.gauge(
            "portal1400_published_ahead_of_database",
            "Campaigns of which the database holds less than was published; must be 0",
            unit="campaigns",
            query="max(portal1400_published_ahead_of_database) > 0",
        )
        self.stream_viewers = room.gauge(
            "portal1400_stream_viewers", "Open event streams", unit="viewers", query="sum(portal1400_stream_viewers)"
        )
        self.viewers_dropped = room.counter(
            "portal1400_stream_viewers_dropped",
            "Viewers cut off because they did not read",
            unit="viewers",
            query="sum(rate(portal1400_stream_viewers_dropped_total[5m]))",
        )

    def know_campaigns(self, slugs: Iterable[str]) -> None:
        """Make the children of campaigns."""
        for slug in slugs:
            self.campaign_pledged_vnd.labels(slug)
            self.campaign_messages.labels(slug)
