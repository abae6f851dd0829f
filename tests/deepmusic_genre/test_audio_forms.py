"""Sound files as people have them: in many forms, with tags, cut short, with channels that cancel, damaged."""

import io
import math
import re

import av
import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import wavfile

from deepmusic_genre.analyser.analysis import Analysis, analyse
from deepmusic_genre.analyser.decode import RATE, InvalidAudio, decode
from tests.support.sounds import COMMON, FORMS, SECONDS, Samples, encoded, id3, music, of_form

pytestmark = pytest.mark.fast

ID3V1 = b"TAG" + bytes(125)


def heard(content: bytes) -> Analysis:
    return analyse(io.BytesIO(content))


def ape(size: int, header: bool = True) -> bytes:
    """An APE tag with a cover."""
    value = b"cover.jpg\0" + np.random.default_rng(2).bytes(size)
    item = len(value).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"Cover Art (Front)\0" + value
    ends = [
        b"APETAGEX"
        + (2000).to_bytes(4, "little")
        + (len(item) + 32).to_bytes(4, "little")
        + (1).to_bytes(4, "little")
        # The highest bit says that there is a header, the third that it is this.
        + flags.to_bytes(4, "little")
        + bytes(8)
        for flags in (0xA0000000, 0x80000000 if header else 0)
    ]
    return (ends[0] if header else b"") + item + ends[1]


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_file_in_any_form_is_read_without_a_note(form: str) -> None:
    found = heard(of_form(form))
    assert found.duration == pytest.approx(SECONDS, abs=0.1)
    assert found.notes == ()


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"mp4", "aac", "ac3", "caf"}))
def test_a_file_that_ends_early_is_read_as_far_as_it_goes_and_a_note_says_so(form: str) -> None:
    content = of_form(form)
    audio = decode(io.BytesIO(content[: len(content) // 2]))
    assert len(audio.samples) / RATE == pytest.approx(SECONDS / 2, abs=1.2)
    (note,) = [note for note in audio.notes if note.startswith("ends early: ")]
    assert f"{len(audio.samples) / RATE:.1f} s" in note


def test_an_mp4_without_its_index_is_rejected_as_that() -> None:
    content = of_form("mp4")
    with pytest.raises(InvalidAudio, match=r"^cut short: an MP4 file without its index.*Fetch it again"):
        decode(io.BytesIO(content[: len(content) // 2]))


def quiet_start(xing: bool) -> bytes:
    """Its first frames have a lower bit rate than the others, so that an estimate of its length is much too high."""
    noise = np.random.default_rng(3).standard_normal(4 * COMMON).astype(np.float32) * np.float32(0.1)
    return encoded([np.concatenate([np.zeros(2 * COMMON, np.float32), noise])] * 2, "mp3", "libmp3lame", xing=xing)


def test_an_mp3_of_variable_bit_rate_needs_no_header_that_says_its_length() -> None:
    with av.open(io.BytesIO(quiet_start(xing=False)), "r") as container:
        assert container.duration is not None
        assert container.duration > 12e6  # Of six seconds.
    plain, noted = heard(quiet_start(xing=False)), heard(quiet_start(xing=True))
    assert plain.notes == noted.notes == ()
    assert plain.duration == pytest.approx(noted.duration, abs=0.1)
    assert plain.timbre[:, 0].max() == pytest.approx(noted.timbre[:, 0].max(), abs=0.5)


MP3 = encoded([music()] * 2, "mp3", "libmp3lame", xing=False)


@pytest.mark.parametrize(
    ("content", "times"),
    [
        (bytes(2_000_000) + MP3, 1),
        (np.random.default_rng(4).bytes(3000) + MP3, 1),
        (id3(20_000_000) + MP3, 1),
        (id3(1000) + id3(1000) + MP3, 1),
        (ape(2_000_000) + MP3, 1),
        (MP3 + ape(2_000_000) + ID3V1, 1),
        (MP3 + ape(2_000_000, header=False), 1),
        (MP3 + id3(500_000) + MP3, 2),
        (MP3 + ape(500_000) + MP3 + ID3V1, 2),
        (MP3 + bytes(500_000), 1),
        (id3(20_000_000) + of_form("flac"), 1),
        (id3(20_000_000) + of_form("aac"), 1),
        (id3(200_000) + of_form("wav"), 1),
        (of_form("aac") + ape(500_000) + ID3V1, 1),
    ],
    ids=[
        *("zeros in front", "junk in front", "20 MB of cover", "two tags in front", "APE in front", "APE behind"),
        *("APE without header", "ID3 between", "APE between", "zeros behind", "ID3 and FLAC", "ID3 and AAC"),
        *("ID3 and WAV", "AAC and APE"),
    ],
)
def test_tags_and_junk_around_the_sound_leave_it_whole(content: bytes, times: int) -> None:
    audio = decode(io.BytesIO(content))
    assert len(audio.samples) / RATE == pytest.approx(times * SECONDS, abs=0.2)
    assert audio.notes == ()


def test_what_is_like_a_tag_but_longer_than_the_file_hides_no_sound() -> None:
    false = b"ID3\3\0\0" + bytes([0x7F] * 4)
    assert len(decode(io.BytesIO(MP3 + false + MP3)).samples) / RATE == pytest.approx(2 * SECONDS, abs=0.2)


def test_a_file_of_which_much_is_damaged_is_rejected_and_one_with_little_damage_has_a_note() -> None:
    content = bytearray(of_form("aac"))
    frames = [found.start() for found in re.finditer(re.escape(bytes(content[:3])), content)][1:-1]
    for start in frames[::5]:
        content[start + 7 : start + 40] = b"\xff" * 33
    with pytest.raises(InvalidAudio, match=r"^broken: \d+ of \d+ packets cannot be decoded"):
        decode(io.BytesIO(bytes(content)))
    content = bytearray(of_form("aac"))
    content[frames[9] + 7 : frames[9] + 40] = b"\xff" * 33
    (note,) = decode(io.BytesIO(bytes(content))).notes
    assert re.fullmatch(r"damaged: 1 of \d+ packets cannot be decoded and are left out", note)


def plain_mean(content: bytes) -> Samples:
    """The mean of the channels, frame by frame: what an ordinary file has always been read as."""
    blocks = []
    with av.open(io.BytesIO(content), "r") as container:
        resampler = None
        for frame in container.decode(audio=0):
            resampler = resampler or av.AudioResampler("fltp", frame.layout, RATE)
            blocks += [block.to_ndarray().mean(axis=0) for block in resampler.resample(frame)]
        assert resampler is not None
        blocks += [block.to_ndarray().mean(axis=0) for block in resampler.resample(None)]
    return np.concatenate(blocks)


def wide(share: float) -> list[Samples]:
    """Two channels that have this share in common."""
    one, other = music(1), music(2)
    return [one, np.float32(share) * one + np.float32(1 - share) * other]


@pytest.mark.parametrize(
    "channels",
    [[music()], [music()] * 2, wide(0.7), wide(0.0), [music(), 0 * music()], [music(seed) for seed in range(6)]],
    ids=["mono", "equal", "stereo", "nothing in common", "one side", "5.1"],
)
@pytest.mark.parametrize("form", ["wav", "flac", "mp3"])
def test_ordinary_channels_are_mixed_bit_for_bit_as_ever(form: str, channels: list[Samples]) -> None:
    if form == "mp3" and len(channels) == 6:
        pytest.skip("no such MP3")
    container, codec, rate = FORMS[form]
    content = encoded(channels, container, codec, rate)
    audio = decode(io.BytesIO(content))
    assert audio.notes == ()
    assert audio.samples.tobytes() == plain_mean(content).tobytes()


@pytest.mark.parametrize("right", [-1.0, -0.97, -0.7])
@pytest.mark.parametrize("form", ["flac", "mp3"])
def test_a_channel_that_is_the_other_inverted_does_not_cancel_it(form: str, right: float) -> None:
    container, codec, rate = FORMS[form]
    left, other = music(), np.float32(abs(right)) * music()
    upright = heard(encoded([left, other], container, codec, rate))
    inverted = heard(encoded([left, -other], container, codec, rate))
    assert inverted.notes == ("channels cancel: some are mixed with their sign turned",)
    assert upright.notes == ()
    # Lossy coding is not the same for both.
    assert inverted.timbre[:, 0].max() == pytest.approx(upright.timbre[:, 0].max(), abs=0.1)
    if form == "flac":
        np.testing.assert_allclose(inverted.timbre, upright.timbre, atol=0.05)


def test_what_channels_have_in_common_is_kept_where_one_is_inverted() -> None:
    one, other = wide(0.8)
    with_inverted = heard(encoded([one, -other], "flac", "flac"))
    np.testing.assert_allclose(with_inverted.timbre, heard(encoded([one, other], "flac", "flac")).timbre, atol=0.05)


def test_inverted_channels_among_six_do_not_cancel_the_others() -> None:
    found = heard(encoded([music() * np.float32(sign) for sign in (1, -1, 1, -1, 1, -1)], "flac", "flac"))
    np.testing.assert_allclose(found.timbre, heard(encoded([music()] * 6, "flac", "flac")).timbre, atol=0.05)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
@pytest.mark.parametrize(("form", "codec"), [("ogg", "flac"), ("flac", "flac"), ("wav", "pcm_s16le")])
def test_joined_recordings_are_mixed_each_in_its_own_way(form: str, codec: str, order: tuple[int, ...]) -> None:
    parts = [encoded([music(1), -music(1)], form, codec), encoded([music(2, RATE)], form, codec, RATE)]
    audio = decode(io.BytesIO(b"".join(parts[number] for number in order)))
    assert len(audio.samples) / RATE == pytest.approx(len(order) * SECONDS, abs=0.1)
    loud = [math.sqrt(np.mean(part**2)) for part in np.array_split(audio.samples, len(order))]
    assert all(level == pytest.approx(float(np.std(music(1))), rel=0.1) for level in loud)
    assert len(audio.notes) == 1


def test_a_recording_that_cannot_be_read_does_not_take_those_before_it_along() -> None:
    whole = of_form("flac")
    audio = decode(io.BytesIO(whole + whole[:42] + bytes(100)))
    assert len(audio.samples) / RATE == pytest.approx(SECONDS, abs=0.1)
    assert audio.notes


@pytest.mark.parametrize(
    ("form", "second"),
    [("mp3", ([music(2, RATE)], RATE)), ("mp3", ([music(2)], COMMON)), ("aac", ([music(2, RATE)], RATE))],
    ids=["MP3, another rate and channels", "MP3, other channels", "AAC"],
)
def test_frames_may_change_their_rate_and_channels(form: str, second: tuple[list[Samples], int]) -> None:
    container, codec, rate = FORMS[form]
    channels, other_rate = second
    joined = encoded([music()] * 2, container, codec, rate) + encoded(channels, container, codec, other_rate)
    audio = decode(io.BytesIO(joined))
    assert len(audio.samples) / RATE == pytest.approx(2 * SECONDS, abs=0.3)
    assert np.abs(audio.samples).max() < 1


def floats(samples: npt.NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    wavfile.write(file, RATE, samples)
    return file.getvalue()


@pytest.mark.parametrize("damage", [3e4, -1e20, np.nan, np.inf])
def test_few_damaged_samples_are_clipped_and_a_note_says_how_many(damage: float) -> None:
    samples = np.tile(music(rate=RATE), 10)
    samples[100_000:100_100] = damage
    audio = decode(io.BytesIO(floats(samples)))
    assert audio.notes == (f"damaged samples: 100 of {len(samples):,} are no sound, and are clipped",)
    assert np.abs(audio.samples).max() == (0 if np.isnan(damage) else 1) or np.isnan(damage)
    np.testing.assert_array_equal(audio.samples[:100_000], samples[:100_000])
    np.testing.assert_array_equal(audio.samples[100_100:], samples[100_100:])


def test_many_samples_that_are_no_numbers_are_a_broken_file() -> None:
    samples = music(rate=RATE)
    samples[::100] = np.nan
    with pytest.raises(InvalidAudio, match="no finite numbers"):
        decode(io.BytesIO(floats(samples)))


def test_a_low_rate_and_a_low_level_are_said() -> None:
    assert heard(encoded([music(rate=8000)], rate=8000)).notes == (
        "low sampling rate: 8,000 Hz, so that there is nothing above 4,000 Hz",
    )
    (note,) = heard(encoded([music() * np.float32(0.01)])).notes
    assert note.startswith("low level: its loudest segment is 5")
    assert heard(encoded([music() * np.float32(0.3)])).notes == ()


def test_a_sound_that_is_much_too_soft_is_analysed_at_the_usual_level() -> None:
    usual, soft, softer = (heard(encoded([music() * np.float32(level)])) for level in (0.3, 0.02, 0.01))
    np.testing.assert_allclose(soft.timbre, softer.timbre, atol=3)
    assert soft.timbre[:, 0].max() == pytest.approx(54, abs=0.5)
    # But for the level, which the first coefficient is, it is the same sound.
    np.testing.assert_allclose(soft.timbre[:, 1:], usual.timbre[:, 1:], atol=3)


def playlist() -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty: fetch it again"),
        (b"<!DOCTYPE html><html><body>404</body></html>" * 50, "a web page: the download failed. Fetch it again"),
        (b"\n<html>not found</html>", "a web page: the download failed. Fetch it again"),
        (playlist(), "a playlist: bring the files that it names"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "text, no sound: remove it from the sound files"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "an image: remove it from the sound files"),
        (b"MThd\0\0\0\6\0\1\0\1\0\x60", "MIDI: it holds notes, no sound. Render it to a sound file"),
        (b"PK\3\4" + bytes(500), "a compressed archive: unpack it"),
        (bytes(100_000), "nothing but zeros: fetch it again"),
        (b'{"segments": []}', "JSON or other text: if it is an analysis, its name has to end in .json"),
    ],
)
def test_what_is_no_sound_is_named_with_what_to_do(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidAudio) as caught:
        decode(io.BytesIO(content))
    assert str(caught.value) == reason


def test_a_video_without_sound_is_named() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(InvalidAudio, match="it holds no audio"):
        decode(io.BytesIO(file.getvalue()))


def test_notes_rise_with_the_kinds_of_what_is_amiss() -> None:
    content = encoded([music(rate=8000), -music(rate=8000)], rate=8000)
    kinds = [note.partition(":")[0] for note in heard(content[: len(content) // 2]).notes]
    assert kinds == ["ends early", "channels cancel", "low sampling rate"]
