"""What people moved from one campaign to another during a run: no fault of the target, and told as what it is."""

from collections.abc import Iterable
from datetime import datetime

from service.simulator.posting import Poster
from service.simulator.refused import SimulateRefused


async def moved_since(poster: Poster, campaigns: Iterable[str], began: datetime) -> tuple[str, ...]:
    """A sentence for each correction of these campaigns since then; none where the target does not tell."""
    told = []
    for slug in campaigns:
        try:
            document = await poster.document(f"/api/v1/campaigns/{slug}/corrections")
            told += [
                f"{slug}: people of the desk moved {each['messages']:+,} messages, {each['units']:+,} units, "
                f"{each['vnd']:+,} VND {'from' if each['messages'] > 0 else 'to'} {each['other_campaign']} meanwhile"
                for each in document["corrections"]
                if datetime.fromisoformat(each["at"]) >= began
            ]
        except (SimulateRefused, KeyError, TypeError, ValueError):
            # It is a word more beside the table, which stands.
            continue
    return tuple(told)
