"""The judge finds what is wrong: each case spoils one thing in an otherwise right database."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.events import Event, Key, Kind, Meaning
from tests.torture.judge import Facts, compared, judged
from tests.torture.ledger import Ledger


def message(native_id: str, units: int, account: str = "hub") -> Event:
    meaning = Meaning("counted", "vnn", units, units * 20_000)
    return Event(account, Kind.MESSAGE, native_id, meaning, {"id": native_id, "units": units})


def reversal(native_id: str, gift: str, vnd: int, scope: str) -> Event:
    meaning = Meaning(scope, vnd=vnd)
    return Event("hub", Kind.REVERSAL, native_id, meaning, {"id": native_id}, gift=gift, scope=scope)


def row(event: Event, counted: int = 1, vnd: int | None = None) -> dict[str, Any]:
    meaning = event.meaning
    if event.kind is not Kind.MESSAGE:
        return {"reading": meaning.reading, "amount_vnd": meaning.vnd, "message_ref": event.gift}
    net_units = (meaning.units or 0) if counted else 0
    return {
        "reading": meaning.reading,
        "slug": meaning.campaign,
        "units": meaning.units,
        "amount_vnd": meaning.vnd,
        "messages": counted,
        "net_units": net_units,
        "vnd": meaning.vnd if vnd is None else vnd,
    }


ONE, OTHER, TWO, BACK, PART = (
    message("1", 5),
    message("1", 7),
    message("2", 1),
    message("3", 2),
    message("4", 3),
)
TAKEN_BACK, PART_BACK = reversal("3-r", "3", 40_000, "total"), reversal("4-r", "4", 30_000, "partial")


class World:
    """Four gifts, one reversed, one in part, one with a conflict: sent, acknowledged, stored and summed."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        events = (ONE, TWO, BACK, PART, TAKEN_BACK, PART_BACK)
        self.ledger.send([*events, OTHER])
        self.ledger.acknowledge(events)
        self.ledger.conflict([OTHER])
        self.rows: dict[Key, dict[str, Any]] = {
            ONE.key: row(ONE),
            TWO.key: row(TWO),
            BACK.key: row(BACK, counted=0, vnd=0),
            PART.key: row(PART, vnd=30_000),
            TAKEN_BACK.key: row(TAKEN_BACK),
            PART_BACK.key: row(PART_BACK),
        }
        self.twice: list[Key] = []
        self.conflicts = {ONE.key: 1}
        self.shown: dict[str, dict[str, Any]] = {"vnn": {"messages": 3, "units": 9, "vnd": 150_000, "version": 9}}

    def judged(self) -> list[str]:
        """What the judge says of it."""
        return judged(Facts(self.rows, self.twice, self.conflicts, self.shown), self.ledger)


def test_a_right_database_is_found_right() -> None:
    assert World().judged() == []


def lose(world: World) -> None:
    del world.rows[TWO.key]
    world.shown["vnn"] |= {"messages": 2, "units": 8, "vnd": 130_000}


def invent(world: World) -> None:
    world.rows["hub", Kind.MESSAGE, "9"] = row(message("9", 1))


def change(world: World) -> None:
    world.rows[TWO.key] |= {"units": 2, "amount_vnd": 40_000}


def double(world: World) -> None:
    world.rows[TWO.key]["vnd"] = 40_000
    world.shown["vnn"]["vnd"] = 170_000


def forget_the_conflict(world: World) -> None:
    world.conflicts.clear()


def swap_the_conflict(world: World) -> None:
    world.conflicts[ONE.key] = 2


def keep_what_cannot_be_read(world: World) -> None:
    world.ledger.refuse([message("9", 1)])
    world.rows["hub", Kind.MESSAGE, "9"] = row(message("9", 1))


def forget_a_reversal(world: World) -> None:
    world.rows[BACK.key] |= {"messages": 1, "net_units": 2, "vnd": 40_000}
    world.shown["vnn"] |= {"messages": 4, "units": 11, "vnd": 190_000}


def show_more(world: World) -> None:
    world.shown["vnn"]["vnd"] += 20_000


def store_twice(world: World) -> None:
    world.twice.append(ONE.key)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lose, "1 acknowledged, but not stored: hub/message/2", id="an acknowledged gift is lost"),
        pytest.param(invent, "1 stored, but never sent: hub/message/9", id="a gift comes from nowhere"),
        pytest.param(change, "1 stored with a content that was never sent: hub/message/2", id="an amount changed"),
        pytest.param(double, "1 its money is not what its events say: hub/message/2", id="a gift counts double"),
        pytest.param(
            forget_the_conflict,
            "1 answered for a content that is neither stored nor kept as a conflict: hub/message/1",
            id="a conflict was told and not kept",
        ),
        pytest.param(
            swap_the_conflict,
            "1 more conflicts kept than other contents were sent: hub/message/1",
            id="a conflict is kept that nobody sent",
        ),
        pytest.param(
            keep_what_cannot_be_read,
            "1 stored out of a callback that cannot be read: hub/message/9",
            id="an unreadable callback became an event",
        ),
        pytest.param(
            forget_a_reversal, "1 its money is not what its events say: hub/message/3", id="a reversal is forgotten"
        ),
        pytest.param(show_more, "vnn shows 170000 vnd, its gifts are 150000", id="the total shows more"),
        pytest.param(store_twice, "1 stored twice: hub/message/1", id="an id is stored twice"),
    ],
)
def test_what_is_spoilt_is_found_by_its_id(spoil: Callable[[World], None], said: str) -> None:
    world = World()
    spoil(world)
    assert said in world.judged()


def test_a_worker_that_publishes_another_figure_is_found() -> None:
    shown = {"vnn": {"messages": 3, "units": 9, "vnd": 150_000, "version": 9}}
    published = {"messages": 3, "units": 9, "pledged_vnd": 150_000, "version": 9}
    assert compared({"vnn": published}, shown) == []
    assert compared({"vnn": published | {"pledged_vnd": 130_000}}, shown)
