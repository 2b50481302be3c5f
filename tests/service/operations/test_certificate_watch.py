"""The certificate in front of us is met as carriers meet it, and told of before it ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from metrics.families.operations import OperationsFamilies
from metrics.families.register import Register
from service.operations.certificate_watch import CertificateWatch
from tests.support.tls import tls_proxy

FAMILY = "portal1400_certificate_expires_timestamp_seconds"


@pytest.mark.parametrize(
    ("days", "trouble"),
    [
        pytest.param(60, None, id="good for long"),
        pytest.param(5, "ends in 4 days", id="ends soon"),
        pytest.param(-2, "ends in 0 days", id="is over"),
    ],
)
async def test_its_end_is_a_figure_and_one_that_is_near_a_trouble(
    tmp_path: Path, days: int, trouble: str | None
) -> None:
    registry = CollectorRegistry()
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    async with tls_proxy(tmp_path, ends_at) as address:
        watch = CertificateWatch(address, OperationsFamilies(Register(registry)))
        assert registry.get_sample_value(FAMILY) is None
        await watch.look()
    assert registry.get_sample_value(FAMILY) == ends_at.timestamp()
    told = list(watch.troubles())
    assert len(told) == (trouble is not None)
    assert all(trouble in each for each in told if trouble is not None)


@pytest.mark.parametrize("address", [None, "http://portal.example"])
async def test_without_https_nobody_is_asked(address: str | None) -> None:
    watch = CertificateWatch(address, OperationsFamilies(Register(CollectorRegistry())))
    watch.start()
    await watch.look()
    await watch.stop()
    assert list(watch.troubles()) == []
