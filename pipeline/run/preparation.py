"""What comes before the first component: the demo catalogue, leftovers of killed runs, the wiring."""

from __future__ import annotations

from pathlib import Path

from tfx.orchestration.pipeline import Pipeline

from components.storage.staging import Copies
from components.track_example_gen.span_pattern import SPAN
from deepmusic_genre.demo import generate_catalogue
from pipeline.checks.beam import require_workers
from pipeline.checks.storage import require_storage
from pipeline.console import Terminal, relative
from pipeline.create_pipeline import create_pipeline
from pipeline.metadata.database import connection_of, require_database
from pipeline.metadata.leftovers import remove_leftovers
from pipeline.settings import Settings


def prepare(settings: Settings, terminal: Terminal) -> Pipeline:
    """Makes ready what a run needs; the run's lock has to be held, see :func:`pipeline.metadata.leftovers.only_run`."""
    synthetic = settings.catalogue.path is None
    if synthetic:
        settings = with_demo_catalogue(settings, terminal)
    terminal.moment("Looking for where artifacts go")
    require_storage(settings.artifacts, settings.beam.args)
    catalogue = settings.catalogue
    read = [place for place in (catalogue.path, catalogue.labels) if place and not SPAN.search(place)]
    copies = Copies(settings.copies)
    copies.clear()
    require_workers(settings.beam.args, copies.local(settings.artifacts), read, terminal.moment)
    require_database(settings)
    connection = connection_of(settings)
    remove_leftovers(settings.artifacts, connection, settings.name)
    return create_pipeline(settings, settings.artifacts, settings.pushed, connection, synthetic=synthetic)


def with_demo_catalogue(settings: Settings, terminal: Terminal) -> Settings:
    """Makes the demo catalogue, if it is not there yet, and names it as the data."""
    folder = Path(settings.home) / "catalogue"
    if not folder.exists():
        terminal.line(f"  making it in {relative(folder)}")
    generate_catalogue(
        folder, progress=lambda done, tracks: terminal.moment(f"Demo catalogue: {done} of {tracks} tracks")
    )
    files = {"path": str(folder / "tracks"), "labels": str(folder / "labels.csv")}
    return settings.model_copy(update={"data": settings.data.model_copy(update=files)})
