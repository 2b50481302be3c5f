"""The night in figures, from what the workers of a machine say of themselves: for whoever has only a terminal."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families

from gateways.outcome import Outcome

Labels = tuple[str, ...]
Light = Literal["call", "look", "ok", "none"]
LIGHTS: Mapping[str, Light] = {
    "silent": "call", "failing": "call", "clock": "look", "gaps": "look", "good": "ok", "quiet": "none",
    "never": "none",
    "test": "none",
    "off": "none",
}  # fmt: skip
"""What the state of a link asks for (metrics/carrier_verdicts.py): a call, a look, nothing; or nothing is known."""
LATER = (Outcome.OVERLOADED.value, Outcome.UNAVAILABLE.value)
UNPROVED = (Outcome.UNAUTHENTICATED.value, Outcome.STALE.value, Outcome.MALFORMED.value, Outcome.TOO_LARGE.value)
"""Neither acknowledged nor owed an acknowledgement."""
SHARE = 0.99
COUNTERS: Mapping[str, Labels] = {
    "portal1400_callbacks_total": ("account", "outcome"),
    "portal1400_callback_seconds_bucket": ("le",),
    "portal1400_messages_total": ("campaign", "carrier"),
    "portal1400_pledged_vnd_total": ("campaign", "carrier"),
}
"""What is compared with an earlier look, by these labels."""
GAUGES: Mapping[str, Labels] = {
    "portal1400_campaign_pledged_vnd": ("campaign",),
    "portal1400_campaign_messages": ("campaign",),
    "portal1400_invariant_difference": ("invariant",),
    "portal1400_spool_records": (),
    "portal1400_spool_oldest_seconds": (),
    "portal1400_spool_writable": (),
    "portal1400_totals_age_seconds": (),
    "portal1400_stream_viewers": (),
    "portal1400_load_level": (),
}
WANTED = {**COUNTERS, **GAUGES}

Samples = Mapping[str, Mapping[Labels, float]]


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """One worker at one moment. `samples` by name and labels; None where it did not answer in time."""

    index: int
    is_ready: bool
    degraded: tuple[str, ...]
    samples: Samples | None


@dataclass(frozen=True, slots=True)
class Look:
    """All workers of a machine at one moment, `at` in unix seconds; `links`: how carriers do, the worst first."""

    at: float
    workers: tuple[WorkerSaid, ...]
    links: tuple[Mapping[str, Any], ...] = ()


def samples_of(exposition: str) -> Samples:
    """What is looked at of a worker's metrics; samples that differ in other labels are added up."""
    found: dict[str, dict[Labels, float]] = {name: {} for name in WANTED}
    lines = (line for line in exposition.splitlines() if line.partition("{")[0].partition(" ")[0] in WANTED)
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            labels = tuple(sample.labels[label] for label in WANTED[sample.name])
            found[sample.name][labels] = found[sample.name].get(labels, 0.0) + sample.value
    return found


def night_of(now: Look, before: Look) -> dict[str, Any]:
    """The figures of `now`, as one JSON object; rates are since `before`, and null where that is the same look."""
    seconds = now.at - before.at
    grown = _grown(now, before)
    callbacks = grown["portal1400_callbacks_total"]
    later = sum(count for (_, outcome), count in callbacks.items() if outcome in LATER)
    acknowledged = sum(count for (_, outcome), count in callbacks.items() if outcome not in (*LATER, *UNPROVED))
    broken = _joined(now, "portal1400_invariant_difference", max)
    age = _joined(now, "portal1400_totals_age_seconds", max).get((), math.inf)
    return {
        "at": now.at,
        "seconds": seconds,
        "workers": [
            {"index": each.index, "ready": each.is_ready, "answers": each.samples is not None} for each in now.workers
        ],
        "campaigns": _campaigns(now, grown, seconds),
        "carriers": _carriers(grown, seconds),
        "accounts": _accounts(now, callbacks, seconds),
        "acknowledgement": {
            "per_second": round(acknowledged / seconds, 1) if seconds > 0 else None,
            "told_later": int(later),
            "p99_seconds": _quantile(grown["portal1400_callback_seconds_bucket"]),
        },
        "spool": {
            "records": int(_joined(now, "portal1400_spool_records", sum).get((), 0)),
            "oldest_seconds": round(_joined(now, "portal1400_spool_oldest_seconds", max).get((), 0.0), 1),
            "writable": _joined(now, "portal1400_spool_writable", min).get(()) == 1,
        },
        "totals_age_seconds": round(age, 1) if math.isfinite(age) else None,
        "viewers": int(_joined(now, "portal1400_stream_viewers", sum).get((), 0)),
        "load_level": int(_joined(now, "portal1400_load_level", max).get((), 0)),
        # Nobody on this machine may check: then nothing is known of them here.
        "invariants_broken": sorted(name for (name,), rows in broken.items() if rows) if broken else None,
        "wrong": list(_wrong(now)),
    }


