"""The pretrained network against its original graph, which is fetched."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.compat.v1 import MetaGraphDef, Session, graph_util
from tensorflow.compat.v1.train import NewCheckpointReader

from deepmusic_genre.analyser.decode import decode
from deepmusic_genre.analyser.ear import checkpoint, weights
from deepmusic_genre.analyser.ear.network import Network
from deepmusic_genre.analyser.ear.patches import patches
from deepmusic_genre.analyser.spectra import Floats

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

PENULTIMATE = "model/batch_normalization_10/batchnorm/add_1"


@pytest.fixture(scope="module")
def original(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as it is in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    try:
        wheel = weights._download(folder)
    except weights.NoWeights as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "musicnn" / "MSD_musicnn"


def test_every_tensor_is_what_tensorflow_reads(original: Path) -> None:
    reader = NewCheckpointReader(f"{original}/")
    ours = checkpoint.tensors((original / ".data-00000-of-00001").read_bytes())
    assert ours.keys() == reader.get_variable_to_shape_map().keys()
    for name, tensor in ours.items():
        assert np.array_equal(tensor, reader.get_tensor(name)), name


def test_the_network_answers_as_the_original_graph(original: Path, real_data: Path) -> None:
    network = Network(checkpoint.tensors((original / ".data-00000-of-00001").read_bytes()))
    graph = original_graph(original)
    for clip in sorted((real_data / "audio").glob("*/*.opus"))[::100]:
        with clip.open("rb") as file:
            given = np.stack(list(patches(decode(file).samples)))
        np.testing.assert_allclose([network(patch) for patch in given], graph(given), atol=1e-4, rtol=0)


def original_graph(folder: Path) -> Callable[[Floats], Floats]:
    """The graph up to the penultimate layer. Its gradients, which no TensorFlow of today imports, are cut off."""
    meta, reader = MetaGraphDef.FromString((folder / ".meta").read_bytes()), NewCheckpointReader(f"{folder}/")
    wanted = graph_util.extract_sub_graph(meta.graph_def, [PENULTIMATE])
    for node in wanted.node:
        if node.op == "RandomUniform":  # Of training alone; where a test has asked for determinism, it needs a seed.
            node.attr["seed"].i = 1
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(wanted, name="")
        session = Session()
        for node in wanted.node:
            if node.op == "VariableV2":
                variable = graph.get_tensor_by_name(f"{node.name}:0")
                session.run(tf.raw_ops.Assign(ref=variable, value=reader.get_tensor(node.name)))
    # The patches, and whether it is being trained.
    feeds = ("model/Placeholder:0", "model/Placeholder_2:0")
    return lambda given: np.asarray(session.run(f"{PENULTIMATE}:0", dict(zip(feeds, (given, False), strict=True))))
