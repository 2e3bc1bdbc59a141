"""Measures of a classifier, against numbers worked out by hand."""

import numpy as np
import pytest

from cnntrain.evaluation.metrics import classification_metrics
from cnntrain.report.plots import draw_confusion, draw_curves

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]])
LABELS = np.array([0, 1, 1, 2])


def test_measures_are_what_they_are_by_hand():
    measures = classification_metrics(PROBABILITIES, LABELS, ["a", "b", "c"])
    assert measures["accuracy"] == 0.5
    assert measures["loss"] == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.3]).mean())
    assert measures["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert measures["classes"]["a"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert measures["classes"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    low, high = measures["accuracy_interval"]
    assert (low, high) == (pytest.approx(0.1500, abs=1e-4), pytest.approx(0.8500, abs=1e-4))  # Wilson, 2 of 4
    assert "top_5_accuracy" not in measures


def test_top_5_is_there_with_more_than_ten_classes():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(12), 50)
    labels = random.integers(0, 12, 50)
    ranks = (probabilities > probabilities[np.arange(50), labels][:, None]).sum(axis=1)
    measures = classification_metrics(probabilities, labels, [str(n) for n in range(12)])
    assert measures["top_5_accuracy"] == pytest.approx((ranks < 5).mean())


def test_a_certain_mistake_costs_much_but_not_everything():
    measures = classification_metrics(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"])
    assert measures["loss"] == pytest.approx(-np.log(1e-7))


def test_pictures_are_drawn(tmp_path):
    rows = [
        {"epoch": n, "phase": "a" if n < 3 else "b", "loss": 1 / n, "accuracy": 0.5, "val_loss": "", "val_accuracy": ""}
        for n in range(1, 5)
    ]
    draw_curves(rows, tmp_path / "curves.png")
    draw_confusion([[3, 1], [0, 2]], ["$a$", "b_c"], tmp_path / "confusion.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
