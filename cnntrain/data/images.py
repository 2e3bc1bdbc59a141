"""Where the pixels of a table's rows lie: an array, files, encoded bytes in memory, or a record file."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from cnntrain.errors import DataError

if TYPE_CHECKING:
    from cnntrain.data.base import Table

ADDRESS = re.compile(r"\{\{.*?\}\}| \[Op:\w+\].*", re.DOTALL)  # what TensorFlow puts round a message
# by EXIF's orientation, of which there is no 0: the direction in which rows and columns are taken
ROW_STEPS = (1, 1, 1, -1, -1, 1, 1, -1, -1)
COLUMN_STEPS = (1, 1, -1, -1, 1, 1, -1, -1, 1)


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

    def find_unreadable(self) -> tuple[int, str] | None:
        """The row of the first image that can't be read, and why; None where there is none."""
        return None

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
    """Image files on disk, read when they are needed: memory holds their paths only.

    `orientations` (n,) are EXIF's, 1 to 8; null where all images are upright.
    """

    def __init__(
        self, paths: Sequence[str], *, sizes: np.ndarray, channels: int, orientations: np.ndarray | None = None
    ):
        self.paths = [os.fsencode(path) for path in paths]  # a name need not be text
        self.sizes = sizes
        self.orientations = None if orientations is None or (orientations == 1).all() else orientations
        self.image_shape = (None, None, channels)
        self._tensors: tuple[tf.Tensor, tf.Tensor | None] | None = None

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row, upright."""
        if self._tensors is None:
            with tf.init_scope(), tf.device("CPU"):
                paths = tf.constant(self.paths)
                oriented = self.orientations is not None
                self._tensors = paths, tf.constant(self.orientations, tf.int32) if oriented else None
        paths, orientations = self._tensors
        image = decode(tf.io.read_file(tf.gather(paths, row)), channels=self.image_shape[2])
        return image if orientations is None else upright(image, tf.gather(orientations, row))

    def find_unreadable(self) -> tuple[int, str] | None:
        """The first file that is gone or that can't be decoded."""
        for row, path in enumerate(self.paths):
            try:
                decode(tf.io.read_file(path), channels=self.image_shape[2])
            except tf.errors.NotFoundError:
                return row, "the file is gone"
            except tf.errors.OpError as error:
                return row, f"can't be decoded: {ADDRESS.sub('', error.message).strip()}"
        return None

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
    """uint8 pixels (height, width, channels) of an encoded image; of an animation, its first frame.

    A JPEG comes out as from Pillow, bit for bit; TensorFlow's default would be the fast, inaccurate DCT.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=channels or 0, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=channels, expand_animations=False),
    )
    return tf.ensure_shape(image, (None, None, channels))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """An image (height, width, channels) turned and mirrored as EXIF's orientation, 1 to 8, says.

    Source: Exif 2.32, 4.6.4 A, tag 274. From 5 on rows and columns are exchanged first.
    """
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    down = tf.gather(ROW_STEPS, orientation)
    right = tf.gather(COLUMN_STEPS, orientation)
    return tf.ensure_shape(image[::down, ::right], (None, None, image.shape[2]))


@contextlib.contextmanager
def unreadable_file_named(table: "Table") -> Iterator[None]:
    """Where a file can't be read inside the block, raises a DataError that names it: TensorFlow does not."""
    try:
        yield
    except tf.errors.OpError as error:
        found = table.images.find_unreadable()
        if found is None:
            raise
        row, reason = found
        raise DataError(
            f"{table.names[row]}: {reason}, although the check before the start found it good.\n"
            f"If the file has changed since, start again: it will be left out. Else save it anew, or remove it"
        ) from error
