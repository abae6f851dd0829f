"""``deepmusic fit-timbre``: fits the basis of timbre anew, to made sound or to a folder of music."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track as with_progress
from sklearn.decomposition import PCA

from deepmusic_genre.analyser.decode import InvalidAudio, decode
from deepmusic_genre.analyser.segmentation import boundaries
from deepmusic_genre.analyser.spectra import BANDS, Floats, band_power
from deepmusic_genre.analyser.synthesis import synthetic_pieces
from deepmusic_genre.analyser.timbre import BASIS_FILE, SHAPE, TIMES, segment_shapes
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import OK

VERSION = 1
"""Of everything that decides an analysis beside the basis: raise it when the definition of a value changes."""

PIECES, SECONDS, SEED = 300, 10.0, 0
"""The made sound that the project's own basis is fitted to."""

_COMPONENTS = 11
_DIGITS = 4
_HEARD = 5.0
_SEGMENTS_A_PIECE = 200


def fit_basis(data: Path | None, out: Path = BASIS_FILE) -> int:
    """Fits and writes a basis.

    Args:
        data: Folder of sound files, None for sound that is made from a seed.
        out: File to write; by default the basis in use.

    Returns:
        0 if it was written.

    Raises:
        PipelineInputError: There is too little sound to fit it to.
    """
    console = Console(stderr=True)
    if data:
        files = sorted(path for path in data.rglob("*") if path.is_file())
        pieces: Iterable[Floats] = _decoded(with_progress(files, "listening", console=console), console)
        source = "the user's own sound files"
    else:
        made = synthetic_pieces(PIECES, SECONDS, SEED)
        pieces = with_progress(made, "listening", total=PIECES, console=console)
        source = f"{PIECES} pieces of made sound of {SECONDS:g} s, seed {SEED} (deepmusic_genre/analyser/synthesis.py)"
    shapes = collect(pieces)
    if len(shapes) <= SHAPE:
        raise PipelineInputError(
            f"{len(shapes)} segments are too few to fit a basis of {SHAPE} values to: bring more sound."
        )
    content = fit(shapes, source, own=data is None)
    part = out.with_name(f"{out.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(out)
    print(f"{content['name']}: {len(shapes):,} segments, {sum(content['variance_shares']):.0%} of their variance")
    return OK


def collect(pieces: Iterable[Floats]) -> npt.NDArray[np.float64]:
    """Shapes of the segments of pieces that can be heard, at most 200 a piece, evenly: ``[segments, 128]``."""
    found = []
    for samples in pieces:
        power = band_power(samples)
        shapes, loudness = segment_shapes(power, boundaries(power))
        heard = shapes[loudness > _HEARD]
        found.append(heard[:: -(-len(heard) // _SEGMENTS_A_PIECE) or 1])
    return np.concatenate([np.zeros((0, SHAPE)), *found])


def fit(shapes: npt.NDArray[np.float64], source: str, own: bool) -> dict[str, Any]:
    """Principal components of shapes, as the basis file holds them.

    The first coefficient after the loudness grows with brightness; the others with their largest weight.

    Args:
        shapes: ``[segments, 128]``, more than 128.
        source: what they are from, for the file.
        own: whether it is the project's own basis. Any other has the hash of its numbers in its name.
    """
    pca = PCA(_COMPONENTS, svd_solver="full").fit(shapes)
    components = np.array([_turned(component, first=number == 0) for number, component in enumerate(pca.components_)])
    mean, axes = np.round(pca.mean_, _DIGITS).tolist(), np.round(components, _DIGITS).tolist()
    numbers = hashlib.blake2b(json.dumps([mean, axes]).encode(), digest_size=4).hexdigest()
    return {
        "name": f"deepmusic-{VERSION}" if own else f"deepmusic-{VERSION}-{numbers}",
        "fitted_to": source,
        "segments": len(shapes),
        "values": f"{TIMES} times of {BANDS} bands, dB",
        "variance_shares": np.round(pca.explained_variance_ratio_, _DIGITS).tolist(),
        "mean": mean,
        "components": axes,
    }


def _turned(component: npt.NDArray[np.float64], first: bool) -> npt.NDArray[np.float64]:
    """A component or its opposite: which of the two a decomposition finds is chance."""
    by_band = component.reshape(TIMES, BANDS).sum(axis=0)
    towards = by_band @ np.linspace(-1, 1, BANDS) if first else component[np.abs(component).argmax()]
    return component if towards > 0 else -component


def _decoded(files: Iterable[Path], console: Console) -> Iterator[Floats]:
    for file in files:
        try:
            with file.open("rb") as stream:
                yield decode(stream).samples
        except (InvalidAudio, OSError) as error:
            console.print(f"passed over {file}: {error}", markup=False)
