"""Where the pixels of a table's rows are: in an array, files, encoded bytes in memory, or a record file."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from cnntrain.data.image_files.decode import Part, cut, read_image

if TYPE_CHECKING:
    pass

ADDRESS = re.compile(r"\{\{.*?\}\}| \[Op:\w+\].*", re.DOTALL)  # what TensorFlow adds around a message


class Images:
    """Pixels by row number, read inside a tf.data pipeline.

    `image_shape` is (height, width, channels), with None for sides that differ between images.
    """

    image_shape: tuple[int | None, int | None, int]
    reads_batches = False

    def read_batch(self, rows: tf.Tensor, places: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
        """If `reads_batches`: images (batch, height, width, channels) at the network's size.

        `places` (batch, 2) say where each larger image is cropped, `mirrored` (batch,) which images are flipped.
        """
        raise TypeError(f"{type(self).__name__} reads one image after another")

    def read(self, row: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """uint8 pixels (height, width, channels) of one row, upright, or of a part of them."""
        raise TypeError(f"{type(self).__name__} reads nothing")

    def content(self, row: int) -> bytes:
        """The stored content of one row: equal for equal images in one source."""
        raise TypeError(f"{type(self).__name__} stores nothing")

    def find_unreadable(self) -> tuple[int, str] | None:
        """The row of the first image that can't be read, and why; None if all can."""
        return None

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """Arrays that stand for the contents."""
        return []

    def location(self) -> bytes:
        """Where the pixels are stored, for caches on this machine."""
        return b""


class ArrayImages(Images):
    """Images of one size, held as uint8 (n, height, width, channels)."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self.image_shape = pixels.shape[1:]
        self._tensor: tf.Tensor | None = None

    def read(self, row: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """uint8 pixels of one row, or of each of several rows (n, height, width, channels)."""
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensor = tf.constant(self.pixels)
        return cut(tf.gather(self._tensor, row), part, None)

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

    def read(self, row: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """uint8 pixels of one row."""
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU"):
                self._tensor = tf.constant(self.encoded)
        return read_image(tf.gather(self._tensor, row), channels=self.image_shape[2], part=part)

    def content(self, row: int) -> bytes:
        """The encoded file."""
        return self.encoded[row]

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """Every file's length and last bytes (a checksum in PNG, entropy-coded data in JPEG)."""
        ends = b"".join(item[-16:] for item in self.encoded)
        return [np.array([len(item) for item in self.encoded]), np.frombuffer(ends, np.uint8)]


class FileImages(Images):
    """Image files on disk, read when they are needed: only their paths are held in memory.

    `orientations` (n,) are EXIF's, 1 to 8; null if all images are upright.
    """

    def __init__(
        self, paths: Sequence[str], *, sizes: np.ndarray, channels: int, orientations: np.ndarray | None = None
    ):
        self.paths = [os.fsencode(path) for path in paths]  # a name might not be valid text
        self.sizes = sizes
        self.orientations = None if orientations is None or (orientations == 1).all() else orientations
        self.image_shape = (None, None, channels)
        self._tensors: tuple[tf.Tensor, tf.Tensor | None] | None = None

    def read(self, row: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """uint8 pixels of one row, upright."""
        if self._tensors is None:
            with tf.init_scope(), tf.device("CPU"):
                paths = tf.constant(self.paths)
                oriented = self.orientations is not None
                self._tensors = paths, tf.constant(self.orientations, tf.int32) if oriented else None
        paths, orientations = self._tensors
        orientation = None if orientations is None else tf.gather(orientations, row)
        encoded = tf.io.read_file(tf.gather(paths, row))
        return read_image(encoded, channels=self.image_shape[2], part=part, orientation=orientation)

    def find_unreadable(self) -> tuple[int, str] | None:
        """The first file that is missing or can't be decoded."""
        for row, path in enumerate(self.paths):
            try:
                read_image(tf.io.read_file(path), channels=self.image_shape[2])
            except tf.errors.NotFoundError:
                return row, "the file is gone"
            except tf.errors.OpError as error:
                return row, f"can't be decoded: {ADDRESS.sub('', error.message).strip()}"
        return None

    def content(self, row: int) -> bytes:
        """The file."""
        return Path(os.fsdecode(self.paths[row])).read_bytes()

    def location(self) -> bytes:
        """All paths; for converted files, the path of the conversion."""
        return b"\0".join(self.paths)

    def fingerprint_pieces(self) -> list[np.ndarray]:
        """The files' sizes in bytes; their names are in the table's ids."""
        return [self.sizes]


class RecordImages(Images):
    """Encoded files in one array_record file: any record can be read without the ones before it."""

    def __init__(self, path: Path, *, lengths: np.ndarray, channels: int):
        self.path = path
        self.lengths = lengths
        self.image_shape = (None, None, channels)
        self._reader: Any = None

    def read(self, row: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """uint8 pixels of one row."""
        encoded = tf.numpy_function(self._record, [row], tf.string, stateful=False)
        return read_image(tf.ensure_shape(encoded, ()), channels=self.image_shape[2], part=part)

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
