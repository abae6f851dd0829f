"""The settings: typed, from YAML and the command line, in layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from components.evaluator.slices import known_slice
from components.model_validator.limits import Limits, Share
from components.sampler.sampling import Sampling
from components.spotify_crawl.request import (
    LABELS_FILE,
    POLICY,
    Access,
    CrawlRequest,
    api_url,
    playlist_id,
)
from components.storage.places import is_remote
from components.track_example_gen.other_genres import OtherGenres, with_other
from components.track_example_gen.several_genres import SeveralGenres
from components.track_example_gen.sound import Pretrained
from components.track_example_gen.span_pattern import SPAN
from components.track_example_gen.splits import SplitBy
from components.trainer.hyperparameters import Balance
from components.trainer.registry import MODELS, ModelName, ModelsHyperparameters, known_model
from deepmusic_genre.errors import PipelineInputError
from deepmusic_genre.tracks.crawled_store import ANALYSES_FOLDER
from deepmusic_genre.tracks.genre_table import genre_key
from deepmusic_genre.tracks.label_table import LabelField
from deepmusic_genre.tracks.labels import GenreNames
from pipeline.metadata.address import Address, address_of

COPIES_FOLDER = "copies"
"""The folder in :attr:`Settings.home` of what is copied from a store, and to it."""

DEFAULTS = Path(__file__).with_name("defaults.yaml")

_SECRET = re.compile(r"--\w*(?:secret|password|token|connection_string)\w*")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def location(text: str) -> str:
    """An absolute path, or the URI of a remote file system; raises ValueError for a text that names none."""
    if not text.rpartition("://")[2].strip("/" if is_remote(text) else ""):
        raise ValueError("it is empty")
    return text.rstrip("/") if is_remote(text) else str(Path(text).absolute())


def _no_pattern(text: str) -> str:
    if set(text) & set("*?[]"):
        raise ValueError("Beam and TensorFlow take *, ? and brackets for patterns")
    return text


def _local(text: str) -> str:
    if is_remote(text):
        raise ValueError(
            "it has to be a folder of this machine, for metadata, locks and logs; storage names the bucket where"
            " artifacts and pushed versions go"
        )
    return text


Location = Annotated[str, AfterValidator(location)]
"""A path that does not depend on the folder that a step happens to run in, or the URI of a remote file system."""

Folder = Annotated[Location, AfterValidator(_no_pattern)]
"""A place below which names of files are looked for by patterns."""


def _listed(given: Any) -> Any:
    """A list, or the list of an only text."""
    return (given,) if isinstance(given, str) else given


def _of_file(given: Any) -> Any:
    return _read(Path(given)) if isinstance(given, str) else given


class DataSettings(_Section):
    """What is read; see ``defaults.yaml``."""

    path: Location | None
    labels: Location | None
    label_columns: dict[LabelField, Annotated[str, Field(min_length=1)]]
    spans: Annotated[int, Field(ge=1)] | None
    other_genres: OtherGenres
    genre_names: Annotated[dict[str, Annotated[tuple[str, ...], BeforeValidator(_listed)]], BeforeValidator(_of_file)]
    unknown_artists: tuple[str, ...]
    split_by: SplitBy
    max_segments: Annotated[int, Field(ge=1, lt=2**31)] | None
    max_rejected_share: Share
    several_genres: SeveralGenres
    mix_analysers: bool
    trust_times: bool

    @field_validator("labels")
    @classmethod
    def _not_without_data(cls, labels: str | None, info: ValidationInfo) -> str | None:
        if labels is not None and info.data.get("path") is None:
            raise ValueError("labels need data.path, the folder of their tracks")
        if labels is not None and SPAN.search(labels) and not SPAN.search(info.data["path"]):
            raise ValueError("{SPAN} stands in it, and not in data.path")
        return labels

    @field_validator("path", "labels")
    @classmethod
    def _one_span(cls, place: str | None) -> str | None:
        if place is not None and len(SPAN.findall(place)) > 1:
            raise ValueError("{SPAN} stands in it more than once")
        return place

    @field_validator("spans")
    @classmethod
    def _of_spans(cls, spans: int | None, info: ValidationInfo) -> int | None:
        if spans is not None and not SPAN.search(info.data.get("path") or ""):
            raise ValueError("it needs {SPAN} in data.path, where the number of a span stands")
        return spans


def _off_in_yaml(value: object) -> object:
    """YAML reads a bare ``off`` as false."""
    return "off" if value is False else value


class AnalyserSettings(_Section):
    """How sound files are analysed; see ``defaults.yaml``."""

    middle: Annotated[float, Field(ge=1, le=3600)] | None
    pretrained: Annotated[Pretrained, BeforeValidator(_off_in_yaml)]


class SpotifySettings(_Section):
    """Which playlists are crawled; see ``defaults.yaml``."""

    enabled: bool
    accept_policy: bool
    store: Location | None
    playlists: dict[
        str,
        Annotated[
            tuple[Annotated[str, AfterValidator(playlist_id)], ...],
            BeforeValidator(_listed),
        ],
    ]
    max_tracks_per_playlist: Annotated[int, Field(ge=1)] | None
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)]
    max_wait_seconds: Annotated[float, Field(ge=0, le=7 * 24 * 3600)]
    patience_seconds: Annotated[float, Field(ge=0, le=7 * 24 * 3600)]
    api_url: Annotated[str, AfterValidator(api_url)]

    @field_validator("accept_policy")
    @classmethod
    def _accepted(cls, accept_policy: bool, info: ValidationInfo) -> bool:
        if info.data.get("enabled") and not accept_policy:
            raise ValueError(f"{POLICY} If you are one of them, set spotify.accept_policy=true")
        return accept_policy

    @field_validator("store")
    @classmethod
    def _on_this_machine(cls, store: str | None) -> str | None:
        if store is not None and is_remote(store):
            raise ValueError("the store has to be a folder of this machine")
        return store

    @field_validator("playlists")
    @classmethod
    def _each_once(cls, playlists: dict[str, tuple[str, ...]], info: ValidationInfo) -> dict[str, tuple[str, ...]]:
        if info.data.get("enabled") and not any(playlists.values()):
            raise ValueError("there is no playlist to crawl")
        places: dict[str, str] = {}
        for genre, ids in playlists.items():
            for playlist in ids:
                if playlist in places:
                    both = dict.fromkeys((places[playlist], genre))
                    raise ValueError(f"the playlist {playlist} stands there twice, under {' and '.join(both)}")
                places[playlist] = genre
        return _by_genre(playlists)

    @property
    def request(self) -> CrawlRequest:
        """What is asked of a crawl."""
        return CrawlRequest(self.playlists, self.max_tracks_per_playlist)

    @property
    def access(self) -> Access:
        """How Spotify is asked."""
        return Access(self.api_url, self.requests_per_second, self.max_wait_seconds, self.patience_seconds)


def _by_genre(playlists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The same, with the ways that one genre is written as one."""
    spellings: dict[str, str] = {}
    joined: dict[str, tuple[str, ...]] = {}
    for genre, ids in playlists.items():
        spelling = spellings.setdefault(genre_key(genre), genre)
        joined[spelling] = joined.get(spelling, ()) + ids
    return joined


