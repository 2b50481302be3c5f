"""docs/metrics.md, made from what every family says of itself in metrics/families. `make generate` writes it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from metrics.carrier_health import CarrierHealth
from metrics.families.database import SYNC_STATES
from metrics.families.register import LABELS, Family
from metrics.instruments import Instruments
from metrics.invariants import INVARIANTS
from metrics.subjects import SUBJECTS
from service.operations.backup.times import ACTS
from service.operations.instruments import make_instruments
from service.runtime.clock import utc_now

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
ROUTES_MAX = 40
"""More than the public side has; a test counts those."""
MANY_ACCOUNTS, MANY_CAMPAIGNS = 200, 100
"""More than there will be; the page says how many series that makes."""

HEAD = """# Metrics

<!-- Made by `make generate` from metrics/families; a test fails where the two differ. -->

Every family that a worker exports on its internal listener, `GET /metrics`, as Prometheus text, or as OpenMetrics for
who asks for it. Names, types and labels are a contract: one that changes stands in [CHANGELOG.md](../CHANGELOG.md).

* Each worker is scraped by itself and counts what it did itself since its start. Counters (`..._total`) never fall:
  use `rate` or `increase`, and add them up over workers with `sum`. `portal1400_campaign_*` are the published totals,
  the same on all workers: use `max`, never `sum`.
* The queries below are over all workers, and each is run against a real Prometheus in our tests. Dashboards made of
  them are in `deploy/grafana`, alerts in `deploy/prometheus`, explained in [alerts.md](alerts.md).
* Base units: seconds, bytes, VND. A sample is a 64-bit float, exact up to 9,007,199,254,740,992 VND.
* A histogram of times carries an exemplar with the `trace_id` of a callback, in OpenMetrics, where that callback was
  traced and sampled.
* No label holds a number, a text or an id, and none is taken from a request: the values of each come from a set that
  we own, so what is sent to the service cannot make series. With {accounts} accounts and {campaigns} campaigns
  a worker exports about {series:,} series, `process_*` not counted.

## Labels

| label | values |
|---|---|
"""


def whole(accounts: Sequence[str] = ("hub",), campaigns: Sequence[str] = ("vnn",)) -> Instruments:
    """The instruments of a worker that has met everything it can meet: every child of every family exists."""
    made = make_instruments()
    links = CarrierHealth(made.register, utc_now)
    made.intake.know_accounts(accounts)
    made.know_campaigns(campaigns)
    for account in accounts:
        made.catalog.see_account(account, is_enabled=True, is_usable=True, is_test=False, secrets_missing=0)
        made.catalog.see_link(account, expected_callbacks=0.0, usual_hourly_callbacks=1.0, missing_ids=0)
        made.intake.last_callback.labels(account).set(1)
        made.replies.know_replies([account])
        made.replies.see_replies(account, waiting=0, oldest_seconds=0.0)
        links.see_message(account, "1", 1.0)
    for folder in ("data", "database"):
        made.operations.disk_free_bytes.labels(folder).set(1)
        made.operations.disk_size_bytes.labels(folder).set(1)
    for act in ACTS:
        made.operations.last_backup.labels(act).set(1)
    for invariant in INVARIANTS:
        made.operations.invariant_difference.labels(invariant.name).set(0)
    for subject in SUBJECTS:
        made.operations.invariants_pass.labels(subject.name).set(1)
    made.database.bytes_now = made.database.connections_now = made.database.connections_max_now = 1
    made.database.see_standbys(dict.fromkeys(SYNC_STATES, (1, 0.0, 0.0)))
    made.operations.certificate_expires_at = 1
    made.listeners.know_routes({f"/{number}": f"/{number}" for number in range(ROUTES_MAX)})
    return made


def series(made: Instruments) -> int:
    """How many series it exports, those of the process itself left out."""
    return sum(
        len(family.samples)
        for family in made.registry.collect()
        if not family.name.startswith(("process_", "python_"))
    )


def rounded_series() -> int:
    """With many accounts and campaigns, up to the next hundred."""
    made = whole(
        [f"account-{each}" for each in range(MANY_ACCOUNTS)], [f"c-{each}" for each in range(MANY_CAMPAIGNS)]
    )
    return -(-series(made) // 100) * 100


def page() -> str:
    """The whole page."""
    made = whole()
    return "".join(_lines(made.families))


def _lines(families: Sequence[Family]) -> Iterator[str]:
    yield HEAD.format(accounts=MANY_ACCOUNTS, campaigns=MANY_CAMPAIGNS, series=rounded_series())
    for label, values in LABELS.items():
        yield f"| `{label}` | {values} |\n"
    room = ""
    for family in families:
        if family.room != room:
            room = family.room
            yield f"\n## {room}\n"
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"\n### {family.name}\n\n{family.kind} · {family.unit}"
        yield f" · by {labels}\n" if labels else "\n"
        yield f"\n{family.meaning}.\n\n```promql\n{family.query}\n```\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
