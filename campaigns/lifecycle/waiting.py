"""What waits for a second person: emergencies, proposals, and gifts that somebody would move."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import asyncpg

WAITING_MAX = 200

# Emergencies first: what is in force already is never left out.
SELECT_WAITING = """
SELECT w.kind, w.id, w.who, w.at, w.organisations FROM (
    SELECT 'emergency' AS kind, p.id, p.made_by AS who, p.made_at AS at, p.organisations
    FROM proposal AS p
    WHERE p.kind = 'emergency' AND NOT EXISTS (SELECT FROM proposal_step AS s WHERE s.proposal_id = p.id)
    UNION ALL
    SELECT 'proposal', s.proposal_id, s.who, s.recorded_at, p.organisations
    FROM proposal_step AS s JOIN proposal AS p ON p.id = s.proposal_id
    WHERE s.step = 'proposed' AND NOT EXISTS (
        SELECT FROM proposal_step AS e WHERE e.proposal_id = s.proposal_id AND e.number > s.number
    )
    UNION ALL
    SELECT 'move', r.id, r.made_by, r.made_at, ARRAY[g.organiser, t.organiser]
    FROM reattribution AS r
    JOIN campaign AS g ON g.id = r.from_campaign_id JOIN campaign AS t ON t.id = r.to_campaign_id
    WHERE NOT EXISTS (SELECT FROM reattribution_end AS e WHERE e.reattribution_id = r.id)
) AS w ORDER BY w.kind <> 'emergency', w.at DESC, w.kind, w.id LIMIT $1
"""


class Waiting(NamedTuple):
    """Something that waits: `who` made or proposed it at `at`; `organisations` are those whose campaigns it is about.

    A `move` has a number of its own among moved gifts, the others among proposals.
    """

    kind: Literal["emergency", "proposal", "move"]
    id: int
    who: str
    at: datetime
    organisations: tuple[str, ...]

    def is_of(self, organisations: Sequence[str] | None) -> bool:
        """Whether it is about these organisations alone; None: about whichever."""
        return organisations is None or set(self.organisations) <= set(organisations)


async def select_waiting(connection: asyncpg.Connection) -> tuple[Waiting, ...]:
    """All that waits, emergencies first, then the newest; WAITING_MAX at most."""
    found = await connection.fetch(SELECT_WAITING, WAITING_MAX)
    return tuple(Waiting(row["kind"], row["id"], row["who"], row["at"], tuple(row["organisations"])) for row in found)
