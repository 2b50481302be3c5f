"""Any interleaving and repetition of two gifts' events, over several connections, ends in one state and one sum."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from campaigns.gifts.event_rows import MessageRow
from campaigns.gifts.sweeping import sweep
from campaigns.schema.partitions import make_partitions
from metrics.invariant import check
from metrics.invariants import INVARIANTS
from service.intake.batch import store_batch
from service.intake.entry import Row
from service.runtime.uuid7 import uuid7
from tests.support.databases import cloned_database
from tests.support.postgres import TestServer
from tests.support.reports import outcome
from tests.support.rows import NOW, charge_row, digest, entry, message_row, reversal_row

CONNECTIONS = 3
REFS = ("m-1", "m-2")
CHARGES = ("c-1", "c-2", "c-3")
STATUSES = ("pending", "reserved", "succeeded", "failed", "cancelled")
AMOUNTS = (30_000, 70_000, 90_000, 100_000, 110_000)

messages = st.builds(
    lambda ref, is_counted: (
        message_row(ref)
        if is_counted
        else message_row(ref, reading="wrong_syntax", units=None, amount_vnd=None, keyword=None)
    ),
    st.sampled_from(REFS),
    st.integers(0, 4).map(bool),
)
charges = st.builds(
    lambda charge_id, status, ref, amount: charge_row(
        charge_id, ref, native_id=f"{charge_id}:{status}", status=status, amount_vnd=amount
    ),
    st.sampled_from(CHARGES),
    st.sampled_from((*STATUSES, "succeeded", "succeeded")),
    st.sampled_from((*REFS, "m-1", None)),
    st.sampled_from((*AMOUNTS, 100_000, None)),
)
reversals = st.builds(
    lambda number, amount, scope, ref, charge_ref: reversal_row(
        f"r-{number}", ref if ref or charge_ref else "m-1", amount, scope=scope, charge_ref=charge_ref,
        occurred_at=NOW + timedelta(minutes=number),
    ),
    st.integers(1, 9),
    st.sampled_from(AMOUNTS),
    st.sampled_from((None, None, "total", "partial")),
    st.sampled_from((*REFS, "m-1", None)),
    st.sampled_from((None, *CHARGES)),
)  # fmt: skip
stories = st.lists(
    st.one_of(messages, charges, charges, reversals), min_size=2, max_size=9, unique_by=lambda row: row.native_id
)


def labelled(row: Row, label: str) -> Row:
    """The same event with ids of its own."""
    changed: dict[str, Any] = {
        name: f"{label}/{value}"
        for name in ("native_id", "message_ref", "charge_id", "charge_ref")
        if (value := getattr(row, name, None)) is not None
    }
    return row._replace(id=uuid7(row.received_at), digest=digest(f"{label}/{row.native_id}"), **changed)


class Portal:
    """A database and a few connections that write into it, as the writers of several workers do."""

    def __init__(self, runner: asyncio.Runner, connections: list[asyncpg.Connection]) -> None:
        self.runner = runner
        self.connections = connections
        self.labels = (f"{number:06}" for number in itertools.count())

    def deliver(self, batches: dict[int, list[Row]], on_report: bool) -> None:
        """Each batch over its connection, all at the same time."""
        self.runner.run(self._deliver(batches, on_report))

    async def _deliver(self, batches: dict[int, list[Row]], on_report: bool) -> None:
        async def store(place: int, rows: list[Row]) -> None:
            entries = [entry(row, awaits_report=on_report) for row in rows]
            await store_batch(self.connections[place], place + 1, entries)

        await asyncio.gather(*(store(place, rows) for place, rows in batches.items()))

    def outcome(self, label: str) -> tuple[Any, ...]:
        """What became of the gifts of `label`."""
        return self.runner.run(outcome(self.connections[0], label))

    def counted(self, label: str) -> int:
        """How many gifts of `label` count."""
        states = self.outcome(label)[0] or ""
        return str(states).split(",").count("counted")

    def sweep(self) -> None:
        """As the sweeper does every ten seconds."""
        self.runner.run(sweep(self.connections[0]))

    def require_sound(self) -> None:
        """Every invariant that does not ask for campaigns and accounts holds."""

        async def require() -> None:
            for each in INVARIANTS:
                if each.name != "references_hold":
                    assert await check(self.connections[0], each) == [], each.name

        self.runner.run(require())


@pytest.fixture(scope="module")
def portal(server: TestServer) -> Iterator[Portal]:
    """A database with today's partition."""
    with asyncio.Runner() as runner:
        clone = cloned_database(server)
        dsn = runner.run(clone.__aenter__())
        connections = [runner.run(asyncpg.connect(dsn)) for _ in range(CONNECTIONS)]
        runner.run(make_partitions(connections[0], NOW.date(), days=1))
        yield Portal(runner, connections)
        for connection in connections:
            runner.run(connection.close())
        runner.run(clone.__aexit__(None, None, None))


