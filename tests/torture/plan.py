"""A seed's schedule of faults: pure, so that a seed that failed can be played again.

Faults come in two lanes that overlap as they like: what happens to the database and the way there, and what
happens to the service's processes. Some come as an act of several: an outage with the disk filling up inside it.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Name(StrEnum):
    """What can be done to the portal."""

    LATENCY = "latency"
    RESET = "reset"
    DROP = "drop"
    REFUSE = "refuse"
    OUTAGE = "outage"
    SILENT_UP = "silent-up"
    SILENT_DOWN = "silent-down"
    SILENT = "silent"
    FREEZE_POSTGRES = "freeze-postgres"
    KILL_POSTGRES = "kill-postgres"
    KILL_WORKER = "kill-worker"
    KILL_SUPERVISOR = "kill-supervisor"
    KILL_SERVICE = "kill-service"
    KILL_EVERYTHING = "kill-everything"
    RESTART = "restart"
    ROLL = "roll"
    DISK_FULL = "disk-full"
    POWER_CUT = "power-cut"
    HANG_WORKER = "hang-worker"
    REREAD_SECRETS = "reread-secrets"
    STRANGERS = "strangers"
    UNREAD_ANSWERS = "unread-answers"


SENTENCES: dict[Name, str] = {
    Name.LATENCY: "every chunk to and from the database is late",
    Name.RESET: "every connection to the database is reset, once",
    Name.DROP: "every connection to the database is closed, once",
    Name.REFUSE: "new connections to the database are reset",
    Name.OUTAGE: "the database cannot be reached at all",
    Name.SILENT_UP: "what the service tells the database is lost without a word",
    Name.SILENT_DOWN: "what the database answers is lost without a word",
    Name.SILENT: "both directions are lost without a word",
    Name.FREEZE_POSTGRES: "SIGSTOP of every process of PostgreSQL, then SIGCONT",
    Name.KILL_POSTGRES: "SIGKILL of the postmaster; it is started again after the time given",
    Name.KILL_WORKER: "SIGKILL of one worker",
    Name.KILL_SUPERVISOR: "SIGKILL of the supervisor alone",
    Name.KILL_SERVICE: "SIGKILL of the supervisor and every worker",
    Name.KILL_EVERYTHING: "SIGKILL of supervisor, workers and every process of PostgreSQL",
    Name.RESTART: "SIGTERM of the service, then started again",
    Name.ROLL: "SIGHUP of the supervisor: workers are replaced one by one",
    Name.DISK_FULL: "the disk of the spool has no block left",
    Name.POWER_CUT: "the disk of the spool loses its power and the service dies; what was not synced is gone",
    Name.HANG_WORKER: "SIGSTOP of one worker, which the supervisor has to replace",
    Name.REREAD_SECRETS: "SIGHUP of every worker: accounts are made anew under load",
    Name.STRANGERS: "strangers send bodies of 1 MiB to accounts that do not exist",
    Name.UNREAD_ANSWERS: "senders ask and ask on many connections and read no answer",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` and `seconds` count from the start of the load; `number` is a worker or milliseconds of latency."""

    at: float
    name: Name
    seconds: float = 0.0
    number: int = 0

    def line(self) -> str:
        """One row of the printed table."""
        lasting = f"for {self.seconds:.1f} s" if self.seconds else ""
        worker = f"worker {self.number}"
        details = {Name.LATENCY: f"{self.number} ms", Name.KILL_WORKER: worker, Name.HANG_WORKER: worker}
        detail = details.get(self.name, "")
        return f"{self.at:6.1f} s  {self.name:16} {lasting:10} {detail:9} {SENTENCES[self.name]}"


Act = Callable[[random.Random, float], list[Fault]]
"""Makes the faults of one act that begins at a time; the last to end tells how long it takes."""


def _lasting(name: Name, least: float, most: float) -> Act:
    return lambda chance, at: [Fault(at, name, chance.uniform(least, most))]


def _inside_an_outage(name: Name) -> Act:
    """The spool is full of records when it happens."""

    def act(chance: random.Random, at: float) -> list[Fault]:
        seconds = chance.uniform(2.5, 4.5)
        inner = chance.uniform(1.0, seconds - 1.0)
        lasting = chance.uniform(0.8, 2.5) if name is Name.DISK_FULL else 0.0
        return [Fault(at, Name.OUTAGE, seconds), Fault(at + inner, name, lasting, chance.randrange(2))]

    return act


