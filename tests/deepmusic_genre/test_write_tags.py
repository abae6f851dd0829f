"""``deepmusic write-tags`` and ``undo-tags``: a line a file, nothing by half, and the way back."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deepmusic_genre.client.answers import GivenAnswer, read_answers
from deepmusic_genre.client.client import Prediction
from deepmusic_genre.client.output import WRITERS
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.audio import sound_id
from deepmusic_genre.tracks.tags import read_tags
from deepmusic_genre.tracks.track import Track
from tests.deepmusic_genre.test_tags import MP3, vorbis
from tests.support.command import call, command
from tests.support.sounds import of_form

pytestmark = pytest.mark.fast

PROBABILITIES = {"Jazz": 0.75, "Rock": 0.25}


def _answer(path: Path, genre: str = "Jazz", sure: bool | None = True) -> GivenAnswer:
    content = path.read_bytes() if path.exists() else b""
    return GivenAnswer(sound_id(str(path), content), genre, str(path), PROBABILITIES, sure, "Änn", "A, b")


def _write_answers(file: Path, answers: Sequence[GivenAnswer]) -> Path:
    """As ``deepmusic predict`` does."""
    nothing = np.zeros((3, 24), np.float32)
    pairs = [
        (
            Track(
                each.track_id, "audio", 1.0, nothing, "deepmusic", artist=each.artist, title=each.title, path=each.file
            ),
            Prediction(each.genre, each.probabilities, 7, each.sure, None),
        )
        for each in answers
    ]
    with file.open("w", encoding="utf-8", newline="") as stream:
        WRITERS[file.suffix[1:]](pairs, stream, None)
    return file


def _write_bulk_answers(file: Path, answers: Sequence[GivenAnswer]) -> Path:
    """As ``deepmusic tag`` does."""
    rows = [
        {
            "track_id": each.track_id,
            "artist_id": "",
            "artist": each.artist,
            "title": each.title,
            "genre": each.genre,
            "probability": max(each.probabilities.values()),
            **{f"probability_{genre}": value for genre, value in each.probabilities.items()},
            "sure": each.sure,
            "familiarity": None,
            "model": "c1m1",
            "model_version": 7,
            "file": each.file,
            "notes": "",
        }
        for each in answers
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, file) if file.suffix == ".parquet" else pa.csv.write_csv(table, file)
    return file


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "untagged.mp3").write_bytes(MP3)
    (folder / "tagged.flac").write_bytes(vorbis("flac"))
    (folder / "opus.opus").write_bytes(of_form("opus"))
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("form", ["csv", "jsonl", "bulk.csv", "bulk.parquet"])
def test_answers_are_read_in_every_form(form: str, tmp_path: Path) -> None:
    answers = [
        _answer(tmp_path / "a.mp3"),
        _answer(tmp_path / "b.mp3", "Rock", False),
        _answer(tmp_path / "c", sure=None),
    ]
    write = _write_bulk_answers if form.startswith("bulk") else _write_answers
    assert list(read_answers(write(tmp_path / f"answers.{form}", answers))) == answers
    if form == "bulk.csv":
        (tmp_path / "answers.bulk.csv").rename(tmp_path / "predictions.csv")
        assert list(read_answers(tmp_path)) == answers


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"", "{path} does not end in .csv, .jsonl, .parquet: name the answers of tag or predict."),
        ("a.csv", b"", "{path} does not hold answers of deepmusic tag or predict: it has no column track_id and "),
        ("a.csv", b"track_id,artist,title,genre,sure,file\na,b\n", "line 2 has other columns than the first line."),
        ("a.csv", b"track_id,artist,title,genre,sure,file\na,,,J,maybe,f\n", "line 2: 'maybe' is none of its values."),
        ("a.csv", b"track_id,artist,title,genre,sure,file\n\xff\n", "{path} does not hold answers of"),
        ("a.jsonl", b'{"track_id": 1}\n', "line 1: Expected `str`, got `int` - at `$.track_id`."),
        ("a.parquet", b"PAR1", "{path} does not hold answers of deepmusic tag or predict: "),
        ("predictions.csv/x", b"", "predictions.csv cannot be read: Is a directory."),
    ],
)
def test_what_holds_no_answers_is_a_line(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path = path if path.parent == tmp_path else tmp_path
    with pytest.raises(PipelineInputError) as raised:
        list(read_answers(path))
    assert told.format(path=path) in str(raised.value)


def test_first_shown_then_written_then_taken_back(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _contents(music)
    paths = {name: music / name for name in before}
    other = _answer(paths["opus.opus"], "Rock", False)
    answers = _write_answers(
        music.parent / "genres.csv", [*map(_answer, [music / "untagged.mp3", music / "tagged.flac"]), other]
    )
    lines = [
        f"{music}/untagged.mp3: Jazz",
        f"{music}/tagged.flac: left, it has a genre: Jazz, Blues",
        f"{music}/opus.opus: left, the answer is not sure",
    ]
    assert call("write-tags", "--dry-run", str(answers)) == 0
    assert capsys.readouterr().out.splitlines() == [*lines, "1 would be written, 2 left as they are, 0 failed"]
    assert _contents(music) == before
    assert [path.name for path in music.parent.iterdir() if path.is_file()] == ["genres.csv"]

    undo = music.parent / "genres.undo.jsonl"
    assert call("write-tags", str(answers)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [*lines, "1 written, 2 left as they are, 0 failed", f"deepmusic undo-tags {undo} takes them back."]
    after = _contents(music)
    assert {name for name in after if after[name] != before[name]} == {"untagged.mp3"}
    assert read_tags(after["untagged.mp3"]).genres == ("Jazz",)

    # The same call again finds the work done; another writes what is there already, if asked to.
    assert call("write-tags", str(answers)) == 0
    assert "untagged.mp3: left, its genre is Jazz" in capsys.readouterr().out
    assert call("write-tags", "--overwrite", str(answers)) == 0
    assert f"{music}/tagged.flac: Jazz instead of Jazz, Blues" in capsys.readouterr().out
    assert read_tags((music / "tagged.flac").read_bytes()).genres == ("Jazz",)

    assert call("undo-tags", str(undo)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{music}/tagged.flac: Jazz, Blues",
        f"{music}/untagged.mp3: no genre",
        "2 taken back, 0 left as they are, 0 failed",
    ]
    assert _contents(music) == before
    assert call("undo-tags", str(undo)) == 0
    assert "untagged.mp3: left, it is as it was" in capsys.readouterr().out


def test_a_file_that_was_written_twice_is_taken_back_to_the_first(music: Path) -> None:
    before = _contents(music)
    answers = music.parent / "genres.jsonl"
    for genre in ("Jazz", "Rock"):
        call("write-tags", "--overwrite", str(_write_answers(answers, [_answer(music / "untagged.mp3", genre)])))
    assert read_tags((music / "untagged.mp3").read_bytes()).genres == ("Rock",)
    for _ in range(2):
        assert call("undo-tags", str(music.parent / "genres.undo.jsonl")) == 0
        assert _contents(music) == before


def test_what_cannot_be_written_is_a_line_each_and_the_others_are(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("changed.mp3", "linked.mp3", "read-only.mp3", "broken.mp3", "voice.au", "a.json")
    for name in names:
        (music / name).write_bytes(of_form("au") if name == "voice.au" else MP3)
    (music / "broken.mp3").write_bytes(b"nothing")
    os.link(music / "linked.mp3", music / "other name.mp3")
    (music / "read-only.mp3").chmod(0o444)
    answers = [_answer(music / name) for name in (*names, "gone\n.mp3", "untagged.mp3")]
    answers += [
        msgspec.structs.replace(answers[0], file=file) for file in ("s3://bucket/a.mp3", f"{music}/all.zip!/a.mp3")
    ]
    answers += [_answer(music / "opus.opus", genre) for genre in ("", "x" * 101, "a\x1b[2J")]
    answers += [_answer(music / "opus.opus", sure=None)]
    (music / "changed.mp3").write_bytes(MP3 + MP3)
    before = _contents(music)
    assert call("write-tags", str(_write_answers(music.parent / "genres.csv", answers))) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        f"{music}/changed.mp3: it changed since it was analysed: ask for its genre again",
        f"{music}/linked.mp3: it is 2 hard links to one file, of which only this one would change",
        f"{music}/read-only.mp3: it is read-only",
        f"{music}/broken.mp3: mutagen cannot write its tags: can't sync to MPEG frame",
        f"{music}/voice.au: mutagen writes no tags into files of its form",
        f"{music}/gone\\n.mp3: No such file or directory",
        *[f"{music}/opus.opus: its answer is no genre"] * 3,
    ]
    assert printed.out.splitlines()[:-1] == [
        f"{music}/a.json: left, it is no sound file",
        f"{music}/untagged.mp3: Jazz",
        "s3://bucket/a.mp3: left, it is not a file of this machine",
        f"{music}/all.zip!/a.mp3: left, it is in an archive",
        f"{music}/opus.opus: left, the model does not say whether its answer is sure",
        "1 written, 4 left as they are, 9 failed",
    ]
    after = _contents(music)
    assert {name for name in after if after[name] != before.get(name)} == {"untagged.mp3"}


def test_where_nothing_is_written_no_undo_file_is_left(music: Path) -> None:
    answers = _write_answers(music.parent / "genres.csv", [_answer(music / "opus.opus", sure=False)])
    assert call("write-tags", str(answers)) == 0
    assert not (music.parent / "genres.undo.jsonl").exists()


def test_what_changed_since_is_not_taken_back(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = _write_answers(
        music.parent / "genres.csv", [_answer(music / "untagged.mp3"), _answer(music / "opus.opus")]
    )
    call("write-tags", str(answers))
    (music / "untagged.mp3").write_bytes(b"theirs")
    (music / "opus.opus").unlink()
    capsys.readouterr()
    assert call("undo-tags", str(music.parent / "genres.undo.jsonl")) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{music}/opus.opus: No such file or directory",
        f"{music}/untagged.mp3: it changed since its genre was written",
    ]
    assert (music / "untagged.mp3").read_bytes() == b"theirs"


def test_without_a_place_for_the_way_back_nothing_is_written(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    answers = _write_answers(music.parent / "genres.csv", [_answer(music / "untagged.mp3")])
    undo, before = music.parent / "genres.undo.jsonl", _contents(music)
    undo.write_text("mine\n")
    assert call("write-tags", str(answers)) == 1
    assert capsys.readouterr().err.startswith(f"{undo} is no undo file of deepmusic write-tags: ")
    assert undo.read_text() == "mine\n"
    undo.unlink()
    undo.mkdir()
    assert call("write-tags", str(answers)) == 1
    assert capsys.readouterr().err == f"{undo} cannot be written to: Is a directory.\n"
    undo.rmdir()

    # As a disk that is full when the record is written, but not when the file is.
    filler = {"file": "x" * 30_000, "genre": "", "was": [], "before": "", "after": "", "delta": []}
    undo.write_text(json.dumps(filler) + "\n")
    limits, size = resource.getrlimit(resource.RLIMIT_FSIZE), undo.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limits[1]))
    try:
        assert call("write-tags", str(answers)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{music}/untagged.mp3: " in capsys.readouterr().err
    assert undo.stat().st_size == size
    assert _contents(music) == before


def test_a_record_that_was_not_written_to_its_end_is_of_no_file(music: Path) -> None:
    undo = music.parent / "genres.undo.jsonl"
    undo.write_bytes(b'{"file": "/mus')
    before = _contents(music)
    call("write-tags", str(_write_answers(music.parent / "genres.csv", [_answer(music / "untagged.mp3")])))
    assert _contents(music) != before
    assert call("undo-tags", str(undo)) == 0
    assert _contents(music) == before


def test_rows_for_tracks_that_are_not_there_are_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    answers = tmp_path / "genres.jsonl"
    line = msgspec.json.encode(_answer(tmp_path / "gone.mp3")) + b"\n"
    answers.write_bytes(line * 5_000)
    ended = subprocess.run(command("write-tags", str(answers)), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"{tmp_path}/gone.mp3: No such file or directory\n" * 5_000
    assert ended.stdout == "0 written, 0 left as they are, 5,000 failed\n"


def test_killed_at_any_moment_every_file_is_whole_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    paths = [folder / f"{number:03d}.mp3" for number in range(60)]
    for number, path in enumerate(paths):
        path.write_bytes(MP3 + bytes([number]))
    before = _contents(folder)
    answers = _write_answers(tmp_path / "genres.csv", list(map(_answer, paths)))
    for stop in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen([*command("write-tags", str(answers))], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(stop)
        process.communicate()
        assert process.returncode != 0
        found = _contents(folder)
        changed = [name for name in before if found[name] != before[name]]
        assert 0 < len(changed) < len(before)
        assert all(
            read_tags(found[name]).genres == ("Jazz",) and found[name].endswith(before[name]) for name in changed
        )
    assert call("write-tags", str(answers)) == 0
    assert call("undo-tags", str(tmp_path / "genres.undo.jsonl")) == 0
    assert {name: content for name, content in _contents(folder).items() if name in before} == before
