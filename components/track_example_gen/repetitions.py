"""Tracks that are there several times, in one genre or in several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from components.track_example_gen.outcomes import LeftOut, TrackOutcome
from components.track_example_gen.several_genres import SeveralGenres, genre_of


def decide_repetitions(outcomes: Sequence[TrackOutcome], several_genres: SeveralGenres) -> list[TrackOutcome]:
    """Keeps one of the tracks that are the same, by their id or by their content, and gives the reason to the others.

    So no recording stands in two splits, under whatever ids. Tracks that are the same through a third one are so, too.

    Args:
        outcomes: of all shards, in the order in which the files were read.
        several_genres: what becomes of the same track in several genres.

    Returns:
        The outcomes in the same order. Of those that are the same, the one that stays, or the first, has all genres.
    """
    final = list(outcomes)
    labelled = [place for place, outcome in enumerate(outcomes) if outcome.genres]
    for same in _same([outcomes[place] for place in labelled]):
        places = [labelled[number] for number in same]
        for place, outcome in zip(places, _decide([outcomes[place] for place in places], several_genres), strict=True):
            final[place] = outcome
    return final


def _same(tracks: Sequence[TrackOutcome]) -> list[list[int]]:
    """The places of tracks that are the same, for each that is there several times."""
    edges = [*_repeated([track.track_id for track in tracks]), *_repeated([track.digest for track in tracks])]
    if not edges:
        return []
    first, again = np.array(edges).T
    graph = coo_matrix((np.ones(len(edges), np.int8), (first, again)), (len(tracks), len(tracks)))
    component: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    found: dict[int, list[int]] = defaultdict(list)
    for place in sorted({*first.tolist(), *again.tolist()}):
        found[component[place]].append(place)
    return list(found.values())


def _repeated(keys: Sequence[str]) -> list[tuple[int, int]]:
    """The place of each key that came before, with the place where it came first."""
    places: dict[str, int] = {}
    pairs = ((places.setdefault(key, place), place) for place, key in enumerate(keys))
    return [(first, place) for first, place in pairs if first != place]


def _decide(same: Sequence[TrackOutcome], several_genres: SeveralGenres) -> list[TrackOutcome]:
    genres = tuple(dict.fromkeys(genre for track in same for genre in track.genres))
    genre = genre_of([track.genre or track.genres[0] for track in same], several_genres)
    if len(genres) > 1 and several_genres == "drop":
        stays, genre = same[0], ""
    else:
        stays = next(track for track in same if track.genre == genre)
    decided = []
    for track in same:
        if track is not stays:
            decided.append(_without_example(track, *_why(track, stays)))
        elif genre:
            decided.append(msgspec.structs.replace(track, genres=genres))
        else:
            decided.append(under_several(track, genres, same))
    return decided


def under_several(track: TrackOutcome, genres: tuple[str, ...], same: Sequence[TrackOutcome] = ()) -> TrackOutcome:
    """The outcome on a track that is left out for its genres, with the places of those that are ``same``."""
    found = {genre: next((f" in {each.path}" for each in same if genre in each.genres), "") for genre in genres}
    several_places = len(set(found.values())) > 1
    told = ", ".join(f"{genre}{place if several_places else ''}" for genre, place in found.items())
    left_out = _without_example(track, "several_genres", f"under several genres: {told}")
    return msgspec.structs.replace(left_out, genres=genres)


def _why(track: TrackOutcome, stays: TrackOutcome) -> tuple[LeftOut, str]:
    if track.track_id == stays.track_id and track.digest != stays.digest:
        return "rejected", f"track id {track.track_id} again, with other content as {stays.path}"
    if track.track_id == stays.track_id:
        return "repeated", f"track id {track.track_id} again, with the same content as {stays.path}"
    if track.digest == stays.digest:
        return "repeated", f"the same content as track {stays.track_id}, {stays.path}"
    return "repeated", f"the same as track {stays.track_id}, {stays.path}, by a third one's id and content"


def _without_example(track: TrackOutcome, left_out: LeftOut, reason: str) -> TrackOutcome:
    return TrackOutcome(track.path, track.track_id, reason, left_out, digest=track.digest)
