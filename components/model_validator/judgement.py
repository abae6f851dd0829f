"""Compares a model's answers with what it has to reach, and with the latest blessed model's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from components.model_validator.limits import Limits
from components.model_validator.verdict import Check, Verdict
from components.scoring.predictions import Predictions
from components.scoring.scores import (
    Bootstrap,
    Confusion,
    Estimate,
    Floats,
    accuracy,
    accuracy_over_majority,
    genre_f1,
    macro_f1,
)

Score = Callable[[Confusion], Floats]


def judge(model: tuple[str, Predictions], baseline: tuple[str, Predictions] | None, limits: Limits) -> Verdict:
    """Checks a model's answers to the test split.

    A score has to reach its minimum. A fall below the baseline counts when it is larger than allowed and its confidence
    interval excludes zero: noise alone blocks nothing, and what the tracks do show is not excused by a small sample.

    Args:
        model: name and answers.
        baseline: the same of the latest blessed model, to the same tracks; None where there is none.
        limits: what is asked for.
    """
    name, answers = model
    checks = list(_minima(answers, limits))
    if baseline:
        checks.extend(_changes(answers, baseline[1], limits))
    return Verdict(name, baseline[0] if baseline else None, checks)


def _minima(answers: Predictions, limits: Limits) -> Iterator[Check]:
    def check(name: str, score: Score, minimum: float) -> Check:
        estimate = _bootstrap(limits).of(score, answers.confusion)
        return _check(name, estimate, f"at least {minimum:g}", passed=estimate.value >= minimum)

    margin = _bootstrap(limits).of(accuracy_over_majority, answers.confusion)
    yield _check("accuracy beyond always answering the most frequent genre", margin, "above 0", passed=margin.value > 0)
    yield check("accuracy", accuracy, limits.min_accuracy)
    yield check("macro F1", macro_f1, limits.min_macro_f1)
    for genre, minimum in limits.min_genre_f1.items():
        yield check(f"F1 of {genre}", genre_f1(answers.genres.index(genre)), minimum)


def _changes(answers: Predictions, baseline: Predictions, limits: Limits) -> Iterator[Check]:
    def check(name: str, score: Score, allowed: float) -> Check:
        actual, new, old = answers.actual, answers.predicted, baseline.predicted
        change = _bootstrap(limits).of_change(score, actual, new, old, len(answers.genres))
        fell = change.value < -allowed and change.high < 0
        return _check(f"change of {name}", change, f"no fall beyond {allowed:g} and beyond noise", passed=not fell)

    yield check("accuracy", accuracy, limits.max_accuracy_drop)
    yield check("macro F1", macro_f1, limits.max_macro_f1_drop)
    support = answers.confusion.sum(axis=1)
    for index, genre in enumerate(answers.genres):
        if support[index]:
            yield check(f"F1 of {genre}", genre_f1(index), limits.max_genre_f1_drop)


def _bootstrap(limits: Limits) -> Bootstrap:
    return Bootstrap(limits.resamples, limits.confidence)


def _check(name: str, estimate: Estimate, requirement: str, *, passed: bool) -> Check:
    value, low, high = (
        None if math.isnan(number) else number for number in (estimate.value, estimate.low, estimate.high)
    )
    return Check(name, value, low, high, requirement, passed)
