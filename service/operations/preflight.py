"""Go or no-go before a broadcast: what running workers, their database and an alert say, judged one by one.

What was gathered comes in as plain figures, so that every judgment is a function of them: a row of a test.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from campaigns.book.book import Campaign, CampaignState
from service.operations.conformance_runs import ConformanceRun
from service.runtime.kernel_clock import KernelClock


class Verdict(StrEnum):
    """`no_go`: the night is not to begin like this. `look`: a person decides. `not_asked`: nobody told."""

    GO = "go"
    LOOK = "look"
    NO_GO = "no_go"
    NOT_ASKED = "not_asked"


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a worker says: what stands on /readyz, and its samples by name and by the values of their labels."""

    index: int
    is_ready: bool
    degraded: tuple[str, ...]
    book_version: int
    samples: Mapping[str, Mapping[tuple[str, ...], float]]

    def one(self, name: str) -> float:
        """The sample of a family without labels; not a number where there is none."""
        return self.samples.get(name, {}).get((), math.nan)

    def by_label(self, name: str) -> Mapping[tuple[str, ...], float]:
        """The samples of a family with labels."""
        return self.samples.get(name, {})


class Limits(NamedTuple):
    """From which figure on a thing is looked at, and from which it is no-go. NaN is never good."""

    look: float
    no_go: float
    unit: str = ""

    def judge(self, figure: float) -> Verdict:
        """More is worse."""
        if math.isnan(figure) or figure >= self.no_go:
            return Verdict.NO_GO
        return Verdict.LOOK if figure >= self.look else Verdict.GO


OPENS_WITHIN = timedelta(hours=48)
CLOSES_AFTER = timedelta(hours=6)
"""A night's window opens soon, and does not close in the middle of it."""
GIBIBYTE = 1024**3
FREE_LOOK, FREE_NO_GO = 20 * GIBIBYTE, 2 * GIBIBYTE
"""Ten million gifts take 8 GB in the database, and their callbacks as much."""
CLOCK = Limits(1.0, 60.0, "s")
TOTALS_AGE = Limits(2.0, 10.0, "s")
STALL = Limits(0.15, 1.0, "s")
BACKUP_AGE = Limits(26 * 3600, 72 * 3600, "s")
DRILL_AGE = Limits(40 * 86400, 400 * 86400, "s")
CONFORMANCE_AGE = Limits(180 * 86400, math.inf, "s")
CLOCK_ERROR = Limits(1.0, math.inf, "s")
COMMIT = Limits(0.05, 0.5, "s")
ANSWER = Limits(0.1, 1.0, "s")
BUSY = Limits(0.7, 1.5)
SILENT = Limits(24 * 3600, math.inf, "s")
CERTIFICATE_LOOK_DAYS, CERTIFICATE_NO_GO_DAYS = 14, 2


def judge_workers(
    workers: Sequence[Seen], silent: Sequence[int], book_version: int, release: str
) -> Iterator[Finding]:
    """Whether they run, are ready, and are all of this release and of the database's book."""
    if silent:
        yield Finding("workers", Verdict.NO_GO, f"worker(s) {silent} listen and do not answer")
    if not workers:
        yield Finding("workers", Verdict.NO_GO, "none answers at PORTAL1400_INTERNAL_LISTEN: start the service")
        return
    unready = [each.index for each in workers if not each.is_ready]
    if unready:
        yield Finding("workers", Verdict.NO_GO, f"worker(s) {unready} take no callbacks")
    behind = [each.index for each in workers if each.book_version != book_version]
    if behind:
        yield Finding("book", Verdict.NO_GO, f"worker(s) {behind} do not read by version {book_version}, the newest")
    else:
        yield Finding("book", Verdict.GO, f"all read by version {book_version}")
    releases = {version for each in workers for (version,) in each.by_label("portal1400_build_info")}
    if releases - {release}:
        said = ", ".join(sorted(releases))
        yield Finding("release", Verdict.LOOK, f"the workers run {said}, this command is {release}: reload, or not")
    restarts = sum(sum(each.by_label("portal1400_worker_restarts_total").values()) for each in workers)
    verdict = Verdict.LOOK if restarts or len(workers) < 2 else Verdict.GO
    yield Finding("workers", verdict, f"{len(workers)} answer(s); {restarts:.0f} restart(s) after a death")
    for each in workers:
        for sentence in each.degraded:
            is_grave = sentence.startswith("gateway ")
            yield Finding(f"worker {each.index}", Verdict.NO_GO if is_grave else Verdict.LOOK, sentence)


