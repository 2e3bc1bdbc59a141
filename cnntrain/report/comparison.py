"""`cnntrain compare RUN RUN…`: how runs differ, in their configurations and in their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnntrain.evaluation.predictions import Predictions
from cnntrain.report.configuration import differences
from cnntrain.report.paired import SIGNIFICANT, Paired, compare_groups, compare_pairs
from cnntrain.report.saved_run import SavedRun
from cnntrain.runtime.wording import printable

REPEATED = ("seed", "data.fold")  # the settings in which runs of one group may differ
CHANGES_NO_RESULT = ("report", "parallel_calls", "checkpoint.", "tracker")


@dataclass(frozen=True)
class Group:
    """Runs that differ only in seed or fold: `deviation` is the sample standard deviation, None for a single run."""

    values: dict[str, str]
    runs: list[str]
    accuracies: list[float]

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the accuracies."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"values": self.values, "runs": self.runs, "mean": self.mean, "deviation": self.deviation}


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    `differing` has, for each configuration key in which they differ, a value for each run. `paired` is present
    for two runs on the same test images, otherwise `unpaired` says why not; `groups_p_value` is for two groups of runs.
    """

    runs: list[SavedRun]
    differing: dict[str, list[str]]
    groups: list[Group]
    groups_p_value: float | None
    paired: Paired | None
    unpaired: str
    only_first: Predictions | None
    only_second: Predictions | None

    def verdict(self) -> str:
        """A sentence that says whether the two runs differ; empty if they were not compared image by image."""
        if self.paired is None:
            return self.unpaired
        found, (low, high) = self.paired, self.paired.interval
        if found.differ:
            better = "second" if found.difference > 0 else "first"
            text = f"the {better} is better, by more than chance explains"
        else:
            text = "the difference is within chance: these test images do not tell the two apart"
        return (
            f"{text} (second less first: {100 * found.difference:+.2f} points, 95 % interval {100 * low:+.2f} to"
            f" {100 * high:+.2f}; McNemar's exact test: p = {found.p_value:.3g})"
        )

    def groups_verdict(self) -> str:
        """A sentence that says whether two groups of runs differ; empty if there aren't two groups."""
        if self.groups_p_value is None:
            return ""
        difference = self.groups[1].mean - self.groups[0].mean
        differ = "differ by more than" if self.groups_p_value < SIGNIFICANT else "do not differ by more than"
        return (
            f"the two groups {differ} chance explains (second less first: {100 * difference:+.2f} points;"
            f" Welch's t-test over runs: p = {self.groups_p_value:.3g})"
        )

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        runs = [
            {**row_of(run), "values": {key: column[place] for key, column in self.differing.items()}}
            for place, run in enumerate(self.runs)
        ]
        paired = None
        if self.paired is not None and self.only_first is not None and self.only_second is not None:
            names = {"only_first": self.only_first.names, "only_second": self.only_second.names}
            paired = {
                **self.paired.as_json(),
                "names": {key: [printable(str(name)) for name in found] for key, found in names.items()},
            }
        return {
            "runs": runs,
            "groups": [group.as_json() for group in self.groups],
            "groups_p_value": self.groups_p_value,
            "paired": paired,
            "verdicts": [text for text in (self.verdict(), self.groups_verdict()) if text],
        }


def row_of(run: SavedRun) -> dict[str, Any]:
    """A run's results; None for missing ones."""
    metrics = run.metrics or {}
    return {
        "run": str(run.run_dir),
        "accuracy": metrics.get("accuracy"),
        "accuracy_interval": metrics.get("accuracy_interval"),
        "loss": metrics.get("loss"),
        "examples": metrics.get("examples"),
        "best_epoch": run.best_epoch,
        "epochs": len(run.history),
        "seconds": round(sum(row["seconds"] for row in run.history), 1),
        "parameters": run.record.get("parameters"),
    }


def comparison_of(runs: list[SavedRun]) -> Comparison:
    """The comparison of runs, side by side."""
    differing = {
        key: column
        for key, column in differences([run.experiment for run in runs]).items()
        if not key.startswith(CHANGES_NO_RESULT)
    }
    groups = groups_of(runs, differing)
    p_value = compare_groups(*(np.array(group.accuracies) for group in groups)) if len(groups) == 2 else None
    pair, unpaired = pair_of(runs)
    hits = [predictions.hits for predictions in pair]
    return Comparison(
        runs=runs,
        differing=differing,
        groups=groups,
        groups_p_value=p_value,
        paired=compare_pairs(*hits) if pair else None,
        unpaired=unpaired,
        only_first=pair[0].only(hits[0] & ~hits[1]) if pair else None,
        only_second=pair[1].only(hits[1] & ~hits[0]) if pair else None,
    )


def groups_of(runs: Sequence[SavedRun], differing: dict[str, list[str]]) -> list[Group]:
    """The tested runs grouped by all differing settings except seed and fold; none if all groups have one run."""
    keys = [key for key in differing if key not in REPEATED]
    groups: dict[tuple[str, ...], Group] = {}
    for place, run in enumerate(runs):
        if run.metrics:
            values = {key: differing[key][place] for key in keys}
            group = groups.setdefault(tuple(values.values()), Group(values, [], []))
            group.runs.append(str(run.run_dir))
            group.accuracies.append(run.metrics["accuracy"])
    return list(groups.values()) if any(len(group.runs) > 1 for group in groups.values()) else []


def pair_of(runs: Sequence[SavedRun]) -> tuple[list[Predictions], str]:
    """The predictions of two runs for the same test images, in the same order; else none, and the reason."""
    if len(runs) != 2:
        return [], ""
    found = []
    for run in runs:
        predictions = run.predictions_of("test")
        if predictions is None:
            return [], f"no verdict image by image: {run.run_dir} has no predictions of test images in predictions.csv"
        found.append(predictions.only(np.argsort(predictions.ids, kind="stable")))
    first, second = found
    if not np.array_equal(first.ids, second.ids) or true_names(first) != true_names(second):
        return [], "no verdict image by image: the two were tested on different images"
    return found, ""


def true_names(predictions: Predictions) -> list[str]:
    """The name of each example's true class."""
    return [predictions.class_names[label] for label in predictions.labels]
