"""The examples in a prepared TensorFlow Datasets data set, read into memory or into one record file."""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnntrain.data.sources.drawn_boxes import Objects
from cnntrain.data.sources.tfds_features import Features
from cnntrain.errors import DataError
from cnntrain.runtime.files import cache_folder, whole_file, write_whole
from cnntrain.runtime.machine import usable_cores

if TYPE_CHECKING:
    from cnntrain.data.images import Images

READ_AT_ONCE = 512


@dataclass(frozen=True)
class Content:
    """Images, their labels (n,) and boxes (n, 4), and each part's (start, stop)."""

    images: "Images"
    labels: np.ndarray
    boxes: np.ndarray
    spans: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Reading:
    """A prepared data set, and which features are read: see Features."""

    builder: Any
    features: Features
    objects: Objects

    @property
    def channels(self) -> int:
        """The number of image channels; 3 if it may vary."""
        return self.builder.info.features[self.features.image].shape[-1] or 3

    def batches(self, part: str) -> Iterator[tuple[list[bytes], np.ndarray, np.ndarray]]:
        """Encoded images, labels and boxes of a part, in stored order."""
        import tensorflow_datasets as tfds

        config = tfds.ReadConfig(interleave_cycle_length=1)
        encoded = {self.features.image: tfds.decode.SkipDecoding()}
        dataset = self.builder.as_dataset(split=part, shuffle_files=False, read_config=config, decoders=encoded)
        dataset = dataset.map(functools.partial(self.features.pick, objects=self.objects))
        several = 0
        for images, labels, boxes, counts in dataset.batch(READ_AT_ONCE).as_numpy_iterator():
            several += int((counts > 1).sum())
            there = labels >= 0
            yield list(images[there]), labels[there], boxes[there]
        if several and self.objects == "refuse":
            raise DataError(
                f"data.name={self.builder.name}: {several:,} images of {part} have several objects;"
                " data.objects=largest or first takes one"
            )

    def record_path(self, parts: list[str]) -> Path:
        """The record file of these parts of the data set."""
        said: tuple[Any, ...] = (str(self.builder.data_path), parts)
        if self.features.box:
            said = (*said, self.features, self.objects)
        key = hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
        return cache_folder() / "records" / f"{self.builder.name}-{self.builder.version}-{key}.array_record"


def read_parts(reading: Reading, parts: list[str], *, limit: int) -> Content:
    """All parts: in memory, or from a record file if they are larger than `limit`."""
    from cnntrain.data.images import EncodedImages

    record = reading.record_path(parts)
    if record.is_file():
        return open_record(record, reading.channels)
    encoded: list[bytes] = []
    labels, boxes = [], []
    spans: dict[str, tuple[int, int]] = {}
    total = 0
    for part in parts:
        start = len(encoded)
        for images, *numbers in reading.batches(part):
            encoded += images
            labels.append(numbers[0])
            boxes.append(numbers[1])
            total += sum(map(len, images))
            if total > limit:
                return write_record(reading, parts, record)
        spans[part] = (start, len(encoded))
    held = EncodedImages(np.array(encoded, object), channels=reading.channels)
    return Content(held, np.concatenate(labels), np.concatenate(boxes), spans)


def write_record(reading: Reading, parts: list[str], path: Path) -> Content:
    """Writes all parts to one record file, and labels and boxes next to it."""
    from array_record.python.array_record_module import ArrayRecordWriter

    labels: list[int] = []
    boxes: list[list[float]] = []
    lengths: list[int] = []
    spans: dict[str, tuple[int, int]] = {}
    with whole_file(path) as temporary:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        for part in parts:
            start = len(labels)
            for images, numbers, places in reading.batches(part):
                for image in images:
                    writer.write(image)
                    lengths.append(len(image))
                labels += numbers.tolist()
                boxes += places.tolist() if reading.features.box else []
            spans[part] = (start, len(labels))
        writer.close()
        index = {"labels": labels, "boxes": boxes, "lengths": lengths, "parts": spans}
        write_whole(path.with_suffix(".json"), json.dumps(index).encode())
    return open_record(path, reading.channels)


def open_record(path: Path, channels: int) -> Content:
    """Reads what `write_record` wrote; boxes are None if the data set has none."""
    from cnntrain.data.images import RecordImages

    index = json.loads(path.with_suffix(".json").read_text())
    spans = {name: (start, stop) for name, (start, stop) in index["parts"].items()}
    images = RecordImages(path, lengths=np.array(index["lengths"]), channels=channels)
    boxes = np.array(index.get("boxes", []), np.float32).reshape(-1, 4)
    return Content(images, np.array(index["labels"], np.int64), boxes, spans)


def decoded_if_small(images: "Images", shape: tuple[int | None, ...], *, limit: int) -> "Images":
    """Encoded images of one size as an array, if it fits into the limit; otherwise unchanged.

    Data sets with one fixed size are stored as PNG, so decoding once or every time gives the same pixels.
    """
    from cnntrain.data.image_files.decode import read_image
    from cnntrain.data.images import ArrayImages, EncodedImages

    if not isinstance(images, EncodedImages) or None in shape:
        return images
    if len(images.encoded) * int(np.prod([side or 1 for side in shape])) > limit:
        return images
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(images.encoded)
    options = tf.data.Options()
    options.autotune.enabled = False
    read = functools.partial(read_image, channels=images.image_shape[2])
    dataset = dataset.map(read, num_parallel_calls=len(usable_cores()))
    batches = dataset.batch(READ_AT_ONCE).with_options(options).as_numpy_iterator()
    return ArrayImages(np.concatenate(list(batches)))
