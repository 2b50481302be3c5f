"""One callback from bytes to answer, over HTTP, on a real database."""

import asyncio

from tests.service.conftest import Portal, eventually, message


async def test_a_gift_is_counted_and_published(portal: Portal) -> None:
    answer = await portal.post(message("m-1", "VNN 5"))
    assert (answer.status, answer.outcome) == (200, "accepted")

    async def is_shown() -> bool:
        return bool((await portal.totals())["messages"] == 1)

    await eventually(is_shown)
    totals = await portal.totals()
    assert (totals["units"], totals["pledged_vnd"], totals["version"]) == (5, 100_000, 1)


async def test_forty_repeats_at_once_are_one_gift(portal: Portal) -> None:
    answers = await asyncio.gather(*(portal.post(message("m-1")) for _ in range(40)))
    assert {answer.body for answer in answers} == {b'{"accepted":["m-1"]}'}
    rows = await portal.fetch("SELECT count(*) AS lines, sum(vnd) AS vnd FROM money_line")
    assert (rows[0]["lines"], rows[0]["vnd"]) == (1, 100_000)
