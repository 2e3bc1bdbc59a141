"""Metrics of a classifier: plain numbers from probabilities and labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST = 1e-7  # as Keras clips probabilities
GOOD_IOUS = {"accuracy_iou_50": 0.5, "accuracy_iou_75": 0.75}


def classification_metrics(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """All metrics of one split.

    probabilities (n, classes), labels (n,). `accuracy_interval` is Wilson's 95% interval;
    `confusion[true][predicted]` counts examples; `top_5_accuracy` is included with more than ten classes. Precision of
    a class that was never predicted, and recall of one without examples, are 0.
    """
    from scipy.stats import binomtest
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted = probabilities.argmax(axis=1)
    numbers = np.arange(len(class_names))
    correct = int((predicted == labels).sum())
    interval = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0.0
    )
    likelihood = np.clip(probabilities[np.arange(len(labels)), labels], SMALLEST, 1)
    metrics: dict[str, Any] = {
        "examples": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_interval": [float(interval.low), float(interval.high)],
        "loss": float(-np.log(likelihood).mean()),
    }
    if len(class_names) > 10:
        top_5 = np.argpartition(probabilities, -5, axis=1)[:, -5:]
        metrics["top_5_accuracy"] = float((top_5 == labels[:, np.newaxis]).any(axis=1).mean())
    metrics["classes"] = {
        name: {
            "precision": float(precision[number]),
            "recall": float(recall[number]),
            "f1": float(f1[number]),
            "support": int(support[number]),
        }
        for number, name in enumerate(class_names)
    }
    metrics["confusion"] = confusion_matrix(labels, predicted, labels=numbers).tolist()
    return metrics


def box_metrics(ious: np.ndarray, right: np.ndarray, has_box: np.ndarray) -> dict[str, Any]:
    """Box metrics over the examples that have a box: IoU (n,), whether the class is right (n,), and which have a box.

    `accuracy_iou_50` is the share of examples with the right class and an IoU of at least 0.5.
    """
    ious, right = ious[has_box], right[has_box]
    if not len(ious):
        return {"boxes": 0}
    shares = {name: float((right & (ious >= least)).mean()) for name, least in GOOD_IOUS.items()}
    return {"boxes": len(ious), "mean_iou": float(ious.mean()), **shares}
