"""The documentation's commands and programs, run as they stand, but for the port."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.endpoints import Endpoints
from tests.support.tracks import analysis, write_analysis

PAGE = ROOT / "docs" / "serving.md"
COMMANDS = {"sh": ["sh", "-e"], "python": [sys.executable], "javascript": ["node", "--input-type=module"]}


def test_requests_of_the_documentation_are_answered(endpoints: Endpoints, tmp_path: Path) -> None:
    if not (shutil.which("node") and shutil.which("curl")):
        pytest.skip("node or curl is missing")
    write_analysis(tmp_path / "track.json.gz", analysis(1))
    write_analysis(tmp_path / "analyses" / "a.json", analysis(1) | {"title": "Song"})
    command = tmp_path / "bin" / "deepmusic"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m deepmusic_genre "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    text = PAGE.read_text().replace("http://127.0.0.1:8501", endpoints.http)
    printed = []
    for language, content in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language in COMMANDS and not content.startswith("make "):
            run = subprocess.run(
                COMMANDS[language],
                input=content,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert run.returncode == 0, content + run.stderr
            printed.append(run.stdout)
    by_curl, by_python, by_javascript, nothing, by_client = printed
    genre = by_python.strip()
    assert f'"genre":"{genre}"' in by_curl
    assert by_javascript.strip() == genre
    assert nothing == ""
    assert by_client == f"Song {genre}\n"
    assert f",Song,{genre}," in (tmp_path / "genres.csv").read_text()
