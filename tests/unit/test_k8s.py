"""`ops/k8s`, held against the schemas of Kubernetes and KEDA, the settings, the Procfile and the API.

Kubernetes' schemas come with `kubernetes-validate`; KEDA's are in `tests/data`, see the page there.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not in the lock
from jsonschema import Draft202012Validator

import workers.kinds
from api.routes import ops_pools
from api.schemas.ops_pools import PoolView
from domain.adapters.rabbitmq_queues import queue_name
from domain.startup import unfit
from ops.environment import settings_of, variables

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops/k8s"
BASE, KEDA, OLD_QUEUES = FOLDER / "base", FOLDER / "keda", FOLDER / "old-queues"
#: The oldest version of Kubernetes that these are for.
VERSION = "1.32"
POOLS = sorted({handler.command.pool for handler in workers.kinds.HANDLED.values()})
#: What the Secret `stockyard` has.
SECRETS = {
    "STOCKYARD_MONGO_URL", "STOCKYARD_REDIS_URL", "STOCKYARD_RABBITMQ_URL", "STOCKYARD_AUTH_SIGNING_KEY",
    "STOCKYARD_S3_ACCESS_KEY", "STOCKYARD_S3_SECRET_KEY", "STOCKYARD_WEBHOOKS_SECRET_KEYS",
}  # fmt: skip


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


ALL = [*documents(BASE), *documents(KEDA), *documents(OLD_QUEUES)]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in ALL if each["kind"] == kind}


def title(document: Mapping[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


DEPLOYMENTS = of_kind("Deployment")
#: What is there only while queues move to another form.
PASSING = "worker-old-queues"
CONFIG = of_kind("ConfigMap")["stockyard"]["data"]


def container(deployment: Mapping[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


@cache
def keda_schemas() -> dict[str, Any]:
    found = json.loads(gzip.decompress((ROOT / "tests/data/keda-schemas.json.gz").read_bytes()))
    assert "kedacore/keda" in found["source"]
    return {name: strict(schema) for name, schema in found["schemas"].items()}


def strict(schema: Any) -> Any:
    """As the API server with `fieldValidation: Strict`: a field that no schema names is a mistake."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(each) for name, each in schema.items()}
    open_ended = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and not open_ended:
        found["additionalProperties"] = False
    return found


@pytest.mark.parametrize(
    "document", [each for each in ALL if not each["apiVersion"].startswith("keda.sh/")], ids=title
)
def test_it_is_what_kubernetes_takes(document: dict[str, Any]):
    kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.mark.parametrize(
    "document", [each for each in ALL if each["apiVersion"].startswith("keda.sh/")], ids=title
)
def test_it_is_what_keda_takes(document: dict[str, Any]):
    schema = keda_schemas()[f"{document['apiVersion']} {document['kind']}"]
    schema = {**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}}
    Draft202012Validator(schema).validate(document)


def test_the_schemas_notice_mistakes():
    scaled = of_kind("ScaledObject")["worker-orders"]
    schema = keda_schemas()["keda.sh/v1alpha1 ScaledObject"]
    wrong = {**scaled, "metadata": {}, "spec": {**scaled["spec"], "maxReplicas": 3}}
    assert [error.message for error in Draft202012Validator(schema).iter_errors(wrong)]
    deployment = json.loads(json.dumps(DEPLOYMENTS["api"]))
    container(deployment)["readinessProb"] = {}
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def test_each_process_of_the_procfile_is_deployed_and_none_else():
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    commands = {name: command.split() for name, _, command in (line.partition(": ") for line in lines)}
    lasting = {name: each for name, each in DEPLOYMENTS.items() if name != PASSING}
    deployed = {name: container(each)["command"] for name, each in lasting.items()}
    names = {"web": "api", **{pool: f"worker-{pool}" for pool in POOLS}}
    assert deployed == {names.get(name, name): command for name, command in commands.items()}


def test_the_environment_is_settings_and_can_be_read(monkeypatch: pytest.MonkeyPatch):
    assert set(CONFIG) | SECRETS <= set(variables())
    for name in list(variables()):
        monkeypatch.delenv(name, raising=False)
    read = settings_of(CONFIG)
    assert read.deployment.env == "production"
    # What is still missing is what the Secret brings.
    assert {line.split()[0] for line in unfit(read)} <= SECRETS
    assert not SECRETS & set(CONFIG)


