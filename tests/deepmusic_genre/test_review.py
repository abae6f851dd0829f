"""``deepmusic review``: the doubtful answers first, and a labels file that a run reads."""

import csv
from pathlib import Path

import msgspec
import pytest

from deepmusic_genre.client.answers import GivenAnswer
from deepmusic_genre.client.review import COLUMNS, worth
from deepmusic_genre.tracks.labels import find_label, read_labels
from tests.support.command import call

pytestmark = pytest.mark.fast


def _answer(track_id: str, jazz: float, rock: float, file: str = "all.h5", sure: bool | None = False) -> GivenAnswer:
    probabilities = {"Jazz": jazz, "Rock": rock, "Metal": round(1 - jazz - rock, 3)}
    genre = max(probabilities, key=lambda genre: probabilities[genre])
    return GivenAnswer(track_id, genre, file, probabilities, sure, "Änn [x]", track_id.upper())


ANSWERS = [
    _answer("clear", 0.98, 0.02, sure=True),
    _answer("split", 0.41, 0.4),
    _answer("alone", 0.1, 0.45),
    _answer("sound-1a2b", 0.4, 0.45, "/music/b/sound.mp3"),
    _answer("untold", 0.8, 0.15, sure=None),
]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(answer) + b"\n" for answer in ANSWERS))
    return path


def test_the_most_doubtful_come_first_and_sure_answers_not_at_all(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = answers.with_name("review.csv")
    assert call("review", str(answers), "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert "4 answers are not sure; these 4 are the ones to listen to first" in shown
    assert "Änn [x] - SPLIT" in shown
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [row["track_id"] for row in rows] == ["split", "/music/b/sound.mp3", "alone", "untold"]
    assert [row["like_it"] for row in rows] == ["3", "3", "1", "3"]
    assert list(rows[0].values()) == ["split", "", "Jazz", "0.410", "Rock", "0.400", "3", "Änn [x] - SPLIT", "all.h5"]
    assert list(rows[0]) == COLUMNS

    assert call("review", str(answers), "--top", "1") == 0
    assert "SOUND" not in capsys.readouterr().out


def test_how_many_are_alike_decides_between_equal_doubts_alone() -> None:
    assert worth(ANSWERS[1], 0.5) == pytest.approx(0.99 * 1.5)
    assert worth(ANSWERS[2], 0.25) == worth(_answer("a", 0.45, 0.1), 0.25)
    assert worth(ANSWERS[3], 0.75) > worth(ANSWERS[3], 0.25)


def test_what_is_filled_in_labels_the_tracks_of_the_next_run(answers: Path) -> None:
    out = answers.with_name("review.csv")
    call("review", str(answers), "--out", str(out))
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    rows[0]["genre"], rows[1]["genre"] = "Rock", "Metal"
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(row for row in rows if row["genre"])
    labels = read_labels(out.read_bytes(), "review.csv")
    found = [find_label(labels, answer.track_id, answer.file) for answer in ANSWERS]
    assert [label and label.genre for label in found] == [None, "Rock", None, "Metal", None]
    assert all(label is None or (label.artist, label.title) == ("", "") for label in found)
    # Tags that changed since have changed the id.
    label = find_label(labels, "sound-ffff", "/music/b/sound.mp3")
    assert label is not None
    assert label.genre == "Metal"


def test_what_somebody_has_filled_in_is_kept(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = answers.with_name("review.csv")
    out.write_text("mine")
    assert call("review", str(answers), "--out", str(out)) == 1
    assert capsys.readouterr().err == f"{out} is there already: choose another file.\n"
    assert out.read_text() == "mine"
    assert call("review", str(answers), "--out", str(answers.with_name("none") / "review.csv")) == 1
    assert "review.csv cannot be written: No such file or directory.\n" in capsys.readouterr().err


def test_without_doubt_there_is_a_line(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers.write_bytes(msgspec.json.encode(ANSWERS[0]) + b"\n")
    assert call("review", str(answers)) == 0
    assert capsys.readouterr().out == "No answer is in doubt.\n"
