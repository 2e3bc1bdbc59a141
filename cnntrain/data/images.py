"""Where the pixels of a table's rows lie: an array, files, encoded bytes in memory, or a record file."""

from collections.abc import Sequence
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Images:
    """Pixels by row number, read inside a tf.data pipeline.

    `image_shape` is (height, width, channels), with None for sides that differ between images.
    """

    image_shape: tuple[int | None, int | None, int]

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels (height, width, channels) of one row."""
        raise TypeError(f"{type(self).__name__} reads nothing")

    def content(self, row: int) -> bytes:
        """What is stored of one row: equal for equal images of one source."""
        raise TypeError(f"{type(self).__name__} stores nothing")

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """Arrays that stand for the contents."""
        return []


class ArrayImages(Images):
    """Images of one size, held as uint8 (n, height, width, channels)."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.image_shape = pixels.shape[1:]
        self._tensor: tf.Tensor | None = None

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row, or of each of several rows (n, height, width, channels)."""
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensor = tf.constant(self.pixels)
        return tf.gather(self._tensor, row)

    def content(self, row: int) -> bytes:
        """The pixels."""
        return self.pixels[row].tobytes()

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """The pixels themselves."""
        return [self.pixels]


class EncodedImages(Images):
    """Encoded files (JPEG, PNG, …), held in memory."""

    def __init__(self, encoded: np.ndarray, *, channels: int):
        self.encoded = encoded
        self.image_shape = (None, None, channels)
        self._tensor: tf.Tensor | None = None

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row."""
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensor = tf.constant(self.encoded)
        return decode(tf.gather(self._tensor, row), channels=self.image_shape[2])

    def content(self, row: int) -> bytes:
        """The encoded file."""
        return self.encoded[row]

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """Every file's length and last bytes (a check sum, in PNG; entropy-coded data, in JPEG)."""
        ends = b"".join(item[-16:] for item in self.encoded)
        return [np.array([len(item) for item in self.encoded]), np.frombuffer(ends, np.uint8)]


class FileImages(Images):
    """Image files on disk, read when they are needed: memory holds their paths only."""

    def __init__(self, paths: Sequence[Path], *, sizes: np.ndarray, channels: int):
        self.paths = paths
        self.sizes = sizes
        self.image_shape = (None, None, channels)
        self._tensor: tf.Tensor | None = None

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row."""
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensor = tf.constant([str(path) for path in self.paths])
        return decode(tf.io.read_file(tf.gather(self._tensor, row)), channels=self.image_shape[2])

    def content(self, row: int) -> bytes:
        """The file."""
        return Path(os.fsdecode(self.paths[row])).read_bytes()

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """The files' sizes in bytes; their names stand in the table's ids."""
        return [self.sizes]


class RecordImages(Images):
    """Encoded files in one array_record file: any record can be read without those before it."""

    def __init__(self, path: Path, *, lengths: np.ndarray, channels: int):
        self.path = path
        self.lengths = lengths
        self.image_shape = (None, None, channels)
        self._reader: Any = None

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row."""
        encoded = tf.numpy_function(self._record, [row], tf.string, stateful=False)
        return decode(tf.ensure_shape(encoded, ()), channels=self.image_shape[2])

    def _record(self, row: np.ndarray) -> bytes:
        if self._reader is None:
            from array_record.python.array_record_module import ArrayRecordReader

            self._reader = ArrayRecordReader(str(self.path))
        return self._reader.read([int(row)])[0]

    def content(self, row: int) -> bytes:
        """The encoded file."""
        return self._record(np.array(row))

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """Every record's length in bytes."""
        return [self.lengths]


def decode(encoded: tf.Tensor, *, channels: int | None) -> tf.Tensor:
    """uint8 pixels (height, width, channels) of an encoded image; of an animation, its first frame."""
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels))
