"""Generator of a synthetic catalogue of audio analyses, for use when no real data is at hand.

Nothing in the catalogue describes a real recording. Each track is drawn from a small statistical model of a genre
(:data:`PROFILES`) that borrows from a neighbouring genre. An artist effect and a track effect then move its mean timbre
about as far as genres lie apart, and alter the groove (the sound of each beat), which is the surer sign of a genre. So
genres overlap, and a classifier has to generalise over artists. The profiles are rounded figures chosen by hand in the
range of what the Echo Nest analyzer reports for popular music.
"""

import csv
import gzip
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

GENERATOR_VERSION = "deepmusic-synthetic-1"
MARKER_NAME = "catalogue.json"
LABEL_COLUMNS = ("track_id", "artist_id", "artist", "title", "genre")

README = """This catalogue is SYNTHETIC.

Every file below tracks/ was computed by a random generator (deepmusic_genre/demo.py, version {version}, seed {seed}).
No track, artist or title in labels.csv exists, and no value was measured on a recording. The catalogue is there to
run the pipeline from end to end; a score reached on it says nothing about real music.
"""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class GenreProfile:
    """Statistical description of one genre.

    Attributes:
        name: Genre label.
        share: Relative number of artists.
        neighbours: Names of the genres to which an artist of this genre strays, and from which its tracks borrow.
        timbre_mean: 12 mean timbre values; the first is loudness-like (0..60), the others centre near zero.
        timbre_std: 12 standard deviations of the timbre values inside a track.
        accent: Share (0..1) of the timbre variance that follows the metre rather than the melody.
        rate: Segments per second.
        duration_spread: Standard deviation of the log of the segment durations.
        tempo: Typical tempo in beats per minute.
        minor: Probability of a minor key.
        progressions: Chord progressions as scale degrees 0..6.
        chord_beats: Number of beats for which a chord is held.
        chord_weights: Levels of root, third, fifth and seventh in a chord, 0..1.
        chroma_floor: Typical level of the pitch classes outside chord and melody, 0..1.
    """

    name: str
    share: float
    neighbours: tuple[str, ...]
    timbre_mean: Sequence[float]
    timbre_std: Sequence[float]
    accent: float
    rate: float
    duration_spread: float
    tempo: float
    minor: float
    progressions: tuple[tuple[int, ...], ...]
    chord_beats: int
    chord_weights: Sequence[float]
    chroma_floor: float


