"""A run as recorded in its folder, read without TensorFlow."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.predictions import Predictions
from cnntrain.experiment import Experiment, parse
from cnntrain.runtime.run_dir import RunDir


@dataclass(frozen=True)
class SavedRun:
    """The contents of a run folder; `history`, `metrics` and `predictions` are empty or None if a run lacks them.

    `history` has a row per epoch: numbers where history.csv has numbers, None for empty cells. `metrics` are the test
    metrics.
    """

    run_dir: RunDir
    experiment: Experiment
    record: dict[str, Any]
    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    best_epoch: int | None

    @classmethod
    def read(cls, path: Path) -> "SavedRun":
        """The run in a folder; raises DataError if there is none, or if one of its files is damaged."""
        run_dir = RunDir.open(path)
        try:
            experiment = parse(run_dir.read_config())
        except ConfigError as error:
            raise DataError(f"{run_dir.config}: was written by another version of cnntrain:\n{error}") from error
        content = read_metrics(run_dir.metrics)
        history = read_history(run_dir.history)
        return cls(
            run_dir=run_dir,
            experiment=experiment,
            record=run_dir.read_record(),
            history=history,
            metrics=content.get("test"),
            best_epoch=content.get("best_epoch"),
        )

    @cached_property
    def predictions(self) -> Predictions | None:
        """The predictions for validation and test images."""
        path = self.run_dir.predictions
        return Predictions.read(path) if path.is_file() else None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.run_dir.path.resolve().name

    def predictions_of(self, split: str) -> Predictions | None:
        """The predictions for a split's images; None if there are none, or the run isn't finished."""
        found = self.predictions.split(split) if self.predictions and self.metrics else None
        return found if found is not None and len(found) else None


def read_metrics(path: Path) -> dict[str, Any]:
    """metrics.json, empty if it does not exist; raises DataError."""
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def read_history(path: Path) -> list[dict[str, Any]]:
    """history.csv, empty if it does not exist; raises DataError."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [
                {key: text if key == "phase" else float(text) if text else None for key, text in row.items()}
                for row in csv.DictReader(file, strict=True)
            ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def runs_at(paths: Sequence[Path]) -> list[Path]:
    """The run folders that paths stand for: a multirun folder stands for the runs in it. Raises DataError."""
    found = []
    for path in paths:
        below = [] if (path / "config.yaml").is_file() else natural_order(path.glob("*/config.yaml"))
        found += below or [path]
        if not below:
            RunDir.open(path)
    return list(dict.fromkeys(found))


def natural_order(files: Iterable[Path]) -> list[Path]:
    """The files' folders in natural order: job 10 after job 9."""
    return sorted((file.parent for file in files), key=lambda folder: (len(folder.name), folder.name))
