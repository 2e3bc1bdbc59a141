"""The contents of a run's page: each section as plain values, None if the run lacks what it needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnntrain.evaluation.predictions import Predictions
from cnntrain.report.calibration import expected_calibration_error, fit_temperature, reliability, tempered
from cnntrain.report.charts import Chart, Line, Mark
from cnntrain.report.saved_run import SavedRun

TOLD_ELSEWHERE = ("command", "class_names", "class_counts")


@dataclass(frozen=True)
class Headline:
    """The test result; `majority` is the accuracy of always predicting the most common training class.

    `of_examples`: the number of test images, if limits.steps cut the test short.
    """

    accuracy: float
    low: float
    high: float
    loss: float
    examples: int
    of_examples: int
    majority: float
    majority_class: str
    top_5: float | None


def headline(run: SavedRun) -> Headline | None:
    """How well the run did on the test images."""
    metrics = run.metrics
    if not metrics:
        return None
    counts = run.record.get("class_counts", {}).get("train") or [
        values["support"] for values in metrics["classes"].values()
    ]
    commonest = run.record["class_names"][int(np.argmax(counts))]
    low, high = metrics["accuracy_interval"]
    return Headline(
        accuracy=metrics["accuracy"],
        low=low,
        high=high,
        loss=metrics["loss"],
        examples=metrics["examples"],
        of_examples=sum(run.record.get("class_counts", {}).get("test", [])),
        majority=metrics["classes"][commonest]["support"] / metrics["examples"],
        majority_class=commonest,
        top_5=metrics.get("top_5_accuracy"),
    )


def curves(run: SavedRun) -> list[Chart]:
    """Loss, accuracy and learning rate over epochs, with phases and the best epoch marked."""
    rows = run.history
    if not rows:
        return []
    marks = [
        Mark(rows[place]["epoch"] - 0.5, rows[place]["phase"], "phase")
        for place in range(1, len(rows))
        if rows[place]["phase"] != rows[place - 1]["phase"]
    ]
    if run.best_epoch:
        marks.append(Mark(run.best_epoch, f"best: {run.best_epoch}", "best"))
    charts = []
    for name in ("loss", "accuracy", "mean_iou"):
        if rows[0].get(name) is None:
            continue
        lines = [Line("training", [(row["epoch"], row[name]) for row in rows])]
        checked = [(row["epoch"], row[f"val_{name}"]) for row in rows]
        if any(value is not None for _, value in checked):
            lines.append(Line("validation", checked))
        charts.append(Chart(name.replace("_iou", " IoU"), "epoch", lines, marks, dots=len(rows) < 30))
    rates = [(row["epoch"], row["learning_rate"]) for row in rows]
    positive = all(rate > 0 for _, rate in rates)
    charts.append(Chart("learning rate", "epoch", [Line("learning rate", rates)], marks, logarithmic=positive))
    return charts


def class_counts(run: SavedRun) -> list[tuple[str, list[int]]]:
    """Each class with its number of training, validation and test examples."""
    counts = run.record.get("class_counts")
    if not counts:
        return []
    columns = [counts[split] for split in ("train", "validation", "test")]
    return list(zip(run.record["class_names"], map(list, zip(*columns, strict=True)), strict=True))


def origin(run: SavedRun) -> list[tuple[str, str]]:
    """What ran, where and on what hardware, as keys and values; nested values by their full key."""
    return list(flat({key: value for key, value in run.record.items() if key not in TOLD_ELSEWHERE}, ""))


def flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """The full keys of nested mappings, and their values as text."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


@dataclass(frozen=True)
class Calibration:
    """How well calibrated predictions are, and how much a temperature fitted on validation images would help."""

    chart: Chart
    error: float
    confidence: float
    accuracy: float
    temperature: float | None
    error_then: float | None
    validation_mistakes: int | None


def calibration(test: Predictions | None, validation: Predictions | None) -> Calibration | None:
    """The reliability of the test predictions."""
    if test is None:
        return None
    bins = reliability(test.confidence, test.hits)
    points: Iterable[tuple[float, float | None]] = [(found.confidence, found.accuracy) for found in bins]
    temperature = error_then = mistakes = None
    if validation is not None:
        mistakes = int((~validation.hits).sum())
        temperature = fit_temperature(validation.probabilities, validation.labels)
    if temperature is not None:
        then = tempered(test.probabilities, temperature).max(axis=1)
        error_then = expected_calibration_error(reliability(then, test.hits))
    chart = Chart(
        "share that is right", "confidence", [Line("predictions", list(points))],
        x_range=(0, 1), y_range=(0, 1), whole_x=False, diagonal=True, dots=True,
    )  # fmt: skip
    return Calibration(
        chart=chart,
        error=expected_calibration_error(bins),
        confidence=float(test.confidence.mean()),
        accuracy=float(test.hits.mean()),
        temperature=temperature,
        error_then=error_then,
        validation_mistakes=mistakes,
    )
