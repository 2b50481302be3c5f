"""The files of the database cluster hold what the documentation promises. `make ha` runs a cluster made from them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.systemd import analyze, needs_systemd

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
    assert len(given) == len({password for password, _ in given}) == 4
    assert all(password.startswith("change-me-") and "SECRET" in remark for password, remark in given)


def test_all_three_machines_are_named_everywhere(patroni: Any) -> None:
    hosts = {each.partition(":")[0] for each in patroni["etcd3"]["hosts"].split(",")}
    members = dict(each.split("=") for each in load("etcd.yml")["initial-cluster"].split(","))
    assert {re.findall(r"//([\d.]+):2380", address)[0] for address in members.values()} == hosts
    assert len(hosts) == 3
    document = (DEPLOY.parents[1] / "docs" / "high-availability.md").read_text(encoding="utf-8")
    assert ",".join(f"{host}:5432" for host in sorted(hosts)) in document


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "patroni.service").read_text(encoding="utf-8")
    unit = tmp_path / "patroni.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    said = analyze("verify", unit)
    assert "patroni.service" not in said, said
