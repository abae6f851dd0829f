"""Sound files as samples, through FFmpeg."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from deepmusic_genre.analyser import content as contents
from deepmusic_genre.analyser.mixing import Floats, Mix

RATE = 22050
"""Samples a second of everything that is analysed."""

MIN_SECONDS = 1.0
MAX_SECONDS = 3600.0

# Told by content, whatever the file is called. Playlists and the like, which make FFmpeg open other files and
# addresses, are not among them.
_CONTAINERS = (
    "wav,w64,aiff,au,caf,voc,sox,ircam,nistsphere,iff,dsf,flac,ogg,mp3,aac,loas,ac3,eac3,dts,dtshd,mlp,truehd,amr,mov,"
    "matroska,asf,xwma,ape,wv,tta,tak,mpc,mpc8,avi,mpeg,mpegts,flv,rm,nut,oma,aea,wtv,qoa"
)
# Nothing but the file itself is opened, whatever it asks for.
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": ""}
# The forms whose header says how long the sound is; of the others, FFmpeg estimates it.
_EXACT = {"wav", "w64", "aiff", "au", "flac", "mov", "matroska", "ape", "wv", "tta", "tak", "mpc", "mpc8", "flv"}
# The forms that are frames one after the other, between which anything may stand.
_FRAMES = ("mp3", "aac")
# Shares of a length, and seconds, by which what a header says and what its packets hold differ: padding, mostly.
_INEXACT, _INEXACT_SECONDS = 0.01, 0.5
_MAX_FAILED = 0.1
# Floats may go beyond full scale, but 20 dB beyond it they are on another scale, that of 16 bits mostly, or damaged.
_MAX_SAMPLE = 10.0
_MAX_DAMAGED = 0.001


class InvalidAudio(ValueError):
    """A sound that cannot be analysed; its message is the reason shown to the user."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A decoded sound.

    Attributes:
        samples: mono, float32 ``[samples]`` at :data:`RATE`, full scale at 1.
        rate: Samples a second in the file.
        notes: What was amiss with a file that could be read all the same. Each begins with its kind and a colon.
    """

    samples: npt.NDArray[np.float32]
    rate: int = RATE
    notes: tuple[str, ...] = ()


def decode(file: BinaryIO) -> Audio:
    """Decodes the first audio stream of a file, as far as it goes.

    The channels are mixed by their mean, or where they would cancel each other, by their mean with other signs.

    Args:
        file: in any form of :data:`_CONTAINERS`, told by content.

    Raises:
        InvalidAudio: it is no such file, or broken, or shorter than a second or longer than an hour. What says of
            itself that it is too long is not decoded, what does not, no further than that.
    """
    whole = file.read()
    if not whole:
        raise InvalidAudio("the file is empty: fetch it again")
    parts = contents.recordings(contents.beginning(whole))
    try:
        decoded = _decoded(parts, ())
        if signs := decoded.mix.better_signs():
            decoded = _decoded(parts, signs)
            decoded.notes.append("channels cancel: some are mixed with their sign turned")
    except av.error.FFmpegError as error:
        reason = contents.no_sound(whole) or f"not audio, or broken: {error.strerror}; try to convert it to FLAC"
        raise InvalidAudio(reason) from error
    samples = np.concatenate([np.zeros(0, np.float32), *decoded.blocks])
    decoded.blocks.clear()
    seconds = len(samples) / RATE
    if seconds < MIN_SECONDS:
        raise InvalidAudio(f"too short: {seconds:.2f} s; at least {MIN_SECONDS:g} s are needed")
    samples, clipped = _without_damage(samples)
    return Audio(samples, decoded.rate, (*decoded.notes, *clipped))


def container_tags(content: bytes) -> dict[str, str]:
    """The tags of a file as FFmpeg has them: one value a name.

    Raises:
        av.error.FFmpegError: FFmpeg cannot open the file.
    """
    with _opened(contents.beginning(content)) as container:
        streams = container.streams.audio
        return {**(streams[0].metadata if streams else {}), **container.metadata}


def packets_digest(content: bytes) -> str:
    """A hash of a file's encoded sound, equal for files that differ in nothing but their tags.

    Raises:
        av.error.FFmpegError: FFmpeg cannot open the file.
    """
    digest = hashlib.blake2b(digest_size=16)
    with _opened(contents.beginning(content)) as container:
        for stream in container.streams.audio[:1]:
            for packet in _packets(container, stream):
                digest.update(packet)
    return digest.hexdigest()


@dataclass(eq=False)
class _Decoded:
    """What comes out of a file.

    Attributes:
        mix: what made the blocks.
        blocks: mono samples at :data:`RATE`.
        rate: samples a second in that with the fewest.
    """

    mix: Mix
    blocks: list[Floats] = field(default_factory=list)
    samples: int = 0
    rate: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, blocks: Iterable[Floats]) -> None:
        for block in blocks:
            self.samples += len(block)
            _refuse_longer(self.samples / RATE)
            self.blocks.append(block)


def _decoded(parts: Sequence[bytes], signs: Sequence[Floats]) -> _Decoded:
    decoded = _Decoded(Mix(RATE, signs))
    for number, part in enumerate(parts):
        try:
            _decode_recording(part, decoded)
        except av.error.FFmpegError as error:
            if not number:
                raise
            decoded.notes.append(f"damaged: recording {number + 1} of {len(parts)} in it is left out, {error.strerror}")
    return decoded


def _decode_recording(content: bytes, decoded: _Decoded) -> None:
    before = decoded.samples
    with _opened(content) as container:
        if not container.streams.audio:
            raise InvalidAudio("it holds no audio")
        stream = container.streams.audio[0]
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            raise InvalidAudio("its codec is unknown to FFmpeg, or the file is protected: convert it to FLAC")
        form = container.format.name.partition(",")[0]
        promised = _promised_seconds(container, stream, form)
        _refuse_longer(before / RATE + promised)
        first = _decode_packets(container, stream, decoded)
        rate = stream.rate or RATE
        decoded.rate = min(decoded.rate or rate, rate)
    if form == "mp3" and first:
        promised = contents.noted_frames(content, first.pos or 0) * _seconds(first)
    decoded.notes += _early_end(content, form, (decoded.samples - before) / RATE, promised)


def _seconds(packet: Packet[AudioStream]) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))


def _opened(content: bytes) -> InputContainer:
    form = contents.form_behind_id3(content)
    container = av.open(io.BytesIO(content), "r", form, options=_OPTIONS, metadata_errors="replace")
    if container.format.name in _FRAMES:
        # Tags between frames look like damage.
        stripped = contents.without_inner_tags(content)
        if stripped is not content:
            container.close()
            return av.open(io.BytesIO(stripped), "r", form, options=_OPTIONS, metadata_errors="replace")
    return container


def _promised_seconds(container: InputContainer, stream: AudioStream, form: str) -> float:
    """What the file says of its length, 0 where it says nothing."""
    if form not in _EXACT:
        return 0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _refuse_longer(seconds: float) -> None:
    if seconds > MAX_SECONDS:
        raise InvalidAudio(f"too long: {seconds:,.0f} s or more; at most {MAX_SECONDS:,.0f} s are read")


def _decode_packets(container: InputContainer, stream: AudioStream, decoded: _Decoded) -> Packet[AudioStream] | None:
    """Adds a stream's samples to what is decoded.

    Packets in front of the first and behind the last that can be decoded are junk, or what is left of a packet. Of
    those in between, one that cannot be decoded is passed over if few are.

    Returns:
        The first packet that can be decoded, if any.
    """
    first = None
    good = failed = since = 0
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            since += 1
            continue
        if not frames:
            continue
        failed += since if first else 0
        first = first or packet
        good, since = good + 1, 0
        for frame in frames:
            decoded.add(decoded.mix.add(frame))
    decoded.add(decoded.mix.end())
    if not good and since:
        raise InvalidAudio("broken: nothing of it can be decoded; fetch it again")
    if failed > _MAX_FAILED * (good + failed):
        raise InvalidAudio(f"broken: {failed:,} of {good + failed:,} packets cannot be decoded")
    if failed:
        decoded.notes.append(f"damaged: {failed:,} of {good + failed:,} packets cannot be decoded and are left out")
    return first


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    """The stream's packets, up to where nothing more can be read."""
    first = True
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            if first:
                raise
            return
        if packet is None:
            return
        first = False
        yield packet


