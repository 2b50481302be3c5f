"""The parts of the intake, made for one worker: from the queue to the writer, the spool and the replay."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from metrics.carrier_health import CarrierHealth
from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.intake.circuit_breaker import CircuitBreaker
from service.intake.commit_metrics import CommitMetrics
from service.intake.intake import Intake
from service.intake.quarantine import Quarantine
from service.intake.questions import Questions
from service.intake.replay import Replay
from service.intake.row_builder import RowBuilder
from service.intake.spool_claim import SpoolFolder
from service.intake.trials import TrialStore
from service.intake.writer import CommitReport, Writer
from service.listeners.overload import OverloadMonitor
from service.postgres.data_keys import DataKeys
from service.postgres.database import Database
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.settings import Settings

TRIAL_SECONDS = 5.0
"""While the database does not commit, one callback in this many seconds tries whether it does again."""


class Wrapped(NamedTuple):
    """What makes the parts that may be wrapped."""

    writer: Callable[..., Writer]
    intake: Callable[..., Intake]


AS_THEY_ARE = Wrapped(Writer, Intake)


@dataclass(frozen=True, slots=True)
class IntakeParts:
    """What takes callbacks, stores them and says how that goes."""

    carriers: CarrierHealth
    commits: CommitMetrics
    writer: Writer
    load: OverloadMonitor
    circuit: CircuitBreaker
    data_keys: DataKeys
    rows: RowBuilder
    quarantine: Quarantine
    trials: TrialStore
    replay: Replay
    intake: Intake
    questions: Questions

    @property
    def can_accept(self) -> bool:
        """Whether a callback can be acknowledged: by a commit, or by the spool."""
        commits = self.writer.connected > 0 and not self.circuit.is_open
        return commits or self.replay.own.refusal is None

    def troubles(self) -> Iterator[str]:
        """What is not as it should be."""
        yield from self.writer.troubles()
        yield from self.replay.troubles()


def make_intake(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    catalog: Catalog,
    instruments: Instruments,
    clock: Clock,
    wrapped: Wrapped = AS_THEY_ARE,
) -> IntakeParts:
    """Make the parts; nothing runs yet. `wrapped` makes writer and intake. Raises SpoolRefused."""
    carriers = CarrierHealth(instruments.register, clock)
    commits = CommitMetrics(instruments, catalog, carriers)
    circuit = CircuitBreaker(TRIAL_SECONDS)

    def observe(commit: CommitReport) -> None:
        load.see_commit(commit.seconds)
        if commit.seconds < settings.queue_wait_seconds:
            # The database does commit: what made a callback wait too long was the queue before it.
            circuit.close()
        commits.see(commit)

    writer = wrapped.writer(
        lambda: database.connect("portal1400 writer"),
        writers=settings.writers,
        batch_events_max=settings.batch_events_max,
        queue_events_max=settings.queue_events_max,
        observe=observe,
        lost=database.ensure,
    )
    load = OverloadMonitor(lambda: writer.pressure, instruments.listeners.load_level.set)
    data_keys = DataKeys(database, keyring)
    rows = RowBuilder(catalog, keyring, data_keys)
    trials = TrialStore(database, settings.queue_wait_seconds)
    quarantine = Quarantine(database, data_keys, instruments, settings.quarantine_per_account_max)
    replay = Replay(
        _spool_of(settings, keyring, clock),
        catalog=catalog,
        rows=rows,
        writer=writer,
        statement_seconds=settings.statement_seconds,
        digest_key=keyring.digest_key,
        quarantine=quarantine,
        circuit=circuit,
        trials=trials,
    )
    _show_intake(settings, instruments, writer, replay)
    intake = wrapped.intake(
        catalog=catalog,
        rows=rows,
        writer=writer,
        digest_key=keyring.digest_key,
        quarantine=quarantine,
        replay=replay,
        circuit=circuit,
        instruments=instruments,
        trials=trials,
        queue_wait_seconds=settings.queue_wait_seconds,
        account_callbacks_max=settings.account_callbacks_max,
        account_events_max=settings.account_events_max,
        log_one_in=settings.log_callbacks_one_in,
    )
    questions = Questions(intake, database, keyring.digest_key)
    return IntakeParts(
        carriers, commits, writer, load, circuit, data_keys, rows, quarantine, trials, replay, intake, questions
    )


def _spool_of(settings: Settings, keyring: Keyring, clock: Clock) -> SpoolFolder:
    return SpoolFolder(
        settings.data_dir / "spool",
        keyring,
        bytes_max=settings.spool_bytes_max,
        age_seconds_max=settings.spool_age_max_hours * 3600,
        clock=clock,
    )


def _show_intake(settings: Settings, instruments: Instruments, writer: Writer, replay: Replay) -> None:
    """Let queue, writers and spool be seen whenever the metrics are read."""
    spool = instruments.spool
    spool.records.set_function(lambda: replay.records)
    spool.oldest_seconds.set_function(lambda: replay.oldest_seconds)
    spool.files_refused.set_function(lambda: len(replay.refused))
    spool.size.set_function(lambda: replay.own.size_bytes)
    spool.size_max.set(settings.spool_bytes_max)
    spool.writable.set_function(lambda: replay.own.refusal is None)
    instruments.intake.queue_events_max.set(settings.queue_events_max)
    instruments.database.writers.set(settings.writers)

    def look() -> None:
        instruments.intake.queue_events.set(writer.queued_events)
        instruments.intake.queue_oldest_seconds.set(writer.pressure[1])
        instruments.database.writers_connected.set(writer.connected)

    instruments.looks.append(look)
