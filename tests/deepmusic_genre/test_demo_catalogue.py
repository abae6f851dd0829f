"""Tests of the synthetic demo catalogue."""

import csv
import gzip
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from deepmusic_genre import demo as catalogue
from deepmusic_genre.demo import (
    GENERATOR_VERSION,
    LABEL_COLUMNS,
    PROFILES,
    SEGMENT_RANGE,
    SEGMENT_SECONDS,
    generate_catalogue,
)

pytestmark = pytest.mark.fast

TRACKS, ARTISTS = 24, 8


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_catalogue(tmp_path_factory.mktemp("demo") / "catalogue", TRACKS, ARTISTS)


@pytest.fixture(scope="module")
def analyses(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "tracks").iterdir())
    return [msgspec.json.decode(gzip.decompress(path.read_bytes())) for path in paths]


def test_same_parameters_give_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = generate_catalogue(tmp_path / "other name", TRACKS, ARTISTS)
    assert _contents(again) == _contents(folder)


def test_seed_changes_the_tracks(folder: Path, tmp_path: Path) -> None:
    other = _contents(generate_catalogue(tmp_path / "catalogue", TRACKS, ARTISTS, seed=1))
    first = _contents(folder)
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in first if name.startswith("tracks"))


def test_second_call_does_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_write_contents", lambda *_: pytest.fail("generated again"))
    assert generate_catalogue(folder, TRACKS, ARTISTS) == folder


def test_progress_counts_every_track(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate_catalogue(tmp_path / "catalogue", 8, 8, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 8) for done in range(1, 9)]


@pytest.mark.parametrize(("tracks", "seed"), [(8, 1), (9, 0)])
def test_other_parameters_replace_the_catalogue(tmp_path: Path, tracks: int, seed: int) -> None:
    target = tmp_path / "catalogue"
    before = _contents(generate_catalogue(target, 8, 8, seed=0))
    after = _contents(generate_catalogue(target, tracks, 8, seed))
    assert after != before
    assert len(_labels(target)) == tracks
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue"]


def test_damaged_catalogue_is_made_again(tmp_path: Path) -> None:
    target = generate_catalogue(tmp_path / "catalogue", 8, 8)
    before = _contents(target)
    (target / "tracks" / "demo-00003.json.gz").unlink()
    assert _contents(generate_catalogue(target, 8, 8)) == before


