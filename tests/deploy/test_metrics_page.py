"""docs/metrics.md is what the code says; labels are closed sets, so series are few whatever is sent."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from deploy.metrics_page import MANY_ACCOUNTS, MANY_CAMPAIGNS, PAGE, page, rounded_series, whole
from metrics.families.register import LABELS, Family, Register
from metrics.instruments import Instruments

WHOLE = whole()
FOREIGN = ("process_",)
UNIT_SUFFIXES = {"unix seconds": "_timestamp_seconds", "seconds": "_seconds", "bytes": "_bytes", "VND": "_vnd"}
SERIES_MAX = 20_000
"""Of a worker with that many: an hour of them is some 20 MB for Prometheus, which holds a million with ease."""


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "`make generate` writes it anew"


def test_every_family_that_is_exported_is_described_and_no_other() -> None:
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in WHOLE.registry.collect()
    }
    assert {family.name: family.kind for family in WHOLE.families} == exported


@pytest.mark.parametrize("family", [pytest.param(family, id=family.name) for family in WHOLE.families])
def test_a_family_says_its_unit_in_its_name_and_has_a_query_about_itself(family: Family) -> None:
    assert family.name.startswith(("portal1400_", *FOREIGN))
    if family.name.startswith(FOREIGN):
        return
    bare = family.name.removesuffix("_total")
    for unit, suffix in UNIT_SUFFIXES.items():
        if family.unit == unit:
            assert bare.endswith(suffix)
    if family.unit not in UNIT_SUFFIXES:
        assert not bare.endswith(tuple(UNIT_SUFFIXES.values()))
    assert family.name in family.query
    assert not family.meaning.endswith(".")
    assert family.unit
    assert "portal1400_campaign_" not in family.query or family.query.startswith("max ")


def test_every_label_is_used_and_nobody_makes_one_that_is_not_owned() -> None:
    assert {label for family in WHOLE.families for label in family.labels} == LABELS.keys()
    room = Register(CollectorRegistry()).room("Nowhere")
    with pytest.raises(ValueError, match="nobody owns the values of msisdn"):
        room.counter("portal1400_x", "X", ["account", "msisdn"], unit="x", query="portal1400_x_total")


def test_a_worker_with_many_accounts_and_campaigns_exports_few_series() -> None:
    """Every account and campaign costs a few dozen: two hundred and a hundred are no burden to any Prometheus."""
    assert MANY_ACCOUNTS == 200
    assert MANY_CAMPAIGNS == 100
    assert rounded_series() < SERIES_MAX


def exported(made: Instruments) -> list[bytes]:
    text: bytes = generate_latest(made.registry)  # type: ignore[no-untyped-call]  # the library leaves it without types
    return text.splitlines()


def test_a_time_carries_its_trace_where_there_is_one_and_nothing_where_there_is_none() -> None:
    made = whole()
    made.intake.count_callback("hub", "standard", "accepted", 0.02)
    assert not [line for line in exported(made) if b" # {" in line]
    made.intake.exemplar = lambda: {"trace_id": "0af7651916cd43dd8448eb211c80319c"}
    made.intake.count_callback("hub", "standard", "accepted", 0.02)
    (line,) = [line for line in exported(made) if b" # {" in line]
    assert line.startswith(b'portal1400_callback_seconds_bucket{adapter="standard",le="0.025"} 2.0 # {trace_id="0af7')