def judge_campaigns(campaigns: Iterable[Campaign], slug: str | None, now: datetime) -> Iterator[Finding]:
    """Whether something is to be given to tonight, and for long enough."""
    chosen = [each for each in campaigns if slug is None or each.slug == slug]
    if slug is not None and not chosen:
        yield Finding("campaign", Verdict.NO_GO, f"there is no campaign {slug} in the book")
    alive = [each for each in chosen if each.routes and each.closes_at > now and each.opens_at < now + OPENS_WITHIN]
    if not alive and (chosen or slug is None):
        yield Finding("campaign", Verdict.NO_GO, "no window is open or opens within 48 hours")
    for each in alive:
        ways = ", ".join(f"{word} to {route.short_code}" for route in each.routes for word in route.keywords)
        until = "open" if each.state_at(now) is CampaignState.OPEN else f"opens {each.opens_at.isoformat()}"
        ends_soon = each.closes_at - max(now, each.opens_at) < CLOSES_AFTER
        verdict = Verdict.LOOK if ends_soon else Verdict.GO
        yield Finding("campaign", verdict, f"{each.slug}: {until}, closes {each.closes_at.isoformat()}; {ways}")


def judge_accounts(workers: Sequence[Seen], now: datetime) -> Iterator[Finding]:
    """Each account that is to deliver: its secrets in every worker, and when it last spoke."""
    accounts = sorted({key for each in workers for key in each.by_label("portal1400_account_usable")})
    if workers and not accounts:
        yield Finding("accounts", Verdict.NO_GO, "no enabled account could deliver")
    for key in accounts:
        usable = [each.by_label("portal1400_account_usable").get(key, 0) for each in workers]
        last = max(each.by_label("portal1400_last_callback_timestamp_seconds").get(key, 0) for each in workers)
        name = f"account {key[0]}"
        if not all(usable):
            yield Finding(name, Verdict.NO_GO, f"{usable.count(0)} worker(s) have no secret of it")
        elif not last:
            yield Finding(name, Verdict.LOOK, "has sent nothing since the workers began: let it send one real text")
        else:
            age = now.timestamp() - last
            yield Finding(name, SILENT.judge(age), f"has its secrets; last spoke {_span(age)} ago")


def judge_conformance(
    protocols: Mapping[str, str], runs: Iterable[ConformanceRun], now: datetime
) -> Iterator[Finding]:
    """The newest run of each account's protocol, by whatever test account. `protocols`: those of the accounts that
    deliver, by code.
    """
    newest: dict[str, ConformanceRun] = {}
    for run in sorted(runs, key=lambda each: each.at):
        newest[run.protocol] = run
    for account, protocol in sorted(protocols.items()):
        name = f"conformance {account}"
        last = newest.get(protocol)
        if last is None:
            yield Finding(name, Verdict.LOOK, f"no run of {protocol} is known on this machine")
            continue
        age = now.timestamp() - last.at
        said = f"{protocol} ran {_span(age)} ago by {last.account}: {last.passed} passed, {last.failed} failed"
        yield Finding(name, CONFORMANCE_AGE.judge(age) if last.is_right else Verdict.LOOK, said)


def judge_time_source(clock: KernelClock | None) -> Finding:
    """Whether something sets this machine's clock. A host that sets its guests' need not tell the kernel."""
    if clock is None:
        return Finding("time source", Verdict.LOOK, "unknown: the kernel does not tell here")
    if not clock.is_synchronised:
        said = "the kernel holds the clock for unsynchronised: look at NTP (`chronyc tracking`, `timedatectl`)"
        return Finding("time source", Verdict.LOOK, said)
    error = clock.error_seconds_max
    return Finding("time source", CLOCK_ERROR.judge(error), f"synchronised, off by {error:.2f} s at most")


