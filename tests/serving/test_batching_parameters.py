"""TF Serving's flags for batches."""

from pathlib import Path

import pytest
import yaml

from serving.server.batching import BatchSettings
from serving.server.batching_parameters import read_batching_parameters
from serving.server.flags import UsageError, parse_flags
from tests.conftest import ROOT

DEPLOY = ROOT / "serving" / "deploy"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", BatchSettings()),
        ("max_batch_size { value: 32 } # rows\nnum_batch_threads: { value: 4 }", BatchSettings(32, 1000, 4)),
        ("max_enqueued_batches { value: 3 }, batch_timeout_micros { value: 0 }", BatchSettings(8, 24, 2)),
        ("max_batch_size{value:4};allowed_batch_sizes: 1 allowed_batch_sizes: 4", BatchSettings(4)),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [2, 4]", BatchSettings(4)),
        ('pad_variable_length_inputs: true thread_pool_name { value: "a" }', BatchSettings()),
    ],
)
def test_parameters(text: str, settings: BatchSettings) -> None:
    assert read_batching_parameters(text) == settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size is 0, not a number from 1"),
        ("max_batch_size { value: -1 }", "max_batch_size is -1"),
        ("max_batch { value: 1 }", "it has no field max_batch"),
        ("max_batch_size { value: 1", "it cannot be read from 'max_batch_size' on"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 2]", "must increase and end with max_batch_size"),
        ("allowed_batch_sizes: 2", "must increase and end with max_batch_size"),
    ],
)
def test_mistakes_are_a_line(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "batching.config"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"{file} is not a BatchingParameters: ") as caught:
        parse_flags([f"--model_base_path={tmp_path}", f"--batching_parameters_file={file}"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batches_may_be_switched_off(tmp_path: Path) -> None:
    flags = [f"--model_base_path={tmp_path}", "--enable_batching=false"]
    assert parse_flags(flags).manager.batching.max_rows == 1
    with pytest.raises(UsageError, match="is set without --enable_batching"):
        parse_flags([*flags, f"--batching_parameters_file={DEPLOY / 'config' / 'batching.config'}"])


def test_the_stand_in_takes_the_deployments_command_line(tmp_path: Path) -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["serving"]["command"]
    for file in (DEPLOY / "config").iterdir():
        (tmp_path / file.name).write_text(file.read_text().replace("/models/deepmusic", str(tmp_path)))
    options = parse_flags([argument.replace("/config/", f"{tmp_path}/") for argument in composed])
    assert [model.name for model in options.models] == ["deepmusic"]
    assert options.manager.batching == BatchSettings(max_rows=32, max_queued=3200, threads=2)
