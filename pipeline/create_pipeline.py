"""The wiring: which component gets what from which."""

from __future__ import annotations

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.pusher.component import Pusher
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.metadata import ConnectionConfigType
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.anomaly_gate.component import AnomalyGate
from components.baseline_resolver.strategy import BaselineModelStrategy
from components.evaluator.config import eval_config
from components.model_check.component import ModelCheck
from components.schema_import.component import SchemaImport
from components.track_example_gen.component import TrackExampleGen
from components.track_example_gen.splits import TEST, TRAIN, VALIDATION
from pipeline.code_version import code_version
from pipeline.settings import Settings


def create_pipeline(
    settings: Settings,
    pipeline_root: str,
    push_folder: str,
    metadata_connection_config: ConnectionConfigType | None = None,
) -> Pipeline:
    """Builds the pipeline from its arguments alone; nothing is read or written but the code's own version.

    Args:
        settings: with ``data.path`` set.
        pipeline_root: where artifacts go.
        push_folder: where versions of the model go.
        metadata_connection_config: where metadata go, for runners that do not have their own.
    """
    if settings.data.path is None:
        raise ValueError("data.path is not set")
    genres = list(settings.genres)
    example_gen = TrackExampleGen(
        data=settings.data.path,
        labels=settings.data.labels,
        genres=genres,
        split_by=settings.data.split_by,
        max_segments=settings.data.max_segments,
        max_rejected_share=settings.data.max_rejected_share,
        code_version=code_version("sources", "components/track_example_gen"),
    )
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    schema = SchemaImport(schema_file=settings.schema_file)
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]
    )
    anomaly_gate = AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        schema=schema.outputs["schema"],
        code_version=code_version("components/anomaly_gate"),
    )
    approved_schema = anomaly_gate.outputs["approved_schema"]
    # Not materialised: the trainer applies the graph once itself, which costs less than writing and gzipping it here.
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=approved_schema,
        preprocessing_fn="components.transform.preprocessing.preprocessing_fn",
        custom_config={"genres": genres, "code_version": code_version("components/transform")},
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    trainer = Trainer(
        examples=example_gen.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        run_fn="components.trainer.run.run_fn",
        train_args=trainer_pb2.TrainArgs(splits=[TRAIN]),
        eval_args=trainer_pb2.EvalArgs(splits=[VALIDATION]),
        custom_config={
            "genres": genres,
            "training": settings.training.model_dump(),
            "code_version": code_version("components/trainer"),
        },
    )
    baseline = Resolver(
        strategy_class=BaselineModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        candidate=trainer.outputs["model"],
    ).with_id("BaselineResolver")
    # Without the schema: with it TFMA would slice every coefficient of every track apart, and no metric reads them.
    evaluator = Evaluator(
        examples=example_gen.outputs["examples"],
        example_splits=[TEST],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=eval_config(
            len(genres), settings.evaluation.max_accuracy_drop, code_version("components/evaluator")
        ),
    )
    model_check = ModelCheck(
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        genres=genres,
        code_version=code_version("components/model_check"),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=model_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_folder)
        ),
    )
    return Pipeline(
        pipeline_name=settings.name,
        pipeline_root=pipeline_root,
        components=[
            example_gen,
            statistics_gen,
            schema,
            example_validator,
            anomaly_gate,
            transform,
            trainer,
            baseline,
            evaluator,
            model_check,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(settings.beam.args),
    )