PROFILES: tuple[GenreProfile, ...] = (
    GenreProfile(
        name="Blues",
        share=18,
        neighbours=("Jazz", "Rock", "Country"),
        timbre_mean=(39.5, -44, 20, 2, -15, 5, -11, 1, 1, 2, 0, 8),
        timbre_std=(5, 45, 47, 42, 29, 33, 24, 21, 22, 18, 19, 17.5),
        accent=0.50,
        rate=3.5,
        duration_spread=0.49,
        tempo=108,
        minor=0.30,
        progressions=((0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4), (0, 3, 0, 0, 3, 3, 0, 0, 4, 3, 0, 0)),
        chord_beats=4,
        chord_weights=(1.0, 0.50, 0.70, 0.50),
        chroma_floor=0.17,
    ),
    GenreProfile(
        name="Classical",
        share=18,
        neighbours=("Jazz", "Pop"),
        timbre_mean=(38, -62, 36, -8, 2, -8, -18, -2, 13, 2, -2, 8),
        timbre_std=(6.5, 48, 45, 36, 29, 23, 25, 19, 24, 15, 16, 21),
        accent=0.35,
        rate=3.0,
        duration_spread=0.58,
        tempo=105,
        minor=0.45,
        progressions=((0, 3, 4, 0), (0, 5, 1, 4), (0, 4, 5, 2, 3, 0, 3, 4)),
        chord_beats=3,
        chord_weights=(0.9, 0.75, 0.75, 0.10),
        chroma_floor=0.09,
    ),
    GenreProfile(
        name="Country",
        share=20,
        neighbours=("Rock", "Blues", "Pop"),
        timbre_mean=(41.5, -22, 14, -2, -7, -2, -8, -6, 4, -2, 0, 4),
        timbre_std=(5.5, 46, 42, 39, 30, 28, 26, 22, 22, 19, 17, 18),
        accent=0.50,
        rate=3.4,
        duration_spread=0.51,
        tempo=118,
        minor=0.15,
        progressions=((0, 3, 0, 4), (0, 0, 3, 4), (0, 4, 3, 0)),
        chord_beats=8,
        chord_weights=(1.0, 0.70, 0.75, 0.05),
        chroma_floor=0.12,
    ),
    GenreProfile(
        name="Hip-Hop",
        share=21,
        neighbours=("Pop", "Jazz"),
        timbre_mean=(43, 22, -9, 4, 2, 5, -4, 4, 2, 7, -5, 1),
        timbre_std=(5.5, 50, 47, 49, 33, 36, 28, 30, 23, 23, 22, 18),
        accent=0.65,
        rate=4.3,
        duration_spread=0.44,
        tempo=98,
        minor=0.60,
        progressions=((0,), (0, 5), (0, 0, 3, 0)),
        chord_beats=8,
        chord_weights=(0.8, 0.40, 0.55, 0.25),
        chroma_floor=0.25,
    ),
    GenreProfile(
        name="Jazz",
        share=18,
        neighbours=("Blues", "Classical", "Country"),
        timbre_mean=(39, -36, 12, 2, 5, -4, -6, -2, 3, 2, 1, 6),
        timbre_std=(6, 55, 44, 40, 27, 31, 25, 22, 21, 18, 18, 18),
        accent=0.42,
        rate=3.6,
        duration_spread=0.52,
        tempo=124,
        minor=0.40,
        progressions=((1, 4, 0, 0), (0, 5, 1, 4), (2, 5, 1, 4), (0, 3, 6, 2, 5, 1, 4, 0)),
        chord_beats=2,
        chord_weights=(0.75, 0.75, 0.55, 0.65),
        chroma_floor=0.14,
    ),
    GenreProfile(
        name="Metal",
        share=20,
        neighbours=("Rock",),
        timbre_mean=(49, 38, 17, -6, -25, -21, 0, -2, 9, 6, 0, 2),
        timbre_std=(4.5, 34, 30, 26, 24, 21, 19, 17, 16, 14, 12.5, 13.5),
        accent=0.55,
        rate=3.3,
        duration_spread=0.57,
        tempo=130,
        minor=0.80,
        progressions=((0, 0, 5, 6), (0, 1, 0, 6), (0, 0, 0, 2)),
        chord_beats=4,
        chord_weights=(1.0, 0.20, 0.85, 0.10),
        chroma_floor=0.30,
    ),
    GenreProfile(
        name="Pop",
        share=22,
        neighbours=("Rock", "Hip-Hop", "Country"),
        timbre_mean=(44.5, 6, 6, 0, -5, -10, 0, -3, 3, 1, 1, 2),
        timbre_std=(5.5, 46, 42, 36, 30, 27, 24, 22, 19, 18, 16, 16.5),
        accent=0.58,
        rate=3.5,
        duration_spread=0.50,
        tempo=120,
        minor=0.35,
        progressions=((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4)),
        chord_beats=4,
        chord_weights=(0.95, 0.65, 0.70, 0.15),
        chroma_floor=0.18,
    ),
    GenreProfile(
        name="Rock",
        share=22,
        neighbours=("Metal", "Pop", "Blues"),
        timbre_mean=(46, 16, 18, -3, -14, -13, -2, -2, 5, 1, 0, 2),
        timbre_std=(5.5, 42, 38, 32, 27, 25, 21, 20, 18, 16, 14.5, 15.5),
        accent=0.54,
        rate=3.3,
        duration_spread=0.52,
        tempo=126,
        minor=0.30,
        progressions=((0, 3, 4, 3), (0, 6, 3, 0), (0, 4, 5, 3)),
        chord_beats=4,
        chord_weights=(1.0, 0.45, 0.80, 0.10),
        chroma_floor=0.21,
    ),
)

# How far the mean timbre of single tracks lies from the mean of their genre; the two shares split it (their squares
# add up to about 1), so that tracks of one artist resemble each other.
TIMBRE_SHIFT = np.array([5, 40, 28, 12, 19, 10.5, 12.5, 6.5, 9.5, 5.5, 3.5, 7.5])
ARTIST_SHARE = 0.60
TRACK_SHARE = 0.75
STRAY_PROBABILITY = 0.08

# What each beat of two bars sounds like (its kick, snare, strum and so on) is partly common to a genre.
GENRE_GROOVE = 0.81
ARTIST_GROOVE = 0.35
TRACK_GROOVE = 0.44

