"""What a catalogue's genres are called and become, before anything is trained."""

from pathlib import Path

import pytest
from mutagen.id3 import ID3, TCON

from components.track_example_gen.spans import Span
from components.track_example_gen.survey import GenreSurvey, Rules, survey
from deepmusic_genre.tracks.labels import GenreNames
from tests.support.tracks import analysis, write_analysis

pytestmark = pytest.mark.fast

GENRES = ("Hip-Hop", "Jazz", "Rock")
RULES = Rules(GenreNames(GENRES), "drop")


def _survey(data: Path, rows: str, rules: Rules | None = None) -> GenreSurvey:
    file = data.parent / "labels.csv"
    file.write_text("track_id,genre\n" + rows, encoding="utf-8")
    return survey([Span(0, str(data), str(file))], rules or RULES)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Analyses named A to E."""
    for seed, name in enumerate("ABCDE"):
        write_analysis(tmp_path / "data" / f"{name}.json", analysis(seed) | {"track_id": name})
    return tmp_path / "data"


def test_names_their_numbers_and_what_they_become(catalogue: Path) -> None:
    found = _survey(catalogue, "A,Rap\nB,rap\nC,Electronic\nD,jazz;Rock & Roll\nF,Jazz\n")
    assert found.names == {"Rap": 1, "rap": 1, "Electronic": 1, "jazz": 1, "Rock & Roll": 1}
    genres = ("Hip-Hop", "Hip-Hop", None, "Jazz", "Rock")
    assert found.becomes == dict(zip(("Rap", "rap", "Electronic", "jazz", "Rock & Roll"), genres, strict=True))
    assert found.tracks == {"Hip-Hop": 2, "other genres": 1, "several genres": 1, "no genre": 1}
    assert found.named_by == {"the labels file": 4}
    assert found.unused_labels == 1


def test_settings_decide_on_other_and_on_several_genres(catalogue: Path) -> None:
    rules = Rules(GenreNames([*GENRES, "Other"], "Other"), "first")
    found = _survey(catalogue, "A,Polka\nB,Rap;Jazz\nC,Unknown\n", rules)
    assert found.tracks == {"Other": 1, "Hip-Hop": 1, "no genre": 3}
    assert found.becomes["Unknown"] == "no genre"


def test_of_sound_the_tags_alone_are_read(tmp_path: Path) -> None:
    (tmp_path / "Rock").mkdir()
    tag = ID3()
    tag.add(TCON(encoding=3, text=["Jazz"]))
    tag.save(tmp_path / "Rock" / "a.mp3")
    (tmp_path / "Rock" / "b.mp3").write_bytes(b"no sound")
    (tmp_path / "c.json").write_text("[]", encoding="utf-8")
    found = survey([Span(0, str(tmp_path), None)], RULES)
    assert found.tracks == {"Jazz": 1, "Rock": 1, "cannot be read": 1}
    assert found.named_by == {"the files themselves": 1, "folders": 1}
    assert found.contradictions == {"file and folder": 1}
    assert found.rejection is not None
    assert found.rejection.path.endswith("c.json")