class TrainingSettings(_Section):
    """What is trained, on which tracks; see ``defaults.yaml``."""

    models: tuple[Annotated[ModelName, AfterValidator(known_model)], ...]
    sampling: Sampling
    balance: Balance
    warm_start: bool
    refit: bool
    sure_accuracy: Share
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @field_validator("models")
    @classmethod
    def _each_once(cls, models: tuple[ModelName, ...]) -> tuple[ModelName, ...]:
        if not models:
            raise ValueError(f"is empty; name at least one of {', '.join(MODELS)}")
        if len(set(models)) < len(models):
            raise ValueError("a model is listed twice")
        return models

    @property
    def refits(self) -> bool:
        """Whether a model may be fitted to every track in the end; who leaves tracks out does not want that."""
        return self.refit and self.sampling == "natural" and not all(MODELS[name].in_epochs for name in self.models)


class TuningSettings(_Section):
    """Whether hyper-parameters are searched for; see ``defaults.yaml``."""

    enabled: bool
    trials: Annotated[int, Field(ge=1)]


class EvaluationSettings(Limits):
    """What is measured, and what a model has to reach; see ``defaults.yaml``."""

    slices: tuple[Annotated[str, AfterValidator(known_slice)], ...]

    @property
    def limits(self) -> Limits:
        """What a model has to reach."""
        return Limits(**self.model_dump(exclude={"slices"}))


class MetadataSettings(_Section):
    """Where lineage and cache are; see ``defaults.yaml``."""

    database: str | None

    @field_validator("database")
    @classmethod
    def _of_a_server(cls, database: str | None) -> str | None:
        return database and str(address_of(database))

    @property
    def address(self) -> Address | None:
        """The server's, None where metadata are a file."""
        return address_of(self.database) if self.database else None


