"""Every column that may hold personal data stands in the page that says what is kept, why and how long."""

from pathlib import Path

import asyncpg

PAGE = Path(__file__).parents[3] / "docs" / "data-protection.md"
SELECT_OPAQUE = """
SELECT c.relname || '.' || a.attname AS name
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND (a.atttypid = 'bytea'::regtype OR a.attname ~ 'msisdn|phone|sealed|^note$|^reason$')
"""


async def test_whatever_is_sealed_made_of_a_number_or_typed_by_people_stands_in_the_page(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    columns = {row["name"] for row in await connection.fetch(SELECT_OPAQUE)}
    await connection.close()
    page = PAGE.read_text(encoding="utf-8")
    assert {name for name in columns if f"`{name}`" not in page} == set()
    assert "message_person.msisdn_sealed" in columns
