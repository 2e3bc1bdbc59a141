"""Classifying image files with a trained run: `cnntrain predict RUN IMAGE…`."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from cnntrain.data.base import Examples, Names
from cnntrain.data.base import Table as ImageTable
from cnntrain.data.file_source import FileSource, as_images, printable, reasons
from cnntrain.data.folder import files_below
from cnntrain.errors import DataError
from cnntrain.evaluation import TrainedRun, answering, load_run
from cnntrain.terminal import Terminal

if TYPE_CHECKING:
    from cnntrain.data.check import Checked

BATCH_SIZE = 32


def predict(run: Path, paths: Sequence[Path], *, top: int, as_json: bool) -> None:
    """Prints the `top` most probable classes of each image; a folder stands for the images below it.

    Files that can't be used are named in a DataError after the answers for all others.
    """
    names = list_files(paths)
    trained = load_run(run)
    data = trained.experiment.data
    source = data if isinstance(data, FileSource) else FileSource(source="files")
    given = set(map(str, paths))
    checked = source.examine(Path.cwd(), names, remember=False)
    checked = [file for file in checked if not file.companion or file.name in given]
    good = [file for file in checked if not file.finding.reason]
    bad = [file for file in checked if file.finding.reason]
    if good:
        files = tuple(file.name for file in good)
        show(files, classify(trained, good), trained.class_names, top=top, as_json=as_json)
    if bad:
        raise DataError(f"{len(bad):,} of {len(checked):,} files can't be read as images:\n{reasons(bad)}")
    if not good:
        raise DataError(f"{', '.join(map(str, paths))}: expected images in this folder; there are none")


def list_files(paths: Iterable[Path]) -> list[str]:
    """The files that paths stand for; raises DataError where one is missing."""
    names: list[str] = []
    for path in paths:
        names += files_below(path) if path.is_dir() else [str(path)]
    missing = [name for name in names if not os.path.exists(name)]
    if missing:
        raise DataError(f"no such file: {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}")
    return names


def classify(trained: TrainedRun, files: "Sequence[Checked]") -> np.ndarray:
    """Probabilities (n, classes) of files that were found good."""
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.data.pipeline import Batches

    count = len(files)
    table = ImageTable(
        images=as_images(files),
        labels=np.zeros(count, np.int64),
        ids=np.arange(count),
        names=Names(paths=tuple(file.name for file in files)),
        class_names=trained.class_names,
        parts={},
    )
    batches = Batches(Examples(table, np.arange(count)), trained.network_input, batch_size=BATCH_SIZE).epoch()
    answer = answering(trained.model, None)
    with unreadable_file_named(table):
        return np.concatenate([answer(images)["class"] for images, *_ in batches])


def show(
    files: Sequence[str], probabilities: np.ndarray, class_names: Sequence[str], *, top: int, as_json: bool
) -> None:
    """Prints the most probable classes, as a table or as JSON."""
    order = np.argsort(-probabilities, axis=1)[:, :top]
    if as_json:
        answers = [
            {"path": path, "top": [{"class": class_names[n], "probability": float(row[n])} for n in best]}
            for path, row, best in zip(files, probabilities, order, strict=True)
        ]
        print(json.dumps(answers))
        return
    table = Table("image", *(f"{place}." for place in range(1, order.shape[1] + 1)))
    for path, row, best in zip(files, probabilities, order, strict=True):
        table.add_row(escape(printable(path)), *(f"{escape(class_names[n])} {row[n]:.1%}" for n in best))
    Terminal().table(table)
