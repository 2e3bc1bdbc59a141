"""How predictions are shown: as a table, or written image by image as JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from rich.table import Table

from cnntrain.data.image_files.check import progress_bar
from cnntrain.runtime.terminal import Terminal, cell
from cnntrain.runtime.wording import printable

SIDES = ("left", "top", "right", "bottom")


class Prediction(NamedTuple):
    """A file's name, its probabilities (classes,), and where its object is: left, top, right and bottom (4,) in
    pixels of the upright image; None if the network does not predict boxes."""

    name: str
    probabilities: np.ndarray
    box: np.ndarray | None = None


class Best(NamedTuple):
    """A file's name, its most probable classes with their probabilities, and its box, if any, by side."""

    name: str
    top: list[tuple[str, float]]
    box: dict[str, float]


@dataclass(frozen=True)
class PredictionOutput:
    """Shows the `top` most probable classes of each image.

    JSON and CSV are written as images are classified, so that memory does not grow with their number; a table is
    drawn at the end, since its columns are as wide as the longest entry.
    """

    top: int
    form: Literal["table", "json", "csv"]

    def show(self, predictions: Iterable[Prediction], count: int, class_names: Sequence[str]) -> None:
        """Prints `count` predictions."""
        places = min(self.top, len(class_names))
        write = {"table": write_table, "json": write_json, "csv": write_csv}[self.form]
        with progress_bar("classifying images", 0 if self.form != "table" and sys.stdout.isatty() else count) as bar:

            def best() -> Iterator[Best]:
                for name, probabilities, box in predictions:
                    order = np.argsort(-probabilities, kind="stable")[:places]
                    top = [(class_names[number], float(probabilities[number])) for number in order]
                    yield Best(name, top, {} if box is None else dict(zip(SIDES, box.tolist(), strict=True)))
                    bar.advance(bar.task_ids[0])

            write(best(), places)


def write_table(predictions: Iterable[Best], places: int) -> None:
    """A line per image."""
    table = Table("image", *(f"{place}." for place in range(1, places + 1)))
    for name, top, box in predictions:
        if box and len(table.columns) == 1 + places:
            table.add_column(", ".join(SIDES), justify="right")
        cells = [f"{cell(label)} {number:.1%}" for label, number in top]
        place = [", ".join(f"{side:.0f}" for side in box.values())] if box else []
        table.add_row(cell(name), *cells, *place)
    Terminal().table(table)


def write_json(predictions: Iterable[Best], places: int) -> None:
    """A list on one line, closed even if an image fails."""
    separator = "["
    try:
        for name, best, box in predictions:
            top = [{"class": label, "probability": number} for label, number in best]
            place = {"box": {side: round(number, 2) for side, number in box.items()}} if box else {}
            print(separator, json.dumps({"path": name, "top": top, **place}), sep="", end="")
            separator = ", "
    finally:
        print("[]" if separator == "[" else "]")


def write_csv(predictions: Iterable[Best], places: int) -> None:
    """A header, and a row per image."""
    header = [f"{column}_{place}" for place in range(1, places + 1) for column in ("class", "probability")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, (name, best, box) in enumerate(predictions):
        if number == 0:
            writer.writerow(["path", *header, *box])
        place = [round(side, 2) for side in box.values()]
        top = [value for label, probability in best for value in (printable(label), probability)]
        writer.writerow([printable(name), *top, *place])
