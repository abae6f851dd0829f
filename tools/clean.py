"""``make clean``: removes runs, pushed models and environments, but no store of crawled analyses.

A store cannot be fetched again: Spotify has closed its endpoint. ``--store`` removes that, too.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE = (".venv", ".tools", ".cache", "site")

# What components/spotify_crawl/store.py writes beside each other; this runs where no environment is yet.
_STORE = ("store.json", "analyses")


def remove_runs(output: Path) -> list[Path]:
    """Removes all below a folder of runs but stores of crawled analyses; returns these."""
    kept = []
    for child in sorted(output.iterdir()):
        if not child.is_dir() or child.is_symlink():
            child.unlink()
        elif all((child / name).exists() for name in _STORE):
            kept.append(child)
        else:
            kept += remove_runs(child)
    if not kept:
        output.rmdir()
    return kept


def main(arguments: Sequence[str]) -> int:
    """Cleans, and says which stores stay."""
    for name in MADE:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    output = (ROOT / "output").resolve()
    if not output.is_dir():
        return 0
    if "--store" in arguments:
        shutil.rmtree(output)
        return 0
    for store in remove_runs(output):
        print(f"{store} stays: a crawled store cannot be fetched again; make clean STORE=1 removes it, too")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
