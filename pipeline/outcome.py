"""What a run came to, read from its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx.types import Artifact

from components.artifacts import IngestReport
from components.evaluator.results import EvaluationResult, load_result
from components.model_check.executor import read_faults
from pipeline.local_runner import Outputs


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        evaluation: the model's scores on the test split.
        faults: why TF Serving could not serve the model; empty if it can.
        pushed: the version's folder, None if the model was not pushed.
        places: where to look further, by what is there.
    """

    evaluation: EvaluationResult
    faults: tuple[str, ...]
    pushed: Path | None
    places: dict[str, Path]

    @property
    def reasons(self) -> str:
        """Why the model was not pushed; empty if it was."""
        return "; ".join((*self.faults, *self.evaluation.failures))


def read_outcome(outputs: Mapping[str, Outputs], genres: Sequence[str]) -> Outcome:
    """Reads a run's result.

    Args:
        outputs: each component's output artifacts.
        genres: names in the order of the class index.
    """
    pushed = _only(outputs, "Pusher", "pushed_model")
    return Outcome(
        evaluation=load_result(_only(outputs, "Evaluator", "evaluation").uri, genres),
        faults=tuple(read_faults(_only(outputs, "ModelCheck", "blessing").uri)),
        pushed=Path(pushed.get_string_custom_property("pushed_destination"))
        if pushed.get_int_custom_property("pushed")
        else None,
        places={
            "tracks left out": Path(_only(outputs, "TrackExampleGen", "report").uri) / IngestReport.REJECTIONS_FILE,
            "evaluation": Path(_only(outputs, "Evaluator", "evaluation").uri),
            "history and TensorBoard logs": Path(_only(outputs, "Trainer", "model_run").uri),
        },
    )


def _only(outputs: Mapping[str, Outputs], component: str, key: str) -> Artifact:
    (artifact,) = outputs[component][key]
    return artifact
