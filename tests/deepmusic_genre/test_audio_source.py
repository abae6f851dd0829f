"""Sound files as tracks: read, kept, analysed side by side, labelled by file."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.track_example_gen.ingest import read_files, read_tracks
from components.track_example_gen.sound import analyse_sound
from deepmusic_genre.analyser import pool
from deepmusic_genre.analyser.analysis import analyser_name
from deepmusic_genre.analyser.pool import analyse_ahead
from deepmusic_genre.tracks.audio import MAX_AUDIO_BYTES
from deepmusic_genre.tracks.labels import GenreNames, read_labels
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Rejection, Track
from tests.conftest import ROOT
from tests.support.command import call
from tests.support.endpoints import Endpoints
from tests.support.tracks import GENRES

RATE = 22050


def sound(seed: int, seconds: float = 3.0) -> bytes:
    """A wav file of some notes; equal seeds give equal bytes."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE)) / RATE
    notes = 220 * 2 ** (rng.integers(0, 24, 8) / 12)
    samples = np.sin(2 * np.pi * notes[(time_s * 2).astype(int) % 8] * time_s) * (1 - time_s * 2 % 1)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE, 0, "NONE", ""))
        writer.writeframes((samples * 20000).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPMUSIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.json.gz"))


def one(path: str, content: bytes) -> Track | Rejection:
    (item,) = read(path, io.BytesIO(content))
    return item


def sounds(folder: Path, count: int, seconds: float = 3.0) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(sound(number, seconds))
    return [str(path) for path in paths]


def test_a_sound_file_is_a_track_of_our_analyser() -> None:
    track = one("Jazz/01 - Intro.wav", sound(1))
    assert isinstance(track, Track)
    assert track.analyser == analyser_name()
    assert track.source == "audio"
    assert track.track_id.startswith("01 - Intro-")
    assert track.duration == pytest.approx(3)
    assert track.durations is not None
    assert len(track.durations) == len(track.segments) > 4
    other = one("Rock/01 - Intro.wav", sound(2))
    assert other.track_id != track.track_id


def test_what_is_amiss_with_a_sound_that_is_read_stays_with_the_track() -> None:
    for _ in range(2):  # Analysed, and from the cache.
        track = one("a.wav", sound(1)[: len(sound(1)) // 2])
        assert isinstance(track, Track)
        assert track.notes == ("ends early: 1.5 s of 3.0 s are there",)


def test_only_the_middle_of_a_sound_is_analysed_if_that_is_asked_for(cache: Path) -> None:
    content = sound(1, 30)
    (whole,) = read("a.wav", io.BytesIO(content))
    (middle,) = read("a.wav", io.BytesIO(content), 10)
    (again,) = read("a.wav", io.BytesIO(content), 10)
    (longer,) = read("a.wav", io.BytesIO(content), 60)
    assert isinstance(whole, Track)
    assert isinstance(middle, Track)
    assert isinstance(again, Track)
    assert isinstance(longer, Track)
    assert middle.duration == pytest.approx(10)
    assert middle.analyser == whole.analyser
    assert again.content_digest() == middle.content_digest()
    assert longer.content_digest() == whole.content_digest()
    assert middle.track_id == whole.track_id
    samples = np.frombuffer(content[44:], "<i2")[10 * RATE : 20 * RATE]
    cut = content[:4] + (36 + samples.nbytes).to_bytes(4, "little") + content[8:40]
    cut += samples.nbytes.to_bytes(4, "little") + samples.tobytes()
    (alone,) = read("a.wav", io.BytesIO(cut))
    assert isinstance(alone, Track)
    assert alone.content_digest() == middle.content_digest()


def test_the_middle_is_that_of_files_in_archives_and_of_those_analysed_ahead(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.wav", sound(9, 30))
    paths = [*sounds(tmp_path / "sounds", 5, seconds=20), str(file)]
    items = list(read_files(paths, 10))
    assert [item.duration for item in items if isinstance(item, Track)] == pytest.approx([10] * 6)
    assert len(kept(cache)) == 6


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    analyse_sound([str(tmp_path / "pipe.mp3")], None)


def test_a_name_of_255_bytes_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.wav"
    path.write_bytes(sound(1))
    (item,) = read_files([str(path)])
    assert isinstance(item, Track)


def test_a_file_that_grows_while_it_is_read_is_a_track(cache: Path, tmp_path: Path) -> None:
    paths = sounds(tmp_path / "sounds", 5)

    def grow() -> None:
        while not kept(cache):
            time.sleep(0.01)
        for path in paths:
            with Path(path).open("ab") as file:
                file.write(bytes(100_000))

    writer = threading.Thread(target=grow)
    writer.start()
    items = list(read_files(paths))
    writer.join()
    assert [type(item) for item in items] == [Track] * 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty: fetch it again"),
        (sound(1)[:20], "not audio"),
        (sound(1, 0.2), "too short"),
        (sound(1)[:44] + bytes(2 * 3 * RATE), "silent"),
    ],
    ids=["empty", "broken", "short", "silent"],
)
def test_what_cannot_be_analysed_is_rejected_with_its_reason_each_time(content: bytes, reason: str) -> None:
    for _ in range(2):
        rejection = one("a.wav", content)
        assert isinstance(rejection, Rejection)
        assert reason in rejection.reason


def test_an_analysis_is_kept_and_equal(cache: Path) -> None:
    new = one("a.wav", sound(1))
    (file,) = kept(cache)
    made = file.stat().st_mtime_ns
    again = one("elsewhere/a.wav", sound(1))
    assert file.stat().st_mtime_ns == made
    assert isinstance(new, Track)
    assert isinstance(again, Track)
    assert new.content_digest() == again.content_digest()
    assert new.track_id == again.track_id


def test_a_kept_analysis_that_is_damaged_is_made_again(cache: Path) -> None:
    new = one("a.wav", sound(1))
    (file,) = kept(cache)
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    again = one("a.wav", sound(1))
    assert isinstance(new, Track)
    assert isinstance(again, Track)
    assert again.content_digest() == new.content_digest()
    assert file.read_bytes() == whole


def test_without_a_place_to_keep_it_a_file_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPMUSIC_CACHE", str(tmp_path / "file"))
    assert isinstance(one("a.wav", sound(1)), Track)


def test_a_kept_analysis_is_one_that_the_pipeline_reads(cache: Path) -> None:
    track = one("a.wav", sound(1))
    (file,) = kept(cache)
    exported = one("a.json.gz", file.read_bytes())
    assert isinstance(track, Track)
    assert isinstance(exported, Track)
    assert exported.analyser == analyser_name()
    assert exported.content_digest() == track.content_digest()


def test_files_in_archives_are_read() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("Jazz/x.wav", sound(1))
    track = one("a.zip", file.getvalue())
    assert isinstance(track, Track)
    assert track.path == "a.zip!/Jazz/x.wav"


def test_many_files_are_analysed_ahead_and_progress_is_told(cache: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    paths = sounds(tmp_path / "sounds", 6)
    analyse_ahead(paths, lambda done, of: told.append((done, of)))
    assert told == [(done, 6) for done in range(1, 7)]
    assert len(kept(cache)) == 6
    analyse_ahead(paths, lambda *_: pytest.fail("they are all there"))


def _dies(_path: str, _middle: float | None, _pretrained: bool) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hangs(path: str, middle: float | None, pretrained: bool) -> None:
    if path.endswith("2.wav"):
        time.sleep(600)
    pool_analyse(path, middle, pretrained)


def _prepares() -> None:
    """Has a worker import this module, too, before it takes a task of it."""
    pool_prepare()


pool_analyse, pool_prepare = pool._analyse, pool._prepare


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "rejected", "reason"),
    [(_dies, 5, r"it crashed the analyser \(exit code -11\)"), (_hangs, 1, "it was not analysed within 5 s")],
    ids=["crash", "hang"],
)
def test_a_file_that_the_analyser_does_not_survive_is_rejected(
    work: Callable[[str, float | None, bool], None],
    rejected: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_analyse", work)
    monkeypatch.setattr(pool, "_prepare", _prepares)
    monkeypatch.setattr(pool, "_LEAST_SECONDS", 5.0)
    monkeypatch.setattr(pool, "_SECONDS_A_MEGABYTE", 0.0)
    paths = sounds(tmp_path / "sounds", 5)
    analyse_ahead(paths, lambda *_: None)
    items = list(read_tracks(paths, None, GenreNames(GENRES)))
    rejections = [item for item in items if isinstance(item, Rejection)]
    assert len(items) == 5
    assert len(rejections) == rejected
    assert all(item.reason == rejections[0].reason for item in rejections)
    assert re.fullmatch(reason, rejections[0].reason)


def test_what_was_analysed_before_a_kill_is_not_analysed_again(cache: Path, tmp_path: Path) -> None:
    paths = sounds(tmp_path / "sounds", 30, seconds=20)
    imported = "from deepmusic_genre.analyser.pool import analyse_ahead"
    script = f"{imported}\nif __name__ == '__main__':\n    analyse_ahead({paths!r}, print)"
    (tmp_path / "ahead.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "ahead.py")], stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    before = {file: file.stat().st_mtime_ns for file in kept(cache)}
    assert 3 <= len(before) < 30
    analyse_ahead(paths, lambda *_: None)
    after = {file: file.stat().st_mtime_ns for file in kept(cache)}
    assert len(after) == 30
    assert {file: after[file] for file in before} == before


@pytest.mark.slow
def test_a_file_too_large_to_read_is_rejected_without_having_it_in_memory(tmp_path: Path) -> None:
    paths = sounds(tmp_path / "sounds", 1)
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(MAX_AUDIO_BYTES * 40)
    script = (
        "import resource, sys\n"
        "from components.track_example_gen.ingest import read_files\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))\n"
        "for item in read_files(sys.argv[1:]): print(getattr(item, 'reason', 'read'))"
    )
    command = [sys.executable, "-c", script, *paths, str(large)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert printed.stdout.splitlines() == ["read", "larger than 1 GiB"], printed.stderr


def test_labels_may_name_files(tmp_path: Path) -> None:
    (tmp_path / "Jazz").mkdir()
    (tmp_path / "Jazz" / "a.wav").write_bytes(sound(1))
    (tmp_path / "Jazz" / "b.wav").write_bytes(sound(2))
    (tmp_path / "c.wav").write_bytes(sound(3))
    labels = read_labels(b"file,genre,artist\nJazz/a.wav,Rock,Ann\nc,Blues,Bob\n", "labels.csv")
    paths = sorted(map(str, tmp_path.rglob("*.wav")))
    items = [item for item in read_tracks(paths, labels, GenreNames(GENRES)) if isinstance(item, Track)]
    assert [(item.genre, item.artist) for item in items] == [("Rock", "Ann"), ("", ""), ("Blues", "Bob")]


def test_a_model_of_another_analyser_gives_no_answer_to_a_sound_file(
    endpoints: Endpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.wav").write_bytes(sound(1)[: len(sound(1)) // 2])
    assert call("predict", str(tmp_path / "clip.wav"), "--url", endpoints.http, "--format", "csv") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "clip.wav: ends early: 1.5 s of 3.0 s are there" in printed.err
    assert f"it was analysed by {analyser_name()}, but the model was trained on echo_nest" in printed.err


@pytest.mark.real_data
def test_every_real_clip_is_read_and_labelled(real_data: Path) -> None:
    folder = real_data / "audio"
    labels = read_labels((folder / "labels.csv").read_bytes(), "labels.csv")
    with (folder / "labels.csv").open() as file:
        genres = {row["file"]: row["genre"] for row in csv.DictReader(file)}
    paths = sorted(map(str, folder.glob("*/*.opus")))[::25]
    items = list(read_tracks(paths, labels, GenreNames(GENRES)))
    found = {str(Path(item.path).relative_to(folder)): item.genre for item in items if isinstance(item, Track)}
    assert found == {name: genres[name] for name in (str(Path(path).relative_to(folder)) for path in paths)}
