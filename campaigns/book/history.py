"""The history of the book, for whoever audits it: each version with its changes, its file and who applied it."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg


@dataclass(frozen=True, slots=True)
class BookVersion:
    """One version. `os_user` is None where it was not recorded yet, `applied_by` where no name was given."""

    version: int
    applied_at: datetime
    os_user: str | None
    applied_by: str | None
    file_sha256: bytes
    changes: tuple[str, ...]


SELECT_VERSIONS = """
SELECT version, applied_at, os_user, applied_by, file_sha256, changes FROM book_version ORDER BY version
"""
SELECT_KEPT_FILE = """
SELECT content FROM applied_file JOIN book_version ON file_sha256 = sha256 WHERE version = $1
"""


async def load_versions(connection: asyncpg.Connection) -> list[BookVersion]:
    """Every version, the first first."""
    return [
        BookVersion(
            row["version"],
            row["applied_at"],
            row["os_user"],
            row["applied_by"],
            row["file_sha256"],
            tuple(row["changes"]),
        )
        for row in await connection.fetch(SELECT_VERSIONS)
    ]


async def load_kept_file(connection: asyncpg.Connection, version: int) -> str | None:
    """What the file of `version` said, as JSON without secrets; None where it was not kept."""
    content: str | None = await connection.fetchval(SELECT_KEPT_FILE, version)
    return content
