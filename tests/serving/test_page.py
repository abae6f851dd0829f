"""The page's server side over real HTTP: its files, a file's tracks, what it refuses."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.registry import SOURCES
from deepmusic_genre.tracks.track import ECHO_NEST, Rejection, Track
from serving.page import page_application
from serving.page.application import MAX_FILES
from serving.page.reading import MAX_SEGMENTS, MAX_TRACKS, picture
from serving.server.bodies import MAX_BODY
from serving.server.flags import ServerOptions
from serving.server.service import Service
from tests.conftest import FinishedRun, predicted
from tests.deepmusic_genre.test_audio_source import sound
from tests.support.serving import Running, page_options, running, save_listening, save_model, track_of
from tests.support.tracks import analysis, write_analysis, write_h5


@pytest.fixture(scope="module")
def server(finished_run: FinishedRun) -> Iterator[Running]:
    with running(page_options(finished_run.home / "pushed"), page_application) as found:
        yield found


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=30) as found:
        yield found


def post(client: httpx.Client, name: str, content: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/tracks", params={"name": name}, content=content, headers=named)


def told(answer: httpx.Response) -> str:
    return str(answer.json()["error"])


def test_the_page_and_its_files_may_load_from_here_only(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    scripts = {name: client.get(name).text for name in loaded if name.endswith(".js")}
    loaded |= {f"/{name}" for text in scripts.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert {"/page.js", "/page.css", "/icon.svg", "/card.js"} <= loaded
    for name in ("/", "/about", *loaded):
        answer = client.get(name)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert not re.search(r"unsafe|\*|http|data:", policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
        assert "<script>" not in answer.text
        assert client.head(name).content == b""


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../../etc/passwd",
            "/%2e%2e/application.py",
            "/..%2f__init__.py",
            "//etc/passwd",
            "/page.css/",
            "/static",
        ),
        *("/application.py", "/index.html%00", "/v2/models", "/tracks/", "/." * 2000),
    ],
)
def test_no_other_path_is_there(server: Running, path: str) -> None:
    with server.connect() as connection:  # A client library would tidy the path up.
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline() == b"HTTP/1.1 404 Not Found\r\n"


def test_methods(client: httpx.Client) -> None:
    refused = [client.request(method, path).status_code for method, path in (("POST", "/"), ("GET", "/tracks"))]
    assert refused == [405, 405]


def test_who_answers_and_what_may_come(client: httpx.Client, finished_run: FinishedRun) -> None:
    (version,) = (folder.name for folder in (finished_run.home / "pushed").iterdir())
    about = client.get("/about").json()
    assert (about["model"], about["version"]) == ("deepmusic", version)
    assert about["endings"] == [ending for source in SOURCES for ending in source.suffixes]


def test_a_track_is_answered_as_by_the_rest_interface(
    server: Running, client: httpx.Client, finished_run: FinishedRun
) -> None:
    path = finished_run.data / "track-000.json.gz"
    (answered,) = post(client, path.name, path.read_bytes()).json()["tracks"]
    track = track_of(path)
    (expected,) = predicted([track], server.address)
    assert answered["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert list(answered["probabilities"]) == list(expected.probabilities)
    assert (answered["id"], answered["segments"]) == ("track-000", len(track.segments))
    np.testing.assert_allclose(np.hstack([answered["timbre"], answered["pitches"]]), track.segments, atol=6e-4)
    assert track.durations is not None
    np.testing.assert_allclose(answered["durations"], track.durations, atol=1e-5)


@pytest.mark.parametrize(("duration", "shown"), [(0.0, None), (12.5, 12.5)])
def test_an_unknown_duration_is_not_shown_as_no_time(duration: float, shown: float | None) -> None:
    track = Track("A", "audio_analysis", duration, np.ones((3, 24), np.float32), ECHO_NEST)
    assert picture(track)["duration"] == shown


def test_the_tracks_of_a_file_are_answered_as_far_as_a_page_can_show_them(client: httpx.Client, tmp_path: Path) -> None:
    ids = [f"TR{number}" for number in range(MAX_TRACKS + 1)]
    answer = post(client, "few.h5", write_h5(tmp_path / "few.h5", ids[:-1]).read_bytes()).json()
    assert [track["id"] for track in answer["tracks"]] == ids[:-1]
    assert (answer["tracks"][1]["artist"], answer["tracks"][1]["title"]) == ("Artist 1", "Title 1")
    assert not answer["more"]
    more = post(client, "MANY.HDF5", write_h5(tmp_path / "many.h5", ids).read_bytes()).json()
    assert [track["id"] for track in more["tracks"]] == ids[:-1]
    assert more["more"]


def test_a_long_track_is_heard_to_its_end_and_shown_in_part(server: Running, client: httpx.Client) -> None:
    content = json.dumps(analysis(segments=MAX_SEGMENTS + 50)).encode()
    (answered,) = post(client, "long.json", content).json()["tracks"]
    assert answered["segments"] == MAX_SEGMENTS + 50
    assert len(answered["timbre"]) == len(answered["pitches"]) == len(answered["durations"]) == MAX_SEGMENTS
    assert sum(answered["probabilities"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b"[1", "truncated: the array does not end"),
        ("a.json", b"", "not valid JSON"),
        ("a.json.gz", b"\x1f\x8b\x08\x00", "truncated or damaged gzip"),
        ("a.h5", b"no hdf5", "not a Million Song file"),
        ("a.exe", b"MZ", "its name does not end in .json, .json.gz"),
    ],
)
def test_a_bad_file_is_answered_with_its_reason(client: httpx.Client, name: str, content: bytes, reason: str) -> None:
    answer = post(client, name, content)
    assert (answer.status_code, answer.json()["tracks"]) == (200, [])
    (rejection,) = answer.json()["rejections"]
    assert rejection["reason"].startswith(reason)


def test_a_files_name_opens_nothing(client: httpx.Client, tmp_path: Path) -> None:
    existing = write_analysis(tmp_path / "here.json", analysis(1))
    for name in (str(existing), "..\\..\\here.json", f"x/../../{existing.name}"):
        assert "not an audio analysis" in post(client, name, b"{}").json()["rejections"][0]["reason"]
        (track,) = post(client, name, existing.read_bytes()).json()["tracks"]
        assert track["id"] == "here"
    for nameless in (client.post("/tracks", content=b"{}"), post(client, "folder/", b"{}")):
        assert (nameless.status_code, "has no name" in told(nameless)) == (400, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"host": "elsewhere.example"}, 403),
        ({"host": "127.0.0.1.elsewhere.example:8501"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8501", "origin": "http://localhost:8501", "sec_fetch_site": "same-origin"}, 200),
        ({"host": "[::1]:8501", "origin": "http://[::1]:8501"}, 200),
        ({}, 200),
    ],
)
def test_only_the_page_itself_may_send(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = post(client, "a.json", json.dumps(analysis()).encode(), **headers)
    assert answer.status_code == status
    assert ("tracks" in answer.json()) == (status == 200)


def test_too_large_a_file_is_not_read(server: Running) -> None:
    with server.connect() as connection:
        head = f"POST /tracks?name=a.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"The file is larger than 100 MiB." in answer


def _half(server: Running) -> socket.socket:
    connection = server.connect()
    connection.sendall(b"POST /tracks?name=a.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[")
    return connection


def test_half_requests_keep_no_place(server: Running, client: httpx.Client) -> None:
    content = json.dumps(analysis()).encode()
    halves = [_half(server) for _ in range(MAX_FILES)]
    answers = _until(lambda: post(client, "a.json", content), 429)
    assert "other files are being read" in told(answers)
    for half in halves:
        half.close()
    assert _until(lambda: post(client, "a.json", content), 200).json()["tracks"]


def _until(ask: Callable[[], httpx.Response], status: int) -> httpx.Response:
    deadline = time.monotonic() + 5
    while (answer := ask()).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)
    return answer


def test_a_slow_sender_is_given_up(finished_run: FinishedRun) -> None:
    options = page_options(finished_run.home / "pushed")
    with running(options, lambda service, _: page_application(service, 0.3)) as server, _half(server) as connection:
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"It took longer than 0.3 s." in answer


class _OtherAnalyser(AudioAnalysisJson):
    suffixes = (".other", ".other.gz")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        for item in super().read(path, stream):
            yield replace(item, analyser="another") if isinstance(item, Track) else item


def test_what_another_analyser_made_is_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.registry.SOURCES", (*SOURCES, _OtherAnalyser()))
    assert client.get("/about").json()["endings"][-2:] == [".other", ".other.gz"]
    answer = post(client, "a.other", json.dumps(analysis()).encode()).json()
    assert answer["tracks"] == []
    (rejection,) = answer["rejections"]
    assert (rejection["path"], rejection["track_id"]) == ("a.other", "a")
    assert rejection["reason"].startswith("it was analysed by another, but the model was trained on echo_nest:")


class _Slow(AudioAnalysisJson):
    """Many tracks a file, slowly."""

    suffixes = (".slow", ".slow.gz")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        (item,) = super().read(path, stream)
        while True:
            time.sleep(0.1)
            yield item


def test_a_file_that_takes_too_long_does_not_hold_up_the_next(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.registry.SOURCES", (*SOURCES, _Slow()))
    options = page_options(finished_run.home / "pushed")

    def impatient(service: Service, _: float) -> Starlette:
        return page_application(service, 0.5)

    content = json.dumps(analysis()).encode()
    with running(options, impatient) as server, httpx.Client(base_url=server.address) as client:
        assert post(client, "a.json", content).json()["tracks"]
        assert post(client, "a.slow", content).status_code == 504
        assert post(client, "a.json", content).json()["tracks"]


@pytest.mark.usefixtures("no_network")
def test_a_model_that_listens_has_sound_heard_and_refuses_an_analysis(tmp_path: Path) -> None:
    analysed = write_analysis(tmp_path / "clip.json", analysis(1))
    save_listening(tmp_path / "models", 1, ECHO_NEST)
    with (
        running(page_options(tmp_path / "models"), page_application) as server,
        httpx.Client(base_url=server.address, timeout=60) as client,
    ):
        (unheard,) = post(client, "clip.wav", sound(1)).json()["rejections"]
        (refused,) = post(client, analysed.name, analysed.read_bytes()).json()["rejections"]
    assert unheard["reason"].startswith("the pretrained network that it is asked of cannot be had")
    assert refused["reason"] == "this model listens to sound, and an analysis has none: give it the sound file"


def test_what_is_wrong_with_the_model_is_told(tmp_path: Path) -> None:
    base = tmp_path / "pushed"
    (base / "7").mkdir(parents=True)
    options = ServerOptions("m", str(base))
    content = json.dumps(analysis()).encode()
    with running(options, page_application) as server, httpx.Client(base_url=server.address, timeout=30) as client:
        answer = _until(lambda: post(client, "a.json", content), 503)
        assert told(answer).startswith("No version of the model m is loaded: version 7: ")
        assert client.get("/about").json()["version"] is None
        assert post(client, "a.json", b"[").json()["rejections"]
        save_model(base, 8)
        answer = _until(lambda: post(client, "a.json", content), 502)
        assert told(answer) == "The model m does not answer with genres."


def test_another_networks_name_is_no_rebinding(finished_run: FinishedRun) -> None:
    own = _own_address()
    with running(replace(page_options(finished_run.home / "pushed"), host=own), page_application) as server:
        url = f"http://{own}:{server.options.rest_port}"
        assert httpx.get(f"{url}/about", headers={"host": "laptop.home:8501"}).status_code == 200


def _own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # Sends nothing, finds the interface only.
        except OSError:
            pytest.skip("the machine has no other address")
        return str(probe.getsockname()[0])
