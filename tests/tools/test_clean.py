"""Tests of what ``make clean`` leaves."""

from pathlib import Path

import pytest

from tools.clean import remove_runs

pytestmark = pytest.mark.fast


def test_crawled_stores_stay_wherever_they_are(tmp_path: Path) -> None:
    output = tmp_path / "output"
    for store in ("mine/spotify", "crawl"):
        (output / store / "analyses" / "37").mkdir(parents=True)
        (output / store / "store.json").write_text("{}")
    for gone in ("mine/artifacts/run/file", "demo/pushed/17/saved_model.pb", "mine/metadata.sqlite"):
        (output / gone).parent.mkdir(parents=True, exist_ok=True)
        (output / gone).write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (output / "link").symlink_to(elsewhere)
    assert remove_runs(output) == [output / "crawl", output / "mine" / "spotify"]
    left = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert left == ["crawl/store.json", "mine/spotify/store.json"]
    assert elsewhere.is_dir()


def test_without_a_store_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "output" / "demo" / "logs").mkdir(parents=True)
    assert remove_runs(tmp_path / "output") == []
    assert not (tmp_path / "output").exists()