# A track borrows from a neighbouring genre; how much is drawn from this beta distribution.
CROSSOVER = (1.0, 5.4)
BLENDED = (
    "timbre_mean",
    "timbre_std",
    "accent",
    "rate",
    "duration_spread",
    "tempo",
    "minor",
    "chord_weights",
    "chroma_floor",
)

# Coefficients whose memory is near zero follow the percussion; the others follow notes, which last several segments.
TIMBRE_MEMORY = np.array([0.70, 0.48, 0.53, 0.02, 0.48, 0.14, 0.40, 0.03, 0.40, 0.05, -0.05, 0.40])
SECTION_VARIANCE = 0.15
SILENT_TIMBRE = np.array([0.0, 170, 10, -30, 60, -50, 15, 5, -25, 0, -10, -5])

SECTION_FORMS = ("IVCVCBCO", "IVVCVCCO", "IVCVCO", "VVBVBV", "IVVBVVO")
SECTION_LOUDNESS = {"I": -2.5, "V": -0.5, "C": 1.5, "B": -0.5, "O": -2.0}
MAJOR_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
MINOR_SCALE = np.array([0, 2, 3, 5, 7, 8, 10])
METRE_BEATS = 8
CHROMA_SHIFT = 0.25

DURATION_MEDIAN = 250.0
SEGMENT_RANGE = (300, 1400)
SEGMENT_SECONDS = (0.05, 2.0)


@dataclass(frozen=True)
class _Track:
    """Place of one track in the catalogue."""

    index: int
    artist: int
    genre: int

    @property
    def track_id(self) -> str:
        return f"demo-{self.index:05d}"

    @property
    def label_row(self) -> tuple[str, ...]:
        return (
            self.track_id,
            f"demo-artist-{self.artist:03d}",
            f"Synthetic Artist {self.artist:03d}",
            f"Synthetic Track {self.index:05d}",
            PROFILES[self.genre].name,
        )


@dataclass(frozen=True)
class _Voice:
    """What sets an artist or a track apart from its genre, in units of the usual distance (0 is the genre itself)."""

    timbre: Array
    groove: Array
    spread: float
    rate: float
    chroma: float


@dataclass(frozen=True)
class _Timeline:
    """Timing of a track's segments: seconds, whole beats since the start, and the section each one is in."""

    starts: Array
    durations: Array
    beats: Indices
    sections: Indices
    form: str
    tempo: float


@dataclass(frozen=True)
class _Loudness:
    """Loudness of a track's segments in dB (-60..0), and the seconds from a segment's start to its peak."""

    start: Array
    peak: Array
    peak_time: Array


