"""The wiring: which component gets what from which."""

from __future__ import annotations

from typing import Any

from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.metadata import ConnectionConfigType
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.channel_utils import union

from components.anomaly_gate.component import AnomalyGate
from components.artifacts import MADE_WITH_PROPERTY
from components.baseline_resolver.component import PushedBaseline
from components.baseline_resolver.strategy import BaselineModelStrategy, WarmStartStrategy
from components.evaluator.config import eval_config
from components.model_check.component import ModelCheck
from components.model_selector.component import ModelSelector
from components.model_validator.component import ModelValidator
from components.predictor.component import Predictor
from components.pusher.component import Pusher
from components.refitter.component import Refitter
from components.report_gen.component import ReportGen
from components.sampler.component import Sampler
from components.schema_import.component import SchemaImport
from components.storage.places import is_staged
from components.track_example_gen.component import TrackExampleGen
from components.track_example_gen.splits import TEST, TRAIN, VALIDATION
from components.trainer.registry import MODELS, ModelName
from pipeline.code_version import code_version, modules_named_by
from pipeline.settings import Settings

_SHARD_STORE = "shards"

SPLITS_FOLDER = "splits"
"""The folder among the artifacts for the splits that were given; it is never cleaned."""

TUNER_PREFIX = "Tuner-"
"""A Tuner's id is this and the name of its model."""


def create_pipeline(
    settings: Settings,
    pipeline_root: str,
    push_folder: str,
    metadata_connection_config: ConnectionConfigType | None = None,
    *,
    synthetic: bool = False,
    resolves: bool = True,
) -> Pipeline:
    """Builds the pipeline from its arguments alone; nothing is read or written but the code's own version.

    Args:
        settings: with data, in ``data.path`` or from Spotify.
        pipeline_root: where artifacts go.
        push_folder: where versions of the model go.
        metadata_connection_config: where metadata go, for runners that do not have their own.
        synthetic: whether the data are the demo catalogue, which the report says.
        resolves: whether the runner can look for earlier artifacts in ML Metadata; if not, the baseline is looked for
            among the pushed versions.
    """
    catalogue = settings.catalogue
    if catalogue.path is None:
        raise ValueError("data.path is not set")
    genres = list(settings.genres)
    example_gen = TrackExampleGen(
        data=catalogue.path,
        labels=catalogue.labels,
        spans=catalogue.spans,
        store=shard_store(settings, pipeline_root),
        splits=f"{pipeline_root}/{SPLITS_FOLDER}",
        genres=genres,
        other_genres=settings.data.other_genres,
        genre_names=settings.data.genre_names,
        unknown_artists=settings.data.unknown_artists,
        label_columns=settings.data.label_columns,
        split_by=settings.data.split_by,
        max_segments=settings.data.max_segments,
        max_rejected_share=settings.data.max_rejected_share,
        several_genres=settings.data.several_genres,
        mix_analysers=settings.data.mix_analysers,
        trust_times=settings.data.trust_times,
        middle=settings.analyser.middle,
        pretrained=settings.analyser.pretrained,
        code_version=code_version("components.track_example_gen.executor"),
    )
    statistics_gen = StatisticsGen(examples=example_gen.outputs["examples"])
    schema = SchemaImport(schema_file=settings.schema_file)
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema.outputs["schema"]
    )
    anomaly_gate = AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        schema=schema.outputs["schema"],
    )
    nodes: list[BaseNode] = [example_gen, statistics_gen, schema, example_validator, anomaly_gate]
    if settings.spotify.enabled:
        # By order alone, not by a channel: every crawl makes a new artifact, and with it as an input nothing would ever
        # come from the cache. TrackExampleGen compares the store's content itself.
        crawl = _spotify_crawl(settings)
        example_gen.add_upstream_node(crawl)
        nodes.insert(0, crawl)
    examples = example_gen.outputs["examples"]
    if settings.training.sampling != "natural":
        sampler = Sampler(
            examples=examples,
            sampling=settings.training.sampling,
        )
        examples = sampler.outputs["sampled_examples"]
        nodes.append(sampler)
    # Not materialised: the trainer applies the graph once itself, which costs less than writing and gzipping it here.
    transform = Transform(
        examples=examples,
        schema=anomaly_gate.outputs["approved_schema"],
        preprocessing_fn="components.transform.preprocessing.preprocessing_fn",
        custom_config={"genres": genres},
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    nodes.append(transform)

    trainers = []
    for name in settings.training.models:
        tuner = _tuner(settings, name, examples, transform) if settings.tuning.enabled else None
        warm = settings.training.warm_start and MODELS[name].in_epochs
        start = _start(settings, name, examples) if warm else None
        trainer = _trainer(name, _fit_arguments(settings, name, examples, transform), tuner, start)
        trainers.append(trainer)
        nodes.extend(node for node in (tuner, start, trainer) if node)
    models = union([trainer.outputs["model"] for trainer in trainers])
    model_runs = union([trainer.outputs["model_run"] for trainer in trainers])
    selector = ModelSelector(
        models=models,
        model_runs=model_runs,
    )
    baseline = _baseline(selector.outputs["model"], push_folder, resolves)
    predictor = Predictor(
        examples=examples,
        models=models,
        baseline_model=baseline.outputs["model"],
        slices=settings.evaluation.slices,
    )
    evaluator = Evaluator(
        examples=predictor.outputs["answers"],
        example_splits=[TEST],
        eval_config=eval_config(len(genres), settings.evaluation.slices),
    )
    validator = ModelValidator(
        model=selector.outputs["model"],
        baseline_model=baseline.outputs["model"],
        predictions=predictor.outputs["predictions"],
        limits=settings.evaluation.limits,
    )
    refitter = (
        Refitter(
            examples=examples,
            transform_graph=transform.outputs["transform_graph"],
            evaluated=selector.outputs["model"],
            model_runs=model_runs,
            balance=settings.training.balance,
            sure_accuracy=settings.training.sure_accuracy,
            encloses_evaluated=not resolves,
        )
        if settings.training.refits
        else None
    )
    final_model = refitter.outputs["model"] if refitter else selector.outputs["model"]
    model_check = ModelCheck(
        model=final_model,
        model_runs=refitter.outputs["model_run"] if refitter else model_runs,
        genres=genres,
    )
    pusher = Pusher(
        model=final_model,
        model_blessing=validator.outputs["blessing"],
        infra_blessing=model_check.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_folder)
        ),
    )
    report = ReportGen(
        ingest_report=example_gen.outputs["report"],
        examples=examples,
        statistics=statistics_gen.outputs["statistics"],
        anomalies=example_validator.outputs["anomalies"],
        model_runs=model_runs,
        selection=selector.outputs["selection"],
        predictions=predictor.outputs["predictions"],
        evaluation=evaluator.outputs["evaluation"],
        verdict=validator.outputs["verdict"],
        infra_blessing=model_check.outputs["blessing"],
        refitted_run=refitter.outputs["model_run"] if refitter else None,
        settings=settings.model_dump_json(),
        synthetic=synthetic,
        # Of everything that is wired here: the report names the code that the run was made with.
        code_version=code_version(__name__),
    )
    judging = [selector, baseline, predictor, evaluator, validator]
    nodes += [*judging, *([refitter] if refitter else []), model_check, pusher, report]
    for node in nodes:
        _note_what_it_is_made_with(node)
    return Pipeline(
        pipeline_name=settings.name,
        pipeline_root=pipeline_root,
        components=nodes,
        enable_cache=True,
        metadata_connection_config=metadata_connection_config,
        beam_pipeline_args=list(settings.beam.args),
    )


