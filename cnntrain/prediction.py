"""Classifying image files with a trained run: `cnntrain predict RUN IMAGE…`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from cnntrain.data.base import Examples, Names
from cnntrain.data.base import Table as ImageTable
from cnntrain.data.folder import image_files
from cnntrain.errors import DataError
from cnntrain.evaluation import load_run, predict_batches
from cnntrain.terminal import Terminal

BATCH_SIZE = 32


def predict(run: Path, paths: Sequence[Path], *, top: int, as_json: bool) -> None:
    """Prints the `top` most probable classes of each image; a folder stands for the images below it."""
    files = list_images(paths)
    trained = load_run(run)
    from cnntrain.data.images import FileImages

    table = ImageTable(
        images=FileImages(files, sizes=np.zeros(len(files)), channels=trained.network_input.channels),
        labels=np.zeros(len(files), np.int64),
        ids=np.arange(len(files)),
        names=Names(paths=tuple(map(str, files))),
        class_names=trained.class_names,
        parts={},
    )
    import tensorflow as tf

    from cnntrain.data.pipeline import Batches

    examples = Examples(table, np.arange(len(files)))
    batches = Batches(examples, trained.network_input, batch_size=BATCH_SIZE).epoch()
    try:
        probabilities = np.concatenate(list(predict_batches(trained.model, batches)))
    except tf.errors.InvalidArgumentError as error:
        raise DataError(unreadable(files, error)) from None
    show(files, probabilities, trained.class_names, top=top, as_json=as_json)


def list_images(paths: Iterable[Path]) -> list[Path]:
    """The files that paths stand for; raises DataError where one is missing or a folder holds no image."""
    files: list[Path] = []
    for path in paths:
        found = image_files(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: expected images in this folder; there are none")
        files += found
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise DataError(f"no such file: {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}")
    return files


def unreadable(files: Sequence[Path], error: Exception) -> str:
    """Which of the files TensorFlow can't decode."""
    import tensorflow as tf

    from cnntrain.data.images import decode

    for path in files:
        try:
            decode(tf.io.read_file(str(path)), channels=3)
        except tf.errors.OpError as reason:
            return f"{path}: can't be read as an image: {str(reason).partition(' [Op')[0]}"
    return str(error)


def show(
    files: Sequence[Path], probabilities: np.ndarray, class_names: Sequence[str], *, top: int, as_json: bool
) -> None:
    """Prints the most probable classes, as a table or as JSON."""
    order = np.argsort(-probabilities, axis=1)[:, :top]
    if as_json:
        answers = [
            {"path": str(path), "top": [{"class": class_names[n], "probability": float(row[n])} for n in best]}
            for path, row, best in zip(files, probabilities, order, strict=True)
        ]
        print(json.dumps(answers))
        return
    table = Table("image", *(f"{place}." for place in range(1, order.shape[1] + 1)))
    for path, row, best in zip(files, probabilities, order, strict=True):
        table.add_row(escape(str(path)), *(f"{escape(class_names[n])} {row[n]:.1%}" for n in best))
    Terminal().table(table)