def _early_end(content: bytes, form: str, seconds: float, promised: float) -> list[str]:
    """A note if a recording ends before its sound does, as far as it says so."""
    noted_bytes = contents.noted_bytes(content)
    if noted_bytes > len(content):
        promised = max(promised, seconds * noted_bytes / len(content))
    if seconds < (1 - _INEXACT) * promised - _INEXACT_SECONDS:
        return [f"ends early: {seconds:,.1f} s of {promised:,.1f} s are there"]
    if form == "ogg" and contents.lacks_last_page(content):
        return [f"ends early: {seconds:,.1f} s are there, without the last page"]
    return []


def _without_damage(samples: Floats) -> tuple[Floats, list[str]]:
    """Samples with the few clipped that are far out, and a note if there are any."""
    size = np.abs(samples)
    if size.max() <= _MAX_SAMPLE:
        return samples, []
    damaged = ~(size <= _MAX_SAMPLE)
    count = int(damaged.sum())
    if count > _MAX_DAMAGED * len(samples):
        if not np.isfinite(samples).all():
            raise InvalidAudio("broken: some samples are no finite numbers")
        raise InvalidAudio(
            f"on another scale: its samples reach {size.max():,.6g} times full scale. Convert it to 16 bits, or divide"
        )
    note = f"damaged samples: {count:,} of {len(samples):,} are no sound, and are clipped"
    return np.clip(np.nan_to_num(samples, nan=0), -1, 1), [note]
