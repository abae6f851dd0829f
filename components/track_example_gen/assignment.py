"""The splits that artists and tracks were given, kept from run to run."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec

from components.storage.files import fileio
from components.storage.json_files import read_json, write_json
from components.track_example_gen.outcomes import TrackOutcome
from components.track_example_gen.splits import Group, SplitBy, assign_splits
from deepmusic_genre.errors import PipelineInputError

_Split = Literal["train", "validation", "test"]


class Assignment(msgspec.Struct, frozen=True):
    """The splits given so far, also to what is not in the catalogue now: by artist, and by track id.

    The tracks tell where an artist belongs that is now called otherwise, or has been given an id.
    """

    artists: dict[str, _Split] = {}
    tracks: dict[str, _Split] = {}


def load_assignment(folder: str, split_by: SplitBy) -> Assignment:
    """What earlier runs gave, nothing before the first.

    Raises:
        PipelineInputError: the file is damaged.
    """
    path = _file(folder, split_by)
    if not fileio.exists(path):
        return Assignment()
    try:
        return read_json(path, Assignment)
    except msgspec.DecodeError as error:
        raise PipelineInputError(
            f"{path}, the splits of earlier runs, is damaged: {error}. Bring it back, or remove it to split anew: then"
            " models of earlier runs may have learned from tracks that are tested on now."
        ) from error


def save_assignment(assignment: Assignment, folder: str, split_by: SplitBy) -> None:
    """Writes the file, whole or not at all."""
    path = _file(folder, split_by)
    fileio.makedirs(folder)
    write_json(f"{path}.part", assignment)
    fileio.rename(f"{path}.part", path, overwrite=True)


def _file(folder: str, split_by: SplitBy) -> str:
    return os.path.join(folder, f"{split_by}.json")


def with_splits(
    outcomes: Sequence[TrackOutcome], split_by: SplitBy, given: Assignment
) -> tuple[list[TrackOutcome], Assignment]:
    """Gives every example its split.

    Args:
        outcomes: of the whole catalogue.
        split_by: By artist, a track whose artist is unknown is split by itself.
        given: what earlier runs gave.

    Returns:
        The outcomes in the same order, and what has been given by now.
    """
    groups: dict[Group, Counter[str]] = defaultdict(Counter)
    tracks: dict[Group, list[str]] = defaultdict(list)
    for outcome in filter(_is_example, outcomes):
        group = group_of(outcome, split_by)
        groups[group][outcome.genre] += 1
        tracks[group].append(outcome.track_id)
    known = {group: split for group, own in tracks.items() if (split := _known(group, own, given))}
    split_of = assign_splits(groups, known)
    artists = {group.name: split for group, split in split_of.items() if group.kind == "artist"}
    by_track = {track_id: split_of[group] for group, own in tracks.items() for track_id in own}
    final = [
        msgspec.structs.replace(outcome, split=split_of[group_of(outcome, split_by)])
        if _is_example(outcome)
        else outcome
        for outcome in outcomes
    ]
    return final, msgspec.convert({"artists": given.artists | artists, "tracks": given.tracks | by_track}, Assignment)


def group_of(outcome: TrackOutcome, split_by: SplitBy) -> Group:
    """What a track's split is decided with."""
    by_artist = split_by == "artist" and outcome.artist
    return Group("artist", outcome.artist) if by_artist else Group("track", outcome.track_id)


def _is_example(outcome: TrackOutcome) -> bool:
    return outcome.index >= 0


def _known(group: Group, tracks: Sequence[str], given: Assignment) -> str | None:
    if group.kind == "artist" and group.name in given.artists:
        return given.artists[group.name]
    found = {given.tracks[track_id] for track_id in tracks if track_id in given.tracks}
    # Tracks in several splits had no artist in common then: what was said of them holds nothing together.
    return found.pop() if len(found) == 1 else None
