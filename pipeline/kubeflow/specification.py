"""The pipeline as Kubeflow Pipelines (version 2) takes it.

TFX's compiler does the most of it. What Kubeflow cannot do is put into other words first: an input from several steps
becomes several inputs, which ``pipeline.kubeflow.step`` puts together again, and a driver that looks at content to
decide whether a step may be taken from the cache becomes part of that step, which is never taken from it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_driver import BaseDriver
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline
from tfx.types.channel import UnionChannel
from tfx.utils.name_utils import get_full_name

from components.baseline_resolver.component import PushedBaseline
from pipeline.create_pipeline import create_pipeline
from pipeline.kubeflow.compile import ROOT
from pipeline.kubeflow.inputs import part_of
from pipeline.settings import Settings

_NO_IMAGE = "none"
"""Where steps run on this machine; TFX wants a name."""

COMMAND = ("python", "-m", "pipeline.kubeflow.step")


@dataclass(frozen=True)
class Parameter:
    """What a run of the compiled pipeline may be given.

    Attributes:
        type: str or float.
        description: for who starts a run.
        default: its value in the settings.
        places: the properties that it is, by component.
    """

    type: type
    description: str
    default: Callable[[Settings], Any]
    places: dict[str, str]


PARAMETERS = {
    "data": Parameter(
        str,
        "Folder of audio analyses, searched recursively, or one file of many",
        lambda settings: settings.catalogue.path,
        {"TrackExampleGen": "data", "ReportGen": "path"},
    ),
    "labels": Parameter(
        str,
        "CSV with track_id,genre, or .cls; empty: genres are in the files or the names of folders",
        lambda settings: settings.catalogue.labels or "",
        {"TrackExampleGen": "labels", "ReportGen": "labels"},
    ),
    "max_rejected_share": Parameter(
        float,
        "Share of tracks that may be rejected before the run stops, 0..1",
        lambda settings: settings.data.max_rejected_share,
        {"TrackExampleGen": "max_rejected_share", "ReportGen": "max_rejected_share"},
    ),
}


def specification(settings: Settings, folder: str, synthetic: bool = False) -> list[dict[str, Any]]:
    """Compiles the pipeline.

    Args:
        settings: with data.
        folder: where versions of the model go, and what else outlives a run.
        synthetic: whether the data are the demo catalogue.

    Returns:
        The YAML documents of the specification: the pipeline, and what of it only Kubernetes can do, if anything.
    """
    settings = settings.model_copy(update={"schema_file": _in_image(settings.schema_file)})
    # Where artifacts go is Kubeflow's business; what is kept beside them has to be in a place that steps can open.
    places = f"{folder}/artifacts", f"{folder}/pushed"
    pipeline = create_pipeline(settings, *places, synthetic=synthetic, resolves=False)
    for node in pipeline.components:
        _adapt(node)
    compiled = _compile(pipeline, settings.kubeflow.image or _NO_IMAGE)
    for name, parameter in PARAMETERS.items():
        compiled["root"]["inputDefinitions"]["parameters"][name] |= {
            "defaultValue": parameter.default(settings),
            "isOptional": True,
            "description": parameter.description,
        }
    for node in pipeline.components:
        label = compiled["components"][node.id]["executorLabel"]
        compiled["deploymentSpec"]["executors"][label]["container"]["args"] += _flags(node)
        if not _cacheable(node):
            compiled["root"]["dag"]["tasks"][node.id]["cachingOptions"] = {}
    if settings.kubeflow.pipeline_root:
        compiled["defaultPipelineRoot"] = settings.kubeflow.pipeline_root
    return [compiled, *_kubernetes(compiled, settings)]


def _adapt(node: BaseNode) -> None:
    """Takes out of a node what TFX's compiler refuses, and makes its properties run-time parameters."""
    inputs = node.spec.inputs
    for key, channel in list(inputs.items()):
        if isinstance(channel, UnionChannel):
            del inputs[key]
            inputs.update({part_of(key, number): part for number, part in enumerate(channel.channels)})
    for name, parameter in PARAMETERS.items():
        if node.id in parameter.places:
            node.spec.exec_properties[parameter.places[node.id]] = RuntimeParameter(name=name, ptype=parameter.type)


def _compile(pipeline: Pipeline, image: str) -> dict[str, Any]:
    config = KubeflowV2DagRunnerConfig(default_image=image, default_commands=COMMAND, use_pipeline_spec_2_1=True)
    return dict(KubeflowV2DagRunner(config).run(pipeline, write_out=False)["pipelineSpec"])


def _cacheable(node: BaseNode) -> bool:
    """Whether a node depends on nothing but its inputs and properties; a driver of its own looks at content, too."""
    return node.driver_class is BaseDriver and not isinstance(node, PushedBaseline)


def _flags(node: BaseNode) -> list[str]:
    """What ``pipeline.kubeflow.step`` takes besides TFX's flags."""
    driver = [] if node.driver_class is BaseDriver else [f"--driver_class_path={get_full_name(node.driver_class)}"]
    return [f"--component={node.id}", *driver]


def _in_image(path: str) -> str:
    """A file of the project is a file of the image, whose working folder is the project's."""
    return str(Path(path).relative_to(ROOT)) if "://" not in path and Path(path).is_relative_to(ROOT) else path


def _kubernetes(compiled: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    mounts = [{"constant": claim, "mountPath": path} for claim, path in settings.kubeflow.volumes.items()]
    if not mounts:
        return []
    # A list each: YAML would name the first and point to it.
    executors = {label: {"pvcMount": deepcopy(mounts)} for label in compiled["deploymentSpec"]["executors"]}
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]
