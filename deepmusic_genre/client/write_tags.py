"""``deepmusic write-tags`` and ``deepmusic undo-tags``: answers written into the sound files, and taken back."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar

from deepmusic_genre.client.answers import BULK_FILE, GivenAnswer, read_answers
from deepmusic_genre.client.text import printable
from deepmusic_genre.client.undo_file import (
    UndoFile,
    Written,
    content_hash,
    former_content,
    open_undo,
    read_undo,
    written,
)
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.tracks.audio import AudioFile, sound_id
from deepmusic_genre.tracks.replacing import Irreplaceable, read_original, replace_content

_MAX_LETTERS = 100
_IN_ARCHIVE = "!/"
_DONE, _LEFT, _FAILED = "done", "left", "failed"


_Item = TypeVar("_Item", GivenAnswer, Written)


class Left(Exception):
    """A file that is left as it is, and nothing is amiss; the message says why."""


class Failed(Exception):
    """A file that cannot be written, or is not what it was; the message says why."""


def write_tags(answers: Path, overwrite: bool, dry_run: bool) -> int:
    """Writes genres into the sound files that they were answered for, and prints a line for each answer.

    A genre that is there stays unless ``overwrite``. An answer that is not sure is never written, nor one to what a
    file does not hold any more.

    Args:
        answers: See :func:`deepmusic_genre.client.answers.read_answers`.
        overwrite: Whether genres that are there are replaced.
        dry_run: Whether nothing is written.

    Returns:
        1 if a file could not be written.

    Raises:
        PipelineInputError: The answers cannot be read, or the undo file cannot be written.
    """
    if find_spec("mutagen") is None:
        raise PipelineInputError("To write tags, install the extra 'audio' of this project: there is no mutagen.")
    path = undo_file_of(answers)
    with nullcontext() if dry_run else open_undo(path) as undo:
        counts = _each(read_answers(answers), partial(_write, overwrite=overwrite, undo=undo))
    done = "would be written" if dry_run else "written"
    print(f"{counts[_DONE]:,} {done}, {counts[_LEFT]:,} left as they are, {counts[_FAILED]:,} failed")
    if counts[_DONE] and undo is not None:
        print(f"deepmusic undo-tags {path} takes them back.")
    return FAULT if counts[_FAILED] else OK


def undo_tags(path: Path) -> int:
    """Gives files back what they held before ``write-tags``, and prints a line for each time that they were written.

    Args:
        path: The undo file.

    Returns:
        1 if a file could not be given back.

    Raises:
        PipelineInputError: The undo file cannot be read.
    """
    records = read_undo(path)
    former: dict[str, set[str]] = defaultdict(set)
    for record in records:
        former[record.file].add(record.before)
    counts = _each(records, lambda record: _take_back(record, former[record.file]))
    print(f"{counts[_DONE]:,} taken back, {counts[_LEFT]:,} left as they are, {counts[_FAILED]:,} failed")
    return FAULT if counts[_FAILED] else OK


def undo_file_of(answers: Path) -> Path:
    """Where the way back from some answers is kept: beside them."""
    file = answers / BULK_FILE if answers.is_dir() else answers
    return file.with_suffix(".undo.jsonl")


def _each(items: Iterable[_Item], act: Callable[[_Item], str]) -> Counter[str]:
    """Does something for each item, prints a line on how it went, and counts that."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    counts: Counter[str] = Counter()
    for item in items:
        kind, text = _outcome(item, act)
        counts[kind] += 1
        stream = sys.stderr if kind == _FAILED else sys.stdout
        try:
            # At once: who stops the call sees what it has done.
            print(f"{printable(item.file)}: {printable(text)}", file=stream, flush=True)
        except BrokenPipeError as error:
            raise PipelineInputError("Nobody reads the output any more. Run the same command to resume.") from error
    return counts


def _outcome(item: _Item, act: Callable[[_Item], str]) -> tuple[str, str]:
    try:
        return _DONE, act(item)
    except Left as reason:
        return _LEFT, f"left, {reason}"
    except OSError as error:
        return _FAILED, error.strerror or str(error)
    except (Failed, Irreplaceable, ValueError) as error:
        return _FAILED, str(error)


def _write(answer: GivenAnswer, overwrite: bool, undo: UndoFile | None) -> str:
    # Only who has sound files needs what reads and writes their tags.
    from deepmusic_genre.tracks.tag_writing import Unwritable, with_genre
    from deepmusic_genre.tracks.tags import read_tags

    genre = _sure_genre(answer)
    original = read_original(_sound_file(answer.file))
    there = read_tags(original.content).genres
    if there == (genre,):
        raise Left(f"its genre is {genre}")
    if there and not overwrite:
        raise Left(f"it has a genre: {', '.join(there)}")
    if sound_id(answer.file, original.content) != answer.track_id:
        raise Failed("it changed since it was analysed: ask for its genre again")
    try:
        content = with_genre(original.content, original.path.name, genre)
    except Unwritable as error:
        raise Failed(str(error)) from error
    record = written(original.path, genre, there, original.content, content)
    if undo is not None:
        replace_content(original, content, lambda: undo.append(record))
    return f"{genre} instead of {', '.join(there)}" if there else genre


def _sure_genre(answer: GivenAnswer) -> str:
    if answer.sure is None:
        raise Left("the model does not say whether its answer is sure")
    if not answer.sure:
        raise Left("the answer is not sure")
    if not answer.genre.strip() or not answer.genre.isprintable() or len(answer.genre) > _MAX_LETTERS:
        raise Failed("its answer is no genre")
    return answer.genre


def _sound_file(file: str) -> Path:
    if "://" in file:
        raise Left("it is not a file of this machine")
    if _IN_ARCHIVE in file:
        raise Left("it is in an archive")
    if not file.lower().endswith(AudioFile.suffixes):
        raise Left("it is no sound file")
    return Path(file)


def _take_back(record: Written, former: Collection[str]) -> str:
    original = read_original(Path(record.file))
    found = content_hash(original.content)
    if found == record.after:
        replace_content(original, former_content(record, original.content), lambda: None)
        return ", ".join(record.was) or "no genre"
    if found in former:
        raise Left("it is as it was")
    raise Failed("it changed since its genre was written")
