"""The command ``deepmusic``: every option has one name, and is declared once.

Commands import what they need when they run. Those that train, push or serve need the project's checkout; those of the
installed package that work with music are ``predict``, ``review``, ``write-tags`` and ``undo-tags``.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from deepmusic_genre.client.defaults import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL, FORMATS, FURTHER_FORMATS
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.exit_codes import FAULT, OK
from deepmusic_genre.process import exit_code_of, isolate, own_temporary_folder, run_process, words_for

PROGRAM = "deepmusic"
CHECKOUT = Path(__file__).resolve().parents[1]

DRIFT_THRESHOLD = 0.2
"""Divergence that chance does not reach. Of 1,086 real tracks, random parts of 30 are up to 0.17 apart from half of the
others in their worst coefficient, parts of 100 up to 0.13, of 300 up to 0.08; timbre that is larger by a quarter is
0.36 apart, by a half 0.6."""

_COMPLETION_VARIABLE = "_DEEPMUSIC_COMPLETE"
_DEFAULTS = CHECKOUT / "pipeline" / "defaults.yaml"

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Given:
    """What a command line says of the settings.

    Attributes:
        name: Name of the pipeline.
        settings: File of settings.
        assignments: Single settings, ``section.key=value``.
        data: Catalogue.
        labels: File of labels.
        verbose: Whether libraries' logs are shown.
    """

    name: str | None = None
    settings: Path | None = None
    assignments: tuple[str, ...] = ()
    data: str | None = None
    labels: str | None = None
    verbose: bool = False


def options_of(given: Given) -> list[str]:
    """The options that say the same on another command line; ``verbose`` is this one's own."""
    # Absolute: the other command may run in another folder.
    places = {"--data": given.data, "--labels": given.labels, "--settings": given.settings}
    absolute = {
        option: place if place is None or "://" in str(place) else Path(place).absolute()
        for option, place in places.items()
    }
    named = {**absolute, "--name": given.name}
    options = [text for option, value in named.items() if value is not None for text in (option, str(value))]
    return [*options, *(text for assignment in given.assignments for text in ("--set", assignment))]


class _Seconds(click.FloatRange):
    """A bounded number of seconds; NaN, which every comparison passes, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.strip().lower().lstrip("+-") == "nan":
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return super().convert(value, param, ctx)


class _Group(click.Group):
    """Commands that are suggested for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Did you mean {near[0]}?" if near else f" There are {', '.join(self.list_commands(ctx))}."
            raise click.UsageError(f"No such command: {args[0]}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def command() -> NoReturn:
    """Runs the command and ends its process."""
    run_process(main)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        See :mod:`deepmusic_genre.exit_codes`.
    """
    try:
        code = deepmusic.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        stop = abort.__cause__ if isinstance(abort.__cause__, KeyboardInterrupt) else KeyboardInterrupt()
        print(words_for(stop), file=sys.stderr)
        return exit_code_of(stop)
    return int(code or OK)


def _examples(*lines: str) -> str:
    """Help's last paragraph, which click is not to wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _in_checkout(module: str, function: str, *arguments: Any) -> int:
    """Calls a function of the checkout, which has a folder of its own for temporary files."""
    _require_checkout()
    isolate()
    with own_temporary_folder():
        return _call(module, function, *arguments)


def _becoming(module: str, function: str, *arguments: Any) -> int:
    """Calls a function of the checkout whose process becomes another program, or starts one that outlives it."""
    _require_checkout()
    isolate()
    return _call(module, function, *arguments)


def _require_checkout() -> None:
    if not _DEFAULTS.is_file():
        name = click.get_current_context().command_path
        raise click.UsageError(f"{name} needs the project's checkout; the installed package has `{PROGRAM} predict`.")
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))


def _call(module: str, function: str, *arguments: Any) -> int:
    try:
        return int(getattr(import_module(module), function)(*arguments))
    except PipelineInputError as error:
        click.echo(error, err=True)
        return FAULT


def pipeline_options(command: Command) -> Command:
    """Options of commands that concern one pipeline: ``given`` is what they say of the settings."""
    for option in (
        click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A single setting; repeatable."),
        click.option("--settings", type=click.Path(path_type=Path), help="YAML file with the settings that differ."),
        click.option("--name", help="Name of the pipeline, which keeps its runs and models apart."),
    ):
        command = option(command)
    return command


def data_options(command: Command) -> Command:
    """Options of commands that read a catalogue."""
    for option in (
        click.option("--verbose", is_flag=True, help="Show what TFX, Beam and TensorFlow log."),
        click.option("--labels", metavar="FILE", help="CSV with track_id,genre, or tagtraum's .cls."),
        click.option("--data", metavar="PLACE", help="Folder of analyses or sound files, a dump or an archive."),
    ):
        command = option(command)
    return command


_VERSION = click.option("--version", type=int, metavar="N", help="Version of the model (default: the live one).")


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, no_args_is_help=True
)
def deepmusic() -> None:
    """Learns the genre of tracks from their audio analyses, and serves what it learned."""


