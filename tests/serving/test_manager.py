"""The stand-in's versions: loaded, replaced, broken, warmed up."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from serving.server.errors import ServingError
from serving.server.manager import ModelManager, State
from tests.support.serving import SEGMENT, managed, predicted_version, push, save_model, states, wait_for, warmup


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exported")
    for version in (1, 2, 3):
        save_model(base, version)
    return base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


def is_available(manager: ModelManager, version: int) -> bool:
    return states(manager).get(version) is State.AVAILABLE


def test_a_new_version_replaces_the_old_one_when_its_requests_are_answered(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(base) as manager:
        assert predicted_version(manager) == 1
        with manager.use("m") as old:
            push(exported, 2, base)
            wait_for(lambda: states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE})
            assert predicted_version(manager) == 2
            with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(m, 1\)"):
                predicted_version(manager, 1)
            array = np.ones((1, 1, SEGMENT), np.float32)
            late = old.submit(old.signatures["serving_default"], {"timbre": array, "pitches": array})
            assert late.result(20)["version"] == [1]
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_no_request_is_lost_while_versions_change(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(base) as manager, ThreadPoolExecutor(4) as pool:
        done = threading.Event()

        def ask() -> set[int]:
            found = set()
            while not done.is_set():
                found.add(predicted_version(manager))
            return found

        askers = [pool.submit(ask) for _ in range(4)]
        for version in (2, 3):
            push(exported, version, base)
            wait_for(partial(is_available, manager, version))
        time.sleep(0.1)
        done.set()
        assert set.union(*(asker.result() for asker in askers)) == {1, 2, 3}


def test_a_half_copied_version_does_not_replace_a_good_one(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(base, retry_s=0.3) as manager:
        (base / "2").mkdir()
        shutil.copy(exported / "2" / "saved_model.pb", base / "2")
        wait_for(lambda: any(status.code != "OK" for status in manager.status("m")))
        failed = manager.status("m", 2)[0]
        assert (failed.state, bool(failed.message)) == (State.LOADING, True)
        assert predicted_version(manager) == 1
        shutil.copytree(exported / "2" / "variables", base / "2" / "variables")
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert manager.status("m", 2)[0].code == "OK"


def test_a_broken_version_ends_after_its_retries_and_is_read_anew_when_replaced(exported: Path, base: Path) -> None:
    (base / "2").mkdir()
    (base / "2" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with managed(base, retry_s=0.05, retries=2) as manager:
        wait_for(lambda: states(manager) == {2: State.END})
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Latest\(m\)"):
            predicted_version(manager)
        shutil.rmtree(base / "2")
        time.sleep(0.3)
        push(exported, 2, base)
        wait_for(lambda: states(manager) == {2: State.AVAILABLE})


def test_only_the_latest_version_is_loaded_and_what_is_unknown_is_told(exported: Path, base: Path) -> None:
    (base / "not a version").mkdir()
    for version in (1, 2):
        push(exported, version, base)
    with managed(base) as manager:
        assert states(manager) == {2: State.AVAILABLE}
        assert [predicted_version(manager, number) for number in (2, None)] == [2, 2]
        with pytest.raises(ServingError, match="NOT_FOUND: Could not find version 9 of model m"):
            manager.status("m", 9)
        with pytest.raises(ServingError, match="NOT_FOUND: Could not find any versions of model x"):
            manager.status("x")
        base.rename(base.with_name("away"))
        time.sleep(0.2)
        assert predicted_version(manager) == 2


def test_a_request_that_was_given_up_keeps_its_version(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    with managed(base) as manager:
        with manager.use("m") as handle:
            array = np.ones((1000, 200, SEGMENT), np.float32)
            running = [
                handle.submit(handle.signatures["serving_default"], {"timbre": array, "pitches": array})
                for _ in range(20)
            ]
        push(exported, 2, base)
        wait_for(lambda: states(manager) == {1: State.END, 2: State.AVAILABLE})
        assert all(one.result(0)["version"][0] == 1 for one in running)


def test_warm_up(exported: Path, base: Path) -> None:
    push(exported, 1, base)
    warmup(base / "1", "parsed")
    with managed(base, retries=0) as manager:
        assert predicted_version(manager) == 1
        shutil.copytree(exported / "2", base / "temporary-2")
        warmup(base / "temporary-2", "serving_default")
        (base / "temporary-2").rename(base / "2")
        wait_for(lambda: states(manager) == {1: State.AVAILABLE, 2: State.END})
        assert "input size does not match signature: 1!=2" in manager.status("m", 2)[0].message