class KeepSettings(_Section):
    """What of old runs stays; see ``defaults.yaml``."""

    runs: Annotated[int, Field(ge=1)] | None
    versions: Annotated[int, Field(ge=1)] | None

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing is ever removed."""
        return self.runs is None and self.versions is None


class MachineSettings(_Section):
    """How much of this machine a run uses; see ``defaults.yaml``."""

    cores: Annotated[int, Field(ge=1)] | None
    memory: Annotated[float, Field(ge=1)] | None


class BeamSettings(_Section):
    """Where Beam runs; see ``defaults.yaml``."""

    args: tuple[str, ...]

    @field_validator("args")
    @classmethod
    def _keeps_the_data(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        if any("dask" in argument.lower() for argument in args):
            raise ValueError("Beam's Dask runner loses data and says that all went well: choose another one")
        return args

    @field_validator("args")
    @classmethod
    def _tells_no_secret(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for secret in filter(None, map(_SECRET.match, args)):
            # No ValueError: what is said of one shows the value.
            raise PipelineInputError(
                f"Settings: beam.args: {secret[0]} is a secret, and settings are kept with what a run makes. Give it in"
                " the environment of Beam's processes."
            )
        return args


class AirflowSettings(_Section):
    """How Airflow runs the pipeline; see ``defaults.yaml``."""

    schedule: str | None
    retries: Annotated[int, Field(ge=0)]
    heavy_slots: Annotated[int, Field(ge=1)]


def _mount_path(path: str) -> str:
    if not path.startswith("/") or path == "/":
        raise ValueError("a claim is mounted at an absolute path, as /data")
    return path.rstrip("/")


class KubeflowSettings(_Section):
    """How the pipeline is compiled for Kubeflow; see ``defaults.yaml``."""

    image: str | None
    pipeline_root: Annotated[str, Field(pattern=r"^[a-z0-9]+://.+")] | None
    volumes: dict[str, Annotated[str, AfterValidator(_mount_path)]]


def _distinct(genres: tuple[str, ...]) -> tuple[str, ...]:
    keys = {genre_key(genre) for genre in genres}
    if "" in keys:
        raise ValueError("a genre has no letter")
    if len(keys) < len(genres):
        raise ValueError("a genre is listed twice")
    return genres


class Settings(_Section):
    """Everything a run is told; see ``defaults.yaml``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
    output: Annotated[Folder, AfterValidator(_local)]
    storage: Folder | None
    metadata: MetadataSettings
    genres: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_distinct)]
    data: DataSettings
    analyser: AnalyserSettings
    spotify: SpotifySettings
    schema_file: Location
    training: TrainingSettings
    models: ModelsHyperparameters
    tuning: TuningSettings
    evaluation: EvaluationSettings
    keep: KeepSettings
    machine: MachineSettings
    beam: BeamSettings
    airflow: AirflowSettings
    kubeflow: KubeflowSettings

    @model_validator(mode="before")
    @classmethod
    def _with_other(cls, values: Any) -> Any:
        match values:
            case {"data": {"other_genres": "gather"}, "genres": [*genres]} if all(
                isinstance(each, str) for each in genres
            ):
                return values | {"genres": with_other(genres)}
        return values

    @field_validator("data")
    @classmethod
    def _names_of_the_list(cls, data: DataSettings, info: ValidationInfo) -> DataSettings:
        genres = {genre_key(genre): genre for genre in info.data.get("genres", data.genre_names)}
        known = dict(genres)
        for genre, names in data.genre_names.items():
            if (meant := genres.get(genre_key(genre))) is None:
                raise ValueError(f"genre_names names {genre}, which is not in genres")
            for name in names:
                if known.setdefault(genre_key(name), meant) != meant:
                    raise ValueError(f"genre_names has {name} under {meant}, but it is {known[genre_key(name)]}")
        if "" in known:
            raise ValueError("genre_names has a name without a letter")
        names_by_genre = {genres[genre_key(genre)]: names for genre, names in data.genre_names.items()}
        return data.model_copy(update={"genre_names": names_by_genre})

    @field_validator("evaluation")
    @classmethod
    def _genres_of_the_list(cls, evaluation: EvaluationSettings, info: ValidationInfo) -> EvaluationSettings:
        unknown = set(evaluation.min_genre_f1) - set(info.data.get("genres", evaluation.min_genre_f1))
        if unknown:
            raise ValueError(f"min_genre_f1 names {', '.join(sorted(unknown))}, which is not in genres")
        return evaluation

    @field_validator("spotify")
    @classmethod
    def _of_the_list_and_alone(cls, spotify: SpotifySettings, info: ValidationInfo) -> SpotifySettings:
        names = getattr(info.data.get("data"), "genre_names", None)
        genres = GenreNames(info.data.get("genres", spotify.playlists), names=names)
        unknown = [genre for genre in spotify.playlists if genres.canonical(genre) is None]
        if unknown:
            raise ValueError(f"playlists names {', '.join(unknown)}, which is not in genres")
        if spotify.enabled and getattr(info.data.get("data"), "path", None) is not None:
            raise ValueError("spotify.enabled and data.path both name a data source; remove one")
        return spotify

    @property
    def home(self) -> str:
        """The folder of this machine that runs of this name write to: metadata without a server, locks, logs."""
        return f"{self.output}/{self.name}"

    @property
    def copies(self) -> str:
        """The folder of copies of what is in a store that components cannot open, as long as a run needs them."""
        return f"{self.home}/{COPIES_FOLDER}"

    @property
    def artifacts(self) -> str:
        """The folder of what components make, a path of this machine or the URI of a remote one."""
        return f"{self.storage or self.output}/{self.name}/artifacts"

    @property
    def pushed(self) -> str:
        """The folder of pushed versions, beside the artifacts."""
        return f"{self.storage or self.output}/{self.name}/pushed"

    @property
    def spotify_store(self) -> str:
        """The folder of what was crawled from Spotify."""
        return self.spotify.store or f"{self.home}/spotify"

    @property
    def catalogue(self) -> DataSettings:
        """What is read: the crawled tracks or those in ``data``, with ``path`` None for the demo."""
        if not self.spotify.enabled:
            return self.data
        files = {"path": ANALYSES_FOLDER, "labels": LABELS_FILE}
        return self.data.model_copy(update={key: f"{self.spotify_store}/{file}" for key, file in files.items()})


