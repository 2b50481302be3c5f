"""`deploy/compose`: what its file promises, and what the specification says of it. Nothing of it is started here."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.runtime.settings import PREFIX, Settings
from tests.support.judges import ROOT, judged

FOLDER = ROOT / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"
COMPOSE: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
PORTALS = ("portal-a", "portal-b")


@pytest.mark.parametrize("name", ["migrate", *PORTALS])
def test_the_service_has_no_rights_and_only_settings_that_exist(name: str) -> None:
    portal = SERVICES[name]
    assert (portal["user"], portal["read_only"], portal["cap_drop"]) == ("1400:1400", True, ["ALL"])
    assert "no-new-privileges:true" in portal["security_opt"]
    assert set(portal["environment"]) <= {PREFIX + field.upper() for field in Settings.model_fields}
    seconds = Settings.model_fields["shutdown_seconds"].default
    assert float(portal["stop_grace_period"].removesuffix("s")) > seconds + 10


def test_each_service_has_a_spool_of_its_own_and_waits_for_migrations() -> None:
    volumes = [volume.partition(":") for name in PORTALS for volume in SERVICES[name]["volumes"]]
    assert [where for _, _, where in volumes] == ["/var/lib/portal1400"] * 2
    assert len({volume for volume, _, _ in volumes} & set(COMPOSE["volumes"])) == 2
    for name in PORTALS:
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert SERVICES[name]["environment"]["PORTAL1400_MIGRATE_ON_START"] == "false"


def test_the_address_that_is_trusted_is_the_one_the_proxy_comes_from() -> None:
    (network,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    (trusted,) = {SERVICES[name]["environment"]["PORTAL1400_TRUSTED_PROXIES"] for name in PORTALS}
    assert trusted == f"{network['gateway']}/32"
    assert ipaddress.ip_address(network["gateway"]) in ipaddress.ip_network(network["subnet"])
    published = [SERVICES[name]["ports"][0].rpartition(":")[0] for name in PORTALS]
    assert SERVICES["caddy"]["environment"]["PORTAL1400_UPSTREAMS"].split() == published


def test_nothing_but_the_proxy_is_open_to_strangers() -> None:
    assert [name for name, each in SERVICES.items() if each.get("network_mode") == "host"] == ["caddy"]
    ports = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert COMPOSE["networks"]["data"]["internal"] is True
    assert "data" not in {network for name in ("prometheus", "grafana") for network in SERVICES[name]["networks"]}


def test_every_file_that_it_mounts_is_there_and_every_secret_is_kept_out_of_the_repository() -> None:
    mounted = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", ())]
    for path in (each for each in mounted if each.startswith(".")):
        assert (FOLDER / path).exists(), path
    secret = {Path(each["file"]).name for each in COMPOSE["secrets"].values()} | {SERVICES["portal-a"]["env_file"]}
    assert secret <= set((FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines())
    assert not re.search(r"(PASSWORD|SECRET_KEY|DATABASE_URL)\s*[:=]\s*[^\s/]", FILE.read_text(encoding="utf-8"))


def test_its_prometheus_scrapes_every_worker_and_knows_all_rules() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    ours = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert scraped["rule_files"] == ours["rule_files"]
    mounted = {Path(volume.split(":")[1]).name for volume in SERVICES["prometheus"]["volumes"] if ":" in volume}
    assert set(scraped["rule_files"]) <= mounted
    (job,) = scraped["scrape_configs"]
    assert job["job_name"] == ours["scrape_configs"][0]["job_name"]
    assert job["static_configs"][0]["targets"] == [f"{name}:{port}" for name in PORTALS for port in (9400, 9401)]


@pytest.mark.judge
def test_the_specification_knows_every_key() -> None:
    judged("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)