def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_catalogue(tmp_path / "catalogue", 8, 8, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_regeneration_keeps_the_old_catalogue(tmp_path: Path) -> None:
    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    target = generate_catalogue(tmp_path / "catalogue", 8, 8)
    before = _contents(target)
    with pytest.raises(KeyboardInterrupt):
        generate_catalogue(target, 8, 8, seed=1, progress=interrupt)
    assert _contents(target) == before


def test_leftover_of_a_killed_run_is_not_used(tmp_path: Path) -> None:
    leftover = tmp_path / ".catalogue.partial" / "tracks"
    leftover.mkdir(parents=True)
    (leftover / "demo-99999.json.gz").write_bytes(b"half")
    target = generate_catalogue(tmp_path / "catalogue", 8, 8)
    assert len(list((target / "tracks").iterdir())) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue"]


def test_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "catalogue" / "labels.csv"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(FileExistsError):
        generate_catalogue(tmp_path / "catalogue", 8, 8)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize(("tracks", "artists", "seed"), [(24, 7, 0), (8, 9, 0), (8, 8, -1)])
def test_impossible_parameters_are_refused(tmp_path: Path, tracks: int, artists: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"artists|seed"):
        generate_catalogue(tmp_path / "catalogue", tracks, artists, seed)


def test_labels_match_the_tracks(folder: Path) -> None:
    rows = _labels(folder)
    assert tuple(rows[0]) == LABEL_COLUMNS
    assert [row["track_id"] for row in rows] == [f"demo-{index:05d}" for index in range(TRACKS)]
    assert {path.name for path in (folder / "tracks").iterdir()} == {f"{row['track_id']}.json.gz" for row in rows}
    assert len({row["artist_id"] for row in rows}) == ARTISTS
    assert len({(row["artist_id"], row["artist"]) for row in rows}) == ARTISTS
    assert {row["genre"] for row in rows} <= {profile.name for profile in PROFILES}


def test_plan_of_the_default_catalogue() -> None:
    plan = catalogue._plan(800, 160, 0)
    genres = np.bincount([track.genre for track in plan])
    artists = np.bincount([track.artist for track in plan])
    assert len(genres) == len(PROFILES) == 8
    assert genres.min() >= 70
    assert genres.max() <= 135
    assert len(artists) == 160
    assert artists.min() >= 1
    same = sum(np.bincount([track.genre for track in plan if track.artist == artist]).max() for artist in range(160))
    assert 0.85 < same / 800 < 1.0


def test_everything_is_marked_as_synthetic(folder: Path, analyses: list[dict[str, Any]]) -> None:
    assert all(analysis["meta"]["analyzer_version"] == GENERATOR_VERSION for analysis in analyses)
    assert "synthetic" in GENERATOR_VERSION
    assert "SYNTHETIC" in (folder / "README.txt").read_text(encoding="utf-8")
    for row in _labels(folder):
        assert row["artist"].startswith("Synthetic Artist ")
        assert row["title"].startswith("Synthetic Track ")
        assert row["artist_id"].startswith("demo-artist-")


def test_analysis_has_the_parts_of_a_real_one(analyses: list[dict[str, Any]]) -> None:
    for analysis in analyses:
        assert set(analysis) == {"meta", "track", "bars", "beats", "sections", "segments", "tatums"}
        assert SEGMENT_RANGE[0] <= len(analysis["segments"]) <= SEGMENT_RANGE[1]
        assert ["loudness_end" in segment for segment in analysis["segments"][-2:]] == [False, True]
        assert analysis["sections"][0]["start"] == 0.0


def test_segments_are_contiguous(analyses: list[dict[str, Any]]) -> None:
    for analysis in analyses:
        starts = np.array([segment["start"] for segment in analysis["segments"]])
        durations = np.array([segment["duration"] for segment in analysis["segments"]])
        assert starts[0] == 0.0
        assert durations.min() >= SEGMENT_SECONDS[0]
        assert durations.max() <= SEGMENT_SECONDS[1]
        np.testing.assert_allclose(starts[1:], starts[:-1] + durations[:-1], atol=1e-9)
        assert analysis["track"]["duration"] == pytest.approx(starts[-1] + durations[-1])
        assert sum(section["duration"] for section in analysis["sections"]) == pytest.approx(
            analysis["track"]["duration"], abs=1e-3
        )


def test_pitches_are_normalised(analyses: list[dict[str, Any]]) -> None:
    for analysis in analyses:
        pitches = np.array([segment["pitches"] for segment in analysis["segments"]])
        assert pitches.shape[1] == 12
        assert pitches.min() >= 0.0
        assert (pitches.max(axis=1) == 1.0).all()


def test_timbre_is_in_range(analyses: list[dict[str, Any]]) -> None:
    for analysis in analyses:
        timbre = np.array([segment["timbre"] for segment in analysis["segments"]])
        assert timbre.shape[1] == 12
        assert timbre[:, 0].min() >= 0.0
        assert timbre[:, 0].max() <= 60.0
        assert np.abs(timbre[:, 1:]).max() < 600.0
        assert np.isfinite(timbre).all()


def test_loudness_is_plausible(analyses: list[dict[str, Any]]) -> None:
    for analysis in analyses:
        for segment in analysis["segments"]:
            assert -60.0 <= segment["loudness_start"] <= segment["loudness_max"] <= 0.0
            assert 0.0 <= segment["loudness_max_time"] <= segment["duration"]
            assert 0.0 <= segment["confidence"] <= 1.0
