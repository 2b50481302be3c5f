"""The dashboards and the alert rules, as files: what they name exists, and a person can find what they say."""

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from campaigns.totals.totals import CARRIERS, UNALLOCATED_REASONS, UNCOUNTED_REASONS
from deploy.grafana.__main__ import encoded
from deploy.grafana.boards import BOARDS
from deploy.grafana.panels import Ask, Board, Panel, Row, built
from deploy.metrics_page import whole
from gateways.outcome import Outcome
from gateways.registry import ADAPTERS
from metrics.families.database import POOL_STATES, SYNC_STATES
from metrics.families.intake import CALLBACK_BUCKETS, MESSAGE_TIMES, QUARANTINE_REASONS, UNKNOWN_ACCOUNT
from metrics.families.listeners import CONNECTION_STATES, OTHER_STATUS, PEERS, REQUEST_BUCKETS, STATUSES
from metrics.families.replies import REPLY_OUTCOMES
from metrics.instruments import Instruments
from metrics.invariants import INVARIANTS
from metrics.service_levels import SHOWN_BUCKETS
from metrics.subjects import SUBJECTS
from service.listeners.turned_away import Kind
from service.operations.backup.times import ACTS
from tests.support.dashboard import DASHBOARDS, FOLDER, PANELS, ROOT, dashboard_queries, panel_queries
from tests.support.runbooks import lacking, section

# With libyaml where it is there: every process that collects the tests reads these files.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RULE_FILES = [ROOT / "deploy/prometheus" / name for name in ("rules.yml", "objectives.yml")]
RULE_TESTS: list[dict[str, Any]] = [
    test
    for path in sorted((ROOT / "deploy/prometheus").glob("rules_*test.yml"))
    for test in yaml.load(path.read_text(encoding="utf-8"), LOADER)["tests"]
]
OPERATIONS_PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ALERTS_PAGE = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")

ALL_RULES = [
    rule
    for path in RULE_FILES
    for group in yaml.load(path.read_text(encoding="utf-8"), LOADER)["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
RUNBOOKS = "https://runbooks.example/"
"""What an operator replaces, by the line in docs/operations.md."""
ALWAYS = {"Portal1400Watchdog"}
"""Fires for ever, so that its end is noticed."""
GRID_COLUMNS = 24
PROMETHEUS_OWN = {"up", "ALERTS"}
CLOSED_SETS: dict[str, set[str]] = {
    "outcome": {*(outcome.value for outcome in Outcome), *REPLY_OUTCOMES},
    "reason": {*UNCOUNTED_REASONS, *UNALLOCATED_REASONS, *QUARANTINE_REASONS},
    "carrier": set(CARRIERS),
    "adapter": set(ADAPTERS),
    "invariant": {invariant.name for invariant in INVARIANTS},
    "account": {UNKNOWN_ACCOUNT},
    "act": set(ACTS),
    "time": set(MESSAGE_TIMES),
    "subject": {subject.name for subject in SUBJECTS},
    "alertstate": {"pending", "firing"},
    "job": {"portal1400"},
    "kind": {kind.value for kind in Kind},
    "peer": set(PEERS),
    "state": {*POOL_STATES, *CONNECTION_STATES},
    "status": {*map(str, STATUSES), OTHER_STATUS},
    "sync_state": set(SYNC_STATES),
    "le": {str(float(bound)) for bound in (*SHOWN_BUCKETS, *CALLBACK_BUCKETS, *REQUEST_BUCKETS)},
    "severity": {"critical", "warning", "heartbeat"},
    "alertname": {rule["alert"] for rule in ALERTS},
}
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_SELECTOR_OR_NAME = re.compile(
    r"[a-zA-Z_:][a-zA-Z0-9_:]*(?=\s*[{\[])|\b(?:(?:portal1400|process_)[a-zA-Z0-9_:]+|ALERTS|up)\b"
)


def samples_of(made: Instruments) -> dict[str, set[str]]:
    """The name of every sample that exists, with its labels."""
    found: dict[str, set[str]] = {}
    for family in made.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


WHOLE = whole()
SAMPLES = samples_of(WHOLE)


QUERIES = [
    *dashboard_queries(),
    *((family.name, family.query) for family in WHOLE.families),
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in ALL_RULES),
]
RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}


def metrics_in(expr: str) -> set[str]:
    without_matchers = re.sub(r'"[^"]*"', '""', expr)
    return set(_SELECTOR_OR_NAME.findall(without_matchers))


def test_every_file_is_what_its_source_builds_and_no_other_lies_beside_it() -> None:
    assert {board.name for board in BOARDS} == DASHBOARDS.keys()
    for board in BOARDS:
        assert (FOLDER / f"{board.name}.json").read_text(encoding="utf-8") == encoded(board), "`make generate`"