def _late(chance: random.Random, at: float) -> list[Fault]:
    return [Fault(at, Name.LATENCY, chance.uniform(1.0, 4.0), chance.choice((5, 30, 200, 600)))]


def _resets_of_a_slow_way(chance: random.Random, at: float) -> list[Fault]:
    """So slow that every writer is always inside a transaction, and so quick that nothing waits for the spool.

    A second between resets: after one the circuit is open until the replay has stored something again.
    """
    resets = [Fault(at + second + chance.uniform(0.6, 1.0), Name.RESET) for second in range(4)]
    return [Fault(at, Name.LATENCY, 4.2, chance.choice((10, 15, 20))), *resets]


DATABASE_ACTS: Sequence[Act] = (
    _inside_an_outage(Name.POWER_CUT),
    _lasting(Name.FREEZE_POSTGRES, 0.5, 5.0),
    _inside_an_outage(Name.DISK_FULL),
    _lasting(Name.KILL_POSTGRES, 0.0, 3.0),
    _lasting(Name.SILENT_UP, 0.5, 4.0),
    _inside_an_outage(Name.KILL_WORKER),
    _late,
    _lasting(Name.SILENT_DOWN, 0.5, 4.0),
    _inside_an_outage(Name.KILL_EVERYTHING),
    _lasting(Name.OUTAGE, 0.2, 5.0),
    _lasting(Name.SILENT, 0.5, 4.0),
    _inside_an_outage(Name.KILL_SUPERVISOR),
    _lasting(Name.REFUSE, 0.5, 3.0),
    _lasting(Name.RESET, 0.0, 0.0),
    _inside_an_outage(Name.RESTART),
    _lasting(Name.DROP, 0.0, 0.0),
    _inside_an_outage(Name.ROLL),
    _resets_of_a_slow_way,
)
PROCESS_FAULTS: Sequence[tuple[Name, int]] = (
    (Name.KILL_WORKER, 5),
    (Name.KILL_SERVICE, 3),
    (Name.KILL_EVERYTHING, 3),
    (Name.KILL_SUPERVISOR, 2),
    (Name.RESTART, 2),
    (Name.ROLL, 2),
    (Name.HANG_WORKER, 3),
    (Name.REREAD_SECRETS, 2),
    (Name.STRANGERS, 3),
    (Name.UNREAD_ANSWERS, 3),
)
PROCESS_SECONDS = {Name.HANG_WORKER: 8.0, Name.STRANGERS: 2.0, Name.UNREAD_ANSWERS: 3.0}
"""What those last that last: a worker that hangs is replaced after 5 s, one that nobody replaces is woken again."""
ON_THE_DISK = frozenset({Name.DISK_FULL, Name.POWER_CUT})
OF_A_SUPERVISOR = frozenset({Name.KILL_SUPERVISOR, Name.ROLL, Name.HANG_WORKER, Name.REREAD_SECRETS})
QUIET_AT_END_SECONDS = 1.0


def plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of `seed` within `seconds`, by time. As many seeds as there are acts begin with each of them."""
    chance = random.Random(f"faults {seed}")
    faults: list[Fault] = []
    at = chance.uniform(0.8, 1.6)
    act = DATABASE_ACTS[seed % len(DATABASE_ACTS)]
    while at < seconds - QUIET_AT_END_SECONDS:
        made = act(chance, at)
        faults += made
        at = max(each.at + each.seconds for each in made) + chance.uniform(0.5, 2.0)
        act = chance.choice(DATABASE_ACTS)
    at = chance.uniform(1.5, 4.0)
    names, weights = [name for name, _ in PROCESS_FAULTS], [weight for _, weight in PROCESS_FAULTS]
    while at < seconds - QUIET_AT_END_SECONDS:
        name = chance.choices(names, weights)[0]
        faults.append(Fault(at, name, PROCESS_SECONDS.get(name, 0.0), chance.randrange(2)))
        at += chance.uniform(3.0, 6.0)
    return sorted(faults, key=lambda each: each.at)


def possible(faults: Sequence[Fault], *, with_disk: bool, with_supervisor: bool) -> list[Fault]:
    """Those that can be done here; what cannot is left out, the rest keeps its times."""
    without = (frozenset() if with_disk else ON_THE_DISK) | (frozenset() if with_supervisor else OF_A_SUPERVISOR)
    return [each for each in faults if each.name not in without]
