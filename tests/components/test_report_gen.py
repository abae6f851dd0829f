import json
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from sklearn.metrics import classification_report
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.evaluator.executor import Executor as EvaluatorExecutor
from tfx.types import Artifact, artifact_utils, standard_artifacts
from tfx.types.channel import Channel

from components.artifacts import (
    COMPONENT_PROPERTY,
    SECONDS_PROPERTY,
    IngestReport,
    ModelSelection,
    ModelVerdict,
    RunReport,
    TestPredictions,
)
from components.evaluator.answers import write_answers
from components.evaluator.config import eval_config
from components.model_selector.selection import Candidate, Selection
from components.model_validator.verdict import Check, Verdict
from components.report_gen.component import ReportGen
from components.report_gen.content import QUANTILES
from components.report_gen.executor import Executor
from components.report_gen.latex import escape
from components.scoring.calibration import expected_calibration_error, with_temperature
from components.scoring.predictions import Predictions
from components.scoring.scores import Bootstrap, Estimate, accuracy, macro_f1
from components.scoring.tracks import track_table
from components.track_example_gen.report import GenresOfTrack, IngestSummary
from components.trainer.record import TrainingRecord
from deepmusic_genre.tracks.examples import encode_track
from deepmusic_genre.tracks.track import ECHO_NEST, SEGMENT_FEATURES, Rejection, Track

ODD_GENRE = "50% & $x_1"
GENRES = ("Blues", "Jazz", ODD_GENRE, "Metal")
"""Of Metal there is no track."""

ODD_TITLE = "<script>alert(1)</script>"
SPLIT_SIZES = {"train": 18, "validation": 9, "test": 30}
TEMPERATURE = 2.0
SETTINGS = {
    "name": "tiny",
    "genres": GENRES,
    "data": {"split_by": "artist", "several_genres": "drop"},
    "evaluation": {"confidence": 0.9, "resamples": 200},
}
BOOTSTRAP = Bootstrap(200, 0.9)
REJECTION = Rejection("/data/<b>broken</b>.json", "segments[3].pitches[2] = 1.7 is outside [0, 1]", "TR7")


def _tracks(split: str) -> list[Track]:
    rng = np.random.default_rng(SPLIT_SIZES[split])
    return [
        Track(
            track_id=f"{split}-{number:02d}",
            source="audio_analysis" if number % 2 else "million_song",
            duration=100.0 + number,
            segments=rng.uniform(0, 1, (5 + number, 24)).astype(np.float32),
            analyser=ECHO_NEST,
            artist_id=f"{split}-band-{number // 3}",
            artist=f"Band {number // 3}",
            title=ODD_TITLE if number == 0 else f"Title {number}",
            genre=GENRES[number % 3],
        )
        for number in range(SPLIT_SIZES[split])
    ]


def _raw_probabilities(seed: int) -> Any:
    """Answers to the test split, never the second genre, wrong and most sure of it at the first track."""
    actual = np.arange(SPLIT_SIZES["test"]) % 3
    logits = np.random.default_rng(seed).normal(size=(len(actual), len(GENRES)))
    logits[np.arange(len(actual)), actual] += 2
    logits[0, 3] = 30
    logits[:, 1] = -30
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def _predictions(seed: int) -> Predictions:
    tracks = track_table(tf.data.Dataset.from_tensor_slices([encode_track(track) for track in _tracks("test")]))
    calibrated = with_temperature(_raw_probabilities(seed), TEMPERATURE)
    return Predictions(GENRES, tracks, calibrated.astype(np.float32))


C1M1, LINEAR, BASELINE = _predictions(1), _predictions(2), _predictions(3)


