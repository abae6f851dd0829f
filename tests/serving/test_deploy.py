"""The deployment files: in step with each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.server.metrics import METRICS_PATH

pytestmark = pytest.mark.fast

DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"
CONFIG = DEPLOY / "config"


def test_the_model_is_served_from_where_its_versions_are_mounted() -> None:
    arguments = _container()["args"]
    assert {"--model_name=deepmusic", "--model_base_path=/models/deepmusic"} <= set(arguments)
    assert "/models/deepmusic" in [mount["mountPath"] for mount in _container()["volumeMounts"]]
    assert any(volume.endswith(":/models/deepmusic:ro") for volume in _compose()["volumes"])


def test_requests_are_not_batched() -> None:
    # A batch has a largest size, and TF Serving refuses a single request that is larger.
    assert not [argument for argument in _container()["args"] if "batch" in argument]


def test_metrics_are_looked_for_where_they_are() -> None:
    found = re.fullmatch(
        r'prometheus_config \{\s+enable: true\s+path: "(.+)"\s+\}\s+', (CONFIG / "monitoring.config").read_text()
    )
    assert found is not None
    assert found[1] == METRICS_PATH
    annotations = _kubernetes("deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == found[1]


def test_compose_and_kubernetes_run_the_same() -> None:
    composed, container = _compose(), _container()
    assert composed["image"] == container["image"]
    assert composed["command"] == container["args"]
    assert composed["entrypoint"] == container["command"]


def test_every_configuration_file_that_is_named_is_there() -> None:
    named = {argument.rpartition("/config/")[2] for argument in _container()["args"] if "/config/" in argument}
    assert named == {path.name for path in CONFIG.iterdir()}
    (generated,) = _kustomization()["configMapGenerator"]
    assert {Path(path).name for path in generated["files"]} == named


def test_nothing_but_this_machine_reaches_the_composed_server() -> None:
    assert all(port.startswith("127.0.0.1:") for port in _compose()["ports"])


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_every_probe_asks_a_port_that_there_is(probe: str) -> None:
    container = _container()
    (how,) = (value for key, value in container[probe].items() if key in ("httpGet", "tcpSocket"))
    assert how["port"] in {port["name"] for port in container["ports"]}


def test_every_resource_is_in_the_kustomization_and_refers_to_what_is_there() -> None:
    resources = {path: yaml.safe_load((DEPLOY / path).read_text()) for path in _kustomization()["resources"]}
    assert {Path(path).name for path in resources} == {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    by_kind = {resource["kind"]: resource for resource in resources.values()}
    deployment = by_kind["Deployment"]
    assert by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    models, config = deployment["spec"]["template"]["spec"]["volumes"]
    claim = by_kind["PersistentVolumeClaim"]["metadata"]["name"]
    assert models["persistentVolumeClaim"]["claimName"] == claim
    assert config["configMap"]["name"] == _kustomization()["configMapGenerator"][0]["name"]


def test_the_container_may_write_nothing_and_is_nobody() -> None:
    assert _container()["securityContext"]["readOnlyRootFilesystem"]
    assert _kubernetes("deployment")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert _compose()["read_only"]


def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["serving"])


def _kustomization() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "kustomization.yaml").read_text()))


def _kubernetes(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text()))


def _container() -> dict[str, Any]:
    (container,) = _kubernetes("deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)
