"""The one tf.data chain: from row numbers to preprocessed batches, the same for training and evaluation."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from cnntrain.data.augment import augment, mix_batch, random_cut
from cnntrain.data.augmentation import Augmentation
from cnntrain.data.base import Examples
from cnntrain.data.images import ArrayImages
from cnntrain.data.operations import resize
from cnntrain.data.preprocess import preprocess
from cnntrain.data.randomness import image_keys

BATCHES_AHEAD = 4


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """What a network expects of an image: saved beside its weights, and used by all that feeds it."""

    image_size: tuple[int, int]
    channels: int
    resize: str
    antialias: bool
    preprocess: str
    crop_box: tuple[float, float, float, float] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (*self.image_size, self.channels)


class Batches:
    """A split's batches (images, targets, weights), one epoch at a time.

    images: float32 (batch, height, width, channels), preprocessed; targets: {"class": float32 (batch,
    classes)}, one-hot, or mixed by MixUp and CutMix; weights: {"class": float32 (batch,)} with
    `class_weights` (classes,), else {}.

    An epoch is every example exactly once; the last batch is smaller. With `shuffle` the order of an epoch is
    a function of (seed, epoch), without it the table's; the random changes of an image are a function of
    (seed, epoch, example id). `parallel_calls` (None: one a core) changes neither.
    """

    def __init__(
        self,
        examples: Examples,
        network_input: NetworkInput,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        class_weights: np.ndarray | None = None,
        parallel_calls: int | None = None,
    ):
        self.steps = -(-len(examples) // batch_size)
        self.batch_size = batch_size
        self.parallel_calls = parallel_calls or os.cpu_count() or 1
        self.stages = Stages(
            examples,
            network_input,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            augmentation=augmentation or Augmentation(),
            class_weights=class_weights,
        )
        self._whole_epoch: tf.data.Dataset | None = None

    def epoch(self, number: int = 0, *, first_batch: int = 0) -> tf.data.Dataset:
        """The batches of one epoch, from `first_batch` on: those before it are not read.

        Only the epoch that was asked for last can be iterated.
        """
        self.stages.epoch.assign(number)
        if first_batch:
            return self._chain(first_batch)
        if self._whole_epoch is None:  # building the chain takes longer than an epoch of a small data set
            self._whole_epoch = self._chain(0)
        return self._whole_epoch

    def prefixes(self) -> dict[str, tf.data.Dataset]:
        """The chain of one epoch cut off after each stage, to be timed: by the stage's name."""
        rows = self._rows(0)
        return {
            "read and decode": rows.map(self.stages.images.read, num_parallel_calls=self.parallel_calls),
            "crop and resize": self._resized(rows),
            "augment and preprocess": self._chain(0),
        }

    def _chain(self, first_batch: int) -> tf.data.Dataset:
        resized = self._resized(self._rows(first_batch))
        finished = resized.map(self.stages.finish, num_parallel_calls=self.parallel_calls)
        return finished.prefetch(BATCHES_AHEAD)

    def _rows(self, first_batch: int) -> tf.data.Dataset:
        options = tf.data.Options()
        options.autotune.enabled = False  # it blocks for seconds when an iterator is deleted
        options.deterministic = True
        dataset = tf.data.Dataset.range(first_batch, self.steps).with_options(options)
        dataset = dataset.map(self.stages.rows_of_batch)
        return dataset.unbatch() if self.stages.by_image else dataset

    def _resized(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        dataset = rows.map(self.stages.read, num_parallel_calls=self.parallel_calls)
        return dataset.batch(self.batch_size) if self.stages.by_image else dataset


class Stages:
    """The steps of the chain, each a function of tensors; arrays of one size are read a batch at a time."""

    def __init__(
        self,
        examples: Examples,
        network_input: NetworkInput,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augmentation: Augmentation,
        class_weights: np.ndarray | None,
    ):
        self.images = examples.table.images
        self.network_input = network_input
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.by_image = not isinstance(self.images, ArrayImages) or augmentation.cuts
        self.class_count = len(examples.table.class_names)
        with tf.device("CPU"):
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.rows = tf.constant(examples.rows, tf.int64)
            self.labels = tf.constant(examples.table.labels)
            self.ids = tf.constant(examples.table.ids)
            self.class_weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    def rows_of_batch(self, step: tf.Tensor) -> tf.Tensor:
        """int64 row numbers (batch,) of one batch."""
        count = self.rows.shape[0]
        positions = tf.range(step * self.batch_size, tf.minimum((step + 1) * self.batch_size, count))
        if self.shuffle:
            seed = tf.stack([tf.constant(self.seed, tf.int64), self.epoch])
            positions = tf.random.experimental.index_shuffle(positions, seed=seed, max_index=count - 1)
        return tf.gather(self.rows, positions)

    def read(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The pixels of one row, or of several of an array, at the network's size and channels; and the rows."""
        expected = self.network_input
        images = self.images.read(rows)
        if self.augmentation.cuts:
            images = random_cut(images, self.keys(rows), self.augmentation)
        images = resize(
            images,
            expected.image_size,
            policy="stretch" if self.augmentation.random_resized_crop else expected.resize,
            antialias=expected.antialias,
            crop_box=expected.crop_box,
        )
        return with_channels(images, expected.channels), rows

    def finish(
        self, images: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]]:
        """A batch augmented and preprocessed, with its targets and weights."""
        keys = self.keys(rows)
        images = augment(images, keys, self.augmentation)
        labels = tf.gather(self.labels, rows)
        weights: Mapping[str, tf.Tensor] = {}
        if self.class_weights is not None:
            weights = {"class": tf.gather(self.class_weights, labels)}
        targets: Mapping[str, tf.Tensor] = {"class": tf.one_hot(labels, self.class_count)}
        images, targets, weights = mix_batch(images, targets, weights, keys, self.augmentation)
        return preprocess(images, self.network_input.preprocess), targets, weights

    def keys(self, rows: tf.Tensor) -> tf.Tensor:
        """The uint64 keys of examples in this epoch, of the shape of `rows`."""
        return image_keys(self.seed, self.epoch, tf.gather(self.ids, rows))


def with_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
    """Grey images as colour, or colour as grey (by luma), where the network wants it."""
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return tf.image.grayscale_to_rgb(images)
    return tf.cast(tf.image.rgb_to_grayscale(images), images.dtype)