def _artifact(of: type[Artifact], folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    artifact = of()
    artifact.uri = str(folder)
    return artifact


def _split_artifact(of: type[Artifact], folder: Path) -> Any:
    artifact = _artifact(of, folder)
    artifact.split_names = artifact_utils.encode_split_names(list(SPLIT_SIZES))
    for split in SPLIT_SIZES:
        (folder / f"Split-{split}").mkdir()
    return artifact


def _data(folder: Path) -> dict[str, list[Artifact]]:
    examples = _split_artifact(standard_artifacts.Examples, folder / "examples")
    statistics = _split_artifact(standard_artifacts.ExampleStatistics, folder / "statistics")
    anomalies = _split_artifact(standard_artifacts.ExampleAnomalies, folder / "anomalies")
    for split in SPLIT_SIZES:
        records = str(folder / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00001")
        with tf.io.TFRecordWriter(records) as writer:
            for track in _tracks(split):
                writer.write(encode_track(track))
        found = tfdv.generate_statistics_from_tfrecord(records)
        (folder / "statistics" / f"Split-{split}" / "FeatureStats.pb").write_bytes(found.SerializeToString())
        anomaly = anomalies_pb2.Anomalies()
        if split == "test":
            anomaly.anomaly_info["pitch_C"].description = "Unexpectedly high value: 1.7>1"
        (folder / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(anomaly.SerializeToString())
    ingest = _artifact(IngestReport, folder / "ingest")
    counts = {split: dict.fromkeys(GENRES[:3], size // 3) for split, size in SPLIT_SIZES.items()}
    summary = IngestSummary(counts, dict.fromkeys(SPLIT_SIZES, 1), 4, 1, 3, 2, 1000, {"echo_nest": 992}, 1000, [0])
    (folder / "ingest" / "summary.json").write_bytes(msgspec.json.encode(summary))
    (folder / "ingest" / "rejections.jsonl").write_bytes(msgspec.json.encode(REJECTION) + b"\n")
    several = [GenresOfTrack("both.json", "T", ("Jazz", "Rock"), genre) for genre in ("", "Rock")]
    (folder / "ingest" / "several_genres.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(several))
    examples.set_string_custom_property("input_fingerprint", "1234abcd")
    for artifact in (examples, ingest):
        artifact.set_string_custom_property(COMPONENT_PROPERTY, "TrackExampleGen")
        artifact.set_float_custom_property(SECONDS_PROPERTY, 3.25)
    return {"examples": [examples], "statistics": [statistics], "anomalies": [anomalies], "ingest_report": [ingest]}


def _model_run(folder: Path, model: str, history: dict[str, list[float]]) -> Artifact:
    run = _artifact(standard_artifacts.ModelRun, folder / f"run-{model}")
    listens = model == "linear_model"
    TrainingRecord(model, 123456, 7.5, 0, {"epochs": 2}, TEMPERATURE, history, listens=listens).save(run.uri)
    return run


def _evaluation(folder: Path, answers: dict[str, Predictions]) -> Artifact:
    examples = _artifact(standard_artifacts.Examples, folder / "answers")
    slices = ["genre", "source", "length"]
    write_answers(examples, answers, slices)
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    config = json_format.MessageToJson(eval_config(len(GENRES), slices), preserving_proto_field_name=True)
    properties = {"eval_config": config, "example_splits": '["test"]'}
    EvaluatorExecutor().Do({"examples": [examples]}, {"evaluation": [evaluation]}, properties)
    return evaluation


def _models(folder: Path) -> dict[str, list[Artifact]]:
    curve = {"loss": [2.0, 1.0], "accuracy": [0.3, 0.6], "val_loss": [2.0, 1.5], "val_accuracy": [0.3, 0.5]}
    predictions = _artifact(TestPredictions, folder / "predictions")
    for name, answers in {"c1m1": C1M1, "linear_model": LINEAR, TestPredictions.BASELINE: BASELINE}.items():
        answers.save(f"{predictions.uri}/{name}.parquet")
    selection = _artifact(ModelSelection, folder / "selection")
    candidates = [Candidate("c1m1", 0.6, 0.55), Candidate("linear_model", 0.5, 0.45)]
    Selection("c1m1", candidates).save(selection.uri)
    verdict = _artifact(ModelVerdict, folder / "verdict")
    checks = [
        Check("macro F1", 0.5, 0.4, 0.6, "at least 0.3", passed=True),
        Check("F1 of Metal", None, None, None, "no fall below 0.1", passed=False),
    ]
    Verdict("c1m1", "c2m1", checks).save(verdict.uri)
    return {
        "model_runs": [_model_run(folder, "linear_model", {}), _model_run(folder, "c1m1", curve)],
        "evaluation": [_evaluation(folder, {"c1m1": C1M1, "linear_model": LINEAR})],
        "selection": [selection],
        "predictions": [predictions],
        "verdict": [verdict],
        "infra_blessing": [_infra_blessing(folder / "infra_blessing", "")],
    }


def _infra_blessing(folder: Path, faults: str) -> Artifact:
    blessing = _artifact(standard_artifacts.InfraBlessing, folder)
    (folder / "faults.txt").write_text(faults)
    return blessing


@dataclass(frozen=True)
class Written:
    """A report's files."""

    folder: Path

    @property
    def html(self) -> str:
        return (self.folder / RunReport.HTML_FILE).read_text(encoding="utf-8")

    @property
    def numbers(self) -> Any:
        return json.loads((self.folder / RunReport.JSON_FILE).read_text(encoding="utf-8"))

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.folder.iterdir()}


def _write(inputs: dict[str, list[Artifact]], folder: Path, synthetic: int = 1) -> Written:
    report = _artifact(RunReport, folder)
    properties = {"settings": json.dumps(SETTINGS), "synthetic": synthetic, "code_version": "c0de"}
    Executor().Do(inputs, {"report": [report]}, properties)
    return Written(folder)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Artifact]]:
    folder = tmp_path_factory.mktemp("inputs")
    return {**_data(folder), **_models(folder)}


@pytest.fixture(scope="module")
def written(inputs: dict[str, list[Artifact]], tmp_path_factory: pytest.TempPathFactory) -> Written:
    return _write(inputs, tmp_path_factory.mktemp("report"))


def _as_json(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _row(html: str, start: str) -> str:
    """The first row of a table that has the head ``start``."""
    found = re.search(rf'<tr[^>]*>\s*<th scope="row">{re.escape(start)}.*?</tr>', html, re.DOTALL)
    assert found, start
    return found.group()


class _Page(HTMLParser):
    """Checks that elements are closed in order, and keeps what refers elsewhere, and the ids."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_numbers_are_those_of_the_scores(written: Written) -> None:
    c1m1, linear = written.numbers["models"]
    assert (c1m1["training"]["model"], linear["training"]["model"]) == ("c1m1", "linear_model")
    assert c1m1["test"]["confusion"] == C1M1.confusion.tolist()
    assert c1m1["test"]["accuracy"] == _as_json(BOOTSTRAP.of(accuracy, C1M1.confusion))
    assert linear["test"]["macro_f1"] == _as_json(BOOTSTRAP.of(macro_f1, LINEAR.confusion))
    assert c1m1["validation"] == {"model": "c1m1", "accuracy": 0.6, "macro_f1": 0.55}
    pairs = BOOTSTRAP.paired(C1M1.actual, C1M1.predicted, BASELINE.predicted, len(GENRES))
    change = pairs.change(accuracy)
    assert c1m1["change"]["accuracy"] == _as_json(change)
    assert '<th scope="row">baseline (c2m1)</th>' in written.html
    assert written.numbers["baseline"]["accuracy"] == _as_json(BOOTSTRAP.of(accuracy, BASELINE.confusion))


def test_calibration_is_told_before_and_after(written: Written) -> None:
    model = written.numbers["models"][0]
    before = expected_calibration_error(_raw_probabilities(1), C1M1.actual)
    after = expected_calibration_error(C1M1.probabilities, C1M1.actual)
    assert model["uncalibrated"]["error"] == pytest.approx(before, abs=1e-4)
    assert model["test"]["calibration"]["error"] == after
    assert sum(each["tracks"] for each in model["test"]["calibration"]["bins"]) == SPLIT_SIZES["test"]
    worse = "The probabilities of c1m1 are further from the truth with the temperature" in " ".join(
        written.numbers["notes"]
    )
    assert worse == (after > before)


def test_averages_are_those_of_scikit_learn(written: Written) -> None:
    expected = classification_report(
        C1M1.actual, C1M1.predicted, labels=range(3), target_names=GENRES[:3], output_dict=True, zero_division=0
    )
    for ours, theirs in (("macro_average", "macro avg"), ("weighted_average", "weighted avg")):
        average = written.numbers["models"][0]["test"][ours]
        assert [average["precision"], average["recall"], average["f1"]] == pytest.approx(
            [expected[theirs][name] for name in ("precision", "recall", "f1-score")]
        )


def test_the_page_needs_nothing_else(written: Written) -> None:
    page = _Page(written.html)
    assert all(reference.startswith("#") for reference in page.references)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "base"}
    assert set(re.findall(r"url\((.)", written.html)) == {"#"}
    assert "@import" not in written.html
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references} <= set(page.ids)


def test_what_comes_from_files_is_escaped(written: Written) -> None:
    assert written.numbers["models"][0]["mistakes"][0]["title"] == ODD_TITLE
    assert ODD_TITLE not in written.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written.html
    assert "&lt;b&gt;broken&lt;/b&gt;" in written.html
    assert '<th scope="row">50% &amp; $x_1</th>' in written.html
    assert ">50% &amp; $x_1</text>" in written.html


def test_latex_is_escaped_and_whole(written: Written) -> None:
    table = (written.folder / "linear_model.tex").read_text()
    assert r"50\% \& \$x\_1 & " in table
    assert r"\caption{Classification report of linear\_model on the test split of a synthetic catalogue." in table
    assert re.search(r"^Jazz & -- & 0.000 & 0.000 & 10 \\\\$", table, re.MULTILINE)
    assert re.search(r"^accuracy &  &  & 0\.\d{3} & 30 \\\\$", table, re.MULTILINE)
    assert table.count(r"\midrule") == 2
    assert escape("\\^~{}") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}\{\}"


def test_an_undefined_score_is_a_dash_and_null(written: Written) -> None:
    jazz, metal = (written.numbers["models"][0]["test"]["genres"][index] for index in (1, 3))
    assert jazz["precision"] == {"value": None, "low": None, "high": None}
    assert jazz["recall"]["value"] == 0
    assert metal["recall"]["value"] is metal["f1"]["value"] is None
    of_c1m1 = written.html[written.html.index("Scores of c1m1 by genre") :]
    assert '<td class="number">-<small></small></td>' in _row(of_c1m1, "Jazz")
    assert "- is an undefined score: precision where the genre is never predicted" in of_c1m1
    assert "NaN" not in written.html
    assert "nan" not in written.html


def test_synthetic_data_are_called_so(written: Written, inputs: dict[str, list[Artifact]], tmp_path: Path) -> None:
    captions = re.findall(r"<caption><span>(.*?)</span>", written.html)
    assert all("synthetic" in caption for caption in captions if "test split" in caption or "Checks" in caption)
    assert written.numbers["synthetic"] is True
    real = _write(inputs, tmp_path, synthetic=0)
    assert not [file for file, content in real.files().items() if file != "report.json" and b"ynthetic" in content]


def test_equal_runs_give_equal_bytes(written: Written, inputs: dict[str, list[Artifact]], tmp_path: Path) -> None:
    assert _write(inputs, tmp_path).files() == written.files()
    assert set(written.files()) == {"report.html", "report.json", "c1m1.tex", "linear_model.tex"}


def test_the_verdict_comes_first_with_its_reasons(written: Written) -> None:
    html = written.html
    assert html.index("<strong>c1m1</strong> is not pushed.\nFailed:\nF1 of Metal.") < html.index('<h2 id="data">')
    assert "✗ failed" in _row(html, "F1 of Metal")
    assert "✓ passed" in _row(html, "macro F1")
    assert "0.400 to 0.600" in _row(html, "macro F1")
    assert written.numbers["blessed"] is False


def test_tracks_under_several_genres_and_analysers_are_told(written: Written) -> None:
    assert "2 tracks are under\nseveral genres (drop)" in written.html
    assert "<summary>2 under several genres</summary>" in written.html
    assert [item["genre"] for item in written.numbers["data"]["several_genres"]] == ["", "Rock"]
    assert "Segments by\necho_nest\n(992)." in written.html
    assert written.numbers["data"]["ingest"]["analysers"] == {"echo_nest": 992}


def test_rejected_files_are_listed_with_reasons(written: Written) -> None:
    assert "<summary>1 left out with a reason</summary>" in written.html
    assert REJECTION.reason in written.html
    assert written.numbers["data"]["rejections"] == [
        {"path": REJECTION.path, "reason": REJECTION.reason, "track_id": "TR7"}
    ]
    assert written.numbers["data"]["anomalies"] == ["test: pitch_C: Unexpectedly high value: 1.7>1."]


def test_the_examples_are_counted(written: Written) -> None:
    data = written.numbers["data"]
    assert [split["split"] for split in data["splits"]] == list(SPLIT_SIZES)
    assert data["splits"][2] == {
        "split": "test",
        "artists": 10,
        "genres": {"Blues": 10, "Jazz": 10, ODD_GENRE: 10, "Metal": 0},
    }
    assert data["segments"][0]["minimum"] == 5
    assert data["segments"][0]["maximum"] == 22
    assert "There is no track of Metal in test: no score says how well it is recognised." in written.html


def test_unknown_artists_are_not_said_to_be_in_one_split(
    inputs: dict[str, list[Artifact]], written: Written, tmp_path: Path
) -> None:
    assert "Split by artist: no artist is in two splits." in " ".join(written.html.split())
    summary = msgspec.json.decode(
        (Path(inputs["ingest_report"][0].uri) / "summary.json").read_bytes(), type=IngestSummary
    )
    own = _artifact(IngestReport, tmp_path / "ingest")
    shutil.copytree(inputs["ingest_report"][0].uri, own.uri, dirs_exist_ok=True)
    Path(own.uri, "summary.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(summary, without_artist=2, labels_without_track=200))
    )
    html = " ".join(_write({**inputs, "ingest_report": [own]}, tmp_path / "report").html.split())
    assert "no known artist is in two splits; those of 2 tracks are unknown, and may be." in html
    assert "2 of 57 tracks lack the artist" in html
    assert "200 rows of the labels file label no track: 200 fit none" in html


def test_coefficients_are_told_by_genre(written: Written) -> None:
    everything = [track for split in SPLIT_SIZES for track in _tracks(split)]
    jazz = np.concatenate([track.segments for track in everything if track.genre == "Jazz"])
    coefficients = written.numbers["data"]["coefficients"]
    assert list(coefficients) == list(SEGMENT_FEATURES)
    assert list(coefficients["timbre_01"]) == list(GENRES[:3])
    for column, name in ((0, "timbre_01"), (23, "pitch_B")):
        assert coefficients[name]["Jazz"] == pytest.approx(np.quantile(jazz[:, column], QUANTILES), abs=0.02)


def test_slices_are_those_of_the_evaluation(written: Written) -> None:
    sliced, other = written.numbers["models"]
    assert list(sliced["slices"]) == ["genre", "length", "source"]
    (odd, even) = sliced["slices"]["source"]
    right = C1M1.actual == C1M1.predicted
    assert (odd["value"], odd["tracks"]) == ("audio_analysis", 15)
    assert odd["accuracy"] == pytest.approx(right[1::2].mean())
    assert even["accuracy"] == pytest.approx(right[::2].mean())
    right = LINEAR.actual == LINEAR.predicted
    assert other["slices"]["source"][0]["accuracy"] == pytest.approx(right[1::2].mean())
    assert written.html.count("Slices of the test split") == 2


def test_what_a_model_hears_through_is_named_with_what_it_learned_from(written: Written) -> None:
    (note,) = (note for note in written.numbers["notes"] if "MSD_musicnn" in note)
    assert note.startswith("linear_model hears tracks through a network")
    assert "Million Song Dataset" in note
    assert "may have heard test tracks" in note
    card = written.html[written.html.index('<h2 id="card">') :]
    assert "MSD_musicnn" not in card  # The selected model is another one.


def test_a_model_without_epochs_has_no_curves(written: Written) -> None:
    assert written.html.count("it is not trained in epochs") == 1
    assert "loss of c1m1 by epoch" in written.html
    assert "loss of linear_model by epoch" not in written.html


def test_lineage_and_timings_are_told(written: Written, inputs: dict[str, list[Artifact]], tmp_path: Path) -> None:
    assert written.numbers["timings"] == [{"component": "TrackExampleGen", "seconds": 3.25}]
    assert written.numbers["lineage"]["data_fingerprint"] == "1234abcd"
    assert "<dd>c0de</dd>" in written.html
    bare = {**inputs}
    for key, of in (("examples", standard_artifacts.Examples), ("ingest_report", IngestReport)):
        bare[key] = [_artifact(of, Path(inputs[key][0].uri))]
    bare["examples"][0].split_names = inputs["examples"][0].split_names
    html = _write(bare, tmp_path).html
    assert "Not recorded by this runner." in html
    assert "<dt>data fingerprint</dt><dd>not recorded</dd>" in html


def test_without_a_baseline_nothing_is_compared(inputs: dict[str, list[Artifact]], tmp_path: Path) -> None:
    predictions = _artifact(TestPredictions, tmp_path / "predictions")
    for name, answers in {"c1m1": C1M1, "linear_model": LINEAR}.items():
        answers.save(f"{predictions.uri}/{name}.parquet")
    verdict = _artifact(ModelVerdict, tmp_path / "verdict")
    Verdict("c1m1", None, []).save(verdict.uri)
    first = _write({**inputs, "predictions": [predictions], "verdict": [verdict]}, tmp_path / "report")
    assert first.numbers["baseline"] is None
    assert first.numbers["models"][0]["change"] is None
    assert "There is no earlier blessed model to compare it with." in first.html
    assert "passed every check and may be pushed" in first.html


def test_a_model_that_cannot_be_served_is_not_said_to_be_pushed(
    inputs: dict[str, list[Artifact]], tmp_path: Path
) -> None:
    verdict = _artifact(ModelVerdict, tmp_path / "verdict")
    Verdict("c1m1", None, []).save(verdict.uri)
    blessing = _infra_blessing(tmp_path / "infra", "signature <x> fails\n")
    written = _write({**inputs, "verdict": [verdict], "infra_blessing": [blessing]}, tmp_path / "report")
    assert written.numbers["blessed"] is False
    assert written.numbers["faults"] == ["signature <x> fails"]
    assert "TF Serving could not serve it: signature &lt;x&gt; fails." in written.html
    assert "may be pushed" not in written.html


def test_the_card_says_what_the_refitted_model_learned_from(inputs: dict[str, list[Artifact]], tmp_path: Path) -> None:
    run = _artifact(standard_artifacts.ModelRun, tmp_path / "refitted")
    learned_from = {"train": 1800, "validation": 210, "test": 220}
    TrainingRecord(
        "c1m1", 123456, 7.5, 0, {}, 0.75, {}, sure_from=0.625, learned_from=learned_from, unseen_accuracy=0.5
    ).save(run.uri)
    written = _write({**inputs, "refitted_run": [run]}, tmp_path / "report")
    assert written.numbers["refitted"]["learned_from"] == learned_from
    text = " ".join(written.html.split())
    assert "fitted again to 2,230 tracks: 1,800 of train, 210 of validation, 220 of test." in text
    assert "With the artist of each track left out in turn, the new model is right on 0.500 of the tracks" in text
    assert "its temperature, 0.75, and its probability of being sure, 0.625." in text


def test_a_model_that_was_handed_on_as_it_is_was_not_refitted(
    inputs: dict[str, list[Artifact]], tmp_path: Path
) -> None:
    written = _write({**inputs, "refitted_run": [inputs["model_runs"][1]]}, tmp_path / "report")
    assert written.numbers["refitted"] is None
    assert "fitted again" not in written.html


def test_the_component_takes_channels() -> None:
    spec = ReportGen.SPEC_CLASS.INPUTS
    channels = {key: Channel(type=parameter.type) for key, parameter in spec.items()}
    report_gen = ReportGen(**channels, settings="{}", synthetic=True, code_version="1")
    assert report_gen.outputs["report"].type is RunReport
    assert report_gen.exec_properties["synthetic"] == 1