def earliest(looks: Sequence[Look], seconds: float) -> Look:
    """The earliest of `looks` that is at most `seconds` before the last of them."""
    return next(look for look in looks if looks[-1].at - look.at <= seconds)


def _campaigns(now: Look, grown: Mapping[str, Counter[Labels]], seconds: float) -> list[dict[str, Any]]:
    counted = _joined(now, "portal1400_campaign_messages", max)
    messages, money = (_by(grown[f"portal1400_{name}_total"], 0) for name in ("messages", "pledged_vnd"))
    rows: list[dict[str, Any]] = [
        {
            "campaign": slug,
            "pledged_vnd": int(vnd),
            "messages": int(counted.get((slug,), 0)),
            "vnd_per_minute": _per_minute(money[slug], seconds),
            "messages_per_minute": _per_minute(messages[slug], seconds),
        }
        for (slug,), vnd in _joined(now, "portal1400_campaign_pledged_vnd", max).items()
    ]
    return sorted(rows, key=lambda row: (-money[row["campaign"]], -row["pledged_vnd"], row["campaign"]))


def _carriers(grown: Mapping[str, Counter[Labels]], seconds: float) -> list[dict[str, Any]]:
    messages, money = (_by(grown[f"portal1400_{name}_total"], 1) for name in ("messages", "pledged_vnd"))
    return [
        {
            "carrier": carrier,
            "messages_per_minute": _per_minute(count, seconds),
            "vnd_per_minute": _per_minute(money[carrier], seconds),
        }
        for carrier, count in messages.items()
        if count
    ]


def _accounts(now: Look, callbacks: Counter[Labels], seconds: float) -> list[dict[str, Any]]:
    every = _by(callbacks, 0)
    return [
        {
            "account": link["account"],
            "state": link["state"],
            "light": LIGHTS[link["state"]],
            "silent_seconds": link["silent_seconds"],
            "callbacks_per_minute": _per_minute(every[link["account"]], seconds),
            "error_share": link["error_share"],
            "our_error_share": link["our_error_share"],
        }
        for link in now.links
    ]


def _wrong(now: Look) -> Iterable[str]:
    """A sentence for each thing, once, with the workers that say it."""
    said: dict[str, list[str]] = defaultdict(list)
    for worker in now.workers:
        for sentence in (*(("does not answer",) if worker.samples is None else ()), *worker.degraded):
            said[sentence].append(str(worker.index))
    for sentence, indexes in said.items():
        yield f"worker {', '.join(indexes)}: {sentence}"


def _joined(now: Look, name: str, join: Callable[[list[float]], float]) -> dict[Labels, float]:
    """A gauge over all workers that answered."""
    values: dict[Labels, list[float]] = defaultdict(list)
    for worker in now.workers:
        if worker.samples is not None:
            for labels, value in worker.samples[name].items():
                values[labels].append(value)
    return {labels: join(each) for labels, each in values.items()}


def _grown(now: Look, before: Look) -> dict[str, Counter[Labels]]:
    """By how much each counter grew on all workers; one that began anew meanwhile grew by what it shows."""
    grown: dict[str, Counter[Labels]] = {name: Counter() for name in COUNTERS}
    earlier = {worker.index: worker.samples for worker in before.workers}
    for worker in now.workers:
        known = earlier.get(worker.index)
        if worker.samples is None or known is None:
            continue
        for name, counter in grown.items():
            for labels, value in worker.samples[name].items():
                past = known[name].get(labels, 0.0)
                # Counted are things: whole numbers, which a sample holds as a float.
                counter[labels] += int(value - past if value >= past else value)
    return grown


def _quantile(buckets: Mapping[Labels, int]) -> float | None:
    """Within how many seconds SHARE of them were answered, by straight lines as Prometheus does; None for none."""
    lower, below = 0.0, 0
    bounds = sorted((float(le), count) for (le,), count in buckets.items())
    wanted = SHARE * bounds[-1][1] if bounds else 0.0
    for upper, count in bounds:
        if wanted and count >= wanted:
            is_open = math.isinf(upper)
            return lower if is_open else round(lower + (upper - lower) * (wanted - below) / (count - below), 4)
        lower, below = upper, count
    return None


def _by(counter: Mapping[Labels, int], place: int) -> Counter[str]:
    sums: Counter[str] = Counter()
    for labels, count in counter.items():
        sums[labels[place]] += count
    return sums


def _per_minute(count: int, seconds: float) -> int | None:
    return round(count * 60 / seconds) if seconds > 0 else None
