"""An exported network beside `predict`: the same images through both."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from cnntrain.data import Examples
from cnntrain.data.images import FileImages, unreadable_file_named
from cnntrain.data.pipeline import Batches
from cnntrain.evaluation import predict_batches
from cnntrain.export.formats import Answer, Format
from cnntrain.export.serving import Serving

BATCH_SIZE = 32
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def largest_difference(chosen: Format, path: Path, serving: Serving, examples: Examples) -> float:
    """The largest difference of any probability, of pixels and, where the format takes them, of files too."""
    with unreadable_file_named(examples.table):
        batches = Batches(examples, serving.network_input, batch_size=BATCH_SIZE).epoch()
        expected = np.concatenate(list(predict_batches(serving.network, batches)))
        images = [examples.table.images.read(tf.constant(row)).numpy() for row in examples.rows]
    found = [answer_all(chosen.load(path), images, classes=expected.shape[1])]
    if chosen.load_files is not None:
        found.append(chosen.load_files(path)(files_of(examples, images)))
    return max(float(np.abs(answers - expected).max()) for answers in found)


def answer_all(answer: Answer, images: Sequence[np.ndarray], *, classes: int) -> np.ndarray:
    """Probabilities (n, classes) of images of any sizes, those of one size in batches."""
    places = defaultdict(list)
    for number, image in enumerate(images):
        places[image.shape].append(number)
    probabilities = np.full((len(images), classes), np.nan, np.float32)
    for numbers in places.values():
        for start in range(0, len(numbers), BATCH_SIZE):
            batch = numbers[start : start + BATCH_SIZE]
            probabilities[batch] = answer(np.stack([images[number] for number in batch]))
    return probabilities


def files_of(examples: Examples, images: Sequence[np.ndarray]) -> list[bytes]:
    """JPEG and PNG files of the images: their own where they come from such files."""
    source = examples.table.images
    files = []
    for row, image in zip(examples.rows, images, strict=True):
        content = source.content(row) if isinstance(source, FileImages) else b""
        files.append(content if content.startswith((JPEG, PNG)) else tf.io.encode_png(image).numpy())
    return files
