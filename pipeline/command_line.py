"""What every runner's command line has in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.settings import Settings, load_settings, location, of_demo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says which data are read, and how."""
    parser.add_argument("--settings", type=Path, help="YAML file with what differs from pipeline/defaults.yaml")
    parser.add_argument("--data", type=location, help="folder of analyses, or a dump; none: a synthetic demo catalogue")
    parser.add_argument("--labels", type=location, help="CSV with track_id,genre, or tagtraum's .cls")
    parser.add_argument("--name", help="name of the pipeline")
    parser.add_argument("assignments", nargs="*", metavar="section.key=value", help="a setting")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that a command line asks for; without data, those of a run on the demo catalogue.

    Raises:
        PipelineInputError: see :func:`pipeline.settings.load_settings`.
    """
    given = {"data.path": options.data, "data.labels": options.labels, "name": options.name}
    texts = {key: str(value) for key, value in given.items() if value is not None}
    settings = load_settings(options.settings, options.assignments, texts)
    return of_demo(settings) if settings.catalogue.path is None else settings
