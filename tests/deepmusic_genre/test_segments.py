"""What every source has its segments checked by."""

import numpy as np
import pytest

from deepmusic_genre.tracks.track import InvalidTrack, segment_matrix

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("timbre", "pitches", "reason"),
    [((2, 3), (2, 0), r"timbre has the shape \(2, 3\)"), ((2, 12), (2, 13), "pitches has"), ((24,), (2, 12), "timbre")],
)
def test_vectors_of_another_length_are_refused(timbre: tuple[int], pitches: tuple[int], reason: str) -> None:
    with pytest.raises(InvalidTrack, match=reason):
        segment_matrix(np.ones(timbre), np.ones(pitches), np.ones(2))
