"""Cross-validation of the models."""

from dataclasses import replace

import numpy as np
import pytest

from deepmusic_genre.errors import PipelineInputError
from pipeline.settings import Settings, load_settings
from tests.support.tracks import write_catalogue
from tools.benchmark_models import classical_features, folds, load_catalogue, main, scores

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data, labels = write_catalogue(tmp_path_factory.mktemp("catalogue"), tracks=96)
    return load_settings(texts={"data.path": str(data), "data.labels": str(labels)})


def test_no_artist_is_in_two_parts_of_a_fold_and_every_track_is_tested_once(settings: Settings) -> None:
    catalogue = load_catalogue(settings, 1)
    found = folds(catalogue, 3, seed=0)
    for fold in found:
        parts = [{catalogue.artists[index] for index in part} for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(catalogue.tracks)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in found])), np.arange(96))


def test_more_folds_than_tracks_are_refused(settings: Settings) -> None:
    with pytest.raises(PipelineInputError, match="97 folds cannot be made"):
        folds(load_catalogue(settings, 1), 97, seed=0)


def test_genres_with_too_few_tracks_are_left_out(settings: Settings) -> None:
    with pytest.raises(PipelineInputError, match="Fewer than two genres have 1000 tracks"):
        load_catalogue(settings, 1000)


def test_the_scores_are_overall_and_by_genre() -> None:
    found = scores(np.array([[8.0, 2.0], [1.0, 4.0]]))
    np.testing.assert_allclose(found, [12 / 15, (0.8 + 0.8) / 2, (16 / 19 + 8 / 11) / 2, 16 / 19, 8 / 11])


def test_statistics_of_a_track_of_one_segment_are_numbers(settings: Settings) -> None:
    track = load_catalogue(settings, 1).tracks[0]
    shortest = replace(track, segments=track.segments[:1])
    assert np.isfinite(classical_features(shortest)).all()
    assert classical_features(shortest).shape == classical_features(track).shape


def test_the_table_has_every_model_and_the_yardstick(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data", str(settings.data.path), "--labels", str(settings.data.labels)]
    how = ["--folds", "2", "--seeds", "1", "--min-tracks", "1", "training.models=[tangent]"]
    assert main([*where, *how]) == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("│")}
    assert set(rows) == {"classical", "tangent"}
    # Eight genres, equally frequent.
    assert all(float(row.split()[3]) > 2 / 8 for row in rows.values())


def test_a_folder_that_is_not_there_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "/no/such/folder"]) == 1
    assert "The data folder /no/such/folder is not there." in capsys.readouterr().err
