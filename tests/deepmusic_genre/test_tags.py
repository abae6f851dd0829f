"""What the tags of sound files say, in every form that people have them in."""

import io
from collections.abc import Callable
from typing import Any

import av
import mutagen
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.aiff import AIFF
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TALB, TCON, TIT2, TPE1, TPE2, TRCK
from mutagen.trueaudio import TrueAudio
from mutagen.wave import WAVE

from deepmusic_genre.tracks.genre_table import genre_key, is_known
from deepmusic_genre.tracks.id3 import short_tag
from deepmusic_genre.tracks.registry import read
from deepmusic_genre.tracks.tags import Tags, read_tags
from deepmusic_genre.tracks.track import Track
from tests.support.sounds import encoded, id3, music, of_form

pytestmark = pytest.mark.fast

MP3 = encoded([music(seconds=1)], "mp3", "libmp3lame", xing=False)
EXPECTED = Tags(("Jazz", "Blues"), "Ann", "Various Artists", "Album", "Söng", 3)


def frames(*genres: str) -> list[Any]:
    texts = [(TIT2, ["Söng"]), (TPE1, ["Ann", "Bob"]), (TPE2, ["Various Artists"]), (TALB, ["Album"]), (TRCK, ["3/12"])]
    return [kind(encoding=1, text=text) for kind, text in [*texts, (TCON, list(genres))]]


def id3_bytes(*genres: str, version: int = 4) -> bytes:
    """A tag alone."""
    tag, file = ID3(), io.BytesIO()
    for frame in frames(*genres):
        tag.add(frame)
    tag.save(file, v2_version=version, v23_sep=None)
    return file.getvalue()


def in_chunk(kind: Any, form: str) -> bytes:
    file = io.BytesIO(of_form(form))
    sound = kind(file)
    if sound.tags is None:
        sound.add_tags()
    for frame in frames("Jazz", "Blues"):
        sound.tags.add(frame)
    sound.save(file)
    return file.getvalue()


def with_texts(form: str, **texts: Any) -> bytes:
    file = io.BytesIO(of_form(form))
    sound: Any = mutagen.File(file)
    if sound.tags is None:
        sound.add_tags()
    for name, value in texts.items():
        sound.tags[name.replace("__", "/")] = value
    file.seek(0)
    sound.save(file)
    return file.getvalue()


def with_ape(content: bytes) -> bytes:
    file, tag = io.BytesIO(content), APEv2()
    texts = {"Genre": ["Jazz", "Blues"], "Artist": ["Ann", "Bob"], "Album Artist": ["Various Artists"]}
    for name, value in {**texts, "Album": ["Album"], "Title": ["Söng"], "Track": ["3/12"]}.items():
        tag[name] = value
    tag.save(file)
    return file.getvalue()


def vorbis(form: str) -> bytes:
    texts = {"genre": ["Jazz", "Blues"], "artist": ["Ann", "Bob"], "albumartist": "Various Artists", "album": "Album"}
    return with_texts(form, **texts, title="Söng", tracknumber="3")


def mp4() -> bytes:
    own = {"\xa9gen": ["Jazz", "Blues"], "\xa9ART": ["Ann", "Bob"], "aART": "Various Artists", "\xa9alb": "Album"}
    return with_texts("mp4", **own, **{"\xa9nam": "Söng", "trkn": [(3, 12)]})


def asf() -> bytes:
    own = {"WM__Genre": ["Jazz", "Blues"], "Author": ["Ann", "Bob"], "WM__AlbumArtist": "Various Artists"}
    return with_texts("wma", **own, WM__AlbumTitle="Album", Title="Söng", WM__TrackNumber="3")


