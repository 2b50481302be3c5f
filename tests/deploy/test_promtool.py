"""What promtool says of our files and of the service's own /metrics."""

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
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


Rule = dict[str, Any]
"""A rule, a group of them or a case, as the file has it."""


def name_of(rule: Rule) -> str:
    """What other rules and the tests call it."""
    return str(rule.get("alert") or rule["record"])


def asked_of(case: Rule, groups: list[Rule]) -> frozenset[str]:
    """The names of the rules that a case of the unit tests asks, and of those that these read in turn."""
    known = {name_of(rule): re.findall(r"[\w:]+", rule["expr"]) for group in groups for rule in group["rules"]}
    asked = {each["alertname"] for each in case.get("alert_rule_test", ())}
    assert asked <= known.keys(), "nobody fires under a name that no rule has"
    for each in case.get("promql_expr_test", ()):
        asked |= known.keys() & set(re.findall(r"[\w:]+", each["expr"]))
    assert asked, case["name"]
    while more := {name for one in asked for name in known.keys() & set(known[one])} - asked:
        asked |= more
    return frozenset(asked)


def test_the_unit_tests_of_the_rules_pass(tmp_path: Path) -> None:
    """Each case beside the rules that it asks: a rule that nobody asks costs as much at each step as any other."""
    files = sorted(PROMETHEUS.glob("rules_*test.yml"))
    written = []
    for path in files:
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = [
            group
            for name in whole["rule_files"]
            for group in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]
        ]
        cases_by_rules = defaultdict(list)
        for case in whole["tests"]:
            cases_by_rules[asked_of(case, groups)].append(case)
        for number, (asked, cases) in enumerate(cases_by_rules.items()):
            kept = [
                {**group, "rules": [each for each in group["rules"] if name_of(each) in asked]} for group in groups
            ]
            rules, test = tmp_path / f"{path.stem}_{number}_rules.json", tmp_path / f"{path.stem}_{number}.json"
            rules.write_text(json.dumps({"groups": [group for group in kept if group["rules"]]}))
            test.write_text(json.dumps({**whole, "rule_files": [rules.name], "tests": cases}))
            written.append(str(test))
    assert (len(files), len(written) > 30) == (6, True)
    assert promtool("test", "rules", *written).count("SUCCESS") == len(written)


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
