"""Real tracks get one answer, whichever way the model is asked: the trainer's own."""

import csv
import signal
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import grpc
import httpx
import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.scoring.calibration import with_temperature
from components.scoring.predictions import load_predictions
from components.track_example_gen.assignment import Assignment, save_assignment
from components.track_example_gen.splits import SPLITS, TEST, TRAIN, VALIDATION, Group, assign_splits
from components.trainer.record import VALIDATION_FILE, load_training
from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.track import Track
from pipeline.create_pipeline import SPLITS_FOLDER
from serving.serve import MODEL_NAME, development_command
from tests.conftest import ROOT, artifacts, free_port, run_local
from tests.support.command import command

pytestmark = pytest.mark.slow

TRACKS = 100
TOLERANCE = 1e-5
_OF_A_GENRE = {TRAIN: 20, TEST: 12}
"""Enough to train and judge a model by; more would only take longer."""

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainedModel:
    """A pushed model, and what the trainer answered to the validation split before it exported the model."""

    models: Path
    data: Path
    track_ids: list[str]
    genres: tuple[str, ...]
    probabilities: Probabilities


@pytest.fixture(scope="module")
def trained(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("parity")
    labels = real_data / "msd_genre" / "labels.csv"
    data = folder / "tracks"
    data.mkdir()
    chosen = _chosen(labels)
    given = msgspec.convert({"tracks": chosen}, Assignment)
    save_assignment(given, f"{folder}/parity/artifacts/{SPLITS_FOLDER}", "track")
    for track_id in chosen:
        (data / f"{track_id}.json.gz").symlink_to(real_data / "msd_genre" / "tracks" / f"{track_id}.json.gz")
    result = run_local(
        (
            *("--data", str(data), "--labels", str(labels), "--name", "parity"),
            *(f"output={folder}", "training.models=[tangent]", "data.split_by=track"),
        )
    )
    assert result.returncode == 0, result.stdout
    assert "Pushed to " in result.stdout, result.stdout
    (run,) = artifacts(folder / "parity", "Trainer-tangent", "model_run")
    own = load_predictions(str(run / VALIDATION_FILE))
    probabilities = with_temperature(own.probabilities, load_training(str(run)).temperature).astype(np.float32)
    return TrainedModel(folder / "parity/pushed", data, own.tracks["track_id"].to_pylist(), own.genres, probabilities)


def _chosen(labels: Path) -> dict[str, str]:
    """Tracks and their splits, most of the validation split: the trainer keeps its answers to it."""
    by_split: dict[str, dict[str, list[str]]] = {split: defaultdict(list) for split in SPLITS}
    with labels.open(encoding="utf-8") as file:
        genre = {Group("track", row["track_id"]): row["genre"] for row in csv.DictReader(file)}
    split_of = assign_splits({track: {genre[track]: 1} for track in genre}, {})
    for track, split in split_of.items():
        by_split[split][genre[track]].append(track.name)
    few = chain.from_iterable(ids[:most] for split, most in _OF_A_GENRE.items() for ids in by_split[split].values())
    chosen = [*few, *islice(chain.from_iterable(by_split[VALIDATION].values()), TRACKS)]
    return {track_id: split_of[Group("track", track_id)] for track_id in chosen}


def _tracks(trained: TrainedModel) -> list[Track]:
    tracks = []
    for track_id in trained.track_ids:
        file = trained.data / f"{track_id}.json.gz"
        with file.open("rb") as stream:
            (track,) = AudioAnalysisJson().read(str(file), stream)
        assert isinstance(track, Track)
        tracks.append(track)
    return tracks


def _over_rest(tracks: Sequence[Track], port: int) -> Probabilities:
    answers = []
    with httpx.Client(timeout=30) as client:
        for track in tracks:
            timbre, pitches = np.split(track.segments, 2, axis=1)
            body = {"instances": [{"timbre": timbre.tolist(), "pitches": pitches.tolist()}]}
            response = client.post(f"http://127.0.0.1:{port}/v1/models/{MODEL_NAME}:predict", json=body)
            answers.append(response.json()["predictions"][0]["probabilities"])
    return np.array(answers, np.float32)


def _over_grpc(tracks: Sequence[Track], port: int) -> Probabilities:
    answers = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for track in tracks:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            for name, values in zip(("timbre", "pitches"), np.split(track.segments, 2, axis=1), strict=True):
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values[np.newaxis]))
            answers.append(tf.make_ndarray(stub.Predict(request, timeout=30).outputs["probabilities"])[0])
    return np.array(answers, np.float32)


def _in_bulk(trained: TrainedModel) -> Probabilities:
    out = trained.models.parent.parent / "answers"
    options = ("--data", str(trained.data), "--out", str(out), "--name", "parity")
    tagging = command("tag", *options, f"output={trained.models.parent.parent}")
    subprocess.run(tagging, cwd=ROOT, check=True, capture_output=True)
    answers = pd.read_parquet(out / "predictions.parquet").set_index("track_id").loc[trained.track_ids]
    return np.asarray(answers[[f"probability_{genre}" for genre in trained.genres]], np.float32)


@pytest.mark.real_data
def test_rest_grpc_and_bulk_answer_as_the_trainer_did(trained: TrainedModel) -> None:
    assert len(trained.track_ids) == TRACKS
    tracks = _tracks(trained)
    grpc_port, rest_port = free_port(), free_port()
    command = development_command(trained.models, grpc_port, rest_port)
    with subprocess.Popen(command.arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert "ready" in server.stdout.readline()
        answers = {"REST": _over_rest(tracks, rest_port), "gRPC": _over_grpc(tracks, grpc_port)}
        server.send_signal(signal.SIGTERM)
    answers["bulk"] = _in_bulk(trained)
    for way, probabilities in answers.items():
        assert probabilities.shape == (TRACKS, len(trained.genres))
        np.testing.assert_allclose(probabilities, trained.probabilities, rtol=0, atol=TOLERANCE, err_msg=way)
    # The answers are about something: not one and the same to every track.
    assert len(set(trained.probabilities.argmax(axis=1))) > 2