def test_a_row_with_a_hole_in_it_is_refused() -> None:
    panel = Panel("T", "M", "s", [Ask("up", "x")], width=20)
    with pytest.raises(ValueError, match="4 columns are left"):
        built(Board("b", "b", "b", [Row("r", [panel])]))


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_ids_are_unique_and_titles_too(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))
    for panel in dashboard["panels"]:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(references) == len(set(references)), panel["title"]


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_no_panel_overlaps_another_or_leaves_the_grid(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= GRID_COLUMNS, panel["title"]
        for cell in itertools.product(
            range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies over {taken.get(cell)}"
            taken[cell] = panel["title"]
    rows = {y for _, y in taken}
    assert rows == set(range(len(rows))), "there are empty rows"
    assert len(taken) == len(rows) * GRID_COLUMNS, "there are holes"


def test_every_panel_explains_itself() -> None:
    for name, panel in PANELS:
        title = f"{name}: {panel['title']}"
        assert len(panel["description"].split()) >= 12, title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"], title
            assert target["legendFormat"], title


def test_a_title_means_one_thing_on_every_dashboard() -> None:
    assert len(panel_queries()) > 50


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_every_variable_is_used_and_its_source_exists(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    text = json.dumps(dashboard["panels"])
    assert variables.pop("datasource")["type"] == "datasource"
    assert set(re.findall(r'\\"\$([a-z]+)\\"', text)) == variables.keys()
    for name, variable in variables.items():
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert asked is not None
        assert asked[2] in SAMPLES[asked[1]]
        # Several may be chosen: only a regular expression can hold them.
        assert re.search(rf'="\${name}"', " ".join(expr for _, expr in dashboard_queries())) is None


def test_every_metric_and_label_exists() -> None:
    for title, expr in QUERIES:
        names = metrics_in(expr)
        assert names or expr == "vector(1)", f"{title}: no metric was found in it"
        assert names <= SAMPLES.keys() | PROMETHEUS_OWN | RECORDED, title
        labels = {"instance"} | ({"account", "carrier"} if names & RECORDED else set())
        labels = labels.union(*(SAMPLES.get(name, set()) for name in names), re.findall(r'"(\w+)", "\$1"', expr))
        for listed in re.findall(r"(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)", expr):
            asked = {label.strip() for label in listed.split(",") if label.strip()}
            assert asked <= labels, f"{title}: {asked - labels} is no label here"


def test_every_value_in_a_matcher_belongs_to_the_closed_set() -> None:
    for title, expr in QUERIES:
        for label, operator, value in _MATCHER.findall(expr):
            if value.startswith("$") or value == "Portal1400.*":
                continue
            values = set(value.split("|")) if operator in ("=~", "!~") else {value}
            assert values <= CLOSED_SETS[label], f"{title}: {label} is never {values - CLOSED_SETS[label]}"


def test_totals_of_campaigns_are_never_added_over_workers() -> None:
    asked = [expr for _, expr in QUERIES if "portal1400_campaign_" in expr]
    assert len(asked) >= 2
    for expr in asked:
        assert re.fullmatch(r"max by \(campaign\) \(portal1400_campaign_\w+(\{[^}]*\})?\)", expr), expr


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in ALERTS])
def test_every_alert_says_what_to_do_first_and_has_its_section(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ({"heartbeat"} if rule["alert"] in ALWAYS else {"critical", "warning"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert re.search(r"\bFirst |\bfirst |First run", rule["annotations"]["description"])
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}alerts.md#{rule['alert'].lower()}"
    runbook = section(ALERTS_PAGE, rule["alert"])
    assert lacking(runbook, with_steps=True) == []
    assert runbook.startswith(f"{rule['labels']['severity']} · ")


def test_an_alert_that_silences_another_exists_and_so_does_the_other() -> None:
    routes = yaml.safe_load((ROOT / "deploy/prometheus/alertmanager.yml").read_text(encoding="utf-8"))
    known = {rule["alert"] for rule in ALERTS}
    for rule in routes["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = re.compile(re.fullmatch(r'alertname=~?"(\S+)"', matcher)[1])  # type: ignore[index]  # else it fails
            named = {f"Portal1400{name}" for name in re.sub(r"Portal1400|[()]", "", pattern.pattern).split("|")}
            assert named <= known, named - known
            assert named == {name for name in known if pattern.fullmatch(name)}
    assert {route["receiver"] for route in (routes["route"], *routes["route"]["routes"])} == {
        receiver["name"] for receiver in routes["receivers"]
    }


def test_the_line_that_puts_in_the_operators_own_address_finds_every_alert() -> None:
    (line,) = re.findall(r"^sed -i 's#(\S+?)#\S+#' rules\.yml objectives\.yml$", OPERATIONS_PAGE, re.MULTILINE)
    assert line == RUNBOOKS
    rules = "".join(path.read_text(encoding="utf-8") for path in RULE_FILES)
    assert rules.count(RUNBOOKS) == len(ALERTS)
    assert all(row.count(RUNBOOKS) <= 1 for row in rules.splitlines())


def test_the_page_has_no_section_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (Portal1400\w+)$", ALERTS_PAGE, re.MULTILINE)) == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("name", [rule["alert"] for rule in ALERTS])
def test_every_alert_is_seen_to_stay_silent_to_fire_and_to_end(name: str) -> None:
    tests = [
        [case["exp_alerts"] for case in test.get("alert_rule_test", []) if case["alertname"] == name]
        for test in RULE_TESTS
    ]
    assert any(any(cases) for cases in tests), "no unit test in which it fires"
    if name not in ALWAYS:
        assert any(not all(cases) for cases in tests), "no unit test in which it stays silent"
        assert any(any(cases) and not cases[-1] for cases in tests), "no unit test in which it ends"
