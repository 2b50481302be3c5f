"""Gateway accounts as they are stored, known without any protocol: most commands want no more of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from campaigns.book.apply_entries import Charging


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A row of `gateway_account`. `settings` holds no secret in clear.

    `test` is None for a real account. One for tests is never `enabled`, and says by `test` whether it takes any.
    """

    id: int
    code: str
    adapter: str
    carrier: str
    charging: Charging
    networks: tuple[str, ...]
    enabled: bool
    settings: Mapping[str, Any]
    test: bool | None = None


SELECT_ACCOUNTS = """
SELECT id, code, adapter, carrier, charging, networks, enabled, settings::text AS settings, test
FROM gateway_account ORDER BY id
"""


async def load_account_rows(connection: asyncpg.Connection) -> list[AccountRow]:
    """Every stored account, in the order in which they were first applied."""
    return [
        AccountRow(
            row["id"],
            row["code"],
            row["adapter"],
            row["carrier"],
            row["charging"],
            tuple(row["networks"]),
            row["enabled"],
            json.loads(row["settings"]),
            row["test"],
        )
        for row in await connection.fetch(SELECT_ACCOUNTS)
    ]