@deepmusic.command(epilog=_examples("deepmusic run --data analyses --labels labels.csv --name mine"))
@data_options
@pipeline_options
def run(**given: Any) -> int:
    """Trains on a catalogue, evaluates, and pushes the best model."""
    return _in_checkout("pipeline.run.local", "run", Given(**given))


@deepmusic.command(
    epilog=_examples(
        "deepmusic genres --data music",
        "deepmusic genres --data music --set 'data.genre_names={Hip-Hop: [boom bap], Rock: [beat, britpop]}'",
    )
)
@data_options
@pipeline_options
def genres(**given: Any) -> int:
    """Shows which genres a catalogue names, how often, and what each becomes in a run."""
    return _in_checkout("pipeline.run.genres", "show_genres", Given(**given))


@deepmusic.command(epilog=_examples("deepmusic demo --set training.models=[tangent]"))
@click.option("--verbose", is_flag=True, help="Show what TFX, Beam and TensorFlow log.")
@pipeline_options
def demo(**given: Any) -> int:
    """Runs the whole pipeline on a synthetic catalogue."""
    return _in_checkout("pipeline.run.local", "demo", Given(**given))


@deepmusic.command(epilog=_examples("deepmusic crawl --settings mine.yaml"))
@pipeline_options
def crawl(**given: Any) -> int:
    """Fetches audio analyses of Spotify playlists into a store; resumes where it ended."""
    return _in_checkout("pipeline.run.crawl", "crawl", Given(**given))


@deepmusic.command("fit-timbre", epilog=_examples("deepmusic fit-timbre --data music"))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of sound files (default: synthetic sound).")
def fit_timbre(data: Path | None) -> int:
    """Fits the basis of timbre of sound files anew."""
    return _in_checkout("deepmusic_genre.analyser.fit", "fit_basis", data)


@deepmusic.command(epilog=_examples("deepmusic serve --name mine", "deepmusic serve --log served --log-rate 0.1"))
@click.option("--log-rate", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share that is logged.")
@click.option("--log", metavar="FOLDER", help="Keep the tracks that are served, for `deepmusic drift`.")
@click.option("--rest-port", type=int, default=8501, show_default=True, help="Port for REST and the page.")
@click.option("--port", type=int, default=8500, show_default=True, help="Port for gRPC.")
@pipeline_options
def serve(port: int, rest_port: int, log: str | None, log_rate: float, **given: Any) -> int:
    """Serves the pushed model, by TF Serving where there is Docker."""
    return _becoming("serving.serve", "serve", Given(**given), port, rest_port, log, log_rate)


@deepmusic.command(
    epilog=_examples(
        "deepmusic predict track.json.gz",
        "deepmusic predict --format csv --out genres.csv analyses",
        "deepmusic predict --print-request track.json.gz > request.json",
    )
)
@click.argument("tracks", nargs=-1, required=True)
@click.option("--print-request", is_flag=True, help="Print the JSON that asks for these tracks, and ask nobody.")
@click.option("--out", metavar="FILE", help="File for answers as csv or jsonl; the same call resumes there.")
@click.option("--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@click.option(
    "--timeout",
    type=_Seconds(0, 86_400, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds for a request, with repeats.",
)
@_VERSION
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Model name on the server.")
@click.option(
    "--url", default=DEFAULT_URL, show_default=True, help="http(s)://host:8501 for REST, grpc(s)://host:8500."
)
def predict(tracks: tuple[str, ...], form: str, out: str | None, print_request: bool, **asked: Any) -> int:
    """Asks a served model for the genres of analyses or sound files."""
    if out and form == FORMATS[0]:
        raise click.UsageError("--out needs --format csv or jsonl.")
    if print_request:
        from deepmusic_genre.client.request import print_rows

        return print_rows(tracks)
    from deepmusic_genre.client.command import Question, predict_tracks

    return predict_tracks(tracks, Question(format=form, out=out, **asked))


@deepmusic.command(epilog=_examples("deepmusic tag --data music --out genres --name mine --format m3u8"))
@_VERSION
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FURTHER_FORMATS),
    help="Also write JSON lines, or a playlist a genre; repeatable.",
)
@click.option("--out", required=True, metavar="FOLDER", help="Folder for the answers; the same call resumes there.")
@click.option("--verbose", is_flag=True, help="Show what Beam and TensorFlow log.")
@click.option("--data", required=True, metavar="PLACE", help="Folder of analyses or sound files, a dump or an archive.")
@pipeline_options
def tag(out: str, version: int | None, formats: tuple[str, ...], **given: Any) -> int:
    """Writes the pushed model's answers to a whole catalogue, as CSV and Parquet."""
    # Each once, whatever is repeated.
    chosen = tuple(form for form in FURTHER_FORMATS if form in formats)
    return _in_checkout("serving.batch.command", "tag_catalogue", Given(**given), out, version, chosen)


