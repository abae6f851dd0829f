"""``deepmusic review``: which tracks a person should listen to first, and a labels file for what they hear."""

from __future__ import annotations

import csv
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepmusic_genre.client.answers import GivenAnswer, read_answers
from deepmusic_genre.client.text import cell, printable
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import OK
from deepmusic_genre.tracks.audio import AudioFile

COLUMNS = ["track_id", "genre", "proposed", "probability", "second", "second_probability", "like_it", "track", "file"]
"""Of the labels file. A run reads the first two; ``artist`` and ``title`` would replace those of the track."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Doubt:
    """An answer that is not sure.

    Attributes:
        answer: The answer.
        pair: The two most probable genres, the more probable one first.
        like_it: Answers that hesitate between the same two, this one among them.
        worth: See :func:`worth`.
    """

    answer: GivenAnswer
    pair: Pair
    like_it: int
    worth: float


def worth(answer: GivenAnswer, share: float) -> float:
    """How much it is worth to listen to a track, 0..2.

    That is how unsure the answer is, 1 less the margin between the two most probable genres, times 1 and the share of
    those like it: what is heard of one track says something of them all. Margins are the usual measure of what to label
    next (Settles: Active Learning Literature Survey, 2009, 3.1).

    Args:
        answer: The model's.
        share: Of the doubtful answers, those that hesitate between the same two genres.
    """
    first, second = sorted(answer.probabilities.values())[:-3:-1]
    return (1 - (first - second)) * (1 + share)


def review(answers: Path, out: Path | None, top: int) -> int:
    """Prints the tracks to listen to first, and writes them as a labels file whose genres are to be filled in.

    Args:
        answers: See :func:`deepmusic_genre.client.answers.read_answers`.
        out: The labels file, which must not be there; None for none.
        top: How many tracks.

    Raises:
        PipelineInputError: The answers cannot be read, or the labels file not be written.
    """
    pairs = Counter(frozenset(_pair(answer)) for answer in _doubtful(answers))
    doubts = heapq.nlargest(top, _doubts(answers, pairs), key=lambda doubt: doubt.worth)
    if not doubts:
        print("No answer is in doubt.")
        return OK
    Console(highlight=False).print(_table(doubts))
    print(f"{pairs.total():,} answers are not sure; these {len(doubts):,} are the ones to listen to first")
    if out is not None:
        _write(doubts, out)
        print(f"{out}: fill in the column genre, remove the rows that you leave open, and name it as --labels")
    return OK


def _doubtful(answers: Path) -> Iterator[GivenAnswer]:
    return (answer for answer in read_answers(answers) if not answer.sure and len(answer.probabilities) > 1)


def _pair(answer: GivenAnswer) -> Pair:
    first, second = heapq.nlargest(2, answer.probabilities, key=lambda genre: answer.probabilities[genre])
    return first, second


def _doubts(answers: Path, pairs: Counter[frozenset[str]]) -> Iterator[Doubt]:
    # Read once more, so that memory does not grow with the catalogue.
    for answer in _doubtful(answers):
        pair = _pair(answer)
        like_it = pairs[frozenset(pair)]
        yield Doubt(answer, pair, like_it, worth(answer, like_it / pairs.total()))


def _table(doubts: Sequence[Doubt]) -> Table:
    table = Table()
    for name in ("track", "proposed", "second", "like it"):
        table.add_column(name, justify="right" if name == "like it" else "left", overflow="fold")
    for doubt in doubts:
        shares = (f"{escape(printable(genre))} {doubt.answer.probabilities[genre]:.2f}" for genre in doubt.pair)
        table.add_row(escape(printable(_title(doubt.answer))), *shares, f"{doubt.like_it:,}")
    return table


def _title(answer: GivenAnswer) -> str:
    return " - ".join(filter(None, [answer.artist, answer.title])) or answer.track_id


def _write(doubts: Sequence[Doubt], out: Path) -> None:
    try:
        # What somebody has filled in is not written over.
        with out.open("x", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(map(_row, doubts))
    except FileExistsError as error:
        raise PipelineInputError(f"{out} is there already: choose another file.") from error
    except OSError as error:
        raise PipelineInputError(f"{out} cannot be written: {error.strerror}.") from error


def _row(doubt: Doubt) -> list[str]:
    answer = doubt.answer
    # The id of a sound file's track changes with its tags.
    name = answer.file if answer.file.lower().endswith(AudioFile.suffixes) else answer.track_id
    first, second = doubt.pair
    shares = {genre: f"{answer.probabilities[genre]:.3f}" for genre in doubt.pair}
    texts = [name, "", first, shares[first], second, shares[second], str(doubt.like_it), _title(answer), answer.file]
    return list(map(cell, texts))
