"""The parts that look after a running worker, made for one worker: days and joining, the invariants, its disks."""

from dataclasses import dataclass
from functools import partial

from metrics.instruments import Instruments
from service.catalog.catalog import Catalog
from service.delivery.dispatcher import Dispatcher
from service.intake.assembly import IntakeParts
from service.operations.backup import times
from service.operations.carrier_watch import CarrierWatch
from service.operations.certificate_watch import CertificateWatch
from service.operations.database_watch import DatabaseWatch
from service.operations.day_seals import DaySeals
from service.operations.disk_watch import DiskWatch, folders_of
from service.operations.housekeeping import Housekeeping
from service.operations.invariant_watch import InvariantWatch
from service.operations.reply_charges import ReplyCharges
from service.postgres.database import POOL_CONNECTIONS_MAX, Database
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.loop_stalls import LoopStalls
from service.runtime.settings import Settings

CHARGE_MARGIN_SECONDS = 2.0
"""Over the time of a statement, until a charge that is still not committed counts as failed."""


@dataclass(frozen=True, slots=True)
class OperationsParts:
    """What happens beside the intake."""

    housekeeping: Housekeeping
    invariants: InvariantWatch
    disks: DiskWatch
    replies: Dispatcher
    stalls: LoopStalls
    database: DatabaseWatch
    certificate: CertificateWatch
    carriers: CarrierWatch


def make_operations(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    catalog: Catalog,
    intake: IntakeParts,
    instruments: Instruments,
    clock: Clock,
) -> OperationsParts:
    """Make the parts; nothing runs yet."""
    housekeeping = Housekeeping(settings, database, keyring, clock, intake.commits.count)
    seals = DaySeals(settings.data_dir, keyring)
    stalls = LoopStalls(see=instruments.runtime.event_loop_lag_seconds.observe)
    instruments.database.clock_ahead.set_function(lambda: housekeeping.clock_ahead_seconds)
    instruments.runtime.event_loop_stall_seconds.set_function(lambda: stalls.longest_seconds)
    charges = ReplyCharges(
        intake.rows, intake.writer, keyring.digest_key, clock, settings.statement_seconds + CHARGE_MARGIN_SECONDS
    )
    for act in times.ACTS:
        instruments.operations.last_backup.labels(act).set_function(partial(times.last, settings.data_dir, act))
    instruments.database.pool_connections_max.set(POOL_CONNECTIONS_MAX)

    def look() -> None:
        busy, idle, waiting = database.pool_usage
        instruments.database.pool_connections.labels("busy").set(busy)
        instruments.database.pool_connections.labels("idle").set(idle)
        instruments.database.pool_waiting.set(waiting)

    instruments.looks.append(look)
    return OperationsParts(
        housekeeping=housekeeping,
        invariants=InvariantWatch(settings.invariant_seconds, database, instruments, clock, seals),
        disks=DiskWatch(folders_of(settings), instruments),
        replies=Dispatcher(
            lambda: database.connect("portal1400 replies"),
            catalog=catalog,
            keyring=keyring,
            instruments=instruments,
            clock=clock,
            public_url=settings.public_url,
            record_charge=charges.record,
        ),
        stalls=stalls,
        database=DatabaseWatch(database, instruments.database),
        certificate=CertificateWatch(settings.public_url, instruments.operations),
        carriers=CarrierWatch(
            intake.carriers, instruments.catalog, settings.data_dir, clock, intake.intake.set_aside
        ),
    )
