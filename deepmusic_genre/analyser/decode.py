"""Sound files as samples, through FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer

RATE = 22050
"""Samples a second of everything that is analysed."""

MIN_SECONDS = 1.0
MAX_SECONDS = 3600.0

# Told by content, whatever the file is called. Playlists and the like, which make FFmpeg open other files and
# addresses, are not among them.
_CONTAINERS = "wav,w64,flac,ogg,mp3,mov,aac"
# What a file promises and what its packets hold differ a little: padding, an estimate from a variable bit rate.
_WHOLE = 0.9
# Floats may go beyond full scale, but 20 dB beyond it they are on another scale: that of 16 bits, mostly.
_MAX_SAMPLE = 10.0


class InvalidAudio(ValueError):
    """A sound that cannot be analysed; its message is the reason shown to the user."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A decoded sound.

    Attributes:
        samples: mono, float32 ``[samples]`` at :data:`RATE`, full scale at 1.
        title, artist: from the file's tags, empty where they say nothing.
    """

    samples: npt.NDArray[np.float32]
    title: str = ""
    artist: str = ""


def decode(file: BinaryIO) -> Audio:
    """Decodes the first audio stream of a file.

    Args:
        file: seekable; wav, flac, ogg, mp3, m4a or aac, told by content.

    Raises:
        InvalidAudio: it is no such file, or broken, or shorter than a second or longer than an hour. What says of
            itself that it is too long is not decoded, what does not, no further than that.
    """
    try:
        with av.open(file, "r", options={"format_whitelist": _CONTAINERS}, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise InvalidAudio("it holds no audio")
            stream = container.streams.audio[0]
            promised = _promised_seconds(container, stream)
            _refuse_longer(promised)
            samples = np.concatenate([np.zeros(0, np.float32), *_blocks(container, stream)])
            tags = {key.lower(): value for key, value in {**stream.metadata, **container.metadata}.items()}
    except av.error.FFmpegError as error:
        raise InvalidAudio(f"not audio, or broken: {error.strerror}") from error
    seconds = len(samples) / RATE
    if seconds < _WHOLE * promised:
        raise InvalidAudio(f"broken or truncated: {seconds:.1f} s of {promised:.1f} s can be decoded")
    if seconds < MIN_SECONDS:
        raise InvalidAudio(f"too short: {seconds:.2f} s; at least {MIN_SECONDS:g} s are needed")
    if not np.isfinite(samples).all():
        raise InvalidAudio("broken: some samples are no finite numbers")
    highest = np.abs(samples).max()
    if highest > _MAX_SAMPLE:
        raise InvalidAudio(f"on another scale: its samples reach {highest:,.6g} times full scale")
    return Audio(samples, tags.get("title", ""), tags.get("artist", ""))


def _promised_seconds(container: InputContainer, stream: AudioStream) -> float:
    """What the file says of its length, 0 where it says nothing."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _refuse_longer(seconds: float) -> None:
    if seconds > MAX_SECONDS:
        raise InvalidAudio(f"too long: {seconds:,.0f} s or more; at most {MAX_SECONDS:,.0f} s are read")


def _blocks(container: InputContainer, stream: AudioStream) -> Iterator[npt.NDArray[np.float32]]:
    """The stream's samples, mono at :data:`RATE`; a packet that cannot be decoded is passed over if few are."""
    mono = _Mono()
    packets = failed = samples = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            failed += 1
            continue
        for frame in frames:
            for block in mono.add(frame):
                samples += len(block)
                _refuse_longer(samples / RATE)
                yield block
    if failed > (1 - _WHOLE) * packets:
        raise InvalidAudio(f"broken: {failed:,} of {packets:,} packets cannot be decoded")
    yield from mono.end()


class _Mono:
    """The mean of the channels at :data:`RATE`.

    FFmpeg's own mono makes a sound in two channels 3 dB louder than the same sound in one.
    """

    def __init__(self) -> None:
        self._form: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None

    def add(self, frame: av.AudioFrame) -> list[npt.NDArray[np.float32]]:
        """The next samples; in recordings that were joined, rate and channels change on the way."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        ended = []
        if self._resampler is None or form != self._form:
            ended = self.end()
            self._form, self._resampler = form, av.AudioResampler("fltp", frame.layout, RATE)
        return ended + [_mean(block) for block in self._resampler.resample(frame)]

    def end(self) -> list[npt.NDArray[np.float32]]:
        """What the resampler still holds."""
        return [_mean(block) for block in self._resampler.resample(None)] if self._resampler else []


def _mean(block: av.AudioFrame) -> npt.NDArray[np.float32]:
    return np.asarray(block.to_ndarray().mean(axis=0), np.float32)
