"""What becomes of a run that comes after others in the same folder."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from components.pusher.folder import WITHDRAWN
from components.trainer.record import load_training
from deepmusic_genre.exit_codes import GATE
from pipeline.settings import load_settings
from tests.conftest import FinishedRun, run_local
from tests.end_to_end.test_run import CAME_TO_ITS_END

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def second_home(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The same run again in another output folder, for tests that go on from there."""
    output = tmp_path_factory.mktemp("second")
    first = str(finished_run.home.parent)
    arguments = tuple(argument.replace(first, str(output)) for argument in finished_run.arguments)
    result = run_local(arguments)
    assert result.returncode == 0, result.stdout
    return replace(finished_run, arguments=arguments, home=output / "small", stdout=result.stdout, again="")


def test_an_equal_seed_gives_equal_weights(finished_run: FinishedRun, second_home: FinishedRun) -> None:
    validations, references = (
        [(run.artifact("Trainer-c1m1", "model_run") / name).read_bytes() for run in (finished_run, second_home)]
        for name in ("validation.parquet", "reference.npz")
    )
    assert validations[0] == validations[1]
    assert references[0] == references[1]


def test_a_worse_model_is_not_pushed_and_the_reason_is_told(second_home: FinishedRun) -> None:
    result = run_local((*second_home.arguments, "training.models=[c1m1]", "models.c1m1.epochs=1"))
    assert result.returncode == GATE, result.stdout
    assert "gate: ModelValidator kept the model from being pushed" in result.stdout
    assert re.search(r"^Transform .*from the cache$", result.stdout, re.MULTILINE), result.stdout
    reason = r"^  change of accuracy is -0\.\d+ \(.*\), asked for: no fall beyond 0.02 and beyond noise"
    assert re.search(reason, result.stdout, re.MULTILINE), result.stdout
    assert len(list((second_home.home / "pushed").iterdir())) == 1


def test_a_model_of_other_genres_is_no_baseline(second_home: FinishedRun) -> None:
    settings = (
        "genres=[Blues, Classical, Country, Hip-Hop, Rock]",
        "data.max_rejected_share=1",
        "training.models=[tangent]",
    )
    result = run_local((*second_home.arguments, *settings))
    assert result.returncode in CAME_TO_ITS_END, result.stdout
    assert "change of" not in result.stdout


def test_a_withdrawn_version_stays_withdrawn_and_a_removed_one_is_pushed_again(second_home: FinishedRun) -> None:
    pushed = second_home.home / "pushed"
    (version,) = (folder.name for folder in pushed.iterdir())
    (pushed / WITHDRAWN).mkdir()
    (pushed / version).rename(pushed / WITHDRAWN / version)
    result = run_local(second_home.arguments)
    assert "Pushed to" not in result.stdout
    assert f"which was withdrawn; `deepmusic rollback --version {version}` brings it back" in result.stdout
    shutil.rmtree(pushed)
    result = run_local(second_home.arguments)
    assert f"{pushed}/{version} was removed; it is made again" in result.stdout
    (again,) = pushed.iterdir()
    assert f"Pushed to {again}" in result.stdout


def test_hyper_parameters_are_searched_for_and_kept_as_settings(second_home: FinishedRun) -> None:
    settings = ("training.models=[tangent]", "tuning.enabled=true", "tuning.trials=2")
    result = run_local((*second_home.arguments, *settings))
    assert result.returncode == 0, result.stdout
    assert (
        len(re.findall(r"^  trial [12] of 2: validation macro F1 \d\.\d+ with gamma", result.stdout, re.MULTILINE)) == 2
    )
    tuned = load_settings(second_home.home / "tuned.yaml").models.tangent
    assert tuned != load_settings().models.tangent
    record = load_training(str(second_home.artifact("Trainer-tangent", "model_run")))
    assert record.hyperparameters == tuned.model_dump()


def test_a_sampled_run_goes_all_the_way(second_home: FinishedRun) -> None:
    # Of sixteen tracks it learns less than the baseline knows.
    lenient = [f"evaluation.max_{score}_drop=1" for score in ("accuracy", "macro_f1", "genre_f1")]
    sampled = ("training.models=[tangent]", "training.sampling=downsampled")
    result = run_local((*second_home.arguments, *sampled, *lenient))
    assert result.returncode == 0, result.stdout
    assert re.search(r"^  train: \d+ tracks, Blues (\d+), Classical \1, Country \1,", result.stdout, re.MULTILINE)
    report = json.loads((second_home.artifact("ReportGen", "report") / "report.json").read_text())
    assert any(note.startswith("The examples are a sample:") for note in report["notes"])
