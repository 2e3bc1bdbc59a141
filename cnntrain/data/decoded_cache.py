"""A disk cache of decoded images: decoded and scaled once, so that later epochs only crop, flip and copy."""

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.examples import Examples
from cnntrain.data.images import Images
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.resize import corners, resize
from cnntrain.errors import ConfigError, DataError
from cnntrain.runtime.files import cache_folder, whole_file
from cnntrain.runtime.machine import usable_cores

AT_ONCE = 256


class DecodedImages(Images):
    """Images in a file of raw pixels: (n, height, width, channels) if all have the network's size; or, for random
    squares, one after another, each scaled so that its shorter side is the network's.

    Pixels are rounded to uint8 after scaling, and so may differ by up to half a level from those read in other ways.
    """

    reads_batches = True

    def __init__(self, path: Path, shapes: np.ndarray, *, size: tuple[int, int], channels: int):
        self.path = path
        self.shapes = shapes  # (n, 2), height and width
        self.size = size
        self.channels = channels
        self.image_shape = (*size, channels)
        self.starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1) * channels)])
        self._pixels: np.ndarray | None = None
        with tf.device("CPU"):
            self._shape_tensor = tf.constant(shapes, tf.int32)

    def read_batch(self, rows: tf.Tensor, places: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
        """uint8 images (batch, height, width, channels) of rows (batch,)."""
        spare = tf.gather(self._shape_tensor, rows) - tf.constant(self.size)  # (batch, 2)
        inputs = [rows, corners(spare, places), mirrored]
        images = tf.numpy_function(self._copy, inputs, tf.uint8, stateful=False)
        return tf.ensure_shape(images, (None, *self.image_shape))

    def _copy(self, rows: np.ndarray, corners: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        if self._pixels is None:
            self._pixels = np.memmap(self.path, np.uint8, mode="r")
        height, width = self.size
        batch = np.empty((len(rows), height, width, self.channels), np.uint8)
        for image, row, (top, left), flip in zip(batch, rows, corners, mirrored, strict=True):
            pixels = self._pixels[self.starts[row] : self.starts[row + 1]].reshape(*self.shapes[row], -1)
            part = pixels[top : top + height, left : left + width]
            image[:] = part[:, ::-1] if flip else part
        return batch


def decoded_once(examples: Examples, network_input: NetworkInput, augmentation: Augmentation) -> Examples:
    """The examples with their images in the cache, which is created if needed; raises ConfigError if a cache
    doesn't work with the augmentation, and DataError if the disk has no room."""
    if augmentation.random_resized_crop or network_input.resize not in ("stretch", "crop"):
        raise ConfigError(
            "data.cache_decoded: keeps whole images, or their squares, at the network's size; expected"
            " model.resize=stretch or crop without augmentation.random_resized_crop"
        )
    table = examples.table
    squares = augmentation.random_crop
    said = repr((table.fingerprint(), network_input, squares, examples.rows.tobytes())).encode()
    name = hashlib.blake2b(said + table.images.location(), digest_size=16).hexdigest()
    path = cache_folder() / "decoded" / f"{name}.raw"
    if not path.is_file() or not path.with_suffix(".npy").is_file():
        write_decoded(examples, network_input, path, squares=squares)
    shapes = np.load(path.with_suffix(".npy"), allow_pickle=False)
    images = DecodedImages(path, shapes, size=network_input.image_size, channels=network_input.channels)
    return Examples(table.with_images(images), examples.rows)


def write_decoded(examples: Examples, network_input: NetworkInput, path: Path, *, squares: bool) -> None:
    """Writes the table's images that the examples use, and next to it the shapes (n, 2) of all images."""
    shapes = np.zeros((len(examples.table.labels), 2), np.int32)
    source = Scaled(examples.table.images, network_input, squares=squares)
    dataset = tf.data.Dataset.from_tensor_slices(np.sort(examples.rows))
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.map(source.read, num_parallel_calls=len(usable_cores())).prefetch(AT_ONCE).with_options(options)
    try:
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            for row, image in zip(np.sort(examples.rows), dataset.as_numpy_iterator(), strict=True):
                shapes[row] = image.shape[:2]
                file.write(image.tobytes())
            file.flush()
            with whole_file(path.with_suffix(".npy")) as beside:
                np.save(beside, shapes)
    except OSError as error:
        raise DataError(f"data.cache_decoded: {path.parent}: {error}; free space, or set it to false") from error


class Scaled:
    """Images at the size at which they are stored."""

    def __init__(self, images: Images, network_input: NetworkInput, *, squares: bool):
        self.images = images
        self.expected = network_input
        self.squares = squares

    def read(self, row: tf.Tensor) -> tf.Tensor:
        """uint8 pixels of one row: at the network's size, or with the shorter side at that length."""
        image = self.images.read(row)
        size, policy = self.expected.image_size, self.expected.resize
        if self.squares:
            sides = tf.cast(tf.shape(image)[:2], tf.float32)
            scaled = tf.cast(tf.round(sides * (size[0] / tf.reduce_min(sides))), tf.int32)
            image = tf.image.resize(image, tf.maximum(scaled, size), antialias=self.expected.antialias)
        else:
            image = resize(image, size, policy=policy, antialias=self.expected.antialias)
        return tf.cast(tf.round(tf.clip_by_value(tf.cast(image, tf.float32), 0, 255)), tf.uint8)

