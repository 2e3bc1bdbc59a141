"""How far a run has come."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """How far a run has come: its history, and the best epoch so far."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best: tuple[float, float] | None = None
    epochs_since_best: int = 0

    def add(self, row: dict[str, Any], *, min_delta: float) -> bool:
        """Adds an epoch; whether it is the best so far.

        Best is the highest validation accuracy (with boxes, its sum with the mean IoU) and, of equals, the lowest
        validation loss; without validation it is the last epoch. Only a gain of more than `min_delta` counts
        against patience.
        """
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

    def reached(self) -> str:
        """What a run that ends now has to show."""
        if not self.history:
            return "no finished epoch"
        return f"the history of {len(self.history)} epochs, with the network of epoch {self.best_epoch},"
