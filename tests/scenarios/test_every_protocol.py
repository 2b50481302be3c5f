"""Every protocol we speak, over one running service: repeats, conflicts, strangers, and the database away.

Each is played by its own sender; a protocol needs no more here than its row in ACCOUNT_KEYS.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from gateways.registry import ADAPTERS, SENDERS
from gateways.sender import Reply, Sender, Sms, Verdict
from gateways.wire.signatures import new_secret
from tests.support.away import database_away, fill_disk, free_disk, replayed, require_invariants
from tests.support.portal import BOOK, Portal, eventually, running
from tests.support.protocols import NUMBER, account_table, code_of, speaker

SECRETS = {name: new_secret() if name == "standard" else f"a-{name}-secret" for name in ADAPTERS}
MESSAGING = [name for name in ADAPTERS if SENDERS[name].carries_messages]
"""The others report charges of messages that come elsewhere."""
AT_ONCE = 8


def book() -> str:
    """The usual campaigns, and an account of every protocol."""
    return BOOK[: BOOK.index("[[gateway]]")] + "\n".join(account_table(name, [SECRETS[name]]) for name in ADAPTERS)


def sms(native_id: str, text: str = "VNN 5") -> Sms:
    """A donor's message, sent now."""
    at = datetime.now(UTC).replace(microsecond=0)
    return Sms(0, native_id, NUMBER, "1408", text, "VNN", "viettel", None, at, amount_vnd=100_000)


@pytest.fixture
async def spoken(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    async with running(database_dsn, tmp_path, book=book()) as portal:
        yield portal


async def post(portal: Portal, sender: Sender[Any], message: Sms) -> Reply:
    asked = sender.request([message], datetime.now(UTC))
    url = URL(portal.base + asked.address, encoded=True)
    async with portal.http.request(asked.method, url, headers=asked.headers, data=asked.body) as answer:
        return Reply(answer.status, answer.content_type, await answer.read())


SELECT_MONEY = """
SELECT a.code, coalesce(sum(l.vnd), 0)::bigint AS vnd
FROM message AS m JOIN gateway_account AS a ON a.id = m.account_id LEFT JOIN money_line AS l ON l.gift_id = m.id
GROUP BY a.code, m.id
"""


async def stored(portal: Portal) -> dict[str, list[int]]:
    """The money of the messages of each account that has any."""
    rows = await portal.fetch(SELECT_MONEY)
    return {code_of(name): [row["vnd"] for row in rows if row["code"] == code_of(name)] for name in MESSAGING}


SELECT_CHARGED = """
SELECT a.code FROM charge_notice AS c JOIN gateway_account AS a ON a.id = c.account_id
WHERE c.message_ref LIKE '7700000000_' AND a.code = ANY($1)
"""


async def charged(portal: Portal) -> dict[str, int]:
    """How many charges were reported by the accounts without messages, of those that these tests send as gifts."""
    codes = [code_of(name) for name in ADAPTERS if name not in MESSAGING]
    return dict(Counter(row["code"] for row in await portal.fetch(SELECT_CHARGED, codes)))


async def together(portal: Portal, posts: Sequence[tuple[str, Sms]]) -> dict[str, list[tuple[Reply, Verdict]]]:
    """Post all at once, each over its protocol; what each was answered."""
    senders = {name: speaker(name, SECRETS[name]) for name in ADAPTERS}
    replies = await asyncio.gather(*(post(portal, senders[name], message) for name, message in posts))
    told: dict[str, list[tuple[Reply, Verdict]]] = {name: [] for name in ADAPTERS}
    for (name, message), reply in zip(posts, replies, strict=True):
        told[name].append((reply, senders[name].judge([message], reply)))
    return told


async def test_a_gift_is_counted_once_whatever_its_sender_repeats(
    spoken: Portal, capfd: pytest.CaptureFixture[str]
) -> None:
    first = {name: sms("77000000001") for name in ADAPTERS}
    at_once = await together(spoken, [(name, first[name]) for name in ADAPTERS for _ in range(AT_ONCE)])
    for name, told in at_once.items():
        assert {verdict for _, verdict in told} == {Verdict.TAKEN}, name
        assert len({(reply.status, reply.body) for reply, _ in told}) == 1, name
    again = await together(spoken, list(first.items()))
    assert {name: told[0][0] for name, told in again.items()} == {name: told[0][0] for name, told in at_once.items()}

    changed = {name: replace(message, text="VNN 6") for name, message in first.items()}
    for name, told in (await together(spoken, list(changed.items()))).items():
        is_told = speaker(name, SECRETS[name]).has_word_for_conflicts
        assert told[0][1] is (Verdict.CONFLICT if is_told else Verdict.TAKEN), name
        assert is_told or told[0][0] == at_once[name][0][0], name
    assert await stored(spoken) == {code_of(name): [100_000] for name in MESSAGING}
    assert await charged(spoken) == {code_of(name): 1 for name in ADAPTERS if name not in MESSAGING}
    assert len(await spoken.fetch("SELECT FROM conflict")) == len(MESSAGING)

    for name in ADAPTERS:
        wrong = speaker(name, new_secret() if name == "standard" else "another-secret")
        assert wrong.judge([first[name]], await post(spoken, wrong, first[name])) is Verdict.REFUSED, name
        damaged = replace(first[name], native_id="77000000009", msisdn=f"{NUMBER}x")
        assert NUMBER.encode() not in (await post(spoken, speaker(name, SECRETS[name]), damaged)).body, name
    await require_invariants(spoken.dsn)

    logged: list[str] = []

    async def is_logged() -> bool:
        logged.append(capfd.readouterr().out)
        return "".join(logged).count("outcome=malformed") == len(MESSAGING)

    await eventually(is_logged)
    assert [each for each in (NUMBER, first["standard"].text, *SECRETS.values()) if each in "".join(logged)] == []


async def test_what_is_taken_while_the_database_is_away_is_counted_afterwards(spoken: Portal) -> None:
    messages = {name: sms("77000000002") for name in ADAPTERS}
    before = await together(spoken, [(name, sms("77000000003")) for name in ADAPTERS])
    async with database_away(spoken):
        during = await together(spoken, [(name, messages[name]) for name in ADAPTERS for _ in range(2)])
        fill_disk(spoken)
        for name in ADAPTERS:
            for number in range(40):
                # The last page has room for a few; they are counted, too.
                (refused,) = (await together(spoken, [(name, sms(f"7700000{number:02}99", "xin chao"))]))[name]
                if refused[1] is not Verdict.TAKEN:
                    break
            assert refused[1] is Verdict.LATER, name
        free_disk(spoken)
    for name, told in during.items():
        assert {verdict for _, verdict in told} == {before[name][0][1]} == {Verdict.TAKEN}, name
    await replayed(spoken)
    counted = {code: [amount for amount in each if amount] for code, each in (await stored(spoken)).items()}
    assert counted == {code_of(name): [100_000, 100_000] for name in MESSAGING}
    assert await charged(spoken) == {code_of(name): 2 for name in ADAPTERS if name not in MESSAGING}
    again = await together(spoken, list(messages.items()))
    assert {name: told[0][0] for name, told in again.items()} == {name: told[0][0] for name, told in during.items()}
    await require_invariants(spoken.dsn)
