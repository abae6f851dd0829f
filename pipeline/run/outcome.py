"""What a run came to, read from its artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfx.types import Artifact
from tfx.utils import io_utils

from components.artifacts import DESTINATION_PROPERTY, IngestReport, RunReport
from components.model_check.executor import read_faults
from components.model_selector.selection import Selection, load_selection
from components.model_validator.verdict import Verdict, load_verdict
from components.pusher.folder import WITHDRAWN
from components.scoring.predictions import Predictions, load_predictions
from components.storage.files import fileio
from pipeline.create_pipeline import TUNER_PREFIX
from pipeline.run.launch import Outputs


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        selection: which of the candidates went on.
        predictions: each candidate's answers to the test split, by name.
        verdict: on the selected one.
        faults: why TF Serving could not serve it; empty if it can.
        pushed: the version's folder, None if the model was not pushed.
        gone: why a pushed version is not served any more; the cache does not push it again.
        tuned: hyper-parameters that a search found, by model.
        places: where to look further, by what is there.
    """

    selection: Selection
    predictions: dict[str, Predictions]
    verdict: Verdict
    faults: tuple[str, ...]
    pushed: str | None
    gone: str | None
    tuned: dict[str, dict[str, Any]]
    places: dict[str, str]

    @property
    def reasons(self) -> list[str]:
        """Why the model was not pushed, a line each; empty if it was."""
        return [*self.faults, *self.verdict.reasons, *([self.gone] if self.gone else [])]


def read_outcome(outputs: Mapping[str, Outputs]) -> Outcome:
    """Reads a run's result from each component's output artifacts."""
    pushed = _only(outputs, "Pusher", "pushed_model")
    destination = pushed.get_string_custom_property(DESTINATION_PROPERTY) or None
    gone = _gone(destination) if destination else None
    selection = load_selection(_only(outputs, "ModelSelector", "selection").uri)
    predictions = _only(outputs, "Predictor", "predictions").uri
    return Outcome(
        selection=selection,
        predictions={
            candidate.model: load_predictions(f"{predictions}/{candidate.model}.parquet")
            for candidate in selection.candidates
        },
        verdict=load_verdict(_only(outputs, "ModelValidator", "verdict").uri),
        faults=tuple(read_faults(_only(outputs, "ModelCheck", "blessing").uri)),
        pushed=None if gone else destination,
        gone=gone,
        tuned={
            component.removeprefix(TUNER_PREFIX): _tuned(_only(outputs, component, "best_hyperparameters").uri)
            for component in (f"{TUNER_PREFIX}{candidate.model}" for candidate in selection.candidates)
            if component in outputs
        },
        places={
            "report": f"{_only(outputs, 'ReportGen', 'report').uri}/{RunReport.HTML_FILE}",
            "tracks left out": f"{_only(outputs, 'TrackExampleGen', 'report').uri}/{IngestReport.REJECTIONS_FILE}",
            "training record and logs": _only(outputs, f"Trainer-{selection.selected}", "model_run").uri,
        },
    )


def _gone(destination: str) -> str | None:
    folder, _, version = destination.rpartition("/")
    if fileio.exists(destination):
        return None
    if fileio.exists(f"{folder}/{WITHDRAWN}/{version}"):
        back = f"`deepmusic rollback --version {version}` brings it back"
        return f"an earlier run pushed it as {version}, which was withdrawn; {back}"
    return f"an earlier run pushed it to {destination}, which has been removed since"


def _tuned(uri: str) -> dict[str, Any]:
    with fileio.open(io_utils.get_only_uri_in_dir(uri)) as file:
        return dict(json.loads(file.read())["values"])


def _only(outputs: Mapping[str, Outputs], component: str, key: str) -> Artifact:
    (artifact,) = outputs[component][key]
    return artifact
