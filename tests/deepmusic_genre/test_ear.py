"""What the pretrained network hears: its weights, the network, what it is given, and where its values are kept."""

import hashlib
import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.track_example_gen.catalogue import content_digest
from components.track_example_gen.driver import FingerprintDriver
from components.track_example_gen.hearing import hears
from components.track_example_gen.ingest import IngestConfig, read_files
from components.track_example_gen.progress import Moments
from components.track_example_gen.spans import Span
from components.track_example_gen.store import plan_shards
from deepmusic_genre.analyser.analysis import analyse
from deepmusic_genre.analyser.decode import RATE
from deepmusic_genre.analyser.ear import checkpoint, weights
from deepmusic_genre.analyser.ear.embedding import embedding
from deepmusic_genre.analyser.ear.network import Network
from deepmusic_genre.analyser.ear.patches import BANDS, MAX_PATCHES, patches
from deepmusic_genre.analyser.spectra import Floats
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.track import N_EAR, Rejection, Track, Unreadable
from tests.deepmusic_genre.test_audio_source import kept, sound

pytestmark = pytest.mark.fast

CHECKPOINT_BYTES = 9_465_596
"""Those of ``MSD_musicnn``."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPMUSIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def made_weights(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the network's shapes, drawn from a seed, where those of the real one are kept."""
    values = np.random.default_rng(1).uniform(0.001, 0.05, CHECKPOINT_BYTES // 4).astype("<f4")
    file = cache / "weights" / weights._FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(values.tobytes())
    monkeypatch.setattr(weights, "_CHECKPOINT_SHA256", hashlib.sha256(values.tobytes()).hexdigest())
    return file


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """The address of a package index that serves a folder of folders of files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def noise(seconds: float, level: float = 0.1) -> Floats:
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE)).astype(np.float32)


# The weights


def test_a_wheel_with_another_hash_is_not_taken(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index" / "musicnn").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "index" / "musicnn" / "musicnn-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("musicnn-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: musicnn\nVersion: 0.1.0\n")
        wheel.writestr("musicnn/MSD_musicnn/.data-00000-of-00001", bytes(CHECKPOINT_BYTES))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with index(tmp_path / "index") as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        with pytest.raises(weights.NoWeights, match=r"what the package index calls musicnn==0\.1\.0 is another file"):
            weights.network()
    assert "GET /musicnn/musicnn-0.1.0-py3-none-any.whl" in capfd.readouterr().err
    assert not cache.exists()


def _no_answer(_folder: Path) -> Path:
    raise weights.NoWeights("no answer")


def test_without_an_index_it_is_said_why_and_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, made_weights: Path
) -> None:
    made_weights.write_bytes(made_weights.read_bytes()[:-4])  # A damaged one is none.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(weights.NoWeights, match=r"^pip: No matching distribution found for musicnn==0\.1\.0$"):
        weights.network()
    monkeypatch.setattr(weights, "_download", lambda _folder: pytest.fail("it is asked again"))
    with pytest.raises(weights.NoWeights, match=r"^pip: No matching"):
        weights.network()
    monkeypatch.setattr(weights, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(weights, "_download", _no_answer)
    with pytest.raises(weights.NoWeights, match="no answer"):
        weights.network()


def test_without_pip_it_is_said(no_pip: None) -> None:
    with pytest.raises(weights.NoWeights, match="there is no pip to fetch it with"):
        weights.network()


def test_tensors_stand_in_the_file_by_their_names() -> None:
    values = np.arange(CHECKPOINT_BYTES // 4, dtype="<f4")
    found = checkpoint.tensors(values.tobytes())
    assert list(found) == sorted(found)
    assert sum(tensor.nbytes for tensor in found.values()) == CHECKPOINT_BYTES
    assert found["batch_normalization/beta"] == 0
    assert found["dense_1/kernel/Adam_1"].shape == (200, 50)
    assert found["dense_1/kernel/Adam_1"][-1, -1] == values[-1]


# The network


def test_a_convolution_is_tensorflows(made_weights: Path) -> None:
    # Small enough that TensorFlow's sums and ours differ by nothing that counts; normalized the wrong way round, too.
    tensors = checkpoint.tensors(np.random.default_rng(2).normal(0, 0.1, CHECKPOINT_BYTES // 4).astype("<f4").tobytes())
    tensors = {name: np.abs(value) if "variance" in name else value for name, value in tensors.items()}
    values = np.random.default_rng(3).random((187, BANDS), np.float32)
    for number, convolution in enumerate(Network(tensors)._front):
        name, normalized = checkpoint.layer("conv2d", number), checkpoint.layer("batch_normalization", number + 1)
        kernel = tensors[f"{name}/kernel"]
        padding = [[0, 0], [(len(kernel) - 1) // 2, len(kernel) // 2], [0, 0], [0, 0]]
        sums = tf.nn.conv2d(values[np.newaxis, :, :, np.newaxis], kernel, 1, padding)
        activated = tf.nn.relu(tf.nn.bias_add(sums, tensors[f"{name}/bias"]))
        parts = (tensors[f"{normalized}/{part}"] for part in ("moving_mean", "moving_variance", "beta", "gamma"))
        expected = tf.reduce_max(tf.nn.batch_normalization(activated, *parts, 0.001), axis=2)[0]
        np.testing.assert_allclose(convolution(values), expected, atol=1e-4, rtol=1e-4)


# What it is given


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(1, 1), (3, 1), (4, 2), (12, 4), (30, 10), (99, MAX_PATCHES)],
    ids=lambda each: f"{each}",
)
def test_patches_are_spread_over_the_sound(seconds: float, count: int) -> None:
    found = list(patches(noise(seconds)))
    assert [patch.shape for patch in found] == [(187, BANDS)] * count
    assert all(np.isfinite(patch).all() and patch.min() >= 0 for patch in found)


def test_patches_are_the_middles_of_equal_parts() -> None:
    samples = np.zeros(60 * RATE, np.float32)
    for part in range(MAX_PATCHES):
        samples[(5 * part + 2) * RATE : (5 * part + 3) * RATE] = (part + 1) * noise(1, 0.01)
    loudness = [patch.max() for patch in patches(samples)]
    assert len(loudness) == MAX_PATCHES
    assert loudness[0] > 0
    assert loudness == sorted(loudness)


def test_a_short_sound_is_repeated() -> None:
    (patch,) = patches(noise(1))
    frames = next(count for count in range(1, 187) if np.array_equal(patch[count:], patch[:-count]))
    assert frames == (16000 - 512) // 256 + 1


def test_a_tone_is_in_its_band() -> None:
    # Slaney's scale has 1,000 Hz at 15 of 45.2456 mel, which 97 steps divide.
    step = (15 + np.log(8) * 27 / np.log(6.4)) / 97
    hertz = 1000 * np.exp((40 * step - 15) * np.log(6.4) / 27)
    (patch,) = patches((0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)).astype(np.float32))
    assert set(patch.argmax(axis=1)) == {39}


def test_power_is_on_the_scale_that_the_network_was_trained_on() -> None:
    # Of white noise, a line's mean power is the variance times the window's sum of squares, and a band's weights sum to
    # one over the distance of two lines, 31.25 Hz. What was above 8,000 Hz is gone.
    (patch,) = patches(noise(2, 0.1))
    power = (10.0**patch - 1) / 10_000
    assert power[:, 60:90].mean() == pytest.approx(0.1**2 * 16000 / RATE * 192 / 31.25, rel=0.1)


def test_loud_and_quiet_sounds_have_finite_values(made_weights: Path) -> None:
    network = weights.network()
    for level in (1e-6, 10):
        values = embedding(noise(4, level), network)
        assert values.shape == (N_EAR,)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values[200:].any()
    assert not embedding(noise(1), network)[200:].any()


@pytest.mark.parametrize(("rate", "channels", "level"), [(8000, 1, 0.1), (48000, 6, 0.1), (22050, 1, np.nan)])
def test_sound_of_any_form_has_finite_values(made_weights: Path, rate: int, channels: int, level: float) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (4 * rate, channels)).astype("<f4")
    samples[rate] = level
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, channels, rate, 4 * channels * rate, 4 * channels, 32)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", samples.nbytes) + samples.tobytes()
    analysis = analyse(io.BytesIO(struct.pack("<4sI", b"RIFF", len(body)) + body), pretrained=True)
    assert analysis.ear is not None
    assert np.isfinite(analysis.ear).all()
    assert [note.partition(":")[0] for note in analysis.notes if "damaged" in note] == (
        ["damaged samples"] if np.isnan(level) else []
    )


# Where its values are kept


def one(content: bytes, pretrained: bool, path: str = "a.wav") -> Track | Rejection:
    (item,) = read(path, io.BytesIO(content), pretrained=pretrained)
    return item


def test_a_track_has_an_ear_where_one_is_asked_for(made_weights: Path) -> None:
    asked = one(sound(1), pretrained=True)
    assert isinstance(asked, Track)
    assert asked.ear is not None
    expected = analyse(io.BytesIO(sound(1)), pretrained=True).ear
    assert expected is not None
    np.testing.assert_allclose(asked.ear, expected, atol=1e-4)
    again, without = one(sound(1), pretrained=True), one(sound(1), pretrained=False)
    assert isinstance(again, Track)
    assert isinstance(without, Track)
    assert again.ear is not None
    assert np.array_equal(again.ear, asked.ear)
    assert without.ear is None
    assert without.content_digest() == asked.content_digest()


def test_an_analysis_without_an_ear_is_made_again_where_one_is_asked_for(cache: Path, made_weights: Path) -> None:
    one(sound(1), pretrained=False)
    (file,) = kept(cache)
    without = file.read_bytes()
    track = one(sound(1), pretrained=True)
    assert isinstance(track, Track)
    assert track.ear is not None
    assert kept(cache) == [file]
    within = file.read_bytes()
    assert within != without
    one(sound(1), pretrained=False)
    assert file.read_bytes() == within


def test_what_cannot_be_analysed_stays_so(made_weights: Path) -> None:
    silent = sound(1)[:44] + bytes(2 * 3 * RATE)
    for pretrained in (False, True):
        rejection = one(silent, pretrained)
        assert isinstance(rejection, Rejection)
        assert rejection.reason == "silent"


def test_sound_that_is_to_be_heard_and_cannot_be_is_unreadable(no_pip: None) -> None:
    item = one(sound(1), pretrained=True)
    assert isinstance(item, Unreadable)
    reason = "there is no pip to fetch it with"
    assert item.reason == f"the pretrained network that it is asked of cannot be had: {reason}"


def test_sound_in_archives_is_heard(made_weights: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Jazz/x.wav", sound(1))
    (tmp_path / "b.wav").write_bytes(sound(2))
    items = list(read_files([str(tmp_path / "a.zip"), str(tmp_path / "b.wav")], None, True))
    assert [isinstance(item, Track) and item.ear is not None for item in items] == [True, True]


# Where there is sound in a catalogue, and a network


@pytest.mark.parametrize("name", ["a.json", "a.zip", "a.tar.gz", "damaged.zip"])
def test_nobody_asks_for_the_network_where_there_is_no_sound(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_network", lambda _file: pytest.fail("it is asked for"))
    assert not hears("auto", [write(tmp_path / name, "x.json", b"{}")])


@pytest.mark.parametrize("name", ["a.wav", "a.zip", "a.tar.gz"])
def test_sound_is_heard_if_the_network_can_be_had(name: str, tmp_path: Path, made_weights: Path) -> None:
    path = write(tmp_path / name, "x.wav", sound(1))
    assert hears("auto", [path])
    assert not hears("off", [path])


def test_a_line_says_that_the_network_cannot_be_had(
    tmp_path: Path, no_pip: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert not hears("auto", [write(tmp_path / "a.wav", "", sound(1))])
    assert [record.getMessage() for record in caplog.records] == [
        "sound is analysed without the pretrained network, which cannot be had: there is no pip to fetch it with;"
        " analyser.pretrained=off does not ask for it"
    ]


def test_the_cache_key_says_whether_sound_is_heard(tmp_path: Path, made_weights: Path, no_pip: None) -> None:
    write(tmp_path / "data" / "Jazz" / "a.wav", "", sound(1))
    properties = {"data": str(tmp_path / "data"), "labels": None}
    found = [
        FingerprintDriver(None).resolve_exec_properties({**properties, "pretrained": setting}, None, None)["pretrained"]
        for setting in ("auto", "off")
    ]
    assert found == ["auto", "off"]
    made_weights.unlink()
    weights._network.cache_clear()
    resolved = FingerprintDriver(None).resolve_exec_properties({**properties, "pretrained": "auto"}, None, None)
    assert resolved["pretrained"] == "off"


def test_shards_of_sound_that_was_heard_are_others(tmp_path: Path) -> None:
    write(tmp_path / "data" / "Jazz" / "a.wav", "", sound(1))
    spans = [Span(0, str(tmp_path / "data"), None)]
    config = IngestConfig(("Jazz",), None, (), None, "drop")
    (heard,), (unheard,) = (
        plan_shards(spans, replace(config, pretrained=each), "v1", partial(content_digest, moments=Moments()))
        for each in (True, False)
    )
    assert heard.key != unheard.key


def write(path: Path, member: str, content: bytes) -> str:
    """Writes a file, or by its name an archive of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, content)
    elif path.name == "a.tar.gz":
        with tarfile.open(path, "w:gz") as tar:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    else:
        path.write_bytes(content)
    return str(path)
