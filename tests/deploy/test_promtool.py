"""What promtool says of our files and of the service's own /metrics."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.portal import Portal, message, running

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt: prometheus)"),
]


def promtool(*arguments: str, given: bytes | None = None) -> str:
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=PROMETHEUS,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=400,
        # It collects its garbage less often.
        env={**os.environ, "GOGC": "400"},
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said


def test_the_scrape_configuration_is_valid() -> None:
    assert "is valid prometheus config" in promtool("check", "config", "prometheus.yml")


def test_the_rules_are_valid() -> None:
    assert "rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", "objectives.yml")


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed (apt: prometheus-alertmanager)")
def test_the_routes_to_people_are_valid() -> None:
    done = subprocess.run(
        ["amtool", "check-config", "alertmanager.yml"], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_unit_tests_of_the_rules_pass() -> None:
    files = sorted(path.name for path in PROMETHEUS.glob("rules_*test.yml"))
    assert promtool("test", "rules", *files).count("SUCCESS") == len(files) == 6


@pytest.fixture
async def used(database_dsn: str, tmp_path: Path) -> AsyncIterator[Portal]:
    """A service that has counted something, so that every kind of sample is there."""
    async with running(database_dsn, tmp_path) as portal:
        assert (await portal.post(message("m-1", "VNN 5"))).outcome == "accepted"
        yield portal


async def test_the_text_format_passes_the_lint(used: Portal) -> None:
    async with used.http.get(used.internal + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        body = await answer.read()
    assert b"portal1400_callbacks_total{" in body
    assert promtool("check", "metrics", given=body) == ""


async def test_openmetrics_is_spoken_to_whoever_asks_for_it(used: Portal) -> None:
    """promtool reads only the text format; the strict parser of the client library reads this one."""
    async with used.http.get(used.internal + "/metrics", headers={"Accept": OPENMETRICS}) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        body = await answer.text()
    assert body.endswith("# EOF\n")
    families = {family.name: family.type for family in text_string_to_metric_families(body)}  # type: ignore[no-untyped-call]  # the library leaves it without types
    assert families["portal1400_callbacks"] == "counter"
    assert families["portal1400_commit_seconds"] == "histogram"
