from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel

from components.sampler.component import Sampler
from components.sampler.executor import Executor
from components.sampler.natural import load_natural_counts
from components.sampler.sampling import Sampling, downsample
from components.scoring.tracks import track_table
from tests.conftest import FinishedRun


def test_every_genre_keeps_as_many_tracks_as_the_rarest_has() -> None:
    tracks = [(f"{genre}{n}", genre) for genre, count in (("Rock", 50), ("Jazz", 7), ("Pop", 20)) for n in range(count)]
    kept = downsample(tracks)
    assert Counter(genre for track_id, genre in tracks if track_id in kept) == {"Rock": 7, "Jazz": 7, "Pop": 7}


def test_the_choice_depends_on_the_tracks_alone() -> None:
    tracks = [(f"t{n}", "Rock" if n % 3 else "Jazz") for n in range(60)]
    assert downsample(tracks) == downsample(tracks[::-1])
    # Not simply the first ones.
    assert downsample(tracks) & {f"t{n}" for n in range(60) if n % 3} != {f"t{n}" for n in range(30) if n % 3}
    assert downsample([]) == set()


@pytest.mark.parametrize("sampling", ["downsampled", "downsampled_everywhere"])
def test_the_executor_samples_the_splits_that_it_is_told_to(
    sampling: Sampling, finished_run: FinishedRun, tmp_path: Path
) -> None:
    examples, sampled = standard_artifacts.Examples(), standard_artifacts.Examples()
    examples.uri, sampled.uri = str(finished_run.artifact("TrackExampleGen", "examples")), str(tmp_path)
    examples.split_names = artifact_utils.encode_split_names(["train", "validation", "test"])
    examples.set_string_custom_property("input_fingerprint", "abc")
    Executor().Do({"examples": [examples]}, {"sampled_examples": [sampled]}, {"sampling": sampling})
    assert sampled.split_names == examples.split_names
    assert sampled.get_string_custom_property("input_fingerprint") == "abc"
    for split in ("train", "validation", "test"):
        before, after = (_records(Path(uri) / f"Split-{split}") for uri in (examples.uri, sampled.uri))
        if split == "train" or sampling == "downsampled_everywhere":
            counts = _genres(before)
            assert _genres(after) == dict.fromkeys(counts, min(counts.values()))
            assert set(after) <= set(before)
        else:
            assert after == before
    natural = _genres(_records(Path(examples.uri) / "Split-train"))
    assert load_natural_counts(sampled.uri) == (natural if sampling == "downsampled" else None)


def test_the_component_hands_on_examples() -> None:
    component = Sampler(examples=Channel(type=standard_artifacts.Examples), sampling="downsampled")
    assert component.outputs["sampled_examples"].type is standard_artifacts.Examples
    assert component.exec_properties["sampling"] == "downsampled"


def _records(folder: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(sorted(map(str, folder.iterdir()))).as_numpy_iterator())


def _genres(records: list[bytes]) -> dict[str, int]:
    return dict(Counter(track_table(tf.data.Dataset.from_tensor_slices(records))["genre"].to_pylist()))
