"""Where a run's time went, phase by phase, and how to shorten it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.sources.file_source import FileSource
from cnntrain.experiment import Experiment
from cnntrain.report.saved_run import SavedRun

WAITING = 0.2  # share of training time spent waiting, from which on the input is the bottleneck
BESIDE = {"validation": "validation_seconds", "frozen layers, once": "features_seconds", "saving": "saving_seconds"}


@dataclass(frozen=True)
class Part:
    """The time for a part of a phase, its share of the whole, and the images per second if that is informative."""

    name: str
    seconds: float
    share: float
    images_per_second: float | None


@dataclass(frozen=True)
class PhaseTime:
    """A phase's time: `first_epoch` and `later_epochs` (the median; None if there is only one) are training times.

    `verdict` names the bottleneck, and what to do about it; empty if the history does not separate the parts.
    """

    phase: str
    epochs: int
    first_epoch: float
    later_epochs: float | None
    parts: list[Part]
    verdict: str


def phase_times(run: SavedRun) -> list[PhaseTime]:
    """The times of all phases."""
    return [phase_time(run, name, list(rows)) for name, rows in groupby(run.history, key=lambda row: row["phase"])]


def phase_time(run: SavedRun, name: str, rows: Sequence[dict[str, Any]]) -> PhaseTime:
    """The time of a phase with these rows of the history."""
    seconds = parts_of(rows)
    images = {
        "training": sum(row["seconds"] * row["images_per_second"] for row in rows),
        "validation": validation_images(run) * len(rows),
    }
    images["steps"] = images["training"]
    whole = sum(seconds.values())
    judged = parts_of(rows[1:] or rows)  # the first epoch builds the graph
    return PhaseTime(
        phase=name,
        epochs=len(rows),
        first_epoch=rows[0]["seconds"],
        later_epochs=float(np.median([row["seconds"] for row in rows[1:]])) if len(rows) > 1 else None,
        parts=[
            Part(part, took, took / whole, images[part] / took if part in images and took > 0 else None)
            for part, took in seconds.items()
            if took > 0
        ],
        verdict=verdict(judged, name, run.experiment) if "steps" in seconds else "",
    )


def parts_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The seconds of each part; training is a single part if some row does not include the time waiting for input."""
    training = sum(row["seconds"] for row in rows)
    if any(row.get("input_seconds") is None for row in rows):
        return {"training": training}
    waited = min(sum(row["input_seconds"] for row in rows), training)
    beside = {part: sum(row.get(column) or 0.0 for row in rows) for part, column in BESIDE.items()}
    return {"steps": training - waited, "waiting for input": waited, **beside}


def validation_images(run: SavedRun) -> int:
    """The number of validation images; 0 if the run did not record it."""
    count = sum(run.record.get("class_counts", {}).get("validation", []))
    limit = run.experiment.limits.steps
    return min(count, limit * run.experiment.batch_size) if limit else count


def verdict(seconds: dict[str, float], phase: str, experiment: Experiment) -> str:
    """The bottleneck of a phase, and what to do about it, in a sentence or two."""
    training = seconds["steps"] + seconds["waiting for input"]
    slowest = max(BESIDE, key=seconds.__getitem__)
    if seconds[slowest] > training:
        advice = {
            "validation": "a smaller data.validation would shorten it",
            "frozen layers, once": "with feature_cache.where=disk the next run need not run them again",
            "saving": "larger checkpoint.every_minutes and checkpoint.min_seconds save less often",
        }[slowest]
        return f"the bottleneck is beside training: {slowest} took longest; {advice}."
    share = seconds["waiting for input"] / training if training else 0.0
    if share >= WAITING:
        waited = f"steps waited for it for {100 * share:.0f} % of the time"
        return f"the bottleneck is the input: {waited}; {faster_input(experiment)}."
    return (
        f"the bottleneck is the network: its steps waited for input for {100 * share:.0f} % of the time;"
        f" {faster_steps(phase, experiment)}."
    )


def faster_input(experiment: Experiment) -> str:
    """What may speed up the input."""
    data, ideas = experiment.data, []
    if isinstance(data, FileSource) and not data.cache_decoded and not experiment.model.localization:
        ideas.append("data.cache_decoded=true keeps decoded images on disk")
    if isinstance(data, FileSource) and data.decoding == "accurate" and not experiment.model.localization:
        ideas.append("data.decoding=reduced reads large JPEGs at a smaller scale")
    if experiment.parallel_calls:
        ideas.append("a larger parallel_calls uses more cores")
    if experiment.augmentation != Augmentation():
        ideas.append("fewer augmentations cost less")
    return "; ".join([*ideas, "cnntrain bench with the same words times each stage"])


def faster_steps(phase: str, experiment: Experiment) -> str:
    """What may speed up the steps of a phase."""
    settings, ideas = experiment.schedule.phases.get(phase), []
    frozen = settings is not None and settings.trainable != "all" and settings.cache_views is None
    if frozen and experiment.augmentation != Augmentation():
        ideas.append(f"schedule.phases.{phase}.cache_views=2 spares passes through frozen layers")
    if experiment.precision == "float32":
        ideas.append("precision=mixed_bfloat16 computes faster on many processors")
    return "; ".join([*ideas, "a smaller network or model.image_size takes less time"])
