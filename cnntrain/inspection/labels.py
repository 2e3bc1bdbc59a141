"""`cnntrain inspect RUN… --labels`: images whose label is probably wrong, based on predictions for held-out images.

Source: Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021.
"""

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.table import Table as RichTable

from cnntrain.data.examples import LabeledImages
from cnntrain.data.sources.csv_file import CsvFile
from cnntrain.data.sources.folder import Folder
from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.predictions import Predictions
from cnntrain.report.page import render
from cnntrain.report.pictures import Drawer
from cnntrain.report.saved_run import SavedRun, runs_at
from cnntrain.runtime import backend
from cnntrain.runtime.files import write_whole
from cnntrain.runtime.terminal import Terminal, cell
from cnntrain.runtime.wording import counted, printable

SHOWN_IN_TERMINAL = 20
SHOWN_ON_PAGE = 300
COLUMNS = ("image", "label", "suggested", "probability_of_label", "probability_of_suggested", "suspect")


def rank_labels(paths: Sequence[Path], *, out: Path | None) -> int:
    """Ranks the images that the runs predicted without training on them; writes a page, and an editable table with it.

    Returns the exit code: 0.
    """
    if out is not None and out.suffix.lower() != ".html":
        raise ConfigError(f"--out: expected a file that ends in .html; received {out}")
    folders = runs_at(paths)
    runs = [SavedRun.read(folder) for folder in folders]
    predictions = held_out(runs)
    suspects = ranked(predictions)
    runs[0].experiment.data.check()
    backend.load()
    labeled = runs[0].experiment.data.load(empty_classes=True)
    drawer = Drawer(predictions, labeled.train.table)
    page = out or (paths[0] / "suspect_labels.html")
    table = page.with_suffix(".csv")
    terminal = Terminal()
    total = len(labeled.train.table.labels)
    terminal.line(
        f"{counted(len(suspects), 'label')} of {len(predictions):,} probably wrong, by {counted(len(runs), 'run')} that"
        " predicted these images without training on them",
        style="bold",
    )
    if len(predictions) < total:
        terminal.warning(
            f"{total - len(predictions):,} of {total:,} images were in no test or validation set; a cross-validation"
            " covers all: cnntrain -m data.folds=5 data.fold=0,1,2,3,4"
        )
    if len(suspects):
        terminal.table(terminal_table(predictions, suspects[:SHOWN_IN_TERMINAL]))
    write_whole(table, as_csv(predictions, suspects, labeled).encode(errors="surrogateescape"))
    write_whole(page, as_page(predictions, suspects, drawer, title=runs[0].experiment.data.title()))
    terminal.line(f"pictures: {page}")
    terminal.line(f"all labels, the most suspect first, to be edited: {table}")
    if hint := way_back(runs[0], table):
        terminal.line(f"train on the edited table: {hint}")
    return 0


def held_out(runs: Sequence[SavedRun]) -> Predictions:
    """The runs' predictions for validation and test images; the mean if several runs predicted the same image.

    Test predictions come first, because validation images influenced which epoch was kept. Raises DataError if there
    are none, or the runs use different data.
    """
    first = runs[0]
    for run in runs:
        if run.record["data_fingerprint"] != first.record["data_fingerprint"]:
            raise DataError(f"{run.run_dir}: was trained on other data than {first.run_dir}; expected one data set")
    by_split = [[run.predictions.split(name) for run in runs if run.predictions] for name in ("test", "validation")]
    parts = [merged(found) for split in by_split if (found := [one for one in split if len(one)])]
    if not parts:
        raise DataError(f"{first.run_dir}: has no predictions on test or validation images; finish the run first")
    tested, *others = parts
    return concatenated([tested, *(other.only(~np.isin(other.ids, tested.ids)) for other in others)])


def merged(parts: Sequence[Predictions]) -> Predictions:
    """All predictions, one for each image: the mean if there are several."""
    whole = concatenated(parts)
    _, first, place = np.unique(whole.ids, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), whole.probabilities.shape[1]))
    np.add.at(sums, place, whole.probabilities)
    probabilities = (sums / np.bincount(place)[:, np.newaxis]).astype(np.float32)
    chosen = replace(whole.only(first), boxes=None)
    return replace(chosen, probabilities=probabilities, predicted=probabilities.argmax(axis=1))


def concatenated(parts: Sequence[Predictions]) -> Predictions:
    """Predictions one after another, without boxes."""
    if len({part.class_names for part in parts}) > 1:
        raise DataError("the runs have different classes; expected one data set")
    return Predictions(
        ids=np.concatenate([part.ids for part in parts]),
        names=np.concatenate([part.names for part in parts]),
        splits=np.concatenate([part.splits for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        class_names=parts[0].class_names,
    )


def ranked(predictions: Predictions) -> np.ndarray:
    """The positions of labels that are probably wrong, most certain first.

    A class is confidently predicted for an image if its probability is at least the class's mean probability over the
    images with that label. An image is suspect if the most probable of these classes is not its label; the further the
    probability of its label is below the largest other one, the more suspect it is.
    """
    labels, probabilities = predictions.labels, predictions.probabilities.astype(np.float64)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    thresholds = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suspect = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)
    suspect &= predictions.predicted != labels
    margin = own - probabilities.max(axis=1)
    places = np.flatnonzero(suspect)
    return places[np.argsort(margin[places], kind="stable")]


def terminal_table(predictions: Predictions, places: np.ndarray) -> RichTable:
    """A table of the top suspects."""
    table = RichTable()
    for heading in ("image", "label", "suggested", "probability of label", "of suggested"):
        table.add_column(heading, justify="right" if "of" in heading else "left")
    for place in places:
        true, predicted = predictions.labels[place], predictions.predicted[place]
        numbers = [f"{predictions.probabilities[place, number]:.3f}" for number in (true, predicted)]
        names = [predictions.class_names[number] for number in (true, predicted)]
        table.add_row(cell(str(predictions.names[place])), *map(cell, names), *numbers)
    return table


def as_csv(predictions: Predictions, suspects: np.ndarray, labeled: LabeledImages) -> str:
    """Every image in the data, one per line: suspects, then other predicted images, then images without predictions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rest = np.setdiff1d(np.arange(len(predictions)), suspects)
    for place in itertools.chain(suspects, rest):
        true, predicted = predictions.labels[place], predictions.predicted[place]
        numbers = [f"{predictions.probabilities[place, number]:.4f}" for number in (true, predicted)]
        names = [predictions.class_names[number] for number in (true, predicted)]
        writer.writerow([predictions.names[place], *names, *numbers, int(place in suspects)])
    table = labeled.train.table
    for row in np.flatnonzero(~np.isin(table.ids, predictions.ids)):
        writer.writerow([table.names[int(row)], table.class_names[table.labels[row]], "", "", "", 0])
    return text.getvalue()


def as_page(predictions: Predictions, suspects: np.ndarray, drawer: Drawer, *, title: str) -> bytes:
    """The pictures of suspects, with their labels and predictions."""
    shown = suspects[:SHOWN_ON_PAGE]
    return render(
        "labels.html",
        {
            "title": f"Labels that look wrong: {title}",
            "count": len(suspects),
            "total": len(predictions),
            "pictures_of": [drawer.draw(int(place)) for place in shown],
        },
    )


def way_back(run: SavedRun, table: Path) -> str:
    """The command that trains on the table; none for data that aren't files."""
    data = run.experiment.data
    if not isinstance(data, Folder | CsvFile):
        return ""
    root = data.path if isinstance(data, Folder) else data.root or data.path.parent
    return printable(f"cnntrain data=csv data.path={table} data.root={root}")