def judge_figures(workers: Sequence[Seen], now: datetime) -> Iterator[Finding]:
    """What every worker measures of itself."""
    for name, family, limits in (
        ("totals", "portal1400_totals_age_seconds", TOTALS_AGE),
        ("event loop", "portal1400_event_loop_stall_seconds", STALL),
    ):
        worst = _worst([each.one(family) for each in workers])
        yield Finding(name, limits.judge(worst), f"{worst:.2f} {limits.unit} at the worst worker")
    ahead = max((each.one("portal1400_clock_ahead_of_database_seconds") for each in workers), key=abs)
    yield Finding("clock", CLOCK.judge(abs(ahead)), f"{ahead:+.2f} s from the database's")
    level = _worst([each.one("portal1400_load_level") for each in workers])
    yield Finding("load", Verdict.LOOK if level else Verdict.GO, f"shedding level {level:.0f}")
    waiting = sum(each.one("portal1400_spool_records") for each in workers)
    refused = sum(each.one("portal1400_spool_files_refused") for each in workers)
    closed = sum(not each.one("portal1400_spool_writable") for each in workers)
    verdict = Verdict.NO_GO if closed or refused else Verdict.LOOK if waiting else Verdict.GO
    yield Finding("spool", verdict, f"{waiting:.0f} wait, {refused:.0f} file(s) unusable, {closed} not writable")
    free: dict[str, float] = {}
    for each in workers:
        for (folder,), free_bytes in each.by_label("portal1400_disk_free_bytes").items():
            free[folder] = min(free_bytes, free.get(folder, free_bytes))
    for folder, free_bytes in sorted(free.items()):
        verdict = Verdict.NO_GO if free_bytes < FREE_NO_GO else Verdict.LOOK if free_bytes < FREE_LOOK else Verdict.GO
        yield Finding(f"disk {folder}", verdict, f"{free_bytes / GIBIBYTE:.1f} GiB free")
    broken = {
        key[0]: value
        for each in workers
        for key, value in each.by_label("portal1400_invariant_difference").items()
        if value
    }
    checked = any(each.by_label("portal1400_invariant_difference") for each in workers)
    if broken:
        yield Finding("invariants", Verdict.NO_GO, f"broken: {', '.join(sorted(broken))}; run `portal1400 verify`")
    else:
        here = "hold, as a worker here checked" if checked else "are checked by another machine: look there"
        yield Finding("invariants", Verdict.GO if checked else Verdict.LOOK, here)
    for act, limits in (("backup", BACKUP_AGE), ("drill", DRILL_AGE)):
        last = _worst([each.by_label("portal1400_last_backup_timestamp_seconds").get((act,), 0) for each in workers])
        age = now.timestamp() - last
        if last:
            yield Finding(act, limits.judge(age), f"{_span(age)} ago on this machine")
        else:
            yield Finding(act, Verdict.LOOK, "not known on this machine: look at the one that makes them")


def judge_headroom(commits: Sequence[float], answers: Sequence[float], load: float, cores: int) -> Iterator[Finding]:
    """A self-test that moves no money: commits to the database's log, answers of the public side, and the cores."""
    for name, times, limits in (("commits", commits, COMMIT), ("answers", answers, ANSWER)):
        if not times:
            yield Finding(name, Verdict.NO_GO, "none came back")
            continue
        slow = sorted(times)[int(len(times) * 0.95)]
        said = f"{len(times)} tried, 95 of 100 within {slow * 1000:.1f} ms"
        yield Finding(name, limits.judge(slow), said)
    yield Finding("cores", BUSY.judge(load / cores), f"load {load:.1f} on {cores} core(s)")


def judge_certificate(days: float | None, why: str) -> Finding:
    """That of PUBLIC_URL, by the days it has left; None: `why` it could not be asked."""
    if days is None:
        return Finding("certificate", Verdict.LOOK, why)
    grave = Verdict.NO_GO if days < CERTIFICATE_NO_GO_DAYS else Verdict.LOOK
    return Finding("certificate", Verdict.GO if days >= CERTIFICATE_LOOK_DAYS else grave, f"{days:.0f} days left")


def judge_standbys(standbys: Sequence[tuple[str, str, float]], warning: str | None) -> Finding:
    """Each standby's name, whether commits wait for it, and seconds it lags."""
    if warning is not None:
        return Finding("replication", Verdict.LOOK, warning)
    if not standbys:
        return Finding("replication", Verdict.LOOK, "no standby: the night hangs on one database machine")
    worst = max(lag for _, _, lag in standbys)
    said = ", ".join(f"{name} ({state}, {lag:.1f} s behind)" for name, state, lag in standbys)
    return Finding("replication", Verdict.GO if worst < 10 else Verdict.LOOK, said)


def _worst(figures: Sequence[float]) -> float:
    return math.nan if not figures or any(math.isnan(each) for each in figures) else max(figures)


def _span(seconds: float) -> str:
    for name, length in (("day(s)", 86400.0), ("hour(s)", 3600.0), ("minute(s)", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{max(0.0, seconds):.0f} s"
