"""The client over REST and gRPC, against the stand-in with a real pushed model and against servers that fail."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf

from deepmusic_genre import Client, EndpointError, Prediction, read_tracks
from deepmusic_genre.client.client import MAX_REQUEST_BYTES, MAX_TOGETHER
from deepmusic_genre.tracks.registry import SOURCES
from deepmusic_genre.tracks.source import endings
from deepmusic_genre.tracks.track import ECHO_NEST, N_EAR, Rejection, Track
from serving.server.flags import ServerOptions
from serving.server.manager import LoadSettings
from tests.conftest import FinishedRun, free_port, predicted
from tests.support.answers import own_answers
from tests.support.endpoints import BROKEN, EMPTY, OTHER, TEXTS, Endpoints, grpc_server, http_server, outputs_json
from tests.support.serving import running, save_genres, save_listening, wait_for
from tests.support.tracks import GENRES, analysis, write_analysis

SCHEMES = ("http", "grpc")
TRACK = Track("A", "audio_analysis", 1.0, np.full((3, 24), 0.5, np.float32), ECHO_NEST, artist="Ann", title="Song")
JAZZ = outputs_json("Jazz", {"Jazz": 0.75, "Rock": 0.25})
JAZZ_TENSORS: dict[str, Any] = {
    "genre": [b"Jazz"],
    "genres": [[b"Jazz", b"Rock"]],
    "probabilities": np.array([[0.75, 0.25]], np.float32),
}

BOMB = tf.make_tensor_proto(1.0)
"""Some bytes that stand for a tensor of gigabytes."""
BOMB.tensor_shape.dim.add(size=1 << 40)


@pytest.fixture(params=SCHEMES)
def url(request: pytest.FixtureRequest, endpoints: Endpoints) -> str:
    return str(getattr(endpoints, request.param))


@pytest.fixture(params=SCHEMES)
def beside(request: pytest.FixtureRequest, endpoints: Endpoints) -> dict[str, str]:
    """The URLs of other models."""
    return {name: urls[request.param] for name, urls in endpoints.beside.items()}


def _tracks(*paths: Path) -> list[Track]:
    return [item for _, item in read_tracks(map(str, paths)) if isinstance(item, Track)]


def _probabilities(predictions: list[Prediction]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([list(prediction.probabilities.values()) for prediction in predictions])


def _fault(url: str, **arguments: Any) -> str:
    """The line that tells why there is no answer."""
    with pytest.raises(EndpointError) as caught:
        predicted([TRACK], url, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(url, "URL")


# Answers


def test_the_answer_is_the_pipelines_own(finished_run: FinishedRun, url: str) -> None:
    ids, expected = own_answers(finished_run.artifact("Refitter", "model_run"))
    answers = predicted(_tracks(*(finished_run.data / f"{track_id}.json.gz" for track_id in ids)), url)
    np.testing.assert_allclose(_probabilities(answers), expected, atol=1e-5)
    assert [answer.genre for answer in answers] == [GENRES[index] for index in expected.argmax(axis=1)]


def test_tracks_of_any_length_go_together(url: str, tmp_path: Path) -> None:
    tracks = _tracks(*(write_analysis(tmp_path / f"{n}.json", analysis(n, segments=n)) for n in (5, 40, 700)))
    alone = [predicted([track], url)[0] for track in tracks]
    np.testing.assert_allclose(_probabilities(predicted(tracks, url)), _probabilities(alone), atol=1e-5)
    assert predicted([], url) == []


def test_a_track_of_another_analyser_is_refused_and_the_others_are_answered(url: str) -> None:
    foreign = replace(TRACK, analyser="deepmusic-1", path="clip.opus")
    with Client(url) as client:
        (_, good), (track, refused) = client.predict([TRACK, foreign])
    assert isinstance(good, Prediction)
    assert track is foreign
    assert refused == Rejection(
        "clip.opus",
        "it was analysed by deepmusic-1, but the model was trained on echo_nest: use a model trained on deepmusic-1",
        "A",
    )


def test_a_version_can_be_named(endpoints: Endpoints, url: str) -> None:
    assert predicted([TRACK], url, version=endpoints.version) == predicted([TRACK], url)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_version_gives_all_answers_or_there_are_no_more(scheme: str, tmp_path: Path) -> None:
    base = tmp_path / "served"
    save_genres(base, 1, ["Jazz", "Rock"])
    save_genres(tmp_path, 2, ["Blues", "Pop", "Soul"])

    def pushing_in_the_middle() -> Iterator[Track]:
        yield from [TRACK] * (MAX_TOGETHER + 1)
        (tmp_path / "2").rename(base / "2")
        with server.rest as client:
            wait_for(lambda: client.get("/deepmusic/versions/1").json()["model_version_status"][0]["state"] == "END")
        yield from [TRACK] * MAX_TOGETHER

    with running(ServerOptions("deepmusic", str(base), LoadSettings(poll_wait_s=0.05))) as server:
        url = server.address if scheme == "http" else f"grpc://127.0.0.1:{server.options.port}"
        with Client(url) as client:
            answers = client.predict(pushing_in_the_middle())
            first = [next(answers)[1] for _ in range(MAX_TOGETHER)]
            assert first == [Prediction("Jazz", {"Jazz": 0.5, "Rock": 0.5}, version=1)] * MAX_TOGETHER
            with pytest.raises(EndpointError) as caught:
                next(answers)
            assert str(caught.value).replace(url, "URL") == (
                "URL no longer serves version 1 of deepmusic, which gave the answers so far "
                "(version 1 is in state END); it serves 2."
            )
            ((_, answer),) = client.predict([TRACK])
        assert isinstance(answer, Prediction)
        assert (answer.version, list(answer.probabilities)) == (2, ["Blues", "Pop", "Soul"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_that_listens_says_so_and_answers_what_was_heard(scheme: str, tmp_path: Path) -> None:
    save_listening(tmp_path, 1, ECHO_NEST)
    heard = replace(TRACK, ear=np.ones(N_EAR, np.float32))
    with running(ServerOptions("deepmusic", str(tmp_path))) as server:
        url = server.address if scheme == "http" else f"grpc://127.0.0.1:{server.options.port}"
        with Client(url) as client:
            assert client.listens()
            (_, answer), (_, refused), _ = client.predict([heard, TRACK, heard])
    assert isinstance(answer, Prediction)
    assert answer.genre == "Jazz"
    assert isinstance(refused, Rejection)
    assert refused.reason == "this model listens to sound, and an analysis has none: give it the sound file"


def test_a_model_of_segments_does_not_listen(url: str) -> None:
    with Client(url) as client:
        assert not client.listens()


def test_answers_come_as_they_are_fetched_and_requests_are_bounded_by_tracks(url: str) -> None:
    read = 0

    def endless() -> Iterator[Track]:
        nonlocal read
        while True:
            read += 1
            yield TRACK

    with Client(url) as client:
        answers = client.predict(endless())
        track, answer = next(answers)
        assert track is TRACK
        assert isinstance(answer, Prediction)
        assert answer.genre in answer.probabilities
        assert read <= MAX_TOGETHER + 1
        for _ in range(MAX_TOGETHER):
            next(answers)
        assert read <= 2 * MAX_TOGETHER + 1


def test_requests_are_bounded_by_bytes_and_tell_nothing_but_segments() -> None:
    size = MAX_REQUEST_BYTES * 2 // 5
    long = Track(
        "A", "audio_analysis", 1.0, np.ones((size // 96, 24), np.float32), ECHO_NEST, artist="Ann", title="Secret"
    )
    bodies: list[bytes] = []
    twice = json.loads(JAZZ)["outputs"]
    both = json.dumps({"outputs": {name: values * 2 for name, values in twice.items()}}).encode()
    with http_server([(200, both), (200, JAZZ)], bodies=bodies) as url:
        assert len(predicted([long] * 3, url)) == 3
    requests = [json.loads(body) for body in bodies]
    assert [len(request["inputs"]["examples"]) for request in requests] == [2, 1]
    assert {request["signature_name"] for request in requests} == {"serving_examples"}
    assert not any(b"U2VjcmV0" in body or b"Secret" in body for body in bodies)


# Mistakes


def test_a_model_that_is_not_there(url: str) -> None:
    told = "URL serves no model named {}: is that its name there, and was a version of it pushed?"
    assert _fault(url, model="absent") == told.format("absent")
    assert _fault(url, model="ab/sent?") == told.format("ab/sent?")


def test_a_model_without_a_version(beside: dict[str, str]) -> None:
    told = f"URL serves no model named {EMPTY}: is that its name there, and was a version of it pushed?"
    assert _fault(beside[EMPTY], model=EMPTY) == told


def test_a_version_that_is_not_there_names_those_that_are(endpoints: Endpoints, url: str) -> None:
    assert _fault(url, version=7) == f"URL serves no version 7 of deepmusic; it serves {endpoints.version}."
    assert _fault(url, version=-1) == "-1 is no version: TF Serving's are from 0 to 9223372036854775807."


def test_a_model_of_which_no_version_is_loaded_tells_why(beside: dict[str, str]) -> None:
    for asked in (None, 1):
        told = _fault(beside[BROKEN], model=BROKEN, version=asked)
        assert told.startswith(f"URL has no version of {BROKEN} loaded: version 1 is in state END: ")
        assert "saved_model.pb" in told


def test_a_model_of_somebody_else(beside: dict[str, str]) -> None:
    told = _fault(beside[OTHER], model=OTHER)
    assert told.startswith(f"The model {OTHER} at URL is none of this project's: ")
    assert 'serving_examples" not found' in told
    assert "does not answer with genres" in _fault(beside[TEXTS], model=TEXTS)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_server_is_a_line_that_says_what_to_do(scheme: str) -> None:
    told = _fault(f"{scheme}://127.0.0.1:{free_port()}", timeout_s=0.5)
    assert told.startswith("No server answers at URL: `deepmusic serve` starts one (")
    assert "refused" in told
    assert _fault(f"{scheme}://nowhere.invalid:8500", timeout_s=0.5).startswith(
        "No server answers at URL: `deepmusic serve` starts one ("
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_never_answers_is_given_up(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        assert _fault(url, timeout_s=0.5) == "URL did not answer within 0.5 s."
        assert time.monotonic() - start < 5


def test_a_server_that_answers_drop_by_drop_is_given_up() -> None:
    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stopped.wait(0.1):
                connection.sendall(b" ")

    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=[listening])
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert _fault(url, timeout_s=0.5) == "URL did not answer within 0.5 s."
        finally:
            stopped.set()
            thread.join()


def test_the_other_interfaces_port(endpoints: Endpoints) -> None:
    swapped = _fault(endpoints.grpc.replace("grpc://", "http://"))
    assert swapped.startswith("URL is not a TF Serving endpoint: ")
    assert swapped.endswith("(is it the port for REST?).")
    swapped = _fault(endpoints.http.replace("http://", "grpc://"))
    assert swapped.startswith("URL is not a TF Serving endpoint: ")
    assert swapped.endswith("(is it the port for gRPC?).")


def test_a_server_without_tls_is_no_safe_connection(endpoints: Endpoints) -> None:
    for url in (endpoints.http.replace("http:", "https:"), endpoints.grpc.replace("grpc:", "grpcs:")):
        assert _fault(url).startswith("No safe connection to URL: ")


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:8501", "ftp://127.0.0.1", "http://", "http://:8501", "http://host:99999", "http://host:x"),
        *("grpc://", "grpc://host:8500/path", "http://[::1"),
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    assert _fault(url).startswith("URL is no address")


def test_a_password_in_the_address_is_not_told() -> None:
    told = _fault(f"http://me:secret@127.0.0.1:{free_port()}", timeout_s=0.5)
    assert "secret" not in told
    assert told.startswith("No server answers at http://127.0.0.1:")


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    assert _fault("http://models.invalid:8501").startswith("The proxy that the environment names cannot be used: ")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_proxy_is_named_and_is_not_asked_about_this_machine(
    scheme: str, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.replace("//", "//me:secret@"))
    assert len(predicted([TRACK], getattr(endpoints, scheme))) == 1
    told = _fault(f"{scheme}://models.invalid:8501", timeout_s=0.5)
    assert told.startswith(f"Nothing answers at URL (through the proxy {proxy}): ")


def test_what_a_proxy_answers_is_not_taken_for_the_servers_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server([], (403, b"<html>")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy)
        told = _fault("http://models.invalid:8501")
    assert told == f"URL (through the proxy {proxy}) is not a TF Serving endpoint: it answers 403 Forbidden."


# Servers that are busy


def test_a_busy_server_is_asked_again() -> None:
    with http_server([(503, b'{"error": "not yet"}'), (429, b"busy"), (502, b"<html>"), (200, JAZZ)]) as url:
        assert predicted([TRACK], url)[0].genre == "Jazz"
    unavailable = (grpc.StatusCode.UNAVAILABLE, "not yet")
    exhausted = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    with grpc_server([unavailable, exhausted, JAZZ_TENSORS]) as url:
        assert predicted([TRACK], url) == [Prediction("Jazz", {"Jazz": 0.75, "Rock": 0.25}, version=3)]


def test_waiting_lasts_as_long_as_was_promised_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("deepmusic_genre.client.client._QUIET_S", 0)
    monkeypatch.setattr("deepmusic_genre.client.client._LONGEST_WAIT_S", 0.05)
    with http_server([*[(503, b'{"error": "not yet"}')] * 7, (200, JAZZ)]) as url:
        assert predicted([TRACK], url)[0].genre == "Jazz"
    told = [record.getMessage() for record in caplog.records if record.name.startswith("deepmusic_genre.")]
    assert [line.replace(url, "URL") for line in told] == ["Waiting for up to 60 s: URL cannot answer now: not yet"]


def test_a_model_that_is_being_loaded_is_asked_for_again() -> None:
    missing = (404, b'{"error": "Servable not found for request: Specific(deepmusic, 3)"}')
    status = b'{"model_version_status": [{"version": "3", "state": "LOADING", "status": {"error_code": "OK"}}]}'
    with http_server([missing, missing, (200, JAZZ)], (200, status)) as url:
        assert predicted([TRACK], url, version=3)[0].genre == "Jazz"
        assert _fault(url, timeout_s=0.5) == "URL cannot answer now: it is loading deepmusic."
    with grpc_server([(grpc.StatusCode.NOT_FOUND, "none"), JAZZ_TENSORS], "LOADING") as url:
        assert predicted([TRACK], url, version=3)[0].genre == "Jazz"


def test_a_version_that_is_replaced_before_it_has_answered_gives_way_to_the_next() -> None:
    missing = (404, b'{"error": "Servable not found for request: Specific(deepmusic, 3)"}')
    with http_server([missing, (200, JAZZ)]) as url:
        assert predicted([TRACK], url)[0].genre == "Jazz"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_that_starts_late_is_found(scheme: str) -> None:
    """Over gRPC a connection that was refused must not keep the next from being tried."""
    port, found = free_port(), []
    asking = threading.Thread(target=lambda: found.extend(predicted([TRACK], f"{scheme}://127.0.0.1:{port}")))
    asking.start()
    time.sleep(0.2)
    server = grpc_server([JAZZ_TENSORS], port=port) if scheme == "grpc" else http_server([(200, JAZZ)], port=port)
    with server:
        asking.join()
    assert [prediction.genre for prediction in found] == ["Jazz"]


def test_a_server_that_stays_busy_is_given_up_in_time() -> None:
    with http_server([(503, b'{"error": "later,\\n perhaps"}')] * 20) as url:
        start = time.monotonic()
        assert _fault(url, timeout_s=0.5) == "URL cannot answer now: later, perhaps"
        assert time.monotonic() - start < 2
    with grpc_server([(grpc.StatusCode.UNAVAILABLE, "later")] * 20) as url:
        assert _fault(url, timeout_s=0.5) == "URL cannot answer now: later"


# Answers that are none


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, b"<html>"), "URL is not a TF Serving endpoint: "),
        ((200, b'{"hello": 1}'), "URL is not a TF Serving endpoint: "),
        ((404, b"<html>"), "URL is not a TF Serving endpoint: it answers 404 Not Found."),
        ((301, b""), "URL is not a TF Serving endpoint: it answers 301 Moved Permanently."),
        ((200, b" " * (17 << 20)), "URL is not a TF Serving endpoint: it sends more than 16 MiB."),
        ((200, b'{"outputs": [1]}'), "The model deepmusic at URL is none of this project's: "),
        (
            (200, b'{"outputs": {"genre": [], "genres": [], "probabilities": []}}'),
            "The model deepmusic at URL is none of this project's: it answered 0 of 1 tracks.",
        ),
        ((200, b"[" * 100_000), "URL is not a TF Serving endpoint: "),
        ((403, b"[" * 100_000), "URL is not a TF Serving endpoint: it answers 403 Forbidden."),
        (
            (401, b'{"error": "\\u001b[2Jwho?"}'),
            r"URL is not a TF Serving endpoint: it answers 401 Unauthorized: \x1b[2Jwho?",
        ),
    ],
)
def test_an_answer_of_another_kind_is_a_line_and_is_not_asked_for_again(answer: tuple[int, bytes], told: str) -> None:
    with http_server([answer]) as url:
        line = _fault(url)
    assert line.startswith(told)
    assert len(line) < 500


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), "URL is not a TF Serving endpoint: "),
        (
            (grpc.StatusCode.UNAUTHENTICATED, "who?"),
            "URL is not a TF Serving endpoint: it answers UNAUTHENTICATED: who?",
        ),
        ({"genre": ["Jazz"]}, "The model deepmusic at URL is none of this project's: "),
        ({**JAZZ_TENSORS, "genre": ["Jazz", "Rock"]}, "The model deepmusic at URL is none of this project's: "),
        ({"genre": BOMB}, "The model deepmusic at URL is none of this project's: it answers with more values"),
    ],
)
def test_a_grpc_answer_of_another_kind_is_a_line_and_is_not_asked_for_again(answer: Any, told: str) -> None:
    with grpc_server([answer]) as url:
        assert _fault(url).startswith(told)


@pytest.mark.parametrize("versions", [b'[{"version": "new", "state": "AVAILABLE"}]', b"[" * 100_000, b"1"])
def test_versions_that_are_none(versions: bytes) -> None:
    with http_server([], (200, b'{"model_version_status": ' + versions + b"}")) as url:
        assert _fault(url).startswith("URL is not a TF Serving endpoint: ")


# Requests that are refused


NAN = {**json.loads(JAZZ)["outputs"], "probabilities": [[float("nan"), float("nan")]]}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((400, b'{"error": "bad\\nshape"}'), "the server refused the request: bad shape"),
        ((500, b'{"error": "' + b"long " * 1000 + b'"}'), "the server failed to answer the request: long long "),
        ((200, json.dumps({"outputs": NAN}).encode()), "the model has no answer to it: "),
        ((grpc.StatusCode.INVALID_ARGUMENT, "bad shape"), "the server refused the request: bad shape"),
        ((grpc.StatusCode.INTERNAL, "bad"), "the server failed to answer the request: bad"),
        ({**JAZZ_TENSORS, "probabilities": np.full((1, 2), np.nan, np.float32)}, "the model has no answer to it: "),
        ({"genre": [b"J" * (17 << 20)]}, "the server refused the request: "),
    ],
)
def test_a_track_without_an_answer_costs_no_other_its_own(answer: Any, reason: str) -> None:
    bad = replace(TRACK, path="bad.json")
    is_rest = isinstance(answer, tuple) and isinstance(answer[0], int)
    server: Any = http_server if is_rest else grpc_server
    good: Any = (200, JAZZ) if is_rest else JAZZ_TENSORS
    refusal = answer if isinstance(answer, tuple) and answer[0] != 200 else _refusal(is_rest)
    with server([refusal, good, answer, good]) as url, Client(url) as client:
        (_, first), (_, second), (_, third) = client.predict([TRACK, bad, TRACK])
    assert isinstance(first, Prediction)
    assert isinstance(second, Rejection)
    assert (second.path, second.reason[: len(reason)], "\n" in second.reason) == ("bad.json", reason, False)
    assert isinstance(third, Prediction)
    assert len(second.reason) < 500


def _refusal(is_rest: bool) -> Any:
    return (400, b'{"error": "one of them"}') if is_rest else (grpc.StatusCode.INVALID_ARGUMENT, "one of them")


# Tracks


def test_a_track_takes_its_name_from_its_file_where_nothing_else_names_it(tmp_path: Path) -> None:
    found = list(read_tracks([str(write_analysis(tmp_path / "some.track.json.gz", analysis(1)))]))
    assert [item.track_id for _, item in found if not isinstance(item, Rejection)] == ["some.track"]


def test_a_name_that_is_no_text_still_gives_an_id(tmp_path: Path) -> None:
    write_analysis(Path(str(tmp_path / "caf") + "\udce9.json"), analysis(1))
    assert [track.track_id for track in _tracks(tmp_path)] == ["caf\N{REPLACEMENT CHARACTER}"]


def test_a_folder_is_read_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b/z.json", "a/c.json", "y.json", "x.json", ".hidden.json", "._x.json"):
        write_analysis(tmp_path / name, analysis(1))
    assert [track.track_id for track in _tracks(tmp_path)] == ["x", "y", "c", "z"]


def test_of_a_crawled_store_only_the_tracks_are_read(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text("{}")
    (tmp_path / "report.json").write_text("{}")
    track = write_analysis(tmp_path / "analyses" / "4u" / "4uLU.json.gz", analysis(1))
    assert [file for file, _ in read_tracks([str(tmp_path)])] == [str(track)]


def test_a_file_that_is_gone_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("top.json", "a/gone.json", "b/there.json"):
        write_analysis(tmp_path / name, analysis(1))
    found = read_tracks([str(tmp_path)])
    next(found)
    (tmp_path / "a" / "gone.json").unlink()
    (file, rejected), (_, there) = found
    assert isinstance(there, Track)
    assert rejected == Rejection(str(tmp_path / "a" / "gone.json"), "cannot be read: No such file or directory")
    assert file == rejected.path


def test_a_folder_without_tracks_is_told(tmp_path: Path) -> None:
    ((_, rejected),) = read_tracks([str(tmp_path)])
    assert rejected == Rejection(str(tmp_path), f"no file below it ends in {endings(SOURCES)} (it is empty)")
