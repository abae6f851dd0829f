"""What the audio analyser makes of sounds whose truth is known."""

import io
import json
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.stream import AudioStream
from scipy import signal
from scipy.io import wavfile

from deepmusic_genre.analyser import decode as decoding
from deepmusic_genre.analyser.analysis import Analysis, analyse, analyse_samples, analyser_name
from deepmusic_genre.analyser.decode import RATE, InvalidAudio, decode
from deepmusic_genre.analyser.fit import collect, fit
from deepmusic_genre.analyser.segmentation import boundaries
from deepmusic_genre.analyser.spectra import HOP, band_power
from deepmusic_genre.analyser.synthesis import synthetic_pieces
from deepmusic_genre.analyser.timbre import BASIS_FILE, SHAPE, load_basis

Samples = npt.NDArray[np.float32]
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
BRIGHTNESS = 1


def tone(hertz: float, seconds: float = 2.0, level: float = 0.5) -> Samples:
    time = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float = 3.0, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype(np.float32)


def encoded(
    samples: Samples, form: str = "wav", codec: str = "pcm_s16le", rate: int = RATE, layout: str = "mono"
) -> bytes:
    """A sound file; the samples are those of every channel."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=rate, layout=layout))
        channels = 2 if layout == "stereo" else 1
        frame = av.AudioFrame.from_ndarray(np.repeat(samples[np.newaxis], channels, axis=0), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def empty_wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
    return file.getvalue()


def analysed(samples: Samples) -> Analysis:
    return Analysis(*analyse_samples(samples))


@pytest.mark.parametrize("octave", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("pitch", range(12), ids=PITCHES)
def test_a_pure_tone_is_its_pitch_class(pitch: int, octave: int) -> None:
    found = analysed(tone(440 * 2 ** ((pitch - 9) / 12 + octave - 4)))
    assert (found.pitches.argmax(axis=1) == pitch).all()
    assert (found.pitches.max(axis=1) == 1).all()


def test_a_chord_is_its_three_pitches() -> None:
    chord = tone(261.63, level=0.2) + tone(329.63, level=0.2) + tone(392.0, level=0.2)
    strongest = np.argsort(analysed(chord).pitches.mean(axis=0))[-3:]
    assert {PITCHES[index] for index in strongest} == {"C", "E", "G"}


def test_white_noise_is_bright_and_of_no_pitch() -> None:
    white, plain = analysed(noise()), analysed(tone(220))
    assert white.pitches.mean(axis=0).min() > 0.7
    assert plain.pitches.mean(axis=0).min() < 0.1
    assert white.timbre[:, BRIGHTNESS].mean() > plain.timbre[:, BRIGHTNESS].mean() + 50


def test_segments_begin_at_clicks() -> None:
    samples = noise(10, level=1e-4)
    times = np.array([0.5, 1.1, 1.5, 2.75, 3.0, 4.2, 5.9, 7.0, 8.25, 9.3])
    for start in (times * RATE).astype(int):
        samples[start : start + 220] += np.linspace(0.8, 0, 220, dtype=np.float32)
    starts = boundaries(band_power(samples))[:-1] * HOP / RATE
    assert all(np.abs(starts - time).min() < 0.03 for time in times)


def test_segments_fill_the_sound_and_last_two_seconds_at_most() -> None:
    found = analysed(np.concatenate([tone(330, 7.3), noise(4)]))
    assert found.durations.sum() == pytest.approx(found.duration)
    assert found.durations.max() < 2.02
    assert found.durations.min() > 0.05


def test_a_louder_sound_differs_in_loudness_alone() -> None:
    (piece,) = synthetic_pieces(1, 10, seed=5)
    piece /= np.abs(piece).max()
    soft, loud = analysed(piece * np.float32(0.1)), analysed(piece)
    np.testing.assert_allclose(soft.durations, loud.durations)
    heard = soft.timbre[:, 0] > 20
    assert heard.mean() > 0.5
    np.testing.assert_allclose((loud.timbre - soft.timbre)[heard, 0], 20, atol=0.1)
    np.testing.assert_allclose(soft.pitches[heard], loud.pitches[heard], atol=1e-3)
    spread = loud.timbre[heard, 1:].std(axis=0)
    assert (np.abs(loud.timbre - soft.timbre)[heard, 1:].mean(axis=0) < 0.05 * spread).all()


def test_full_scale_has_a_loudness_of_60() -> None:
    assert analysed(tone(1000, level=1.0)).timbre[:, 0].mean() == pytest.approx(60, abs=0.5)


def test_silence_within_a_sound_has_neither_timbre_nor_pitches() -> None:
    found = analysed(np.concatenate([tone(440, 2), np.zeros(4 * RATE, np.float32), tone(440, 2)]))
    silent = found.timbre[:, 0] == 0
    assert silent.any()
    assert not found.timbre[silent].any()
    assert not found.pitches[silent].any()


@pytest.mark.parametrize("samples", [np.zeros(3 * RATE, np.float32), noise(level=1e-6)], ids=["zeros", "dither"])
def test_silence_is_rejected(samples: Samples) -> None:
    with pytest.raises(InvalidAudio, match="silent"):
        analyse_samples(samples)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 44100),
        ("flac", "flac", 44100),
        ("ogg", "libopus", 48000),
        ("mp3", "libmp3lame", 44100),
        ("mp4", "aac", 44100),
    ],
)
def test_every_form_of_a_sound_has_its_pitches(form: str, codec: str, rate: int) -> None:
    time = np.arange(3 * rate) / rate
    samples = (0.5 * np.sin(2 * np.pi * 293.66 * time)).astype(np.float32)
    for layout in ("mono", "stereo"):
        found = analyse(io.BytesIO(encoded(samples, form, codec, rate, layout)))
        loud = found.timbre[:, 0] > 30
        assert loud.any()
        assert {PITCHES[index] for index in found.pitches[loud].argmax(axis=1)} == {"D"}
        assert found.duration == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("rate", "layout"), [(RATE, "stereo"), (2 * RATE, "mono"), (2 * RATE, "stereo")])
def test_channels_and_rate_leave_the_values_alone(rate: int, layout: str) -> None:
    (piece,) = synthetic_pieces(1, 10, seed=5)
    piece *= np.float32(0.9 / np.abs(piece).max())
    plain = analyse(io.BytesIO(encoded(piece)))
    samples = signal.resample_poly(piece, rate // RATE, 1).astype(np.float32)
    other = analyse(io.BytesIO(encoded(samples, rate=rate, layout=layout)))
    np.testing.assert_allclose(other.durations, plain.durations)
    assert (np.abs(other.timbre - plain.timbre).mean(axis=0) < 0.1).all()
    np.testing.assert_allclose(other.pitches, plain.pitches, atol=1e-3)


@pytest.mark.parametrize(
    ("form", "codec", "layout"),
    [("ogg", "flac", "stereo"), ("mp3", "libmp3lame", "mono")],
    ids=["another rate and channels", "another rate"],
)
def test_recordings_that_were_joined_are_read_to_the_end(form: str, codec: str, layout: str) -> None:
    first, second = encoded(tone(440, 6), form, codec, 44100), encoded(tone(440, 3), form, codec, RATE, layout)
    audio = decode(io.BytesIO(first + second))
    assert len(audio.samples) / RATE == pytest.approx(6, abs=0.3)


def test_equal_bytes_give_equal_values() -> None:
    (piece,) = synthetic_pieces(1, 5, seed=1)
    content = encoded(piece)
    one, other = analyse(io.BytesIO(content)), analyse(io.BytesIO(content))
    assert one.timbre.tobytes() == other.timbre.tobytes()
    assert one.pitches.tobytes() == other.pitches.tobytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.random.default_rng(0).bytes(50_000), "not audio"),
        (empty_wav(), "too short: 0.00 s"),
        (encoded(tone(440, 0.5)), "too short: 0.50 s"),
    ],
    ids=["random", "0 s", "half a second"],
)
def test_what_is_no_sound_is_rejected_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidAudio, match=reason):
        decode(io.BytesIO(content))


@pytest.mark.parametrize("factor", [32768, 1e20], ids=["the scale of 16 bits", "absurd"])
def test_samples_on_another_scale_are_rejected(factor: float) -> None:
    file = io.BytesIO()
    wavfile.write(file, RATE, tone(440) * np.float32(factor))
    with pytest.raises(InvalidAudio, match="times full scale"):
        decode(file)


def test_what_says_that_it_lasts_for_ten_hours_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(encoded(tone(440, 2), "flac", "flac"))
    # The total of samples: 36 bits that end where the MD5 of the samples begins, at byte 26 of the file.
    content[22:26] = (10 * 3600 * RATE).to_bytes(4, "big")
    monkeypatch.delattr(decoding, "_decode_packets")
    with pytest.raises(InvalidAudio, match="too long: 36,000 s"):
        decode(io.BytesIO(bytes(content)))


def test_what_does_not_say_how_long_it_is_is_decoded_no_further_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_SECONDS", 5.0)
    content = bytearray(encoded(tone(440, 60), "flac", "flac"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    with pytest.raises(InvalidAudio, match="too long: 5 s"):
        decode(io.BytesIO(bytes(content)))


def test_the_shipped_basis_is_orthonormal_and_named() -> None:
    basis = load_basis()
    assert analyser_name() == basis.name == "deepmusic-1"
    assert basis.components.shape == (11, SHAPE)
    np.testing.assert_allclose(basis.components @ basis.components.T, np.eye(11), atol=2e-3)
    assert BASIS_FILE.stat().st_size < 100_000


@pytest.mark.slow
def test_a_refit_to_other_sound_has_a_name_of_its_own() -> None:
    shapes = collect(synthetic_pieces(12, 8, seed=3))
    assert len(shapes) > SHAPE
    made, other = fit(shapes, "made sound", own=True), fit(shapes, "other sound", own=False)
    assert made["components"] == other["components"]
    assert made["name"] == "deepmusic-1"
    assert other["name"].startswith("deepmusic-1-")
    assert fit(shapes[:-1], "other sound", own=False)["name"] != other["name"]
    assert len(json.dumps(made)) < 100_000


@pytest.mark.slow
def test_the_first_axis_is_brightness_however_it_was_found() -> None:
    components = np.array(fit(collect(synthetic_pieces(12, 8, seed=3)), "made sound", own=True)["components"])
    by_band: Sequence[float] = components[0].reshape(4, -1).sum(axis=0)
    assert np.mean(by_band[16:]) > np.mean(by_band[:16])


@pytest.mark.real_data
def test_real_clips_are_read(real_data: Path) -> None:
    clips = sorted((real_data / "audio").glob("*/*.opus"))[::40]
    for clip in clips:
        with clip.open("rb") as file:
            found = analyse(file)
        assert found.duration == pytest.approx(30, abs=2)
        assert 1.5 < len(found.durations) / found.duration < 8
