"""Apply files as text, and what they change: for tests that read and store them. None of them has an account."""

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from campaigns.book.apply_entries import PreparedGateway
from campaigns.book.apply_file import load
from campaigns.book.recording import apply_changes
from tests.support.book_lines import stored

ORGANISATION = '[[organisation]]\ncode = "mttq"\nname_vi = "Mặt trận"\n'
CAMPAIGN = """[[campaign]]
slug = "vnn"
name_vi = "Vì người nghèo"
category = "poverty"
organiser = "mttq"
opens_at = 2026-10-17T00:00:00+07:00
closes_at = 2027-01-01T00:00:00+07:00
"""
ROUTE = """[[campaign.route]]
short_code = "1408"
keywords = ["VNN"]
grammar = "units"
unit_vnd = 20_000
max_units = 100
"""
FILE = """[[organisation]]
code = "mttq"
name_vi = "Mặt trận"
name_en = "Front"

[[campaign]]
slug = "vnn"
name_vi = "Vì người nghèo"
name_en = "For the poor"
category = "poverty"
organiser = "mttq"
decision = "1/QD"
opens_at = 2026-10-17T00:00:00+07:00
closes_at = 2027-01-01T00:00:00+07:00
goal_vnd = 5_000_000_000

[[campaign.route]]
short_code = "1408"
keywords = ["VNN", "DA CAM"]
grammar = "units"
unit_vnd = 20_000
max_units = 100
"""
"""One campaign with all that it may say. Headers in the lines 1, 6 and 17."""
EARLY = datetime(2026, 9, 1, tzinfo=UTC)
RUNNING = datetime(2026, 11, 1, tzinfo=UTC)
OVER = datetime(2027, 2, 1, tzinfo=UTC)


async def apply(
    connection: asyncpg.Connection,
    content: str,
    now: datetime = EARLY,
    gateways: Sequence[PreparedGateway] = (),
) -> list[str]:
    """Apply it; the lines that say what changed. Raises ApplyRefused."""
    plan = await apply_changes(connection, load(content.encode()), gateways, now=now)
    return stored(plan.changes.lines)
