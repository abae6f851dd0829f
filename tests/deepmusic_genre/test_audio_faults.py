"""Around the analysis of sound files: files that vanish, workers that are ended, a damaged cache, a full disk."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from components.track_example_gen.ingest import read_files
from deepmusic_genre.analyser.pool import analyse_ahead
from deepmusic_genre.tracks.track import Rejection, Track
from tests.conftest import ROOT
from tests.deepmusic_genre.test_audio_source import cache, kept, one, sound, sounds

__all__ = ["cache"]


def test_a_file_that_vanishes_before_its_turn_stops_no_others(cache: Path, tmp_path: Path) -> None:
    paths = sounds(tmp_path / "sounds", 8 * (os.cpu_count() or 1) + 4)
    # More than are scheduled together: the last goes while the first are analysed.
    analyse_ahead(paths, lambda *_: Path(paths[-1]).unlink(missing_ok=True))
    assert len(kept(cache)) == len(paths) - 1


def test_a_worker_that_is_ended_from_outside_costs_no_file(cache: Path, tmp_path: Path) -> None:
    paths = sounds(tmp_path / "sounds", 12, seconds=60)

    def end_one() -> None:
        while not (multiprocessing.active_children() and kept(cache)):
            time.sleep(0.02)
        multiprocessing.active_children()[0].terminate()

    threading.Thread(target=end_one, daemon=True).start()
    analyse_ahead(paths, lambda *_: None)
    assert [item.reason for item in read_files(paths) if isinstance(item, Rejection)] == []


def test_a_kept_analysis_whose_bytes_changed_is_made_again(cache: Path) -> None:
    new = one("a.wav", sound(1))
    (file,) = kept(cache)
    changed = bytearray(file.read_bytes())
    changed[20] ^= 0xFF
    changed[len(changed) // 2] ^= 0xFF
    file.write_bytes(bytes(changed))
    again = one("a.wav", sound(1))
    assert isinstance(new, Track)
    assert isinstance(again, Track)
    assert again.content_digest() == new.content_digest()


def test_a_full_disk_leaves_no_half_file(cache: Path, tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Track
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
with open(sys.argv[1], "rb") as file:
    (item,) = read(sys.argv[1], file)
assert isinstance(item, Track), item
"""
    (tmp_path / "a.wav").write_bytes(sound(1))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEEPMUSIC_CACHE": str(cache)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.wav")], env=environment, check=True)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
