"""Pusher, and the folder that it pushes to."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.pusher.executor import Executor
from components.pusher.folder import INCOMING, WITHDRAWN, Place, known_versions, place, roll_back, version_number
from deepmusic_genre.errors import PipelineInputError
from pipeline.pushed import pushed_version

pytestmark = pytest.mark.fast

FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", "assets.extra/notes")


def write_version(folder: Path, size: int = 1) -> Path:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return folder


def is_whole(folder: Path, size: int) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name in FILES)


def push(folder: Path, pushed: Path | str, size: int = 1, blessed: int = 1) -> Any:
    """Runs the executor on real artifacts; answers with the pushed model."""
    model, blessing, checked = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.InfraBlessing(),
    )
    model.uri = str(folder / "model")
    write_version(folder / "model" / "Format-Serving", size)
    blessing.set_int_custom_property("blessed", blessed)
    checked.set_string_custom_property("blessing_status", "INFRA_BLESSED")
    checked.set_int_custom_property("blessed", 1)
    output = standard_artifacts.PushedModel()
    output.uri = str(folder / "pushed_model")
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(pushed))
    destination = proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=filesystem))
    inputs = {"model": [model], "model_blessing": [blessing], "infra_blessing": [checked]}
    Executor().Do(inputs, {"pushed_model": [output]}, {"push_destination": destination})
    return output


def test_a_version_appears_whole(tmp_path: Path) -> None:
    pushed, size = tmp_path / "pushed", 8 << 20
    pushed.mkdir()
    done = threading.Event()
    looks: list[bool] = []

    def watch() -> None:
        while not done.is_set():
            looks.extend(is_whole(child, size) for child in pushed.iterdir() if child.name.isdigit())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        output = push(tmp_path, pushed, size)
    finally:
        done.set()
        watcher.join()
    (version,) = pushed.iterdir()
    assert is_whole(version, size)
    assert all(looks)
    assert output.get_string_custom_property("pushed_destination") == str(version)
    assert output.get_string_custom_property("pushed_version") == version.name
    assert is_whole(tmp_path / "pushed_model", size)


def test_a_push_goes_live_whatever_was_withdrawn_and_clears_what_a_stopped_one_left(tmp_path: Path) -> None:
    pushed, ahead = tmp_path / "pushed", 99_999_999_999
    write_version(pushed / "1")
    write_version(pushed / WITHDRAWN / str(ahead))
    write_version(pushed / INCOMING / "5")
    push(tmp_path, pushed, size=2)
    assert sorted(child.name for child in pushed.iterdir()) == ["1", str(ahead + 1), WITHDRAWN]
    assert place(str(pushed), ahead + 1) is Place.LIVE


def test_a_push_that_was_killed_before_it_was_noted_is_not_made_twice(tmp_path: Path) -> None:
    pushed = tmp_path / "pushed"
    push(tmp_path, pushed)
    shutil.rmtree(tmp_path / "pushed_model")
    output = push(tmp_path, pushed)
    (version,) = pushed.iterdir()
    assert output.get_string_custom_property("pushed_version") == version.name
    assert output.get_string_custom_property("pushed_destination") == str(version)
    assert is_whole(tmp_path / "pushed_model", 1)


@pytest.mark.parametrize("name", FILES)
def test_a_model_that_differs_in_a_file_is_another_version(name: str, tmp_path: Path) -> None:
    pushed = tmp_path / "pushed"
    push(tmp_path, pushed)
    (version,) = pushed.iterdir()
    (version / name).write_bytes(b"x")
    push(tmp_path, pushed)
    assert len(list(pushed.iterdir())) == 2


def test_a_model_that_is_not_blessed_is_not_pushed(tmp_path: Path) -> None:
    output = push(tmp_path, tmp_path / "pushed", blessed=0)
    assert not (tmp_path / "pushed").exists()
    assert output.get_int_custom_property("pushed") == 0


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    for version in (7, 8, 9):
        write_version(tmp_path / str(version))
    return tmp_path


def places(pushed: Path) -> list[str]:
    return [place(str(pushed), version).value for version in (7, 8, 9)]


def test_back_and_forward(pushed: Path) -> None:
    assert places(pushed) == ["kept", "kept", "live"]
    assert roll_back(str(pushed), 7) == [8, 9]
    assert places(pushed) == ["live", "withdrawn", "withdrawn"]
    assert roll_back(str(pushed), 9) == []
    assert places(pushed) == ["kept", "withdrawn", "live"]
    assert roll_back(str(pushed), 8) == [9]
    assert places(pushed) == ["kept", "live", "withdrawn"]
    assert roll_back(str(pushed), 8) == []
    assert known_versions(str(pushed)) == [7, 8, 9]
    assert place(str(pushed), 1) is Place.REMOVED
    assert all(is_whole(folder, 1) for folder in (pushed / "7", pushed / "8", pushed / WITHDRAWN / "9"))


def test_a_version_without_its_files_is_neither_live_nor_kept(pushed: Path) -> None:
    for half in (pushed / "8" / FILES[0], pushed / "9" / FILES[0]):
        half.unlink()
    write_version(pushed / WITHDRAWN / "8")
    (pushed / WITHDRAWN / "6").mkdir()
    assert places(pushed) == ["live", "withdrawn", "incomplete"]
    assert place(str(pushed), 6) is Place.INCOMPLETE
    assert pushed_version(str(pushed), None) == str(pushed / "7")
    with pytest.raises(PipelineInputError, match=r"^No version 9 was pushed to .*; there are 7\.$"):
        pushed_version(str(pushed), 9)


def test_no_server_sees_a_third_version_on_the_way(pushed: Path) -> None:
    done = threading.Event()
    seen: set[int] = set()

    def watch() -> None:
        while not done.is_set():
            numbers = [version_number(child.name) for child in pushed.iterdir()]
            seen.add(max(number for number in numbers if number is not None))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(50):
        roll_back(str(pushed), 7)
        roll_back(str(pushed), 9)
        write_version(pushed / "8")
        shutil.rmtree(pushed / WITHDRAWN)
    done.set()
    watcher.join()
    assert seen <= {7, 9}


def test_going_back_is_gone_on_with_when_it_was_stopped(pushed: Path) -> None:
    (pushed / WITHDRAWN).mkdir()
    (pushed / "8").rename(pushed / WITHDRAWN / "8")
    assert roll_back(str(pushed), 7) == [9]
    assert places(pushed) == ["live", "withdrawn", "withdrawn"]


def test_what_cannot_go_live_says_why(pushed: Path) -> None:
    with pytest.raises(PipelineInputError, match=r"There is no version 5 in .*; there are: 7, 8, 9\."):
        roll_back(str(pushed), 5)
    (pushed / "7" / "variables" / "variables.index").unlink()
    with pytest.raises(PipelineInputError, match=r"Version 7 is not complete: .*variables\.index is not there\."):
        roll_back(str(pushed), 7)
    (pushed / WITHDRAWN).write_text("in the way")
    with pytest.raises(PipelineInputError, match=r".*withdrawn cannot be read: Not a directory\."):
        roll_back(str(pushed), 8)
    assert version_number("0012") == 12
    assert [version_number(name) for name in ("", "-1", "1.0", "²", "9" * 19, "9" * 5000)] == [None] * 6
