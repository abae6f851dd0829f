"""TrackExampleGen: audio analyses to tf.Examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import IngestReport
from components.track_example_gen.driver import FingerprintDriver
from components.track_example_gen.executor import Executor
from components.track_example_gen.other_genres import OtherGenres
from components.track_example_gen.several_genres import SeveralGenres
from components.track_example_gen.sound import Pretrained
from components.track_example_gen.splits import SplitBy


class TrackExampleGenSpec(ComponentSpec):
    """Inputs, outputs and properties of :class:`TrackExampleGen`."""

    PARAMETERS = {
        "data": ExecutionParameter(type=str),
        "labels": ExecutionParameter(type=str, optional=True),
        "spans": ExecutionParameter(type=int, optional=True),
        "store": ExecutionParameter(type=str),
        "splits": ExecutionParameter(type=str),
        "genres": ExecutionParameter(type=str),
        "other_genres": ExecutionParameter(type=str),
        "genre_names": ExecutionParameter(type=str),
        "unknown_artists": ExecutionParameter(type=str),
        "split_by": ExecutionParameter(type=str),
        "max_segments": ExecutionParameter(type=int, optional=True),
        "max_rejected_share": ExecutionParameter(type=float),
        "several_genres": ExecutionParameter(type=str),
        "mix_analysers": ExecutionParameter(type=int),
        "middle": ExecutionParameter(type=float, optional=True),
        "pretrained": ExecutionParameter(type=str),
        "code_version": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "report": ChannelParameter(type=IngestReport),
    }


class TrackExampleGen(BaseBeamComponent):
    """Reads a folder of audio analyses into TFRecords of tf.Examples, split 8:1:1 by artist.

    Outputs:
        examples: the splits ``train``, ``validation`` and ``test``.
        report: counts, and every track that was left out with its reason.
    """

    SPEC_CLASS = TrackExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
    DRIVER_CLASS = FingerprintDriver

    def __init__(  # noqa: PLR0913 - a setting each
        self,
        *,
        data: str,
        labels: str | None,
        spans: int | None,
        store: str,
        splits: str,
        genres: Sequence[str],
        other_genres: OtherGenres,
        genre_names: Mapping[str, Sequence[str]],
        unknown_artists: Sequence[str],
        split_by: SplitBy,
        max_segments: int | None,
        max_rejected_share: float,
        several_genres: SeveralGenres,
        mix_analysers: bool,
        middle: float | None,
        pretrained: Pretrained,
        code_version: str,
    ) -> None:
        """Constructs the component.

        Args:
            data: folder of analyses, searched recursively; with ``{SPAN}`` in it one for each span.
            labels: CSV with ``track_id,genre``, or ``.cls``, with ``{SPAN}`` in it one for each span; None takes the
                genre from the folders.
            spans: how many of the newest are taken, None for all.
            store: folder of what was read, which outlives runs.
            splits: folder of the splits that were given, which outlives runs, too.
            genres: the genre list.
            other_genres: what becomes of a track of a genre outside it.
            genre_names: further names of genres in it.
            unknown_artists: names of artists that are the name of nobody.
            split_by: ``artist`` keeps an artist's tracks in one split, ``track`` does not.
            max_segments: segments kept of a track, None for all.
            max_rejected_share: 0..1; the run stops when more of the tracks are rejected.
            several_genres: what becomes of a track under several genres.
            mix_analysers: whether tracks of several analysers may come together; the run stops if they may not.
            middle: seconds from the middle of each sound file that are analysed, None for all of it.
            pretrained: whether a pretrained network hears sound files, where it can be had.
            code_version: Changes when the code that reads tracks does, or the environment.
        """
        super().__init__(
            spec=TrackExampleGenSpec(
                data=data,
                labels=labels,
                spans=spans,
                store=store,
                splits=splits,
                genres=json.dumps(list(genres)),
                other_genres=other_genres,
                genre_names=json.dumps(genre_names),
                unknown_artists=json.dumps(list(unknown_artists)),
                split_by=split_by,
                max_segments=max_segments,
                max_rejected_share=max_rejected_share,
                several_genres=several_genres,
                mix_analysers=int(mix_analysers),
                middle=middle,
                pretrained=pretrained,
                code_version=code_version,
                examples=Channel(type=standard_artifacts.Examples),
                report=Channel(type=IngestReport),
            )
        )