@deepmusic.command(epilog=_examples("deepmusic review --out review.csv genres.csv"))
@click.argument("answers", type=click.Path(exists=True, path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=50, show_default=True, help="How many tracks.")
@click.option("--out", type=click.Path(path_type=Path), help="New labels file with these tracks, to be filled in.")
def review(answers: Path, out: Path | None, top: int) -> int:
    """Shows which of the answers of `tag` or `predict` a person should check first."""
    return _call("deepmusic_genre.client.review", "review", answers, out, top)


@deepmusic.command(
    "write-tags", epilog=_examples("deepmusic write-tags --dry-run genres.csv", "deepmusic write-tags genres.csv")
)
@click.argument("answers", type=click.Path(exists=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Write nothing, and print what would be written.")
@click.option("--overwrite", is_flag=True, help="Replace genres that are there.")
def write_tags(answers: Path, overwrite: bool, dry_run: bool) -> int:
    """Writes the sure answers of `tag` or `predict` into the sound files' own tags."""
    return _call("deepmusic_genre.client.write_tags", "write_tags", answers, overwrite, dry_run)


@deepmusic.command("undo-tags", epilog=_examples("deepmusic undo-tags genres.undo.jsonl"))
@click.argument("undo", type=click.Path(exists=True, path_type=Path))
def undo_tags(undo: Path) -> int:
    """Gives sound files back what they held before `write-tags`."""
    return _call("deepmusic_genre.client.write_tags", "undo_tags", undo)


@deepmusic.command()
@pipeline_options
def versions(**given: Any) -> int:
    """Lists the pushed versions with their scores."""
    return _in_checkout("serving.versions", "show_versions", Given(**given))


@deepmusic.command(epilog=_examples("deepmusic rollback --version 1795403110"))
@click.option("--version", required=True, metavar="N", help="Version that becomes the live one.")
@pipeline_options
def rollback(version: str, **given: Any) -> int:
    """Makes a pushed version the live one, older or newer."""
    return _in_checkout("serving.versions", "make_live", Given(**given), version)


@deepmusic.command(epilog=_examples("deepmusic drift --log served"))
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=DRIFT_THRESHOLD,
    show_default=True,
    help="Divergence that counts.",
)
@_VERSION
@click.option("--log", required=True, metavar="FOLDER", help="What `deepmusic serve --log` kept.")
@pipeline_options
def drift(log: str, version: int | None, threshold: float, **given: Any) -> int:
    """Compares served tracks with training tracks; exits with 3 for drift."""
    return _in_checkout("serving.drift", "compare", Given(**given), log, version, threshold)


@deepmusic.command()
@pipeline_options
def report(**given: Any) -> int:
    """Opens the newest report in the browser."""
    return _becoming("pipeline.run.report", "open_report", Given(**given))


@deepmusic.command(epilog=_examples("deepmusic clean --name mine --set keep.runs=5 --set keep.versions=3"))
@pipeline_options
def clean(**given: Any) -> int:
    """Removes old runs, logs and versions, as the settings `keep` say."""
    return _in_checkout("pipeline.run.clean_old", "clean_old", Given(**given))


@deepmusic.group(cls=_Group)
def airflow() -> None:
    """Runs the pipeline by Airflow on this machine."""


@airflow.command("serve")
@data_options
@pipeline_options
def airflow_serve(**given: Any) -> int:
    """Starts Airflow's scheduler and web server with the pipeline as a DAG."""
    return _becoming("pipeline.airflow.start", "start", "serve", Given(**given))


@airflow.command("test")
@data_options
@pipeline_options
def airflow_test(**given: Any) -> int:
    """Runs the whole DAG once, without a scheduler."""
    return _in_checkout("pipeline.airflow.start", "start", "test", Given(**given))


@deepmusic.group(cls=_Group)
def kubeflow() -> None:
    """Compiles the pipeline for Kubeflow Pipelines and Vertex AI."""


@kubeflow.command("compile")
@data_options
@pipeline_options
def kubeflow_compile(**given: Any) -> int:
    """Writes the specification that Kubeflow Pipelines and Vertex AI take."""
    return _in_checkout("pipeline.kubeflow.compile", "compile_pipeline", Given(**given))


@kubeflow.command("run")
@data_options
@pipeline_options
def kubeflow_run(**given: Any) -> int:
    """Runs the compiled pipeline on this machine, each step by its own command."""
    return _in_checkout("pipeline.kubeflow.local.run", "run", Given(**given))


@deepmusic.command()
def env() -> int:
    """Shows which Python, packages and folders are used."""
    from deepmusic_genre.environment import lines

    for line in lines(CHECKOUT if _DEFAULTS.is_file() else None):
        click.echo(line)
    return OK


@deepmusic.command("version")
def show_version() -> int:
    """Prints this program's version."""
    from deepmusic_genre.version import DISTRIBUTION, __version__

    click.echo(f"{DISTRIBUTION} {__version__}")
    return OK


@deepmusic.command(epilog=_examples('eval "$(deepmusic completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Prints what makes a shell complete this command."""
    from click.shell_completion import get_completion_class

    of_shell = get_completion_class(shell)
    if of_shell is None:
        return FAULT
    click.echo(of_shell(deepmusic, {}, PROGRAM, _COMPLETION_VARIABLE).source())
    return OK
