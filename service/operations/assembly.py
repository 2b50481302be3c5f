"""The parts that look after a running worker, made for one worker: days and joining, the invariants, its disks."""

from dataclasses import dataclass
from functools import partial

from metrics.instruments import Instruments
from service.intake.assembly import IntakeParts
from service.operations.backup import times
from service.operations.carrier_watch import CarrierWatch
from service.operations.day_seals import DaySeals
from service.operations.disk_watch import DiskWatch, folders_of
from service.operations.housekeeping import Housekeeping
from service.operations.invariant_watch import InvariantWatch
from service.postgres.database import Database
from service.runtime.clock import Clock
from service.runtime.keyring import Keyring
from service.runtime.loop_stalls import LoopStalls
from service.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class OperationsParts:
    """What happens beside the intake."""

    housekeeping: Housekeeping
    invariants: InvariantWatch
    disks: DiskWatch
    stalls: LoopStalls
    carriers: CarrierWatch


def make_operations(
    settings: Settings,
    database: Database,
    keyring: Keyring,
    intake: IntakeParts,
    instruments: Instruments,
    clock: Clock,
) -> OperationsParts:
    """Make the parts; nothing runs yet."""
    housekeeping = Housekeeping(settings, database, keyring, clock, intake.commits.count)
    seals = DaySeals(settings.data_dir, keyring)
    stalls = LoopStalls()
    instruments.clock_ahead.set_function(lambda: housekeeping.clock_ahead_seconds)
    instruments.event_loop_stall_seconds.set_function(lambda: stalls.longest_seconds)
    for act in times.ACTS:
        instruments.last_backup.labels(act).set_function(partial(times.last, settings.data_dir, act))
    return OperationsParts(
        housekeeping=housekeeping,
        invariants=InvariantWatch(settings.invariant_seconds, database, instruments, clock, seals),
        disks=DiskWatch(folders_of(settings), instruments),
        stalls=stalls,
        carriers=CarrierWatch(intake.carriers, instruments.registry, settings.data_dir, clock),
    )