def generate_catalogue(
    folder: Path,
    tracks: int = 800,
    artists: int = 160,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic catalogue, or keep the one that is there if it was made with the same parameters.

    The catalogue consists of ``tracks/<track_id>.json.gz`` (one audio analysis each, in the JSON form of Spotify),
    ``labels.csv`` (track_id, artist_id, artist, title, genre), ``README.txt`` and the marker ``catalogue.json``. It is
    written beside ``folder`` and renamed when complete, so ``folder`` never holds half a catalogue. The same
    parameters give the same bytes. Only one process at a time may generate a given folder.

    Args:
        folder: Folder of the catalogue. A catalogue made with other parameters is replaced.
        tracks: Number of tracks, at least ``artists``.
        artists: Number of artists, at least one per genre (8).
        seed: Non-negative seed of all random draws.
        progress: Called after each track with the number of tracks written and the number of tracks in all.

    Returns:
        ``folder``.

    Raises:
        ValueError: If there are fewer artists than genres or fewer tracks than artists, or if the seed is negative.
        FileExistsError: If ``folder`` holds something other than a generated catalogue.
    """
    if not len(PROFILES) <= artists <= tracks:
        raise ValueError(f"need {len(PROFILES)} <= artists <= tracks, got {artists} artists and {tracks} tracks")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    marker = {"version": GENERATOR_VERSION, "tracks": tracks, "artists": artists, "seed": seed}
    if _is_complete(folder, marker):
        return folder
    if folder.exists() and not (folder / MARKER_NAME).is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not a generated catalogue and will not be replaced")
    partial = folder.with_name(f".{folder.name}.partial")
    _remove(partial)
    (partial / "tracks").mkdir(parents=True)
    try:
        _write_contents(partial, marker, progress)
        _swap_in(partial, folder)
    finally:
        _remove(partial)
    return folder


def _is_complete(folder: Path, marker: dict[str, Any]) -> bool:
    try:
        found = msgspec.json.decode((folder / MARKER_NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    files = sum(1 for _ in folder.glob("tracks/demo-*.json.gz"))
    return bool(found == marker) and files == marker["tracks"] and (folder / "labels.csv").is_file()


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _swap_in(partial: Path, folder: Path) -> None:
    # Deleting the old catalogue in place could be interrupted half-way; two renames leave the old one, none or the new.
    retired = folder.with_name(f".{folder.name}.retired")
    _remove(retired)
    if folder.exists():
        folder.rename(retired)
    partial.rename(folder)
    _remove(retired)


def _write_contents(folder: Path, marker: dict[str, Any], progress: Callable[[int, int], None] | None) -> None:
    seed, total = marker["seed"], marker["tracks"]
    plan = _plan(total, marker["artists"], seed)
    voices = [_draw_voice(_generator(seed, 1, artist)) for artist in range(marker["artists"])]
    for track in plan:
        analysis = _analyse(track.genre, voices[track.artist], _generator(seed, 2, track.index))
        # zlib rather than isal: the latter's output depends on the processor, and the bytes are to be reproducible.
        packed = gzip.compress(msgspec.json.encode(analysis), compresslevel=4, mtime=0)
        (folder / "tracks" / f"{track.track_id}.json.gz").write_bytes(packed)
        if progress is not None:
            progress(track.index + 1, total)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows(track.label_row for track in plan)
    (folder / "README.txt").write_text(README.format(version=GENERATOR_VERSION, seed=seed), encoding="utf-8")
    (folder / MARKER_NAME).write_bytes(msgspec.json.encode(marker) + b"\n")


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def _plan(tracks: int, artists: int, seed: int) -> list[_Track]:
    rng = _generator(seed, 0)
    homes = rng.permutation(np.repeat(np.arange(len(PROFILES)), _apportion(artists)))
    # One track each first, so that no artist is left without.
    extra = rng.integers(0, artists, tracks - artists)
    owners = rng.permutation(np.concatenate([np.arange(artists), extra]))
    names = [profile.name for profile in PROFILES]
    plan = []
    for index, artist in enumerate(owners.tolist()):
        genre = int(homes[artist])
        if rng.random() < STRAY_PROBABILITY:
            genre = names.index(str(rng.choice(PROFILES[genre].neighbours)))
        plan.append(_Track(index, artist, genre))
    return plan


def _apportion(artists: int) -> Indices:
    quotas = np.array([profile.share for profile in PROFILES])
    quotas = quotas * artists / quotas.sum()
    counts: Indices = np.floor(quotas).astype(np.int64)
    counts[np.argsort(counts - quotas, kind="stable")[: artists - counts.sum()]] += 1
    return counts


def _draw_voice(rng: np.random.Generator) -> _Voice:
    return _Voice(rng.standard_normal(12), rng.standard_normal((METRE_BEATS, 12)), *rng.standard_normal(3).tolist())


def _analyse(genre: int, artist: _Voice, rng: np.random.Generator) -> dict[str, Any]:
    profile, groove = _draw_crossover(genre, rng)
    voice = _mix(artist, _draw_voice(rng))
    groove = GENRE_GROOVE * groove + voice.groove
    timeline = _draw_timeline(profile, voice, rng)
    timbre = _draw_timbre(profile, voice, timeline, groove, rng)
    key, minor = int(rng.integers(12)), bool(rng.random() < profile.minor)
    # A drum hit blurs the pitches around it; the second coefficient stands for the brightness of the hit.
    blur = np.exp(voice.chroma * CHROMA_SHIFT + 0.6 * groove[timeline.beats % METRE_BEATS, 1])
    pitches = _draw_pitches(profile, timeline, (key, minor), profile.chroma_floor * blur, rng)
    if rng.random() < 0.6:
        timbre[0] = SILENT_TIMBRE
        pitches[0] = rng.uniform(0.6, 1.0, 12)
    pitches /= pitches.max(axis=1, keepdims=True)
    loudness = _draw_loudness(timbre[:, 0], timeline.durations, rng)
    segments = _segments(timeline, timbre, pitches, loudness, rng)
    end = round(float(timeline.starts[-1] + timeline.durations[-1]), 5)
    return {
        "meta": {"analyzer_version": GENERATOR_VERSION, "status_code": 0, "detailed_status": "OK"},
        "track": {
            "duration": end,
            "loudness": round(float(loudness.peak.mean()), 3),
            "tempo": round(timeline.tempo, 3),
            "tempo_confidence": round(float(rng.beta(4, 3)), 3),
            "time_signature": 4,
            "time_signature_confidence": round(float(rng.beta(6, 2)), 3),
            "key": key,
            "key_confidence": round(float(rng.beta(3, 3)), 3),
            "mode": int(not minor),
            "mode_confidence": round(float(rng.beta(4, 4)), 3),
            "end_of_fade_in": float(timeline.starts[1]) if timbre[0, 0] == 0.0 else 0.0,
            "start_of_fade_out": end,
            "analysis_sample_rate": 22050,
        },
        "bars": [],
        "beats": [],
        "sections": _sections(timeline, end, rng),
        "segments": segments,
        "tatums": [],
    }


def _draw_crossover(genre: int, rng: np.random.Generator) -> tuple[GenreProfile, Array]:
    """Draw the profile and the groove (METRE_BEATS x 12, about unit variance) of a track that borrows elsewhere."""
    own = PROFILES[genre]
    name = str(rng.choice(own.neighbours))
    other_genre = next(index for index, profile in enumerate(PROFILES) if profile.name == name)
    other = PROFILES[other_genre]
    weight = float(rng.beta(*CROSSOVER))
    blended: dict[str, Any] = {
        field: ((1 - weight) * np.array(getattr(own, field)) + weight * np.array(getattr(other, field))).tolist()
        for field in BLENDED
    }
    return replace(own, **blended), (1 - weight) * _genre_groove(genre) + weight * _genre_groove(other_genre)


def _genre_groove(genre: int) -> Array:
    # Independent of the catalogue's seed, so that catalogues of different seeds are about equally hard.
    return _generator(0, 3, genre).standard_normal((METRE_BEATS, 12))


def _mix(artist: _Voice, track: _Voice) -> _Voice:
    return _Voice(
        ARTIST_SHARE * artist.timbre + TRACK_SHARE * track.timbre,
        ARTIST_GROOVE * artist.groove + TRACK_GROOVE * track.groove,
        ARTIST_SHARE * artist.spread + TRACK_SHARE * track.spread,
        ARTIST_SHARE * artist.rate + TRACK_SHARE * track.rate,
        ARTIST_SHARE * artist.chroma + TRACK_SHARE * track.chroma,
    )


def _draw_timeline(profile: GenreProfile, voice: _Voice, rng: np.random.Generator) -> _Timeline:
    rate = profile.rate * np.exp(0.15 * voice.rate)
    count = 0
    # Redrawn rather than clipped, which would pile tracks up at the two limits.
    while not SEGMENT_RANGE[0] <= count <= SEGMENT_RANGE[1]:
        count = int(DURATION_MEDIAN * np.exp(0.28 * rng.standard_normal()) * rate)
    spread = profile.duration_spread
    durations = np.exp(spread * rng.standard_normal(count) - spread**2 / 2) / rate
    durations = np.round(np.clip(durations, *SEGMENT_SECONDS), 5)
    starts = np.round(np.concatenate([[0.0], np.cumsum(durations)[:-1]]), 5)
    tempo = float(profile.tempo * np.exp(0.18 * rng.standard_normal()))
    form = SECTION_FORMS[rng.integers(len(SECTION_FORMS))]
    borders = np.cumsum(rng.dirichlet(np.full(len(form), 12.0)))[:-1] * starts[-1]
    return _Timeline(
        starts=starts,
        durations=durations,
        beats=(starts * tempo / 60.0).astype(np.int64),
        sections=np.searchsorted(borders, starts, side="right"),
        form=form,
        tempo=tempo,
    )


def _draw_timbre(
    profile: GenreProfile, voice: _Voice, timeline: _Timeline, groove: Array, rng: np.random.Generator
) -> Array:
    mean = np.array(profile.timbre_mean) + TIMBRE_SHIFT * voice.timbre
    accent, section = profile.accent, SECTION_VARIANCE
    metre = groove[timeline.beats % METRE_BEATS]
    notes = _autoregress(rng.standard_normal((len(timeline.starts), 12)))
    inner = np.sqrt(accent) * metre + np.sqrt(1 - accent - section) * notes
    # A part that returns (the second verse, say) sounds as it did the first time.
    parts = sorted(SECTION_LOUDNESS)
    moods = np.sqrt(section) * rng.standard_normal((len(parts), 12))
    moods[:, 0] += [SECTION_LOUDNESS[part] / profile.timbre_std[0] for part in parts]
    part_of_section = np.array([parts.index(part) for part in timeline.form])
    inner += moods[part_of_section[timeline.sections]]
    timbre: Array = mean + np.array(profile.timbre_std) * np.exp(0.16 * voice.spread) * inner
    timbre[:, 0] = _limit(timbre[:, 0])
    return timbre


def _limit(loudness: Array) -> Array:
    """Hold loudness-like values between 1 and 54, softly at the upper end as a mastering limiter does."""
    knee = 2.5
    limited: Array = np.maximum(54.0 - knee * np.logaddexp(0.0, (54.0 - loudness) / knee), 1.0)
    return limited


def _autoregress(noise: Array) -> Array:
    """Turn white noise (segments x 12, unit variance) into AR(1) processes of unit variance, in place."""
    gain = np.sqrt(1 - TIMBRE_MEMORY**2)
    for index in range(1, len(noise)):
        noise[index] *= gain
        noise[index] += TIMBRE_MEMORY * noise[index - 1]
    return noise


def _draw_pitches(
    profile: GenreProfile, timeline: _Timeline, key_mode: tuple[int, bool], floor: Array, rng: np.random.Generator
) -> Array:
    key, minor = key_mode
    scale = MINOR_SCALE if minor else MAJOR_SCALE
    progression = np.array(profile.progressions[rng.integers(len(profile.progressions))])
    degrees = progression[timeline.beats // profile.chord_beats % len(progression)]
    count = len(degrees)
    rows = np.arange(count)
    pitches = floor[:, None] * rng.gamma(2.0, 0.5, (count, 12))
    for third, weight in enumerate(profile.chord_weights):
        note = (scale[(degrees + 2 * third) % 7] + key) % 12
        pitches[rows, note] += weight * rng.gamma(3.0, 0.33, count)
    melody = np.cumsum(rng.integers(-2, 3, count))
    pitches[rows, (scale[melody % 7] + key) % 12] += 0.8 * rng.gamma(3.0, 0.33, count)
    return pitches


def _draw_loudness(loudness_like: Array, durations: Array, rng: np.random.Generator) -> _Loudness:
    count = len(durations)
    # The first timbre coefficient is the loudness of a segment on another scale, to within a few dB.
    peak = np.clip(loudness_like - 56.0 + 1.5 * rng.standard_normal(count), -60.0, 0.0)
    start = np.maximum(peak - rng.gamma(1.8, 4.5, count), -60.0)
    silent = loudness_like == 0.0
    peak[silent] = start[silent] = -60.0
    return _Loudness(start, peak, np.where(silent, 0.0, durations * rng.beta(1.5, 5.5, count)))


def _segments(
    timeline: _Timeline, timbre: Array, pitches: Array, loudness: _Loudness, rng: np.random.Generator
) -> list[dict[str, Any]]:
    # A steep attack is a sure sign of an onset.
    confidence = np.clip((loudness.peak - loudness.start) / 30.0 + 0.12 * rng.standard_normal(len(timbre)), 0.0, 1.0)
    confidence[loudness.peak <= -60.0] = 0.0
    columns = zip(
        timeline.starts.tolist(),
        timeline.durations.tolist(),
        _rounded(confidence),
        _rounded(loudness.start),
        _rounded(loudness.peak_time, 5),
        _rounded(loudness.peak),
        _rounded(pitches),
        _rounded(timbre),
        strict=True,
    )
    names = ("start", "duration", "confidence", "loudness_start", "loudness_max_time", "loudness_max")
    segments = [dict(zip((*names, "pitches", "timbre"), values, strict=True)) for values in columns]
    segments[-1]["loudness_end"] = -60.0
    return segments


def _sections(timeline: _Timeline, end: float, rng: np.random.Generator) -> list[dict[str, float]]:
    first = np.flatnonzero(np.diff(timeline.sections, prepend=-1))
    starts = timeline.starts[first]
    durations = np.diff(starts, append=end)
    confidence = rng.beta(2, 2, len(starts))
    columns = zip(starts.tolist(), _rounded(durations, 5), _rounded(confidence), strict=True)
    return [{"start": start, "duration": length, "confidence": sure} for start, length, sure in columns]


def _rounded(values: Array, decimals: int = 3) -> list[Any]:
    # Adding zero turns -0.0, which JSON would keep, into 0.0.
    rounded: list[Any] = (np.round(values, decimals) + 0.0).tolist()
    return rounded
