"""Which genres a catalogue names and what each becomes, without listening to its sound or training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from components.track_example_gen.catalogue import LabelsReader, list_analyses
from components.track_example_gen.ingest import read_without_sound
from components.track_example_gen.progress import Moments
from components.track_example_gen.several_genres import SeveralGenres, genre_of
from components.track_example_gen.spans import Span
from deepmusic_genre.tracks.label_table import LabelField
from deepmusic_genre.tracks.labels import (
    GenreNames,
    Label,
    Labels,
    OtherGenre,
    apply_label,
    cells_of,
    contradictions,
    label_of,
    shown_name,
)
from deepmusic_genre.tracks.track import Rejection, Track

SEVERAL = "several genres"
OTHERS = "other genres"
NONE = "no genre"
REJECTED = "cannot be read"


@dataclass
class GenreSurvey:
    """What names of genres there are.

    Attributes:
        names: How many tracks have a name, as it is written.
        becomes: The genre of the list that a name means, or :data:`NONE` for one that says nothing; None for one that
            is not in the list.
        tracks: How many tracks there are of each genre of the list, and of :data:`SEVERAL` that leave a track out,
            :data:`OTHERS`, :data:`NONE` and :data:`REJECTED`.
        named_by: How many tracks have their genre from the labels file, their own file or their folder.
        contradictions: How often two of these contradict each other.
        unused_labels: Rows of labels files that fit no track.
        rejection: The first file that cannot be read.
    """

    names: Counter[str] = field(default_factory=Counter)
    becomes: dict[str, str | None] = field(default_factory=dict)
    tracks: Counter[str] = field(default_factory=Counter)
    named_by: Counter[str] = field(default_factory=Counter)
    contradictions: Counter[str] = field(default_factory=Counter)
    unused_labels: int = 0
    rejection: Rejection | None = None


@dataclass(frozen=True)
class Rules:
    """What decides a track's genre.

    Attributes:
        genres: Maps names onto the genre list.
        several_genres: What becomes of a track under several genres.
        label_columns: What the labels files call their columns.
    """

    genres: GenreNames
    several_genres: SeveralGenres
    label_columns: Mapping[LabelField, str] = field(default_factory=dict)


def survey(spans: Iterable[Span], rules: Rules) -> GenreSurvey:
    """Looks through a catalogue as a run would, but for its sound, and without telling what is there twice.

    Raises:
        PipelineInputError: The data or the labels are not there or cannot be used.
    """
    found, reader, moments = GenreSurvey(), LabelsReader(rules.label_columns), Moments()
    unused: dict[str, set[str]] = {}
    for span in spans:
        listing, labels = list_analyses(span.data), reader.read(span.labels)
        left = unused.setdefault(span.labels or "", set(labels or ()))
        for item in chain(listing.rejections, read_without_sound(listing.files)):
            _count(item, labels, rules, found)
            if left and labels and isinstance(item, Track):
                left.difference_update(*(fit.names for fit in labels.fits(item.track_id, item.path)))
            moments.show("%s tracks read", f"{found.tracks.total():,}")
    found.unused_labels = sum(map(len, unused.values()))
    return found


def _count(item: Track | Rejection, labels: Labels | None, rules: Rules, found: GenreSurvey) -> None:
    if isinstance(item, Rejection):
        found.tracks[REJECTED] += 1
        found.rejection = found.rejection or item
        return
    label = label_of(item, labels, rules.genres)
    cells = cells_of(item, label)
    names = {shown_name(name): rules.genres.canonical(name) for cell in cells for name in rules.genres.names_in(cell)}
    if names:
        found.named_by[_by_whom(label)] += 1
    becomes = names or {shown_name(cell): NONE for cell in cells}
    found.names.update(becomes.keys())
    found.becomes |= becomes
    found.contradictions.update(text.partition(":")[0] for text in contradictions(item, label, rules.genres))
    found.tracks[_outcome(item, label, rules)] += 1


def _by_whom(label: Label | None) -> str:
    if label is None:
        return "the files themselves"
    return "the labels file" if label.track_id else "folders"


def _outcome(track: Track, label: Label | None, rules: Rules) -> str:
    try:
        labelled = apply_label(track, label, rules.genres)
    except OtherGenre:
        return OTHERS
    named = (labelled.genre, *labelled.other_genres)
    return (genre_of(named, rules.several_genres) or SEVERAL) if labelled.genre else NONE