def test_no_secret_is_in_a_file():
    assert of_kind("Secret") == {}
    text = "".join(file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.yaml"))
    assert not re.search(r"://[^\s/]+:[^\s/]+@|BEGIN|whsec_|sk_", text)


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS))
def test_a_process_is_probed_where_it_listens_and_given_time_to_stop(name: str):
    deployment, read = DEPLOYMENTS[name], settings_of(CONFIG)
    box = container(deployment)
    (port,) = box["ports"]
    ports = {"api": read.api.port, "scheduler": read.scheduler.probe_port, "console": read.console.port}
    assert port["containerPort"] == ports.get(name, read.workers.probe_port)
    told = deployment["spec"]["template"]["metadata"].get("annotations", {}).get("prometheus.io/port")
    # The console has no figures.
    assert told == (None if name == "console" else str(port["containerPort"]))
    probes = {kind: box[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in probes.values()} == {port["name"]}
    assert {kind: each["path"] for kind, each in probes.items()} == {
        "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz",
    }  # fmt: skip
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    asked = max(read.workers.shutdown_timeout, read.api.shutdown_timeout).total_seconds()
    paused = box.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert grace > asked + paused + 5


@pytest.mark.parametrize("name", sorted(DEPLOYMENTS))
def test_a_process_has_no_rights_that_it_does_not_need(name: str):
    pod = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    box = container(DEPLOYMENTS[name])
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert box["resources"]["limits"]["memory"]
    assert box["envFrom"] == [{"configMapRef": {"name": "stockyard"}}, {"secretRef": {"name": "stockyard"}}]


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "Service"])
def test_what_selects_selects_a_deployment(kind: str):
    for name, each in of_kind(kind).items():
        selector = each["spec"]["selector"]
        selected = selector.get("matchLabels", selector)
        spec = DEPLOYMENTS[name]["spec"]
        assert selected == spec["template"]["metadata"]["labels"] == spec["selector"]["matchLabels"]
    assert set(of_kind("PodDisruptionBudget")) == set(DEPLOYMENTS)


def test_every_file_is_in_its_kustomization():
    for folder in (BASE, KEDA, OLD_QUEUES):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
        files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert {each for each in listed if not each.startswith("..")} == files


def test_the_old_queues_have_workers_of_every_pool_that_differ_by_the_form_alone():
    box, usual = container(DEPLOYMENTS[PASSING]), container(DEPLOYMENTS["worker-media"])
    assert box["command"][:3] == usual["command"][:3]
    assert sorted(box["command"][3:]) == POOLS
    form = {each["name"]: each["value"] for each in box["env"]}
    assert set(form) == {"STOCKYARD_RABBITMQ_QUEUE_TYPE", "STOCKYARD_RABBITMQ_QUEUE_VERSION"}
    left, used = settings_of({**CONFIG, **form}).rabbitmq, settings_of(CONFIG).rabbitmq
    assert left.queue_version <= used.queue_version
    assert {**box, "command": None, "env": None} == {**usual, "command": None, "env": None}
    images = [
        yaml.safe_load((each / "kustomization.yaml").read_text())["images"] for each in (BASE, OLD_QUEUES)
    ]
    assert images[0] == images[1]


def test_each_pool_is_scaled_by_its_queue_and_by_its_predicted_drain():
    scaled = of_kind("ScaledObject")
    assert set(scaled) == {f"worker-{pool}" for pool in POOLS}
    read, paths = settings_of(CONFIG), {route.path for route in ops_pools.routes.routes}  # type: ignore[attr-defined]
    for pool in POOLS:
        spec = scaled[f"worker-{pool}"]["spec"]
        assert spec["scaleTargetRef"] == {"name": f"worker-{pool}"}
        assert "replicas" not in DEPLOYMENTS[f"worker-{pool}"]["spec"]
        assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        queue, drain = spec["triggers"]
        assert (queue["type"], drain["type"]) == ("rabbitmq", "metrics-api")
        assert queue["metadata"]["queueName"] == queue_name(pool, read.rabbitmq)
        port = of_kind("Service")["api"]["spec"]["ports"][0]["port"]
        assert drain["metadata"]["url"] == f"http://api:{port}/v1/ops/pools/{pool}"
        assert "/v1/ops/pools/{pool}" in paths
        # As many replicas as it says: the value over 1.
        assert drain["metadata"]["valueLocation"] in PoolView.model_fields
        assert (drain["metadata"]["targetValue"], drain["metricType"]) == ("1", "AverageValue")
        assert drain["metadata"]["keyParamName"] == "X-API-Key"
        named = {each["authenticationRef"]["name"] for each in spec["triggers"]}
        assert named == set(of_kind("TriggerAuthentication"))
