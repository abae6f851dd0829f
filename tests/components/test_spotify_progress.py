"""Tests of what a crawl shows while it runs."""

import io
import re
import time

import pytest
from rich.console import Console

from components.spotify_crawl.progress import BarProgress, LineProgress

pytestmark = pytest.mark.fast


def _lines(every_seconds: float) -> tuple[LineProgress, list[str], list[str]]:
    lines: list[str] = []
    moments: list[str] = []
    return LineProgress(lines.append, moments.append, every_seconds), lines, moments


def test_lines_come_every_so_often_and_moments_always() -> None:
    progress, lines, moments = _lines(every_seconds=0.2)
    progress.phase("tracks", 2000, stored=1000)
    for _ in range(4):
        progress.advance(True)
    assert lines == ["2,000 tracks, 1,000 of them stored before"]
    time.sleep(0.2)
    progress.advance(False)
    assert lines[1:] == moments[-1:]
    assert len(moments) == 5
    match = re.fullmatch(r"1,005 of 2,000 tracks, (\d+\.\d)/s, 0:(\d\d) left; stored 1,004, passed over 1", lines[1])
    assert match, lines
    # Those of earlier crawls were no work of this one: 5 in some 0.2 seconds.
    assert float(match[1]) <= 25
    assert int(match[2]) >= 39


def test_lines_come_soon_at_first_and_then_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress, lines, _ = _lines(every_seconds=60)
    progress.phase("playlists", 40)
    assert lines == ["40 playlists"]
    shown = []
    for second in range(1, 200):
        clock[0] = second
        count = len(lines)
        progress.detail(f"Blue Hour: {second * 50:,} positions")
        shown += [second] * (len(lines) - count)
    assert shown == [5, 15, 35, 75, 135, 195]
    assert lines[1] == "Blue Hour: 250 positions"


@pytest.mark.parametrize(("seconds", "expected"), [(0.05, ["why, waiting 0:01"]), (0, [])])
def test_a_wait_is_counted_down(seconds: float, expected: list[str]) -> None:
    progress, lines, moments = _lines(every_seconds=60)
    start = time.monotonic()
    progress.wait("why", seconds)
    assert time.monotonic() - start >= seconds
    assert (lines, moments) == ([], expected)


def test_a_long_wait_is_counted_down_second_by_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    progress, lines, moments = _lines(every_seconds=60)
    progress.wait("why", 3661)
    assert lines == ["why, waiting 1:01:01"]
    assert (moments[0], moments[1], moments[-1]) == (
        "why, waiting 1:01:01",
        "why, waiting 1:01:00",
        "why, waiting 0:01",
    )
    assert len(moments) == 3661


def test_the_bar_shows_counts_rate_and_waits() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with BarProgress(console) as bar:
        bar.phase("playlists", 1)
        bar.detail("Blue Hour: 250 positions")
        bar.phase("tracks", 2000, stored=1000)
        bar.advance(True)
        bar.advance(False)
        bar.wait("rate limit", 0.3)
        bar.advance(True)
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "rate limit, waiting 0:01" in shown
    assert "Blue Hour: 250 positions" in shown
    last = shown.rstrip().splitlines()[-1]
    assert re.search(r"tracks .*1003/2000 +\d+\.\d/s +\d:\d\d:\d\d +stored 1,002, passed over 1", last), last
