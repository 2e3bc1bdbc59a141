"""Experiment trackers: other programs that log runs, all of them the same things."""

import dataclasses
from dataclasses import dataclass

from cnntrain.trackers.base import TrackerSettings, check_packages
from cnntrain.trackers.mlflow import MLflow
from cnntrain.trackers.tensorboard import TensorBoard
from cnntrain.trackers.wandb import WeightsAndBiases


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The trackers of a run and their settings; a tracker that is null is not used."""

    tensorboard: TensorBoard | None = None
    mlflow: MLflow | None = None
    wandb: WeightsAndBiases | None = None

    def chosen(self) -> dict[str, TrackerSettings]:
        """The trackers that are used, by name."""
        each = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: settings for name, settings in each.items() if settings is not None}

    def check(self) -> None:
        """Raises ConfigError if one of them can't work: a package is missing, or nobody is logged in."""
        for name, settings in self.chosen().items():
            check_packages(name, settings.packages)
        if self.wandb:
            self.wandb.check_login()

    def wherever_started(self) -> "Tracking":
        """The settings with paths that are the same from any folder."""
        return dataclasses.replace(self, mlflow=self.mlflow and self.mlflow.wherever_started())
