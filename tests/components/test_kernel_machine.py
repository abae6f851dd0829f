"""The kernel machine: against the exact one, and against fits without an artist."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge

from components.scoring.scores import Floats, Indices
from components.trainer import kernel_machine
from components.trainer.kernel_machine import KernelMachine, Regression, fit_machine

pytestmark = pytest.mark.fast

GAMMA, RIDGE = 0.375, 0.2


def _tracks(count: int, seed: int = 0) -> tuple[Floats, Indices]:
    """Three genres in 30 dimensions, of which a few matter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.random.default_rng(99).normal(0, 0.25, (3, 30))
    return centers[labels] + rng.normal(0, 0.15, (count, 30)), labels


def _regression(vectors: Floats, labels: Indices, groups: Indices | None = None) -> Regression:
    weights = np.where(labels == 0, 1.5, 0.75)
    groups = np.arange(len(labels)) if groups is None else groups
    blocks = np.array_split(vectors.astype(np.float32), 3)
    return Regression(lambda: iter(blocks), labels, weights, groups, 3, GAMMA, RIDGE, seed=0, familiar_by=slice(None))


def _scores(machine: KernelMachine, vectors: Floats) -> Floats:
    scores, _ = machine(vectors.astype(np.float32))
    return np.asarray(scores, float)


def test_with_every_track_as_a_centre_it_is_the_exact_kernel_machine() -> None:
    (vectors, labels), (others, _) = _tracks(120), _tracks(40, seed=1)
    task = _regression(vectors, labels)
    truth = np.eye(3)[labels]
    bias = np.average(truth, axis=0, weights=task.weights)
    exact = KernelRidge(kernel="rbf", gamma=GAMMA, alpha=RIDGE).fit(vectors, truth - bias, sample_weight=task.weights)
    found = _scores(fit_machine(task).machine, others)
    np.testing.assert_allclose(found, exact.predict(others) + bias, atol=2e-3)


def test_every_track_counts_however_few_the_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_machine, "CENTERS", 24)
    (vectors, labels), (others, truth) = _tracks(900), _tracks(300, seed=1)
    fitted = fit_machine(_regression(vectors, labels)).machine
    assert fitted.centers.shape[0] == 24
    assert (_scores(fitted, others).argmax(axis=1) == truth).mean() > 0.95


def test_its_size_does_not_depend_on_the_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_machine, "CENTERS", 24)
    small, large = (fit_machine(_regression(*_tracks(count))).machine for count in (600, 1500))
    assert small.count_params() == large.count_params()


@pytest.mark.parametrize("size", [1, 4, 60])
def test_left_out_scores_are_those_of_a_fit_without_the_artist(size: int) -> None:
    vectors, labels = _tracks(180)
    groups = np.arange(180) // size
    whole = fit_machine(_regression(vectors, labels, groups))
    others = groups != 0
    # Centres and components are those of all tracks: a track's genre is not in them.
    components = PCA(30, random_state=0).fit(vectors.astype(np.float32).astype(float))
    centers = components.transform(vectors.astype(np.float32))
    root = kernel_machine._inverse_root_of_kernel(centers, GAMMA)
    task = _regression(vectors, labels, groups)
    f = kernel_machine._Features(task, centers.astype(np.float32), centers, root).of(np.arange(180))
    truth = np.eye(3)[labels]
    bias = np.average(truth, axis=0, weights=task.weights)
    weighted = f[others].T * task.weights[others]
    fit = np.linalg.solve(weighted @ f[others] + RIDGE * np.eye(f.shape[1]), weighted @ (truth - bias)[others])
    np.testing.assert_allclose(whole.left_out[~others], f[~others] @ fit + bias, atol=1e-6)


def test_familiarity_is_a_quantile_of_the_training_tracks() -> None:
    (vectors, labels), (others, _) = _tracks(600), _tracks(400, seed=1)
    machine = fit_machine(_regression(vectors, labels)).machine
    _, alike = machine(others.astype(np.float32))
    assert 0.4 < np.mean(alike) < 0.6
    _, foreign = machine((others + 3).astype(np.float32))
    assert np.max(foreign) < 0.01


def test_one_artist_alone_is_no_fault() -> None:
    vectors, labels = _tracks(12)
    fitted = fit_machine(_regression(vectors, labels, np.zeros(12, int)))
    assert np.isfinite(fitted.left_out).all()
    assert np.isfinite(_scores(fitted.machine, vectors)).all()
