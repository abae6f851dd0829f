"""Compares a model's answers with what it has to reach, and with the latest blessed model's."""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.model_validator.limits import Limits
from components.model_validator.verdict import Check, Verdict
from components.scoring.predictions import Predictions
from components.scoring.scores import (
    Bootstrap,
    Estimate,
    Score,
    accuracy,
    accuracy_over_always,
    genre_f1,
    macro_f1,
)

_MARGIN = "accuracy beyond always answering the most frequent genre"


def judge(model: tuple[str, Predictions], baseline: tuple[str, Predictions] | None, limits: Limits) -> Verdict:
    """Checks a model's answers to the test split.

    A score has to reach its minimum, and the accuracy has to exceed the most frequent genre's share by more than noise.
    A fall below the baseline counts when it is larger than allowed and its confidence interval excludes zero. The
    intervals of all falls hold together: a model as good as the baseline passes as often as the confidence says. They
    are too wide for a handful of tracks; so a score of nothing at all counts, too, where the baseline's interval by
    itself is beyond what may be lost. Where a gain is asked for, a fall of less than zero, it has to be as large as
    that, and its own interval has to lie above zero.

    Args:
        model: name and answers.
        baseline: the same of the latest blessed model, to those of the tracks that it was not trained on; None where
            there is none.
        limits: what is asked for.
    """
    name, answers = model
    checks = list(_minima(answers, limits))
    if baseline:
        known = set(baseline[1].tracks["track_id"].to_pylist())
        checks.extend(_changes(answers.only(known), baseline[1], limits))
    return Verdict(name, baseline[0] if baseline else None, checks)


def _minima(answers: Predictions, limits: Limits) -> Iterator[Check]:
    bootstrap = _bootstrap(limits)

    def check(name: str, score: Score, minimum: float) -> Check:
        estimate = bootstrap.of(score, answers.confusion)
        return _check(name, estimate, f"at least {minimum:g}", passed=estimate.value >= minimum)

    most_frequent = int(answers.confusion.sum(axis=1).argmax())
    margin = bootstrap.of(accuracy_over_always(most_frequent), answers.confusion)
    yield _check(_MARGIN, margin, "above 0 beyond noise", passed=margin.low > 0)
    yield check("accuracy", accuracy, limits.min_accuracy)
    yield check("macro F1", macro_f1, limits.min_macro_f1)
    for genre, minimum in limits.min_genre_f1.items():
        yield check(f"F1 of {genre}", genre_f1(answers.genres.index(genre)), minimum)


def _changes(answers: Predictions, baseline: Predictions, limits: Limits) -> Iterator[Check]:
    measured = [index for index, tracks in enumerate(answers.confusion.sum(axis=1)) if tracks]
    compared: list[tuple[str, Score, float]] = [
        ("accuracy", accuracy, limits.max_accuracy_drop),
        ("macro F1", macro_f1, limits.max_macro_f1_drop),
        *((f"F1 of {answers.genres[index]}", genre_f1(index), limits.max_genre_f1_drop) for index in measured),
    ]
    bootstrap = _bootstrap(limits)
    pairs = bootstrap.paired(answers.actual, answers.predicted, baseline.predicted, len(answers.genres))
    for name, score, allowed in compared:
        if allowed < 0:
            # Every gain has to be shown, so each may be tested as if it were alone: an intersection-union test.
            gain = pairs.change(score)
            risen = gain.value >= -allowed and gain.low > 0
            yield _check(f"change of {name}", gain, f"a gain of {-allowed:g} and beyond noise", passed=risen)
            continue
        change = pairs.change(score, len(compared))
        fell = change.value < -allowed and change.high < 0
        lost = score(answers.confusion) == 0 and bootstrap.of(score, baseline.confusion).low > allowed
        requirement = f"no fall beyond {allowed:g} and beyond noise, and not all of it"
        yield _check(f"change of {name}", change, requirement, passed=not (fell or lost))


def _bootstrap(limits: Limits) -> Bootstrap:
    return Bootstrap(limits.resamples, limits.confidence)


def _check(name: str, estimate: Estimate, requirement: str, *, passed: bool) -> Check:
    value, low, high = (
        None if math.isnan(number) else number for number in (estimate.value, estimate.low, estimate.high)
    )
    return Check(name, value, low, high, requirement, passed)
