"""The predictions for each example: predictions.csv, on which reports and comparisons are based."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.data.examples import Examples
from cnntrain.errors import DataError
from cnntrain.evaluation.metrics import box_metrics, classification_metrics
from cnntrain.runtime.files import write_whole

FIRST_COLUMNS = ("id", "name", "split", "true", "predicted")
SIDES = ("y", "x", "height", "width")
BOX_COLUMNS = ("iou", *(f"true {side}" for side in SIDES), *(f"predicted {side}" for side in SIDES))
PROBABILITY = "probability: "


@dataclass(frozen=True)
class SplitPredictions:
    """A network's predictions for examples: probabilities (n, classes) and, if it learned boxes, boxes (n, 4) as
    fractions of its input. `ious` (n,) compare them with the true boxes (n, 4), for examples that have one
    (`has_box`, (n,))."""

    examples: Examples
    probabilities: np.ndarray
    boxes: np.ndarray | None = None
    true_boxes: np.ndarray | None = None
    ious: np.ndarray | None = None
    has_box: np.ndarray | None = None

    def metrics(self) -> dict[str, Any]:
        """All metrics of the split."""
        labels = self.examples.labels
        results = classification_metrics(self.probabilities, labels, self.examples.table.class_names)
        if self.ious is None or self.has_box is None:
            return results
        return results | box_metrics(self.ious, self.probabilities.argmax(axis=1) == labels, self.has_box)

    def box_predictions(self) -> "BoxPredictions | None":
        """The boxes as they are saved; None if they were not learned."""
        if self.boxes is None or self.true_boxes is None or self.ious is None or self.has_box is None:
            return None
        there = self.has_box
        return BoxPredictions(
            true=np.where(there[:, np.newaxis], self.true_boxes, np.nan),
            predicted=self.boxes,
            ious=np.where(there, self.ious, np.nan),
        )


@dataclass(frozen=True)
class BoxPredictions:
    """Boxes for n examples, float32 (n, 4): center y, center x, height and width as fractions of the image as the
    network saw it. `ious` (n,) and `true` are NaN if an example has no box."""

    true: np.ndarray
    predicted: np.ndarray
    ious: np.ndarray

    @classmethod
    def of_splits(cls, predictions: Mapping[str, SplitPredictions]) -> "BoxPredictions | None":
        """The boxes of one split after another; None if boxes were not learned."""
        parts = [found.box_predictions() for found in predictions.values()]
        known = [part for part in parts if part is not None]
        return cls.from_numbers(np.concatenate([part.numbers() for part in known])) if known else None

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> "BoxPredictions":
        """The boxes with these numbers (n, 9) for BOX_COLUMNS."""
        return cls(true=numbers[:, 1:5], predicted=numbers[:, 5:], ious=numbers[:, 0])

    def numbers(self) -> np.ndarray:
        """The values for BOX_COLUMNS: (n, 9)."""
        return np.concatenate([self.ious[:, np.newaxis], self.true, self.predicted], axis=1)

    def only(self, chosen: np.ndarray) -> "BoxPredictions":
        """A selection, by positions (m,) or booleans (n,)."""
        return BoxPredictions.from_numbers(self.numbers()[chosen])


@dataclass(frozen=True)
class Predictions:
    """Predictions for n examples, in the order of their splits.

    `ids` are int64 (n,), as in Table; `names` are paths, or numbers within the source; `labels` and `predicted` are
    class numbers (n,); `probabilities` float32 (n, classes). `boxes` are present if a run learned them.
    """

    ids: np.ndarray
    names: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    class_names: tuple[str, ...]
    boxes: BoxPredictions | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of_splits(cls, predictions: Mapping[str, SplitPredictions]) -> "Predictions":
        """The predictions for one split after another, by the split's name."""
        parts = [(name, found.examples.table, found.examples.rows) for name, found in predictions.items()]
        probabilities = np.concatenate([found.probabilities for found in predictions.values()])
        return cls(
            ids=np.concatenate([table.ids[rows] for _, table, rows in parts]),
            names=np.array([table.names[int(row)] for _, table, rows in parts for row in rows], object),
            splits=np.concatenate([np.full(len(rows), name, object) for name, _, rows in parts]),
            labels=np.concatenate([table.labels[rows] for _, table, rows in parts]),
            predicted=probabilities.argmax(axis=1),
            probabilities=probabilities,
            class_names=parts[0][1].class_names,
            boxes=BoxPredictions.of_splits(predictions),
        )

    def split(self, name: str) -> "Predictions":
        """The predictions for one split."""
        return self.only(self.splits == name)

    def only(self, chosen: np.ndarray) -> "Predictions":
        """A selection, by positions (m,) or booleans (n,)."""
        return Predictions(
            ids=self.ids[chosen],
            names=self.names[chosen],
            splits=self.splits[chosen],
            labels=self.labels[chosen],
            predicted=self.predicted[chosen],
            probabilities=self.probabilities[chosen],
            class_names=self.class_names,
            boxes=self.boxes and self.boxes.only(chosen),
        )

    @property
    def hits(self) -> np.ndarray:
        """Which predictions are right (n,)."""
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """The probability (n,) of the predicted class."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    def write(self, path: Path) -> None:
        """Writes the file; float32 numbers keep every digit, names their bytes. Missing boxes are left empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        box_columns = BOX_COLUMNS if self.boxes else ()
        writer.writerow([*FIRST_COLUMNS, *box_columns, *(PROBABILITY + name for name in self.class_names)])
        numbers = self.probabilities.astype(np.float32).astype(str)
        if self.boxes:
            of_boxes = self.boxes.numbers().astype(np.float32)
            numbers = np.concatenate([np.where(np.isnan(of_boxes), "", of_boxes.astype(str)), numbers], axis=1)
        for place in range(len(self)):
            classes = (self.class_names[self.labels[place]], self.class_names[self.predicted[place]])
            writer.writerow([self.ids[place], self.names[place], self.splits[place], *classes, *numbers[place]])
        write_whole(path, text.getvalue().encode(errors="surrogateescape"))

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Reads a file; raises DataError unless `write`, or a version without boxes, wrote it."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                header, *rows = csv.reader(file)
            if tuple(header[:5]) != FIRST_COLUMNS:
                raise ValueError(f"its first line is {','.join(header[:5])}")
            first = 5 + len(BOX_COLUMNS) if tuple(header[5:14]) == BOX_COLUMNS else 5
            names = tuple(column.removeprefix(PROBABILITY) for column in header[first:])
            numbers = {name: number for number, name in enumerate(names)}
            ids, examples, splits, true, predicted, *_ = zip(*rows, strict=True)
            return cls(
                ids=np.array(ids, np.int64),
                names=np.array(examples, object),
                splits=np.array(splits, object),
                labels=np.array([numbers[name] for name in true]),
                predicted=np.array([numbers[name] for name in predicted]),
                probabilities=np.array([row[first:] for row in rows], np.float32),
                class_names=names,
                boxes=BoxPredictions.from_numbers(box_numbers([row[5:first] for row in rows])) if first > 5 else None,
            )
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise DataError(f"{path}: can't be read as a table of predictions: {error}") from error


def box_numbers(rows: list[list[str]]) -> np.ndarray:
    """float32 (n, 9) from the values in BOX_COLUMNS; NaN for missing ones."""
    return np.array([[number or "nan" for number in row] for row in rows], np.float32)
