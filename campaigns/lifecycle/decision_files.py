"""The written decisions of proposals as files, by their SHA-256, in the database so that a backup has them too."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import NamedTuple

import asyncpg

from campaigns.audit.entries import Who, record

FILE_BYTES_MAX = 5 * 1024 * 1024
FILES_MAX = 10
"""Of one proposal."""
BEGINNINGS: Mapping[bytes, str] = MappingProxyType(
    {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
)
"""What a file begins with, whatever it is called: a scan of paper, as PDF or as a picture."""


class FileRefused(Exception):
    """A file that is not kept; `why` is `size`, `type`, `many` or `twice`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class DecisionFile(NamedTuple):
    """A file without its content. `decision` and `decided_on` are the number and day of the decision."""

    id: int
    sha256: bytes
    decision: str
    decided_on: date
    media_type: str
    size_bytes: int
    who: str
    recorded_at: datetime


SELECT_DECISION_FILES = """
SELECT id, sha256, decision, decided_on, media_type, length(content) AS size_bytes, who, recorded_at
FROM decision_file WHERE proposal_id = $1 ORDER BY id
"""
SELECT_FILE_CONTENT = "SELECT media_type, content FROM decision_file WHERE proposal_id = $1 AND id = $2"
SELECT_FILE_BY_SHA256 = "SELECT media_type, content FROM decision_file WHERE proposal_id = $1 AND sha256 = $2"
# The row of the proposal is locked so that two who bring files at once are counted.
HOLD_PROPOSAL = "SELECT id FROM proposal WHERE id = $1 FOR UPDATE"
COUNT_FILES = "SELECT count(*) FROM decision_file WHERE proposal_id = $1"
INSERT_DECISION_FILE = """
INSERT INTO decision_file (proposal_id, sha256, decision, decided_on, media_type, content, who)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT ON CONSTRAINT decision_file_once DO NOTHING RETURNING id
"""


async def keep_file(
    connection: asyncpg.Connection,
    who: Who,
    proposal_id: int,
    *,
    decision: str,
    decided_on: date,
    content: bytes,
) -> int:
    """Keep a file with a proposal, for ever; returns its id. Raises FileRefused."""
    if not 1 <= len(content) <= FILE_BYTES_MAX:
        raise FileRefused("size")
    media_type = next((each for begin, each in BEGINNINGS.items() if content.startswith(begin)), None)
    if media_type is None:
        raise FileRefused("type")
    digest = hashlib.sha256(content).digest()
    async with connection.transaction():
        await connection.execute(HOLD_PROPOSAL, proposal_id)
        if await connection.fetchval(COUNT_FILES, proposal_id) >= FILES_MAX:
            raise FileRefused("many")
        made = await connection.fetchval(
            INSERT_DECISION_FILE, proposal_id, digest, decision, decided_on, media_type, content, who.login
        )
        if made is None:
            raise FileRefused("twice")
        after = {"decision": decision, "decided_on": decided_on, "sha256": digest.hex(), "bytes": len(content)}
        await record(connection, who, "proposal.file", str(proposal_id), after=after)
    return int(made)


async def select_files(connection: asyncpg.Connection, proposal_id: int) -> list[DecisionFile]:
    """The files of a proposal, the oldest first."""
    return [DecisionFile(*row) for row in await connection.fetch(SELECT_DECISION_FILES, proposal_id)]


async def select_content(connection: asyncpg.Connection, proposal_id: int, file_id: int) -> tuple[str, bytes] | None:
    """Media type and content of a file of this proposal."""
    row = await connection.fetchrow(SELECT_FILE_CONTENT, proposal_id, file_id)
    return None if row is None else (row["media_type"], bytes(row["content"]))


async def select_content_by(
    connection: asyncpg.Connection, proposal_id: int, sha256: bytes
) -> tuple[str, bytes] | None:
    """The same by its hash."""
    row = await connection.fetchrow(SELECT_FILE_BY_SHA256, proposal_id, sha256)
    return None if row is None else (row["media_type"], bytes(row["content"]))
