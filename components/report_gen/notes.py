"""Where a report's numbers mislead."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from components.report_gen.content import DataReport, ModelReport, Scores
from components.track_example_gen.report import FOLLOWS

_FEW = 10


def notes(data: DataReport, models: Sequence[ModelReport], synthetic: bool) -> list[str]:
    """A sentence or two each, those on the data first."""
    test = models[0].test
    always = [
        "The intervals are of the draw of test tracks alone. They do not cover what another seed of the training would"
        " change, and they take tracks for independent, which those of one artist are not: they are rather too narrow.",
        f"There are {test.tracks:,} test tracks: one track more or less is {1 / max(test.tracks, 1):.3f} of accuracy.",
    ]
    on_models = [*_on_training(models), *_on_hearing(models), *_on_answers(models)]
    return [*(_SYNTHETIC if synthetic else ()), *_on_data(data), *_on_support(test), *on_models, *always]


_SYNTHETIC = ("The data are synthetic: the generated demo catalogue. No score here says anything about real music.",)


def _on_data(data: DataReport) -> list[str]:
    used, read = sum(split.tracks for split in data.splits), sum(data.ingest.tracks.values())
    sample = (
        f"The examples are a sample: {used:,} of the {read:,} tracks that were read. The lengths are of all that were"
        " read."
    )
    sampled = [sample] if used < read else []
    analysers = list(data.ingest.analysers)
    mixed = [
        f"The tracks are of the analysers {', '.join(analysers)}, whose values cannot be compared: where genres differ"
        " in their analyser, a model learns to tell these apart instead."
    ]
    missing = {split.split: [genre for genre, tracks in split.genres.items() if not tracks] for split in data.splits}
    gaps = [
        f"There is no track of {', '.join(genres)} in {split}: {FOLLOWS[split]}."
        for split, genres in missing.items()
        if genres
    ]
    told = [f"{line[0].upper()}{line[1:]}." for line in (data.ingest.on_artists(), data.ingest.on_labels()) if line]
    return sampled + (mixed if len(analysers) > 1 else []) + told + gaps


def _on_support(test: Scores) -> list[str]:
    few = [f"{row.genre} ({row.support})" for row in test.genres if 0 < row.support < _FEW]
    if not few:
        return []
    return [f"Fewer than {_FEW} test tracks: {', '.join(few)}. Their scores move far with a single track."]


def _on_training(models: Sequence[ModelReport]) -> list[str]:
    return [
        f"The training of {model.name} began with the weights of an earlier model, {model.training.started_from}: its"
        " history is not that of a training from the beginning, and it has learned from that model's tracks, too."
        for model in models
        if model.training.started_from
    ]


def _on_hearing(models: Sequence[ModelReport]) -> list[str]:
    return [
        f"{model.name} hears tracks through a network that others trained on the sound of the Million Song Dataset with"
        " Last.fm's tags (MSD_musicnn by Pons and Serra, 2019). It may have heard test tracks of that data set before:"
        " scores on these are too high."
        for model in models
        if model.listens
    ]


def _on_answers(models: Sequence[ModelReport]) -> list[str]:
    never = {model.name: [row.genre for row in model.test.genres if isnan(row.precision.value)] for model in models}
    unanswered = [
        f"{name} never answers {', '.join(genres)} on the test split: the precision is undefined there."
        for name, genres in never.items()
        if genres
    ]
    miscalibrated = [
        f"The probabilities of {model.name} are further from the truth with the temperature than without it: it fits"
        " the validation split, not the test split."
        for model in models
        if model.test.calibration.error > model.uncalibrated.error
    ]
    return unanswered + miscalibrated
