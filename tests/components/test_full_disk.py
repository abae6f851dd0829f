"""What is said when a disk is full: /dev/full is one that always is."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.console import reason

FULL = Path("/dev/full")


def _python() -> None:
    with FULL.open("wb", buffering=0) as file:
        file.write(b"x")


def _tensorflow() -> None:
    with tf.io.gfile.GFile(str(FULL), "wb") as file:
        file.write(b"x")


def _sqlite() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("PRAGMA max_page_count = 1")
        database.execute("CREATE TABLE one (column)")


@pytest.mark.skipif(not FULL.exists(), reason="this machine has no /dev/full")
@pytest.mark.parametrize("write", [_python, _tensorflow, _sqlite], ids=["python", "tensorflow", "sqlite"])
def test_a_full_disk_is_one_line(write: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - one of each library
        write()
    said = reason(caught.value)
    assert said.startswith("no space is left on the disk")
    assert said.endswith("make room, and the next run goes on from the last component")
    assert "\n" not in said


def test_the_file_that_has_no_room_is_named() -> None:
    error = OSError("{{node SaveV2}} /out/mine/model/7/variables; No space left on device [Op:SaveV2]")
    assert "on the disk with /out/mine/model/7/variables:" in reason(error)
    assert reason(ValueError("/out: wrong\nmore")) == "ValueError: /out: wrong"
