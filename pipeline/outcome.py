"""What a run came to, read from its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfx.dsl.io import fileio
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
        gone: a pushed version that has been removed since; the cache does not push it again.
        places: where to look further, by what is there.
    """

    evaluation: EvaluationResult
    faults: tuple[str, ...]
    pushed: str | None
    gone: str | None
    places: dict[str, str]

    @property
    def reasons(self) -> str:
        """Why the model was not pushed; empty if it was."""
        removed = (f"an earlier run pushed it to {self.gone}, which has been removed since",) if self.gone else ()
        return "; ".join((*self.faults, *self.evaluation.failures, *removed))


def read_outcome(outputs: Mapping[str, Outputs], genres: Sequence[str]) -> Outcome:
    """Reads a run's result.

    Args:
        outputs: each component's output artifacts.
        genres: names in the order of the class index.
    """
    pushed = _only(outputs, "Pusher", "pushed_model")
    destination = pushed.get_string_custom_property("pushed_destination") or None
    there = destination is not None and fileio.exists(destination)
    evaluation = _only(outputs, "Evaluator", "evaluation").uri
    return Outcome(
        evaluation=load_result(evaluation, genres),
        faults=tuple(read_faults(_only(outputs, "ModelCheck", "blessing").uri)),
        pushed=destination if there else None,
        gone=None if there else destination,
        places={
            "tracks left out": f"{_only(outputs, 'TrackExampleGen', 'report').uri}/{IngestReport.REJECTIONS_FILE}",
            "evaluation": evaluation,
            "history and TensorBoard logs": _only(outputs, "Trainer", "model_run").uri,
        },
    )


def _only(outputs: Mapping[str, Outputs], component: str, key: str) -> Artifact:
    (artifact,) = outputs[component][key]
    return artifact
