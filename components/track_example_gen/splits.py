"""Which split an artist belongs to: even in every genre, and the same whatever is added later."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WEIGHTS = {TRAIN: 8, VALIDATION: 1, TEST: 1}
SPLITS = tuple(SPLIT_WEIGHTS)

SplitBy = Literal["artist", "track"]

_HELD_OUT = (TEST, VALIDATION)
"""In the order in which they are filled: a genre of two artists is measured rather than selected by."""


class Group(NamedTuple):
    """What a split keeps together: an artist, or a track that is split by itself."""

    kind: SplitBy
    name: str


def assign_splits(groups: Mapping[Group, Mapping[str, int]], known: Mapping[Group, str]) -> dict[Group, str]:
    """Splits groups about 8:1:1 in the tracks of every genre.

    Groups come in the order of a hash, the rarest genre first, and go where they bring each of their genres nearer to
    its share. So a genre of three groups is in every split, one of two in train and test, one of a single group in
    train alone (stratified as Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, ECML 2011, but
    with whole artists, as the artist filter of Pampalk, Flexer, Widmer, ISMIR 2005, demands).

    Args:
        groups: the tracks that each has of each genre.
        known: the splits that groups were given before. They stay: an artist that moved from test to train, or from
            train to test, would make a comparison with an earlier model worthless.

    Returns:
        The split of each of ``groups``. It depends on the arguments alone.
    """
    draft = _Draft(groups, known)
    for take in (draft.represent, draft.fill):
        for split in _HELD_OUT:
            for genre in draft.genres:
                take(split, genre)
    for split in _HELD_OUT:
        draft.begin(split)
    return draft.splits()


class _Draft:
    """An assignment in the making; what has no split yet goes to train in the end."""

    def __init__(self, groups: Mapping[Group, Mapping[str, int]], known: Mapping[Group, str]) -> None:
        self._groups = groups
        self._split: dict[Group, str] = {}
        self._in_order: dict[str, list[Group]] = defaultdict(list)
        for group in sorted(groups, key=_rank):
            for genre in groups[group]:
                self._in_order[genre].append(group)
        self._tracks = {genre: sum(groups[group][genre] for group in own) for genre, own in self._in_order.items()}
        # Those that train has or may get.
        self._left = Counter({genre: len(own) for genre, own in self._in_order.items()})
        self._taken: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for group in groups.keys() & known.keys():
            self._put(group, known[group])

    @property
    def genres(self) -> list[str]:
        """The rarest first."""
        return sorted(self._in_order, key=lambda genre: (len(self._in_order[genre]), genre))

    def represent(self, split: str, genre: str) -> None:
        """Gives a split a group of a genre that it lacks: the first that fits its share, else the smallest."""
        if self._taken[split][genre]:
            return
        free = list(self._free(genre))
        fitting = next((group for group in free if self._fits(group, split)), None)
        smallest = min(free, key=lambda group: sum(self._groups[group].values()), default=None)
        if group := fitting or smallest:
            self._put(group, split)

    def fill(self, split: str, genre: str) -> None:
        """Gives a split groups of a genre up to its share."""
        for group in self._free(genre):
            if self._fits(group, split):
                self._put(group, split)

    def begin(self, split: str) -> None:
        """Gives a split that is empty the smallest group, whatever train lacks then, if it keeps two genres."""
        if not self._taken[split].total():
            free = [group for group in self._groups if group not in self._split and self._leaves_two(group)]
            if free:
                self._put(min(free, key=lambda group: (sum(self._groups[group].values()), *_rank(group))), split)

    def splits(self) -> dict[Group, str]:
        """The split of each group."""
        return {group: self._split.get(group, TRAIN) for group in self._groups}

    def _free(self, genre: str) -> Iterator[Group]:
        """Those without a split that train can do without."""
        for group in self._in_order[genre]:
            if group not in self._split and all(self._left[own] > 1 for own in self._groups[group]):
                yield group

    def _leaves_two(self, group: Group) -> bool:
        return sum(left > (genre in self._groups[group]) for genre, left in self._left.items()) > 1

    def _fits(self, group: Group, split: str) -> bool:
        """Whether a split is nearer to its share of each of the group's genres with the group than without."""
        share, taken = SPLIT_WEIGHTS[split] / sum(SPLIT_WEIGHTS.values()), self._taken[split]
        return all(taken[genre] + own / 2 <= share * self._tracks[genre] for genre, own in self._groups[group].items())

    def _put(self, group: Group, split: str) -> None:
        self._split[group] = split
        self._taken[split].update(self._groups[group])
        if split != TRAIN:
            self._left.subtract(dict.fromkeys(self._groups[group], 1))


def _rank(group: Group) -> tuple[int, int]:
    value = int.from_bytes(hashlib.blake2b(group.name.encode(), digest_size=8).digest(), "big")
    # The last digit was the split, 9 test and 8 validation, before splits were even: most keep theirs.
    rest, digit = divmod(value, 10)
    return -digit, -rest