def shard_store(settings: Settings, pipeline_root: str) -> str:
    """The folder for what TrackExampleGen has read, see :mod:`components.track_example_gen.store`.

    It is among the artifacts, where Beam's workers can write to them, else on this machine: what was read can be read
    again.
    """
    return f"{settings.home if is_staged(pipeline_root) else pipeline_root}/{_SHARD_STORE}"


def _note_what_it_is_made_with(node: BaseNode) -> None:
    """Makes code and environment part of a component's cache key, and of what is known of its outputs."""
    if not isinstance(node, BaseComponent):
        return  # A resolver makes nothing.
    version = code_version(*modules_named_by(node))
    for output in node.outputs.values():
        output.additional_custom_properties[MADE_WITH_PROPERTY] = version


def _spotify_crawl(settings: Settings) -> BaseNode:
    # spotipy is only needed by those who have accepted Spotify's policy.
    from components.spotify_crawl.component import SpotifyCrawl

    return SpotifyCrawl(
        store=settings.spotify_store,
        request=settings.spotify.request,
        access=settings.spotify.access,
        code_version=code_version("components.spotify_crawl.executor"),
    )


def _baseline(candidate: BaseChannel, push_folder: str, resolves: bool) -> BaseNode:
    node = (
        Resolver(
            strategy_class=BaselineModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
            candidate=candidate,
        )
        if resolves
        else PushedBaseline(candidate=candidate, push_folder=push_folder)
    )
    return node.with_id("BaselineResolver")


def _fit_arguments(settings: Settings, name: ModelName, examples: BaseChannel, transform: Transform) -> dict[str, Any]:
    """What a Trainer and a Tuner have in common."""
    return {
        "examples": examples,
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=[TRAIN]),
        "eval_args": trainer_pb2.EvalArgs(splits=[VALIDATION]),
        "custom_config": {
            "genres": list(settings.genres),
            "model": name,
            "hyperparameters": getattr(settings.models, name).model_dump(),
            "balance": settings.training.balance,
            "seed": settings.training.seed,
            "sure_accuracy": settings.training.sure_accuracy,
        },
    }


def _tuner(settings: Settings, name: ModelName, examples: BaseChannel, transform: Transform) -> BaseNode:
    # KerasTuner takes seconds to import, and is seldom used.
    from tfx.components.tuner.component import Tuner

    arguments = _fit_arguments(settings, name, examples, transform)
    arguments["custom_config"]["trials"] = settings.tuning.trials
    return Tuner(tuner_fn="components.trainer.tuning.tuner_fn", **arguments).with_id(f"{TUNER_PREFIX}{name}")


def _start(settings: Settings, name: ModelName, examples: BaseChannel) -> BaseNode:
    return Resolver(
        strategy_class=WarmStartStrategy,
        config={"name": name, "genres": list(settings.genres)},
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        examples=examples,
    ).with_id(f"WarmStartResolver-{name}")


def _trainer(name: ModelName, arguments: dict[str, Any], tuner: BaseNode | None, start: BaseNode | None) -> Trainer:
    arguments["custom_config"]["warm_start"] = start is not None
    return Trainer(
        run_fn="components.trainer.run.run_fn",
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        base_model=start.outputs["model"] if start else None,
        **arguments,
    ).with_id(f"Trainer-{name}")
