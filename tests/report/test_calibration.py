"""Calibration against scikit-learn, and against networks whose miscalibration is known."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from cnntrain.report.calibration import expected_calibration_error, fit_temperature, reliability, tempered


def overconfident(temperature, count=20_000, classes=5):
    """Probabilities from logits that are too large by a factor, and labels drawn from the right ones."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(count, classes)) * 2
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (right.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)
    scaled = np.exp(logits * temperature)
    return (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_bins_are_those_of_scikit_learn():
    random = np.random.default_rng(1)
    confidence = random.random(1000)
    hits = random.random(1000) < confidence**2
    accuracy, mean_confidence = calibration_curve(hits, confidence, n_bins=10)
    bins = reliability(confidence, hits, bins=10)
    np.testing.assert_allclose([found.accuracy for found in bins], accuracy)
    np.testing.assert_allclose([found.confidence for found in bins], mean_confidence)
    assert sum(found.count for found in bins) == 1000


def test_the_calibration_error_is_the_mean_distance_from_the_diagonal():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    hits = np.array([True, True, True, False, True, False])
    bins = reliability(confidence, hits, bins=10)
    assert expected_calibration_error(bins) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_was_applied_is_found(temperature):
    probabilities, labels = overconfident(temperature)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    then = tempered(probabilities, found)
    np.testing.assert_array_equal(then.argmax(axis=1), probabilities.argmax(axis=1))
    error = expected_calibration_error(reliability(then.max(axis=1), then.argmax(axis=1) == labels))
    assert error < 0.02


def test_hardly_any_mistake_is_too_little_to_fit_a_temperature_on():
    probabilities = np.tile([[0.9, 0.1]], (200, 1))
    labels = np.zeros(200, int)
    labels[:9] = 1
    assert fit_temperature(probabilities, labels) is None
    labels[:10] = 1
    assert fit_temperature(probabilities, labels) is not None


def test_a_temperature_stays_within_bounds():
    sure, labels = np.tile([[1 - 1e-6, 1e-6]], (100, 1)), np.arange(100) % 2
    assert fit_temperature(sure, labels) == pytest.approx(4, rel=1e-3)
    unsure, labels = np.tile([[0.51, 0.49]], (2000, 1)), np.arange(2000) < 10
    assert fit_temperature(unsure, labels.astype(int)) == pytest.approx(0.25, rel=1e-3)
