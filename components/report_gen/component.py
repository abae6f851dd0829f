"""ReportGen: a run on one page."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import IngestReport, ModelSelection, ModelVerdict, RunReport, TestPredictions
from components.report_gen.executor import Executor


class ReportGenSpec(ComponentSpec):
    """Inputs, parameters and outputs of :class:`ReportGen`."""

    PARAMETERS = {
        "settings": ExecutionParameter(type=str),
        "synthetic": ExecutionParameter(type=int),
        "code_version": ExecutionParameter(type=str),
        # What a run was given in place of its settings, where the pipeline was compiled before.
        "path": ExecutionParameter(type=str, optional=True),
        "labels": ExecutionParameter(type=str, optional=True),
        "max_rejected_share": ExecutionParameter(type=float, optional=True),
    }
    INPUTS = {
        "ingest_report": ChannelParameter(type=IngestReport),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "model_runs": ChannelParameter(type=standard_artifacts.ModelRun),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "selection": ChannelParameter(type=ModelSelection),
        "predictions": ChannelParameter(type=TestPredictions),
        "verdict": ChannelParameter(type=ModelVerdict),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "refitted_run": ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
    }
    OUTPUTS = {"report": ChannelParameter(type=RunReport)}


class ReportGen(BaseComponent):
    """Gathers what the other components found out into one page for people, and the same numbers for programs.

    Outputs:
        report: ``report.html``, which needs no other file and no network; ``report.json``; and ``<model>.tex``, the
            classification report of each candidate.
    """

    SPEC_CLASS = ReportGenSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(  # noqa: PLR0913 - an input each
        self,
        *,
        ingest_report: BaseChannel,
        examples: BaseChannel,
        statistics: BaseChannel,
        anomalies: BaseChannel,
        model_runs: BaseChannel,
        evaluation: BaseChannel,
        selection: BaseChannel,
        predictions: BaseChannel,
        verdict: BaseChannel,
        infra_blessing: BaseChannel,
        refitted_run: BaseChannel | None,
        settings: str,
        synthetic: bool,
        code_version: str,
    ) -> None:
        """Constructs the component.

        Args:
            ingest_report: TrackExampleGen's.
            examples: what the models learned from and were tested on.
            statistics: of those examples.
            anomalies: found in those statistics.
            model_runs: one for each candidate.
            evaluation: TFMA's, of all answers.
            selection: which candidate goes on.
            predictions: the candidates' and the baseline's answers to the test split.
            verdict: whether the selected model is good enough to be pushed.
            infra_blessing: whether it can be served.
            refitted_run: of what is pushed, where that was trained after the evaluation.
            settings: all of them, as JSON.
            synthetic: whether the data are the generated demo catalogue.
            code_version: changes when the report's code does.
        """
        super().__init__(
            spec=ReportGenSpec(
                ingest_report=ingest_report,
                examples=examples,
                statistics=statistics,
                anomalies=anomalies,
                model_runs=model_runs,
                evaluation=evaluation,
                selection=selection,
                predictions=predictions,
                verdict=verdict,
                infra_blessing=infra_blessing,
                refitted_run=refitted_run,
                settings=settings,
                synthetic=int(synthetic),
                code_version=code_version,
                report=Channel(type=RunReport),
            )
        )
