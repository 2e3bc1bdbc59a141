"""Comparing an exported network with `predict`: the same images through both."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from cnntrain.data.examples import Examples
from cnntrain.data.images import FileImages
from cnntrain.data.pipeline import Batches
from cnntrain.data.reading_errors import unreadable_file_named
from cnntrain.evaluation.evaluate import boxes_in, predictor
from cnntrain.export.formats import Runtime
from cnntrain.export.saved_model import PNG
from cnntrain.export.serving import Serving

BATCH_SIZE = 32
BATCH_BYTES = 2**26
JPEG = b"\xff\xd8\xff"


def largest_difference(runtime: Runtime, serving: Serving, examples: Examples) -> float:
    """The largest difference in any probability, or in a box as fractions of its image: for pixels and, if the format
    takes them, for files, too."""
    largest, done = np.float32(0), 0
    with unreadable_file_named(examples.table):
        batches = Batches(examples, serving.network_input, batch_size=BATCH_SIZE).epoch()
        predict = predictor(serving.network, serving.box_head)
        expected = [{name: value.numpy() for name, value in predict(images).items()} for images, *_ in batches]
        probabilities = np.concatenate([one["class"] for one in expected])
        boxes = np.concatenate([one["box"] for one in expected]) if serving.box_head else None
        for images in batches_of_one_size(examples):
            rows = examples.rows[done : done + len(images)]
            found = [runtime.from_pixels(images)]
            if runtime.from_files is not None:
                found.append(runtime.from_files([file_of(examples, *pair) for pair in zip(rows, images, strict=True)]))
            wanted = probabilities[done : done + len(images)]
            if boxes is not None:
                height, width = images.shape[1:3]
                sizes = np.tile([height, width], (len(images), 1))
                places = boxes_in(boxes[done : done + len(images)], sizes, serving.network_input)
                wanted = np.concatenate([wanted, places / [width, height, width, height]], axis=1)
            for predictions in found:
                difference = np.abs(predictions - wanted)
                largest = np.maximum(largest, difference.max())  # unlike max(), this keeps NaN
            done += len(images)
    return float(largest)


def batches_of_one_size(examples: Examples) -> Iterator[np.ndarray]:
    """Batches of uint8 images (batch, height, width, channels) in order: consecutive ones of the same size."""
    batch: list[np.ndarray] = []
    for row in examples.rows:
        image = examples.table.images.read(tf.constant(row)).numpy()
        full = len(batch) == BATCH_SIZE or (len(batch) + 1) * image.nbytes > BATCH_BYTES
        if batch and (full or image.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(image)
    yield np.stack(batch)


def file_of(examples: Examples, row: int, image: np.ndarray) -> bytes:
    """The JPEG or PNG file of an image: its own file if it comes from one."""
    source = examples.table.images
    content = source.content(row) if isinstance(source, FileImages) else b""
    return content if content.startswith((JPEG, PNG)) else tf.io.encode_png(image).numpy()
