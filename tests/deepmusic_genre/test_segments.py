"""What every source has its segments checked by."""

import numpy as np
import pytest

from deepmusic_genre.tracks.track import InvalidTrack, segment_matrix

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("timbre", "pitches", "reason"),
    [((3, 3), (3, 0), r"timbre has the shape \(3, 3\)"), ((3, 12), (3, 13), "pitches has"), ((36,), (3, 12), "timbre")],
)
def test_vectors_of_another_length_are_refused(timbre: tuple[int], pitches: tuple[int], reason: str) -> None:
    with pytest.raises(InvalidTrack, match=reason):
        segment_matrix(np.ones(timbre), np.ones(pitches), np.ones(3))
