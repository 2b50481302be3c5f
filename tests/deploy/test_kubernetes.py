"""`deploy/kubernetes`: what its objects promise, and what Kubernetes' own schemas say. No cluster is asked here."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.runtime.settings import PREFIX, Settings
from tests.support.judges import ROOT, judged

FOLDER = ROOT / "deploy" / "kubernetes"
BASE, EXAMPLE = FOLDER / "base", FOLDER / "example"
DOORS = ("portal1400", "portal1400-callbacks")
SETTINGS = {PREFIX + field.upper() for field in Settings.model_fields}


def objects(*folders: Path) -> dict[str, Any]:
    """What the files hold, by kind and name."""
    files = [path for folder in folders for path in sorted(folder.glob("*.yaml")) if path.stem != "kustomization"]
    found = [each for path in files for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


FOUND = objects(BASE, EXAMPLE)
SERVICE = FOUND["StatefulSet/portal1400"]["spec"]
POD = SERVICE["template"]["spec"]
MIGRATION = FOUND["Job/portal1400-migrate"]["spec"]["template"]["spec"]
KUSTOMIZATIONS = [
    yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8")) for folder in (BASE, EXAMPLE)
]


@pytest.mark.parametrize("pod", [POD, MIGRATION], ids=["service", "migration"])
def test_a_pod_has_no_rights_and_no_variables_that_nobody_set(pod: Any) -> None:
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"secretRef": {"name": "portal1400"}} in container["envFrom"]
    assert "limits" in container["resources"]


def test_the_spool_outlives_its_pod() -> None:
    (claim,) = SERVICE["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in POD["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/portal1400"
    assert set(SERVICE["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    room = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) << 30
    assert room > Settings.model_fields["spool_bytes_max"].default
    scaler = FOUND["HorizontalPodAutoscaler/portal1400"]["spec"]
    assert scaler["behavior"]["scaleDown"] == {"selectPolicy": "Disabled"}, "a pod that goes takes its spool with it"
    assert scaler["minReplicas"] >= 2
    assert "replicas" not in SERVICE


def test_only_the_process_itself_decides_whether_it_is_ended() -> None:
    (container,) = POD["containers"]
    asked = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/startupz", "liveness": "/livez", "readiness": "/readyz"}
    assert container["args"] == ["serve"], "one process a pod, so that the probes speak of all of it"
    drained = Settings.model_fields["shutdown_seconds"].default + 5
    assert POD["terminationGracePeriodSeconds"] > drained + 10


def test_pods_are_spread_and_taken_one_at_a_time() -> None:
    labels = SERVICE["template"]["metadata"]["labels"]
    spread = {each["topologyKey"]: each for each in POD["topologySpreadConstraints"]}
    assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule"
    assert all(each["labelSelector"]["matchLabels"] == labels for each in spread.values())
    budget = FOUND["PodDisruptionBudget/portal1400"]["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)
    for name in ("portal1400", "portal1400-internal"):
        assert FOUND[f"Service/{name}"]["spec"]["selector"] == labels, "the migration's pod takes no callback"


def test_the_metrics_are_for_prometheus_alone() -> None:
    rules = FOUND["NetworkPolicy/portal1400"]["spec"]["ingress"]
    opened = {port["port"]: rule["from"] for rule in rules for port in rule["ports"]}
    assert set(opened) == {"public", "internal"}
    assert all(opened.values())
    doors = [FOUND[f"Ingress/{name}"]["spec"]["rules"][0]["http"]["paths"] for name in DOORS]
    backends = [path["backend"]["service"]["port"]["name"] for paths in doors for path in paths]
    assert set(backends) == {"public"}


def test_no_callback_is_repeated_or_logged_at_the_door() -> None:
    told = FOUND["Ingress/portal1400-callbacks"]["metadata"]["annotations"]
    assert told["nginx.ingress.kubernetes.io/proxy-next-upstream"] == "off"
    for name in DOORS:
        annotations = FOUND[f"Ingress/{name}"]["metadata"]["annotations"]
        assert annotations["nginx.ingress.kubernetes.io/enable-access-log"] == "false"


def test_it_sets_only_settings_that_exist_and_holds_no_secret() -> None:
    literals = [each for one in KUSTOMIZATIONS for made in one["configMapGenerator"] for each in made["literals"]]
    names = {literal.partition("=")[0] for literal in literals}
    assert names <= SETTINGS - {"PORTAL1400_SECRET_KEY", "PORTAL1400_DATABASE_URL"}
    assert not any(kind.startswith("Secret/") for kind in FOUND)
    assert not any("secretGenerator" in one for one in KUSTOMIZATIONS)


@pytest.mark.judge
@pytest.mark.parametrize("folder", [BASE, EXAMPLE], ids=["base", "example"])
def test_kubernetes_knows_every_key_and_the_policy_meets_every_pod(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "all.yaml"
    made.write_text(judged("kubectl", "kustomize", folder), encoding="utf-8")
    judged("kubernetes-validate", "--strict", made)
    built = {each["kind"]: each for each in yaml.safe_load_all(made.read_text(encoding="utf-8"))}
    wanted = built["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items()
    for kind in ("StatefulSet", "Job"):
        assert wanted <= built[kind]["spec"]["template"]["metadata"]["labels"].items(), kind
