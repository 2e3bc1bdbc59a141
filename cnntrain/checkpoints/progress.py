"""A run's progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnntrain.optimization.schedule import Phase
from cnntrain.runtime.wording import counted


@dataclass
class Progress:
    """A run's progress: its place in the schedule, its history, and the best epoch so far.

    In the current phase (before the first: ""), `epochs` epochs are finished, and `steps` steps of the next one.
    Those steps took `seconds`, including `input_seconds` spent waiting for batches. `rollbacks`: how often
    the run went back because a number was not finite. `collapsed`: the current phase was ended because its first epoch
    lost what had been learned before. `out_of_time`: training was ended by limits.minutes.
    """

    phase: str = ""
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    input_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best: tuple[float, float] | None = None
    epochs_since_best: int = 0
    rollbacks: int = 0
    collapsed: bool = False
    out_of_time: bool = False

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Progress":
        """Restores one from dataclasses.asdict's output after a trip through JSON; raises TypeError for others."""
        progress = cls(**facts)
        progress.best = progress.best and (progress.best[0], progress.best[1])
        return progress

    def begin(self, phase: str) -> None:
        """Enters a phase."""
        self.phase, self.epochs, self.epochs_since_best, self.collapsed = phase, 0, 0, False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Resets the counts for the next epoch."""
        self.steps, self.seconds, self.input_seconds = 0, 0.0, 0.0

    def add(self, row: dict[str, Any], *, min_delta: float) -> bool:
        """Adds an epoch; returns whether it is the best so far.

        The best epoch has the highest validation accuracy (with boxes, the highest sum of accuracy and mean IoU) and,
        if tied, the lowest validation loss; without validation it is the last epoch. Only a gain of more than
        `min_delta` resets patience.
        """
        self.epochs += 1
        self.begin_epoch()
        self.history.append(row)
        if row["val_accuracy"] == "":
            self.best_epoch, self.epochs_since_best = row["epoch"], 0
            return True
        score = (row["val_accuracy"] + row.get("val_mean_iou", 0.0), -row["val_loss"])
        gained = self.best is None or score[0] > self.best[0] + min_delta
        self.epochs_since_best = 0 if gained else self.epochs_since_best + 1
        if self.best is None or score > self.best:
            self.best, self.best_epoch = score, row["epoch"]
            return True
        return False

    def at_end_of(self, phase: Phase, epochs: int) -> bool:
        """Whether the current phase has run all its epochs, was ended, or hasn't improved for too long."""
        patience = phase.early_stopping_patience
        impatient = bool(patience and self.epochs_since_best >= patience)
        return self.epochs >= epochs or self.collapsed or self.out_of_time or impatient

    def spent(self) -> float:
        """The seconds that the epochs so far took."""
        parts = ("seconds", "validation_seconds", "features_seconds", "saving_seconds")
        return self.seconds + sum(float(row.get(part) or 0.0) for row in self.history for part in parts)

    def place(self) -> str:
        """The run's current place, in words."""
        within = f" and {counted(self.steps, 'step')} of the next" if self.steps else ""
        return counted(len(self.history), "epoch") + within

    def reached(self) -> str:
        """What the run has achieved if it ends now."""
        if not self.history:
            return "no finished epoch"
        return f"the history of {counted(len(self.history), 'epoch')}, with the network of epoch {self.best_epoch},"
