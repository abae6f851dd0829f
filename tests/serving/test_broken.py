"""Versions that are broken, that are mended, or that go away while they are served."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.server.errors import ServingError
from serving.server.flags import ServerOptions
from serving.server.manager import LoadSettings, State
from serving.server.servable import WARMUP_FILE
from tests.conftest import without_rights
from tests.support.serving import managed, predicted_version, push, running, save_model, states, wait_for, warmup

GRAPH = "saved_model.pb"
DATA = "variables/variables.data-00000-of-00001"
INDEX = "variables/variables.index"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exported")
    for version in (1, 2):
        save_model(base, version)
    return base


@pytest.fixture
def base(exported: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    push(exported, 1, folder)
    return folder


def no_folder(version: Path) -> None:
    shutil.rmtree(version)
    version.write_text("a file")


def empty(version: Path) -> None:
    shutil.rmtree(version)
    version.mkdir()


def no_model(version: Path) -> None:
    empty(version)
    (version / "README").write_text("no model")


def dangling(version: Path) -> None:
    shutil.rmtree(version)
    version.symlink_to(version.with_name("nowhere"))


def folder_for_graph(version: Path) -> None:
    (version / GRAPH).unlink()
    (version / GRAPH).mkdir()


def garbage(name: str) -> Callable[[Path], None]:
    def spoil(version: Path) -> None:
        (version / name).write_bytes(b"\xff\x00" * 500)

    return spoil


def half(name: str) -> Callable[[Path], None]:
    def cut(version: Path) -> None:
        content = (version / name).read_bytes()
        (version / name).write_bytes(content[: len(content) // 2])

    return cut


def without(name: str) -> Callable[[Path], None]:
    return lambda version: (version / name).unlink()


def flipped(version: Path) -> None:
    content = bytearray((version / DATA).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (version / DATA).write_bytes(content)


def failing_warmup(version: Path) -> None:
    warmup(version, "serving_default")


def broken_warmup(version: Path) -> None:
    warmup(version, "parsed")
    (version / WARMUP_FILE).write_bytes((version / WARMUP_FILE).read_bytes()[:-3])


DAMAGES = {
    **{damage.__name__: damage for damage in (no_folder, empty, no_model, dangling, folder_for_graph, flipped)},
    **{damage.__name__: damage for damage in (failing_warmup, broken_warmup)},
    **{f"garbage-{name}": garbage(name) for name in (GRAPH, INDEX, DATA)},
    **{f"half-{name}": half(name) for name in (GRAPH, INDEX, DATA)},
    **{f"without-{name}": without(name) for name in (GRAPH, INDEX, DATA)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=[name.replace("/", "-") for name in DAMAGES])
def test_the_good_version_stays_until_the_new_one_is_whole(
    exported: Path, base: Path, damage: Callable[[Path], None]
) -> None:
    with managed(base, retry_s=0.2, retries=1000) as manager:
        shutil.copytree(exported / "2", base / "temporary")
        damage(base / "temporary")
        (base / "temporary").rename(base / "2")
        wait_for(lambda: any(status.code != "OK" for status in manager.status("m")))
        broken, good = manager.status("m")
        assert (broken.version, broken.state, bool(broken.message)) == (2, State.LOADING, True)
        assert (good.version, good.state, good.code) == (1, State.AVAILABLE, "OK")
        assert predicted_version(manager) == 1
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 2\)"):
            predicted_version(manager, 2)
        (base / "2").rename(base / "away")
        push(exported, 2, base)
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert manager.status("m", 2)[0].code == "OK"
        assert predicted_version(manager) == 2


def test_a_version_that_may_not_be_read_goes_live_when_it_may(exported: Path, base: Path) -> None:
    with managed(base, retry_s=0.2, retries=1000) as manager:
        push(exported, 2, base.parent)
        with without_rights(base.parent):
            (base.parent / "2" / GRAPH).chmod(0)
            (base.parent / "2").rename(base / "2")
            wait_for(lambda: any(status.code != "OK" for status in manager.status("m")))
            assert manager.status("m", 1)[0].state is State.AVAILABLE
            assert manager.status("m", 2)[0].message
        (base / "2" / GRAPH).chmod(0o644)
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_what_is_served_does_not_need_its_files(base: Path) -> None:
    with managed(base) as manager:
        empty(base / "1")
        assert predicted_version(manager) == 1
        assert states(manager) == {1: State.AVAILABLE}


def test_when_the_served_version_is_deleted_the_one_before_takes_over(exported: Path, base: Path) -> None:
    push(exported, 2, base)
    with managed(base) as manager:
        assert predicted_version(manager) == 2
        shutil.rmtree(base / "2")
        wait_for(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})
        assert predicted_version(manager) == 1
        shutil.rmtree(base / "1")
        wait_for(lambda: states(manager) == {1: State.END, 2: State.END})
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"):
            predicted_version(manager)


def test_the_status_tells_clients_what_is_wrong(base: Path) -> None:
    with running(ServerOptions("m", str(base), LoadSettings(max_retries=0))) as server, server.rest as client:
        (base / "2").mkdir()
        wait_for(lambda: client.get("/m/versions/2").status_code == 200)
        wait_for(lambda: client.get("/m/versions/2").json()["model_version_status"][0]["state"] == "END")
        broken, good = client.get("/m").json()["model_version_status"]
        assert (broken["version"], broken["state"]) == ("2", "END")
        assert broken["status"]["error_code"] != "OK"
        assert str(base / "2") in broken["status"]["error_message"]
        assert (good["version"], good["state"]) == ("1", "AVAILABLE")


def test_a_version_that_is_taken_back_while_it_is_unloaded_goes_live_again(exported: Path, base: Path) -> None:
    push(exported, 2, base)
    with managed(base) as manager:
        with manager.use("m", 2):
            (base / "2").rename(base / "away")
            wait_for(lambda: states(manager) == {1: State.AVAILABLE, 2: State.UNLOADING})
            (base / "away").rename(base / "2")
            time.sleep(0.3)
            assert predicted_version(manager) == 1
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert predicted_version(manager) == 2
