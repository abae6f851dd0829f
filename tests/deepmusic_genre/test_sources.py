"""Tests of which source reads what."""

from pathlib import Path

import pytest

from deepmusic_genre.tracks.registry import read, source_for
from deepmusic_genre.tracks.track import Track
from tests.support.tracks import analysis, write_analysis, write_h5

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.json", "audio_analysis"),
        ("b/a.JSON.GZ", "audio_analysis"),
        ("a.h5", "million_song"),
        ("A.HDF5", "million_song"),
        ("a.jsonl", "audio_analysis"),
        ("a.ndjson.GZ", "audio_analysis"),
        ("a.tar", "tar"),
        ("a.b.tar.gz", "tar"),
        ("a.TGZ", "tar"),
        ("a.zip", "zip"),
        ("a.csv", None),
        ("json", None),
        ("a.gz", None),
    ],
)
def test_source_is_found_by_the_ending(path: str, source: str | None) -> None:
    found = source_for(path)
    assert (found.name if found else None) == source


def _track(path: Path) -> Track:
    with path.open("rb") as stream:
        (item,) = read(str(path), stream)
    assert isinstance(item, Track), item
    return item


def test_digest_depends_on_the_values_alone(tmp_path: Path) -> None:
    paths = [write_analysis(tmp_path / "a.json", analysis(0)), write_h5(tmp_path / "a.h5", ["A"])]
    as_json, as_h5, other = (_track(path) for path in [*paths, write_analysis(tmp_path / "other.json", analysis(1))])
    assert as_json.content_digest() == as_h5.content_digest()
    assert as_json.content_digest() != other.content_digest()
