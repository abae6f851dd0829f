"""The page in a real browser, with a real model."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deepmusic_genre.tracks.audio_analysis import AudioAnalysisJson
from deepmusic_genre.tracks.registry import SOURCES
from deepmusic_genre.tracks.source import endings
from deepmusic_genre.tracks.track import Rejection, Track
from serving.page import page_application
from serving.server.bodies import MAX_BODY
from tests.conftest import FinishedRun, predicted
from tests.support.serving import Running, page_options, running, track_of
from tests.support.tracks import analysis, write_analysis, write_h5

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-gpu")
_DROP = """([files]) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files)
        transfer.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
    return transfer;
}"""
_CONTRASTS = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const behind = (element) => {
        const colour = numbers(getComputedStyle(element).backgroundColor);
        return colour[3] === 0 ? behind(element.parentElement) : colour;
    };
    const withText = [...document.body.querySelectorAll("*")].filter((element) =>
        [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
    return withText.map((element) => {
        const [one, other] = [numbers(getComputedStyle(element).color), behind(element)].map(light);
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium")
    arguments = ["--no-sandbox", *(f"--{name}" for name in QUIET)]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found, args=arguments) as started:
        yield started


@pytest.fixture(scope="module")
def server(finished_run: FinishedRun) -> Iterator[Running]:
    with running(page_options(finished_run.home / "pushed"), page_application) as found:
        yield found


@contextmanager
def opened(browser: Browser, server: Running, **options: Any) -> Iterator[Page]:
    """The page; whatever the browser complains of or asks another server for fails the test."""
    faults: list[str] = []
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(server.address) else faults.append(asked.url))
        # Before any key is pressed: the browser is told to hand file choosers over while others may already open.
        page.on("filechooser", lambda _: None)
        page.goto(server.address)
        expect(page.locator("#model")).not_to_be_empty()
        yield page
    assert faults == []


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    with opened(browser, server) as found:
        yield found


def drop(page: Page, *paths: Path) -> None:
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.dispatch_event("#drop", "drop", {"dataTransfer": page.evaluate_handle(_DROP, [files])})


def probabilities(page: Page) -> dict[str, float]:
    """What the first card shows, in its order."""
    rows = page.locator("article").first.locator(".bars li")
    return {
        row.locator("span").first.inner_text(): float(row.locator("data").get_attribute("value") or "nan")
        for row in rows.all()
    }


def spoken(page: Page, map_name: str) -> str:
    return page.get_by_role("slider", name=map_name).get_attribute("aria-valuetext") or ""


def test_a_dropped_track_shows_what_the_rest_interface_answers(
    page: Page, server: Running, finished_run: FinishedRun
) -> None:
    path = finished_run.data / "track-000.json.gz"
    drop(page, path)
    expect(page.locator("article h2")).to_have_text("track-000")
    (expected,) = predicted([track_of(path)], server.address)
    shown = probabilities(page)
    assert shown == pytest.approx(expected.probabilities, abs=1e-6)
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    assert next(iter(shown)) == expected.genre == page.locator(".genre strong").inner_text()
    percents = [f"{100 * value:.1f}\N{NO-BREAK SPACE}%" for value in shown.values()]
    assert page.locator(".bars data").all_inner_texts() == percents
    (version,) = (folder.name for folder in (finished_run.home / "pushed").iterdir())
    assert page.locator("#model").inner_text() == f"Model deepmusic, version {version}"
    assert expected.genre in page.locator("#news").inner_text()


def test_the_keyboard_is_enough(page: Page, finished_run: FinishedRun) -> None:
    path = finished_run.data / "track-001.json.gz"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "drop"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files(path)
    expect(page.locator("article")).to_have_count(1)
    track = track_of(path)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    timbre = track.segments[1]
    assert track.durations is not None
    where = f"0:{int(track.durations[0]):02d}, segment 2 of {len(track.segments)}"
    assert spoken(page, "Timbre").startswith(f"{where}: 1 loudness {timbre[0]:.1f}, 2 brightness ")
    assert spoken(page, "Pitches").startswith(f"{where}: C {track.segments[1, 12]:.2f}, C♯ ")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert f"segment {len(track.segments)} of" in spoken(page, "Pitches")
    shown = page.locator(".values").last.locator("li").all_inner_texts()
    assert shown == [f"{value:.2f}" for value in track.segments[-1, 12:]]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    lowest = page.locator("tr", has_text="Timbre 1 loudness").locator("td").nth(1).inner_text()
    assert float(lowest) == pytest.approx(track.segments[:, 0].min(), abs=0.051)


def test_the_pictures_are_the_values_in_viridis(page: Page, tmp_path: Path) -> None:
    value = analysis(3, segments=10)
    drop(page, write_analysis(tmp_path / "a.json", value))
    expect(page.locator("article")).to_have_count(1)
    track = track_of(tmp_path / "a.json")
    assert track.durations is not None
    ends = np.cumsum(track.durations)
    middles = (ends - track.durations / 2) / ends[-1]
    drawn = page.locator("figure canvas:not(.ramp)").last.evaluate(
        "(canvas) => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, 12).data)"
    )
    picture = np.reshape(drawn, (12, -1, 4))[:, :, :3]
    seen = picture[:, (middles * picture.shape[1]).astype(int)].transpose(1, 0, 2)
    expected = 255 * mpl.colormaps["viridis"](track.segments[:, 12:])[:, :, :3]
    assert np.abs(seen - expected).max() < 6  # Straight lines between 17 of its colours.


def test_the_pointer_tells_a_segments_values(page: Page, tmp_path: Path) -> None:
    drop(page, write_analysis(tmp_path / "a.json", analysis(3, segments=200)))
    plot = page.get_by_role("slider", name="Pitches")
    plot.hover(position={"x": plot.evaluate("(plot) => plot.clientWidth") - 1, "y": 5})
    assert "segment 200 of 200" in page.locator("figure .below").first.inner_text()
    expected = track_of(tmp_path / "a.json").segments[-1, 12:]
    assert page.locator(".values").last.locator("li").all_inner_texts() == [f"{value:.2f}" for value in expected]


class _Timeless(AudioAnalysisJson):
    suffixes = (".timeless", ".timeless.gz")

    def read(self, path: str, stream: BinaryIO) -> Iterator[Track | Rejection]:
        for item in super().read(path, stream):
            yield replace(item, durations=None) if isinstance(item, Track) else item


def test_without_durations_segments_are_counted(
    browser: Browser, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepmusic_genre.tracks.registry.SOURCES", (*SOURCES, _Timeless()))
    with opened(browser, server) as page:
        drop(page, write_analysis(tmp_path / "a.timeless", analysis(3, segments=200)))
        expect(page.locator("figure .below").first).to_contain_text("segments")
        assert "100" in page.locator("figure .axis").first.locator("span").all_inner_texts()
        page.get_by_role("slider", name="Timbre").press("End")
        assert spoken(page, "Timbre").startswith("segment 200 of 200: 1 loudness ")


def test_bad_files_are_told_and_the_others_are_shown_in_their_order(page: Page, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[1")
    (tmp_path / "notes.txt").write_text("nothing")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(MAX_BODY + 1)
    files = [write_analysis(tmp_path / "<b>one.json", analysis(1)), tmp_path / "bad.json", tmp_path / "notes.txt"]
    files += [write_h5(tmp_path / "two.h5", ["TR1", "TR2"]), tmp_path / "huge.json"]
    page.set_input_files("#files", files)
    expect(page.locator("article h2")).to_have_text(["<b>one", "Artist 0 - Title 0", "Artist 1 - Title 1"])
    expect(page.get_by_role("alert").locator("p")).to_have_text(
        [
            "bad.jsonTruncated: the array does not end, after 0 analyses.",
            f"notes.txtThe name does not end in {endings(SOURCES)}.",
            "huge.jsonIt is larger than 100 MiB.",
        ]
    )
    expect(page.locator("#work")).to_be_hidden()
    page.set_input_files("#files", [write_analysis(tmp_path / "three.json", analysis(3))])
    expect(page.locator("article h2").first).to_have_text("three")
    expect(page.get_by_role("alert")).to_be_empty()


def test_what_holds_more_than_the_page_shows_says_so(page: Page, tmp_path: Path) -> None:
    drop(page, write_h5(tmp_path / "many.h5", [f"TR{number}" for number in range(21)]))
    expect(page.get_by_role("alert")).to_contain_text("It holds more: the page shows the first 20")
    expect(page.locator("article")).to_have_count(20)


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")])
def test_it_is_readable(browser: Browser, server: Running, tmp_path: Path, width: int, scheme: Any) -> None:
    (tmp_path / f"{'long-name-' * 20}.json").write_text("{")
    with opened(browser, server, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        drop(page, *tmp_path.iterdir(), write_h5(tmp_path / "a.h5", ["TR1"], segments=500))
        expect(page.locator("article")).to_have_count(1)
        expect(page.get_by_role("alert")).not_to_be_empty()
        page.get_by_role("slider", name="Timbre").focus()
        page.locator("summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        contrasts = page.evaluate(_CONTRASTS)
        assert len(contrasts) > 100
        assert min(contrasts) >= 4.5


def test_a_model_that_comes_and_a_server_that_goes(browser: Browser, finished_run: FinishedRun, tmp_path: Path) -> None:
    pushed = tmp_path / "pushed"
    pushed.mkdir()
    files = [write_analysis(tmp_path / f"{name}.json", analysis()) for name in ("a", "b", "c")]
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        with running(page_options(pushed), page_application) as server:
            page.goto(server.address)
            expect(page.locator("#model")).to_have_text("No version of the model deepmusic is loaded")
            drop(page, *files)
            expect(page.get_by_role("alert").locator("p")).to_have_text(
                ["a.jsonNo version of the model deepmusic is loaded.", "2 morenot sent."]
            )
            (version,) = (finished_run.home / "pushed").iterdir()
            shutil.copytree(version, tmp_path / "whole").rename(pushed / version.name)
            expect(page.locator("#model")).to_contain_text("Model deepmusic, version", timeout=30_000)
            drop(page, files[0])
            expect(page.locator("article h2")).to_have_text(["a"])
        drop(page, *files)
        expect(page.get_by_role("alert").locator("p")).to_have_text(
            [
                "a.jsonThe server does not answer. If it was stopped, `deepmusic serve` starts it again.",
                "2 morenot sent.",
            ]
        )
        expect(page.locator("article h2")).to_have_text(["a"])
