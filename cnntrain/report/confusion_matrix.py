"""The confusion matrix on a run's page, and the most common confusions."""

from dataclasses import dataclass

import numpy as np

from cnntrain.report.saved_run import SavedRun

LARGEST_MATRIX = 40  # classes; with more, the most common confusions are listed instead
LISTED_CONFUSIONS = 60


@dataclass(frozen=True)
class Cell:
    """The number of test images of class `true` predicted as `predicted`, and its share of the true class."""

    true: int
    predicted: int
    count: int
    share: float

    @property
    def anchor(self) -> str:
        """Where its pictures are on the page."""
        return f"cell-{self.true}-{self.predicted}"


def matrix(run: SavedRun) -> list[list[Cell]]:
    """All cells, one row per true class; empty if there are too many classes for a matrix."""
    counts = np.array(run.metrics["confusion"] if run.metrics else [])
    if not 0 < len(counts) <= LARGEST_MATRIX:
        return []
    return [[cell_of(counts, true, predicted) for predicted in range(len(counts))] for true in range(len(counts))]


def commonest_confusions(run: SavedRun) -> list[Cell]:
    """The off-diagonal cells with the most images, largest first."""
    if not run.metrics:
        return []
    counts = np.array(run.metrics["confusion"])
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_CONFUSIONS]
    places = (divmod(int(place), len(counts)) for place in order)
    return [cell_of(counts, true, predicted) for true, predicted in places if wrong[true, predicted]]


def cell_of(counts: np.ndarray, true: int, predicted: int) -> Cell:
    """One cell of the counts (classes, classes)."""
    total = max(1, int(counts[true].sum()))
    count = int(counts[true, predicted])
    return Cell(true, predicted, count, count / total)