def by_ffmpeg(form: str, codec: str) -> bytes:
    """A file that FFmpeg has tagged."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        texts = {"genre": "Jazz", "artist": "Ann", "album": "Album", "title": "Söng", "track": "3"}
        container.metadata.update(texts)
        stream: Any = container.add_stream(codec, rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        lambda: id3_bytes("Jazz", "Blues") + MP3,
        lambda: id3_bytes("(8)(0)", version=3).replace(b"Ann/Bob", b"Ann\0Bob") + MP3,
        lambda: bytes(1000) + id3_bytes("8", "0") + MP3,
        lambda: id3_bytes("Jazz", "Blues") + of_form("aac"),
        lambda: id3_bytes("Jazz", "Blues") + of_form("flac"),
        lambda: id3_bytes("Jazz", "Blues") + of_form("ogg"),
        lambda: in_chunk(WAVE, "wav"),
        lambda: in_chunk(AIFF, "aiff"),
        lambda: in_chunk(TrueAudio, "tta"),
        lambda: with_ape(MP3),
        lambda: with_ape(of_form("wv")),
        lambda: vorbis("flac"),
        lambda: vorbis("ogg"),
        lambda: vorbis("opus"),
        mp4,
        asf,
    ],
    ids=[
        *(
            "ID3v2.4",
            "ID3v2.3",
            "numbers",
            "AAC",
            "FLAC with ID3",
            "Ogg with ID3",
            "WAV",
            "AIFF",
            "TTA",
            "APE",
            "WavPack",
        ),
        *("FLAC", "Ogg FLAC", "Opus", "MP4", "WMA"),
    ],
)
def test_every_value_of_every_field_is_read_in_any_form(make: Callable[[], bytes]) -> None:
    assert read_tags(make()) == EXPECTED


@pytest.mark.parametrize(("form", "codec"), [("matroska", "flac"), ("wav", "pcm_s16le"), ("w64", "pcm_s16le")])
def test_what_mutagen_does_not_know_comes_from_ffmpeg(form: str, codec: str) -> None:
    tags = read_tags(by_ffmpeg(form, codec))
    expected = Tags(("Jazz",), "Ann", "", "Album", "Söng", 3)
    assert tags == (Tags() if form == "w64" else expected)


def id3v1(genre: int) -> bytes:
    return (
        b"TAG" + b"Song".ljust(30) + b"Ann".ljust(30, b"\0") + b"Album".ljust(30) + bytes(33) + b"\3" + bytes([genre])
    )


def test_id3v1_alone_names_the_track() -> None:
    assert read_tags(MP3 + id3v1(8)) == Tags(("Jazz",), "Ann", "", "Album", "Song", 3)


def test_genre_0_of_id3v1_is_a_byte_that_nobody_has_written() -> None:
    assert read_tags(MP3 + id3v1(0)).genres == ()


def test_of_two_tags_each_field_comes_from_the_first_that_has_it() -> None:
    tags = read_tags(with_ape(id3_bytes("Rock") + MP3 + id3v1(17)))
    assert tags.genres == ("Rock",)
    short = ID3()
    short.add(TCON(encoding=3, text=["Rock"]))
    file = io.BytesIO()
    short.save(file)
    assert read_tags(file.getvalue() + MP3 + id3v1(8)) == Tags(("Rock",), "Ann", "", "Album", "Song", 3)


@pytest.mark.parametrize("content", [id3(20_000_000), id3(20_000_000)[:1000], b"ID3\4\0\0\x7f\x7f\x7f\x7f"])
def test_a_tag_of_pictures_alone_says_nothing_and_is_no_fault(content: bytes) -> None:
    assert read_tags(content + MP3) == Tags()


def test_texts_behind_20_mb_of_cover_are_read() -> None:
    cover = id3(20_000_000)[10:]
    texts = b"TCON" + (5).to_bytes(4, "big") + bytes(2) + b"\0Jazz"
    size = bytes(len(cover + texts) >> shift & 0x7F for shift in (21, 14, 7, 0))
    assert read_tags(b"ID3\3\0\0" + size + cover + texts + MP3).genres == ("Jazz",)


def test_a_tag_of_a_million_frames_is_left_in_one_pass() -> None:
    many = (b"TXXX" + (1).to_bytes(4, "big") + bytes(3)) * 1_000_000
    size = bytes(len(many) >> shift & 0x7F for shift in (21, 14, 7, 0))
    assert len(short_tag(b"ID3\3\0\0" + size + many, {b"TCON"})) == 10


@pytest.mark.parametrize("encoding", [0, 1, 2, 3])
def test_letters_of_no_encoding_cost_at_most_their_own_field(encoding: int) -> None:
    broken = b"TIT2" + (5).to_bytes(4, "big") + bytes(2) + bytes([encoding]) + b"\xff\xfe\xd8\xff"
    genre = b"TCON" + (5).to_bytes(4, "big") + bytes(2) + b"\0Jazz"
    size = bytes([0, 0, 0, len(broken + genre)])
    tags = read_tags(b"ID3\3\0\0" + size + broken + genre + MP3)
    assert tags.genres == ("Jazz",)
    tags.title.encode()


def test_a_genre_of_10000_letters_is_cut() -> None:
    (genre,) = read_tags(id3_bytes("x" * 10_000) + MP3).genres
    assert genre == "x" * 1000


def test_tags_of_which_nothing_can_be_read_are_a_note_and_the_sound_is_there() -> None:
    damaged = bytearray(vorbis("flac"))
    start = damaged.index(b"genre=Jazz") - 4
    damaged[start : start + 4] = b"\xff\xff\xff\x7f"
    (track,) = read("a.flac", io.BytesIO(bytes(damaged)))
    assert isinstance(track, Track)
    assert track.num_segments > 3
    (note,) = track.notes
    assert note.startswith("unreadable tags: ")


def test_a_track_has_what_its_tags_say() -> None:
    (track,) = read("a.mp3", io.BytesIO(id3_bytes("Jazz", "Blues") + encoded([music()], "mp3", "libmp3lame")))
    assert isinstance(track, Track)
    assert (track.genre, track.other_genres, track.title) == ("Jazz", ("Blues",), "Söng")
    assert (track.artist, track.album_artist, track.album, track.track_number) == ("Ann", "Various Artists", "Album", 3)


def test_changed_tags_are_those_of_the_next_reading_whatever_was_kept() -> None:
    sound = encoded([music()], "mp3", "libmp3lame")
    before, after = (next(read("a.mp3", io.BytesIO(id3_bytes(genre) + sound))) for genre in ("Jazz", "Rock"))
    assert isinstance(before, Track)
    assert isinstance(after, Track)
    assert (before.genre, after.genre) == ("Jazz", "Rock")
    assert before.content_digest() == after.content_digest()


def test_the_table_knows_all_genres_of_id3() -> None:
    assert [name for name in TCON.GENRES if not is_known(genre_key(name))] == []


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.binary(),
    st.sampled_from([b"", b"ID3\3\0\0\0\0\1\0", b"ID3\4\0\x80\0\0\1\0", b"fLaC", b"OggS", b"RIFF", b"DSD "]),
)
def test_arbitrary_bytes_have_tags_or_a_fault(tail: bytes, head: bytes) -> None:
    tags = read_tags(head + tail)
    assert all(len(text) <= 1000 for text in (*tags.genres, tags.artist, tags.title, tags.album))
