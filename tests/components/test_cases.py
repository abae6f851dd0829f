"""Every kind of small input that real catalogues resemble: what came of it before, and what does now."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.track_example_gen.catalogue import list_analyses, load_labels
from components.track_example_gen.ingest import IngestConfig, ingest_shard
from components.track_example_gen.outcomes import read_outcomes
from components.track_example_gen.progress import Progress
from components.track_example_gen.unmatched import settle_labels
from deepmusic_genre.tracks.labels import GenreNames, OtherGenre
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import Track
from tests.support.tracks import GENRES

_SOUND = {".mp3", ".flac", ".wav", ".opus"}


@dataclass(frozen=True)
class Case:
    """An input, below the folder of the cases.

    Attributes:
        answer: What tells in words what comes of it, from the folder of the cases and a folder to write to.
    """

    name: str
    before: str
    expected: str
    answer: Callable[[Path, Path], str]


def _file(name: str, before: str, *expected: str) -> Case:
    return Case(name, before, "; ".join(expected), lambda cases, _: _told(cases / name))


def _table(name: str, before: str, expected: str, data: str) -> Case:
    return Case(name, before, expected, lambda cases, work: _settled(cases / data, cases / name, work))


def _told(path: Path) -> str:
    with path.open("rb") as stream:
        items = list(read(str(path), stream))
    return "; ".join(_track(item, path) if isinstance(item, Track) else f"rejected: {item.reason}" for item in items)


def _track(track: Track, path: Path) -> str:
    # The ids of sound end in a hash.
    track_id = track.track_id.rpartition("-")[0] if path.suffix in _SOUND else track.track_id
    named = ", ".join(filter(None, [track_id, track.title, track.artist]))
    length = f"{track.duration:.1f} s" if track.duration else "of unknown length"
    begins = f"{track.num_segments} segments from {track.segments[0, 0]:.1f} on"
    noted = [note for note in track.notes if not note.startswith("low sampling rate")]
    return ", ".join([f"{named}: {begins}", length, *noted])


def _settled(data: Path, table: Path, work: Path) -> str:
    """How many tracks a table labels, how many of its rows label none, and how many artists there are."""
    labels, folder = load_labels(str(table)), str(work / "shard")
    config = IngestConfig(GENRES, None, ("unknown artist", "artist"), None, "first")
    ingest_shard(list_analyses(str(data)).files, labels, config, folder, Progress(1))
    outcomes, unmatched = settle_labels(read_outcomes(folder), labels, str(table), [str(data)])
    labelled = [outcome for outcome in outcomes if outcome.genre]
    several = sum(len(outcome.genres) > 1 for outcome in labelled)
    artists = {outcome.artist for outcome in labelled} - {""}
    return (
        f"{len(labelled)} of {len(outcomes)} labelled, {several} with several genres, {len(artists)} artists,"
        f" {len(unmatched)} rows listed"
    )


def _rows(cases: Path, _: Path) -> str:
    labels = load_labels(str(cases / "labels" / "excel.csv"))
    return ", ".join(f"{name} {label.genre} by {label.artist}" for name, label in labels.items())


def _genres(other: str | None) -> Callable[[Path, Path], str]:
    def answer(cases: Path, _: Path) -> str:
        names = GenreNames([*GENRES, *filter(None, [other])], other)
        cells = [label.genre for label in load_labels(str(cases / "labels" / "other_genres.csv")).values()]
        return ", ".join(f"{cell} -> {_in_cell(names, cell)}" for cell in cells)

    return answer


def _in_cell(names: GenreNames, cell: str) -> str:
    try:
        return " and ".join(names.in_cells([cell]))
    except OtherGenre:
        return "left out"


MISSING = "rejected: missing field `segments`"
VALIDATOR = "rejected: a validator's message"
LABELLED = "24 of 24 labelled, 0 with several genres"
CANCELS = "channels cancel: some are mixed with their sign turned"

CASES = (
    _file("wrapped/one.json", MISSING, "made-up-1, Made Up: 24 segments from -50.0 on, 6.0 s"),
    _file("wrapped/two.json", MISSING, "made-up-2, T, A: 24 segments from 14.0 on, 6.0 s"),
    _file(
        "wrapped/list.json",
        MISSING,
        "made-up-3: 24 segments from -31.4 on, 6.0 s",
        "made-up-4: 24 segments from 5.8 on, 6.0 s",
    ),
    _file(
        "keyed/by_id.json",
        MISSING,
        "made-up-5: 24 segments from -3.2 on, 6.0 s",
        "made-up-6: 24 segments from -28.9 on, 6.0 s",
    ),
    _file("no_duration/a.json", "rejected", "a: 24 segments from -10.6 on, 6.0 s"),
    _file("only_vectors/a.json", "rejected", "made-up-7: 24 segments from 33.1 on, of unknown length"),
    _file(
        "columns/a.json",
        VALIDATOR,
        "made-up-8: 24 segments from -17.3 on, 6.0 s",
        "made-up-9: 24 segments from -41.7 on, 6.0 s",
    ),
    _file("text_in_text/a.json", VALIDATOR, "made-up-10: 24 segments from -13.9 on, 6.0 s"),
    _file("mongo/a.json", VALIDATOR, "made-up-11: 24 segments from -21.3 on, 6.0 s"),
    _file("compressed/a.json.bz2", "not looked at", "a: 24 segments from -14.3 on, 6.0 s"),
    _file("compressed/b.json.xz", "not looked at", "b: 24 segments from -37.2 on, 6.0 s"),
    _file("utf16/a.json", "rejected: invalid character", "a: 24 segments from 76.6 on, 6.0 s"),
    _file(
        "failed_analysis/a.json",
        "read as a good track",
        "rejected: the analysis says of itself that it failed: meta.status_code is 3 (failed)",
    ),
    _file("out_of_order/a.json", "in the wrong order", "a: 24 segments from -19.4 on, 6.0 s"),
    _file("from_r/data_frame/Jazz/t1.json", VALIDATOR, "t1: 6 segments from 0.0 on, 1.5 s"),
    _file("from_r/lists/Jazz/t1.json", VALIDATOR, "t1: 6 segments from 0.0 on, 1.5 s"),
    _file(
        "vbr_without_xing/quiet_start.mp3",
        "rejected: 6.0 s of 22.4 s",
        "quiet_start: 10 segments from 0.0 on, 6.0 s",
    ),
    _file("vbr_without_xing/the_same_with_xing.mp3", "read", "the_same_with_xing: 10 segments from 0.0 on, 6.0 s"),
    _file("out_of_phase/in_phase.flac", "read", "in_phase: 4 segments from 42.5 on, 2.2 s"),
    _file(
        "out_of_phase/inverted.flac",
        "rejected: silent",
        f"inverted: 4 segments from 42.5 on, 2.2 s, {CANCELS}",
    ),
    _file(
        "out_of_phase/nearly_inverted.flac",
        "32 dB lower, unsaid",
        f"nearly_inverted: 4 segments from 42.3 on, 2.2 s, {CANCELS}",
    ),
    _file(
        "cut_short/half_of_it.wav",
        "read as whole",
        "half_of_it: 4 segments from 38.4 on, 2.0 s, ends early: 2.0 s of 3.9 s are there",
    ),
    _file(
        "cut_short/half_of_it.flac",
        "rejected",
        "half_of_it: 3 segments from 38.4 on, 1.7 s, ends early: 1.7 s of 4.0 s are there",
    ),
    _file("misnamed/webm.opus", "rejected", "webm: 11 segments from 37.9 on, 4.0 s"),
    _file("misnamed/aiff.wav", "rejected", "aiff: 8 segments from 38.4 on, 4.0 s"),
    _file("misnamed/wma.mp3", "rejected", "wma: 8 segments from 37.5 on, 4.0 s"),
    _file("misnamed/empty.mp3", "not audio, or broken", "rejected: the file is empty: fetch it again"),
    _file(
        "misnamed/not_found.mp3",
        "not audio, or broken",
        "rejected: a web page: the download failed. Fetch it again",
    ),
    Case("labels/excel.csv", "no column genre", "made-up-1 Rap by A, made-up-2 R&B by B", _rows),
    Case(
        "labels/other_genres.csv, left out",
        "rejected, and the run stops",
        "Rap -> Hip-Hop, Hip Hop/Rap -> Hip-Hop, Electronic -> left out, Rock & Roll -> Rock,"
        " jazz;blues -> Jazz and Blues",
        _genres(None),
    ),
    Case(
        "labels/other_genres.csv, gathered",
        "rejected, and the run stops",
        "Rap -> Hip-Hop, Hip Hop/Rap -> Hip-Hop, Electronic -> Other, Rock & Roll -> Rock,"
        " jazz;blues -> Jazz and Blues",
        _genres("Other"),
    ),
    _table(
        "ambiguous_file/labels.csv",
        "24 labelled by 12 rows",
        "0 of 24 labelled, 0 with several genres, 0 artists, 12 rows listed",
        "ambiguous_file/data",
    ),
    _table(
        "labels_accents/labels.csv", "18 of 24 labelled", f"{LABELLED}, 0 artists, 0 rows listed", "labels_accents/data"
    ),
    _table(
        "labels_paths/backslashes.csv",
        "0 of 24 labelled",
        f"{LABELLED}, 0 artists, 0 rows listed",
        "labels_paths/data",
    ),
    _table(
        "labels_paths/unknown_artist.csv",
        "7 artists, one of them unknown",
        f"{LABELLED}, 6 artists, 0 rows listed",
        "labels_paths/data",
    ),
    _table(
        "labels_paths/genres_in_a_cell.csv",
        "stops",
        "24 of 24 labelled, 24 with several genres, 0 artists, 0 rows listed",
        "labels_paths/data",
    ),
)


@pytest.mark.real_data
def test_every_case_comes_out_as_it_should(real_data: Path, tmp_path: Path) -> None:
    cases = real_data.parent / "cases" / "data"
    if not cases.is_dir():
        pytest.skip(f"there are no cases beside {real_data}")
    wrong = []
    print("\n| case | before | now | as it should be |\n| --- | --- | --- | --- |")
    for number, case in enumerate(CASES):
        now = case.answer(cases, tmp_path / str(number))
        is_right = now == case.expected
        print(f"| {case.name} | {case.before} | {now} | {'yes' if is_right else f'no: {case.expected}'} |")
        if not is_right:
            wrong.append(case.name)
    assert wrong == []
    named = {path.relative_to(cases).parts[0] for path in cases.rglob("*") if path.is_file()} - {"README.md"}
    assert named == {Path(case.name).parts[0] for case in CASES}
