"""The files of the database cluster hold what the documentation promises. `make ha` runs a cluster made from them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.runbooks import lacking, section
from tests.support.systemd import EXPOSURE_MAX, analyze, needs_systemd

DEPLOY = Path(__file__).parents[2] / "deploy" / "patroni"
LEAST_TTL = 20
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def patroni() -> Any:
    return load("patroni.yml")


def test_a_commit_waits_for_a_standby_and_only_that_one_is_promoted(patroni: Any) -> None:
    dcs = patroni["bootstrap"]["dcs"]
    assert dcs["synchronous_mode"] is True
    assert dcs["synchronous_node_count"] >= 1
    assert DURABLE.items() <= dcs["postgresql"]["parameters"].items()
    assert "synchronous_standby_names" not in dcs["postgresql"]["parameters"], "Patroni's own"


def test_the_lease_is_as_short_as_patroni_takes_and_long_enough_for_a_retry(patroni: Any) -> None:
    dcs = patroni["bootstrap"]["dcs"]
    assert dcs["ttl"] == LEAST_TTL
    assert dcs["loop_wait"] + 2 * dcs["retry_timeout"] <= dcs["ttl"]
    assert dcs["primary_start_timeout"] == 0, "a PostgreSQL that died alone is not waited for"
    assert patroni["watchdog"]["mode"] in ("automatic", "required")
    assert load("etcd.yml")["election-timeout"] >= 5 * load("etcd.yml")["heartbeat-interval"]


def test_nobody_comes_in_without_a_password(patroni: Any) -> None:
    lines = patroni["postgresql"]["pg_hba"]
    assert all(re.fullmatch(r"(local|host)\s.*\sscram-sha-256", line) for line in lines)
    assert not any("0.0.0.0/0" in line for line in lines)
    assert patroni["bootstrap"]["dcs"]["postgresql"]["parameters"]["password_encryption"] == "scram-sha-256"
    initdb = [each for each in patroni["bootstrap"]["initdb"] if isinstance(each, dict)]
    assert {"auth-host": "scram-sha-256"} in initdb
    assert {"auth-local": "scram-sha-256"} in initdb
    assert "data-checksums" in patroni["bootstrap"]["initdb"], "pg_rewind and a bad disk need them"


def test_no_statement_with_a_value_comes_into_the_servers_log(patroni: Any) -> None:
    parameters = patroni["bootstrap"]["dcs"]["postgresql"]["parameters"]
    assert parameters["log_min_error_statement"] == "panic"
    assert parameters["log_parameter_max_length_on_error"] == 0
    assert parameters["log_error_verbosity"] == "terse"


def test_every_password_is_marked_and_of_its_own(patroni: Any) -> None:
    text = (DEPLOY / "patroni.yml").read_text(encoding="utf-8")
    given = re.findall(r"password: (\S+)(.*)", text)
    assert len(given) == len({password for password, _ in given}) == 5
    assert all(password.startswith("change-me-") and "SECRET" in remark for password, remark in given)


def test_all_three_machines_are_named_everywhere(patroni: Any) -> None:
    hosts = {each.partition(":")[0] for each in patroni["etcd3"]["hosts"].split(",")}
    members = dict(each.split("=") for each in load("etcd.yml")["initial-cluster"].split(","))
    assert {re.findall(r"//([\d.]+):2380", address)[0] for address in members.values()} == hosts
    assert len(hosts) == 3
    document = (DEPLOY.parents[1] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    assert ",".join(f"{host}:5432" for host in sorted(hosts)) in document


UNITS = ("patroni.service", "etcd.service", "portal1400-base-backup.service", "portal1400-base-backup.timer")


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_unit(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    unit = tmp_path / name
    # What this machine may not have.
    unit.write_text(re.sub(r"^(Exec\w+)=\S+", r"\1=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    if name.endswith(".timer"):
        (tmp_path / name.replace(".timer", ".service")).write_text(
            "[Service]\nExecStart=/bin/true\n", encoding="utf-8"
        )
    said = analyze("verify", "--recursive-errors=no", unit)
    assert name not in said, said


@needs_systemd
def test_systemd_calls_etcd_well_confined() -> None:
    threshold = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    analyze("security", "--offline=true", threshold, "--no-pager", DEPLOY / "etcd.service")


def test_nobody_writes_into_etcd_without_a_password(patroni: Any) -> None:
    assert patroni["etcd3"]["username"] == "patroni"
    document = (DEPLOY.parents[1] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    prefix = f"/service/{patroni['scope']}/"
    assert f"etcdctl role grant-permission patroni --prefix=true readwrite {prefix}" in document
    assert "etcdctl auth enable" in document


RULES = yaml.safe_load((DEPLOY / "cluster_rules.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_each_alert_of_the_cluster_leads_to_what_is_to_be_done(rule: Any) -> None:
    document = (DEPLOY.parents[1] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    assert lacking(section(document, rule["alert"]), with_steps=False) == []
    expected = f"https://runbooks.example/high-availability.md#{rule['alert'].lower()}"
    assert rule["annotations"]["runbook_url"] == expected


def test_every_machine_is_scraped_by_the_jobs_that_the_rules_name(patroni: Any) -> None:
    hosts = {each.partition(":")[0] for each in patroni["etcd3"]["hosts"].split(",")}
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in load("scrape.yml")["scrape_configs"]}
    assert {name: {target.partition(":")[0] for target in targets} for name, targets in jobs.items()} == {
        "patroni": hosts,
        "etcd": hosts,
    }
    named = {job for rule in RULES for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert named == set(jobs)


@pytest.mark.prometheus
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt: prometheus)")
@pytest.mark.parametrize(
    "asked",
    [
        ("check", "rules", "--lint=all", "--lint-fatal", "cluster_rules.yml"),
        ("test", "rules", "cluster_rules_test.yml"),
    ],
)
def test_promtool_agrees_with_the_rules(asked: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *asked], cwd=DEPLOY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_log_is_archived_only_when_there_is_a_place_for_it(patroni: Any) -> None:
    parameters = patroni["bootstrap"]["dcs"]["postgresql"]["parameters"]
    assert (parameters["archive_mode"], parameters["archive_command"]) == ("on", "/bin/true")
    document = (DEPLOY.parents[1] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    assert "archive_command=pgbackrest --stanza=portal1400 archive-push %p" in document
    stanza = (DEPLOY / "pgbackrest.conf").read_text(encoding="utf-8")
    assert f"pg1-path={patroni['postgresql']['data_dir']}\n" in stanza
    assert "repo1-cipher-type=aes-256-cbc\n" in stanza