def machine_of(portal: Portal) -> type[RuleBasedStateMachine]:
    """A machine that delivers one drawn story in pieces, and at its end compares with the story told in order."""

    class Orders(RuleBasedStateMachine):
        story: list[Row]
        on_report: bool
        label: str

        def __init__(self) -> None:
            super().__init__()
            self.delivered: set[int] = set()

        @initialize(story=stories, on_report=st.integers(0, 3).map(bool))
        def draw(self, story: list[Row], on_report: bool) -> None:
            self.story, self.on_report = story, on_report
            self.label = next(portal.labels)

        def deliver(self, batches: dict[int, list[int]]) -> None:
            told = {
                place: [labelled(self.story[number], self.label) for number in numbers]
                for place, numbers in batches.items()
            }
            portal.deliver(told, self.on_report)
            self.delivered.update(number for numbers in batches.values() for number in numbers)

        @rule(data=st.data())
        def at_once(self, data: st.DataObject) -> None:
            """Batches over several connections at the same time; events may be repeated, in one batch too."""
            numbers = st.lists(st.integers(0, len(self.story) - 1), min_size=1, max_size=4)
            self.deliver(data.draw(st.dictionaries(st.integers(0, CONNECTIONS - 1), numbers, min_size=1)))

        @invariant()
        def is_sound(self) -> None:
            if self.delivered:
                portal.require_sound()

        def teardown(self) -> None:
            if not hasattr(self, "story"):
                return
            rest = [number for number in range(len(self.story)) if number not in self.delivered]
            self.deliver({0: rest[::-1]})
            told = next(portal.labels)
            in_order = sorted(self.story, key=lambda row: (not isinstance(row, MessageRow), row.native_id))
            for row in in_order:
                portal.deliver({0: [labelled(row, told)]}, self.on_report)
            portal.require_sound()
            assert portal.outcome(self.label) == portal.outcome(told)

    return Orders


def test_any_interleaving_ends_in_the_same_state_and_the_same_money(portal: Portal) -> None:
    chosen = settings(max_examples=40, stateful_step_count=5, suppress_health_check=list(HealthCheck), database=None)
    run_state_machine_as_test(machine_of(portal), settings=chosen)


MOVING: dict[str, list[Row]] = {
    "a notice": [
        message_row("m-2"),
        charge_row("c-1", "m-2", native_id="c-1:failed", status="failed", amount_vnd=30_000),
        charge_row("c-1", "m-1", native_id="c-1:pending", status="pending", amount_vnd=30_000),
    ],
    "what gives it back": [
        message_row("m-1"),
        charge_row("c-1", "m-1", native_id="c-1:pending", status="pending", amount_vnd=30_000),
        charge_row("c-1", "m-2", native_id="c-1:succeeded", amount_vnd=100_000),
        reversal_row("r-1", None, 110_000, charge_ref="c-1"),
    ],
}


@pytest.mark.parametrize("story", MOVING.values(), ids=MOVING.keys())
def test_a_charge_that_belongs_to_another_message_than_before_leaves_no_question_behind(
    portal: Portal, story: list[Row]
) -> None:
    found = set()
    for order in itertools.permutations(story):
        label = next(portal.labels)
        for row in order:
            portal.deliver({0: [labelled(row, label)]}, on_report=False)
        found.add(portal.outcome(label))
    assert len(found) == 1
    portal.require_sound()


by_number = st.lists(st.sampled_from(("message", "charge")), min_size=1, max_size=6)
meetings = st.lists(st.dictionaries(st.integers(0, CONNECTIONS - 1), by_number, min_size=1), min_size=1, max_size=4)


@settings(max_examples=15, suppress_health_check=list(HealthCheck), database=None)
@given(meetings)
def test_what_is_matched_by_number_meets_once_over_whichever_connections_it_came(
    portal: Portal, told: list[dict[int, list[str]]]
) -> None:
    label = next(portal.labels)
    alike: dict[str, Any] = {"short_code": "1408", "msisdn_hash": label.encode()}
    number = itertools.count()
    came = {"message": 0, "charge": 0}
    for batches in told:
        delivered: dict[int, list[Row]] = {}
        for place, kinds in batches.items():
            for kind in kinds:
                came[kind] += 1
                name = f"{kind}-{next(number)}"
                row: Row = message_row(name, **alike) if kind == "message" else charge_row(name, None, **alike)
                delivered.setdefault(place, []).append(labelled(row, label))
        portal.deliver(delivered, on_report=True)
        met = portal.counted(label)
        assert met <= min(came.values())
        # Of what came at the same instant something may be left to the sweep; of what came in turn, nothing.
        if all(len(each) == 1 for each in told):
            assert met == min(came.values())
        portal.require_sound()
    portal.sweep()
    assert portal.counted(label) == min(came.values())
    portal.require_sound()
