"""``deepmusic genres`` as it is called."""

import subprocess
from pathlib import Path

from tests.support.command import command
from tests.support.tracks import analysis, write_analysis


def test_names_are_shown_with_what_they_become_and_one_that_is_no_text_for_a_terminal(tmp_path: Path) -> None:
    names = ["Rap", "Rap", "Polka [red]", "x\x1b[31m" * 2000]
    for seed, name in enumerate(names):
        write_analysis(tmp_path / "data" / f"{seed}.json", analysis(seed) | {"genre": name})
    arguments = ("genres", "--data", str(tmp_path / "data"), f"output={tmp_path / 'output'}")
    shown = subprocess.run(command(*arguments), capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows[:2] == [["Rap", "2", "Hip-Hop"], ["Polka [red]", "1", "left out: not in the genre list"]]
    assert "\x1b" not in shown
    assert "4 tracks: Blues 0, Classical 0, Country 0, Hip-Hop 2, Jazz 0, Metal 0, Pop 0, Rock 0" in shown
    assert "left out: other genres 2\ngenres named by the files themselves 4" in shown