def of_demo(settings: Settings) -> Settings:
    """The settings of a run on the demo catalogue: its models and metadata stay apart from those of one's own."""
    return settings.model_copy(update={"name": f"{settings.name}-demo"})


def load_settings(
    file: Path | None = None, assignments: Iterable[str] = (), texts: Mapping[str, str] | None = None
) -> Settings:
    """Puts the layers together: the defaults, a file, assignments, texts.

    Args:
        file: YAML that names what differs from the defaults.
        assignments: ``section.key=value`` each, the value in YAML.
        texts: values by ``section.key`` that are taken as they are.

    Raises:
        PipelineInputError: with a line for each key that is not known and each value that is not possible.
    """
    defaults = _read(DEFAULTS)
    # The project's own file, from wherever the command is called.
    defaults["schema_file"] = str(DEFAULTS.parent.parent / defaults["schema_file"])
    layers = [defaults]
    if file is not None:
        layers.append(_read(file))
    layers.extend(map(_assignment, assignments))
    layers.extend(_nested(key, value) for key, value in (texts or {}).items())
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(dict(detail)) for detail in error.errors()]
        raise PipelineInputError("Settings: " + "\n  ".join(lines)) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineInputError(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise PipelineInputError(f"The settings file {file} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict | None):
        raise PipelineInputError(f"The settings file {file} holds no keys.")
    return content or {}


def _assignment(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise PipelineInputError(f"Settings: {text!r} is not of the form section.key=value.")
    try:
        return _nested(key, yaml.safe_load(value))
    except (yaml.YAMLError, RecursionError) as error:
        raise PipelineInputError(f"Settings: the value of {text!r} is not YAML.") from error


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, dot, rest = key.partition(".")
    return {first: _nested(rest, value) if dot else value}


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _explain(detail: Mapping[str, Any]) -> str:
    place = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"{place} is not a setting; there are {', '.join(_known_keys(detail['loc'][:-1]))}."
    # A whole section would hide what is wrong with it, and a password may stand in an address.
    value = "" if isinstance(detail["input"], Mapping) or detail["loc"][0] == "metadata" else f" = {detail['input']!r}"
    return f"{place}{value}: {detail['msg'].removeprefix('Value error, ')}."


def _known_keys(place: tuple[str | int, ...]) -> list[str]:
    model: Any = Settings
    for part in place:
        model = model.model_fields[part].annotation
    return sorted(model.model_fields)
