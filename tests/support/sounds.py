"""Sound files in many forms, made by FFmpeg."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

Samples = npt.NDArray[np.float32]
SECONDS = 6
COMMON = 44100


def music(seed: int = 0, rate: int = COMMON, seconds: float = SECONDS) -> Samples:
    """Some notes that die away, in one channel."""
    time = np.arange(int(seconds * rate)) / rate
    notes = 220 * 2 ** (np.random.default_rng(seed).integers(0, 24, 8) / 12)
    return (0.4 * np.sin(2 * np.pi * notes[(time * 2).astype(int) % 8] * time) * (1 - time * 2 % 1)).astype(np.float32)


def encoded(
    channels: Sequence[Samples], form: str = "wav", codec: str = "pcm_s16le", rate: int = COMMON, xing: bool = True
) -> bytes:
    """A sound file with these channels."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    file = io.BytesIO()
    options = {} if xing else {"write_xing": "0", "id3v2_version": "0"}
    with av.open(file, "w", format=form, options=options) as container:
        # A variable bit rate, of this quality.
        variable = {"flags": "+qscale", "global_quality": "236"} if codec == "libmp3lame" else {}
        stream = cast(AudioStream, container.add_stream(codec, rate=rate, layout=layout, options=variable))
        if codec == "wmav2":
            stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels, np.float32), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


FORMS = {
    "wav": ("wav", "pcm_s16le", COMMON),
    "w64": ("w64", "pcm_s16le", COMMON),
    "flac": ("flac", "flac", COMMON),
    "ogg": ("ogg", "flac", COMMON),
    "opus": ("ogg", "libopus", 48000),
    "mp3": ("mp3", "libmp3lame", COMMON),
    "mp4": ("mp4", "aac", COMMON),
    "aac": ("adts", "aac", COMMON),
    "aiff": ("aiff", "pcm_s16be", COMMON),
    "au": ("au", "pcm_s16be", COMMON),
    "wma": ("asf", "wmav2", COMMON),
    "webm": ("webm", "libopus", 48000),
    "mka": ("matroska", "flac", COMMON),
    "wv": ("wv", "wavpack", COMMON),
    "tta": ("tta", "tta", COMMON),
    "caf": ("caf", "pcm_s16be", COMMON),
    "ac3": ("ac3", "ac3", 48000),
    "avi": ("avi", "pcm_s16le", COMMON),
}


def of_form(form: str) -> bytes:
    container, codec, rate = FORMS[form]
    return encoded([music(rate=rate)] * 2, container, codec, rate)


def id3(size: int) -> bytes:
    """A tag with a cover."""
    picture = b"\0image/jpeg\0\3\0" + np.random.default_rng(1).bytes(size)
    frame = b"APIC" + len(picture).to_bytes(4, "big") + bytes(2) + picture
    length = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + frame
