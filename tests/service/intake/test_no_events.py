"""A callback that carries no event: a question before a charge, or a trial. It is answered, and nothing is stored."""

from dataclasses import replace

from gateways.adapters.standard.adapter import Standard
from gateways.callback import Callback
from gateways.events import Event
from tests.support.away import database_away, fill_disk, free_disk, replayed
from tests.support.portal import Portal, Reply, message
from tests.support.protocols import get_kannel

SELECT_STORED = """
SELECT (SELECT count(*) FROM message) AS messages, (SELECT count(*) FROM raw_callback) AS raw,
       (SELECT count(*) FROM quarantine) AS kept
"""


class Asking(Standard):
    """A protocol in which every callback is a question."""

    def parse(self, callback: Callback, digest_key: bytes) -> tuple[Event, ...]:
        """Read, and nothing found."""
        super().parse(callback, digest_key)
        return ()


async def stored(portal: Portal) -> tuple[int, ...]:
    ((found),) = await portal.fetch(SELECT_STORED)
    return tuple(found)


def let_hub_ask(portal: Portal) -> None:
    """From now on the account `hub` speaks that protocol."""
    catalog = portal.service.catalog
    party = catalog.resolve("standard", "hub")
    assert party.account is not None
    gateway = Asking(party.gateway.account)
    account = replace(party.account, gateway=gateway)
    catalog._parties["standard", "hub"] = replace(party, gateway=gateway, account=account)
    catalog.accounts = replace(catalog.accounts, by_code={**catalog.accounts.by_code, "hub": account})


async def asked(portal: Portal) -> Reply:
    return await portal.post(message("m-1"))


async def test_it_is_answered_and_nothing_is_stored(portal: Portal) -> None:
    let_hub_ask(portal)
    first, second = await asked(portal), await asked(portal)
    assert (first.status, first.outcome, first.body) == (200, "accepted", second.body)
    assert await stored(portal) == (0, 0, 0)
    assert await portal.metric("portal1400_callbacks_total", account="hub", outcome="accepted") == 2
    assert await portal.metric("portal1400_last_callback_timestamp_seconds", account="hub") > 0


async def test_nobody_is_told_yes_while_nothing_could_be_kept(portal: Portal) -> None:
    let_hub_ask(portal)
    async with database_away(portal):
        assert (await asked(portal)).status == 200
        fill_disk(portal)
        # The first gift that the disk refuses shows it, as its probe would.
        for number in range(40):
            refused = await get_kannel(portal, f"k-{number}")
            if refused.status == 503:
                break
        assert (await asked(portal)).status == 503
        free_disk(portal)


async def test_what_was_acknowledged_and_has_no_event_any_more_waits_for_a_person(portal: Portal) -> None:
    async with database_away(portal):
        assert (await asked(portal)).status == 200
        let_hub_ask(portal)
    await replayed(portal)
    assert await stored(portal) == (0, 0, 1)
