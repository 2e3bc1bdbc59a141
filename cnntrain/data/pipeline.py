"""The tf.data pipeline: from row numbers to preprocessed batches, the same for training and evaluation."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from cnntrain.data.augmentation.apply import augment, crop_with_object, mix_batch, random_box
from cnntrain.data.augmentation.color import luma
from cnntrain.data.augmentation.geometry import are_mirrored, flip_one
from cnntrain.data.augmentation.keyed_random import image_keys
from cnntrain.data.augmentation.settings import Augmentation
from cnntrain.data.boxes import Boxes, augmented, boxes_of, resize_map
from cnntrain.data.examples import Examples
from cnntrain.data.image_files.decode import Part
from cnntrain.data.images import ArrayImages
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.preprocess import preprocess
from cnntrain.data.resize import crop, random_places, resize
from cnntrain.runtime.machine import usable_cores
from cnntrain.runtime.ranks import Share

BATCHES_AHEAD = 4


class Batches:
    """A split's batches (images, targets, weights), one epoch at a time.

    images: float32 (batch, height, width, channels), preprocessed; targets: {"class": float32 (batch,
    classes)}, one-hot, or mixed by MixUp and CutMix; weights: {"class": float32 (batch,)} with
    `class_weights` (classes,), else {}. With `localization` there are also targets "box" (batch, 4), as fractions
    of the augmented image (see boxes.py), and weights "box" (batch,), 0 if an image has no box or lost it.

    With a `share`, each rank gets its rows of every batch; rank 0 always has some. Then two more are given: the number
    of rows that count (float32; 0 if this rank has none of a small last batch, and sees one that doesn't count), and
    the number of rows of the whole batch (float32). Batches whose images are mixed with each other are prepared as a
    whole by every rank.

    An epoch is every example exactly once; the last batch may be smaller. With `shuffle` the order of an epoch is
    a function of (seed, epoch), without it the table's; the augmentation of an image is a function of
    (seed, epoch, example id). `parallel_calls` (None: one per core) changes neither.
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
        decoding: str = "accurate",
        localization: bool = False,
        parallel_calls: int | None = None,
        share: Share | None = None,
    ):
        self.examples = examples
        self.steps = -(-len(examples) // batch_size)
        self.batch_size = batch_size
        self.share = share
        self.parallel_calls = parallel_calls or len(usable_cores())
        self.stages = Stages(
            examples,
            network_input,
            batch_size=batch_size,
            seed=seed,
            shuffle=shuffle,
            augmentation=augmentation or Augmentation(),
            class_weights=class_weights,
            decoding=decoding,
            localization=localization,
            share=share,
        )
        self._whole_epoch: tf.data.Dataset | None = None

    def epoch(self, number: int = 0, *, first_batch: int = 0) -> tf.data.Dataset:
        """The batches of one epoch, from `first_batch` on: the ones before it are not read.

        Only the most recently requested epoch can be iterated.
        """
        self.stages.epoch.assign(number)
        if first_batch:
            return self._chain(first_batch)
        if self._whole_epoch is None:  # building the pipeline takes longer than an epoch of a small data set
            self._whole_epoch = self._chain(0)
        return self._whole_epoch

    def at_size(self, image_size: tuple[int, int]) -> "Batches":
        """The same batches of images of another size."""
        stages = self.stages
        return self._changed(
            network_input=replace(stages.network_input, image_size=image_size),
            seed=stages.seed,
            shuffle=stages.shuffle,
            augmentation=stages.augmentation,
            decoding=stages.decoding,
        )

    def as_validated(self, steps: int) -> "Batches":
        """The examples in the first batches of epoch 0, in the table's order, unaugmented and read as in validation."""
        chosen = np.sort(self.order(0)[: steps * self.batch_size])
        return self._changed(examples=replace(self.examples, rows=self.examples.rows[chosen]))

    def _changed(self, **arguments: Any) -> "Batches":
        """Unshuffled and unaugmented batches of the same images and targets, but for the arguments given."""
        stages = self.stages
        kept = {
            "examples": self.examples,
            "network_input": stages.network_input,
            "batch_size": self.batch_size,
            "class_weights": None if stages.class_weights is None else stages.class_weights.numpy(),
            "localization": stages.boxes is not None,
            "parallel_calls": self.parallel_calls,
            "share": self.share,
        }
        return Batches(**{**kept, **arguments})

    @property
    def varies(self) -> bool:
        """Whether an example's image differs from one epoch to the next."""
        return self.stages.augmentation != Augmentation()

    def order(self, number: int = 0) -> np.ndarray:
        """The example (n,), by its position in the split, at each position of an epoch."""
        return self.stages.positions(number, tf.range(len(self.stages.rows), dtype=tf.int64)).numpy()

    def fingerprint(self, number: int) -> str:
        """A hash of everything that determines the batches of an epoch, except their order."""
        stages = self.stages
        drawn = (stages.seed, number) if self.varies else ()
        chosen = (stages.network_input, stages.augmentation, stages.decoding, drawn)
        settings = repr((*chosen, "boxes") if stages.boxes is not None else chosen).encode()
        weights = b"" if stages.class_weights is None else stages.class_weights.numpy().tobytes()
        pieces = (self.examples.table.fingerprint().encode(), self.examples.rows.tobytes(), settings, weights)
        return hashlib.blake2b(b"|".join(pieces), digest_size=16).hexdigest()

    def prefixes(self) -> dict[str, tf.data.Dataset]:
        """The pipeline of one epoch cut off after each stage, for timing: by the stage's name."""
        rows = self._rows(0)
        return {
            "read and decode": rows.map(self.stages.pixels, num_parallel_calls=self.parallel_calls),
            "crop and resize": self._resized(rows),
            "augment and preprocess": self._chain(0),
        }

    def _chain(self, first_batch: int) -> tf.data.Dataset:
        resized = self._resized(self._rows(first_batch))
        finished = resized.map(self.stages.finish, num_parallel_calls=self.parallel_calls)
        if self.share:
            places = functools.partial(self.stages.place_in_batch, self.share)
            shares = tf.data.Dataset.range(first_batch, self.steps).map(places)
            whole = self.stages.cut_when_finished
            finished = tf.data.Dataset.zip(finished, shares).map(functools.partial(with_share, whole=whole))
        return finished.prefetch(BATCHES_AHEAD)

    def _rows(self, first_batch: int) -> tf.data.Dataset:
        options = tf.data.Options()
        options.autotune.enabled = False  # it blocks for seconds when an iterator is deleted
        options.deterministic = True
        dataset = tf.data.Dataset.range(first_batch, self.steps).with_options(options)
        dataset = dataset.map(self.stages.draws_of_batch)
        return dataset.unbatch() if self.stages.by_image else dataset

    def _resized(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        dataset = rows.map(self.stages.read, num_parallel_calls=self.parallel_calls)
        return dataset.batch(self.stages.rows_per_batch) if self.stages.by_image else dataset


class Draws(NamedTuple):
    """One example, or those of a batch: row numbers, and the random draws for them in this epoch.

    uint64 keys; the positions (…, 2) of crop boxes; whether the images are flipped.
    """

    rows: tf.Tensor
    keys: tf.Tensor
    places: tf.Tensor
    mirrored: tf.Tensor


class Stages:
    """The steps of the pipeline, each a function of tensors; arrays of one size are read a batch at a time."""

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
        decoding: str,
        localization: bool,
        share: Share | None,
    ):
        self.share = share
        self.cut_when_finished = share is not None and bool(augmentation.mixup_alpha or augmentation.cutmix_alpha)
        self.rows_per_batch = batch_size
        if share and not self.cut_when_finished:
            first, past = share.rows(batch_size)
            self.rows_per_batch = max(1, past - first)
        self.images = examples.table.images
        self.network_input = network_input
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.augmentation = augmentation
        self.decoding = decoding
        self.resize_policy = "stretch" if augmentation.cuts else network_input.resize
        self.by_batch = self.images.reads_batches
        self.by_image = not self.by_batch and (not isinstance(self.images, ArrayImages) or augmentation.cuts)
        self.after_reading = augmentation
        if self.by_image or self.by_batch:  # flipped as they are read: in a batch each would be copied twice
            self.after_reading = replace(augmentation, horizontal_flip=0.0)
        changed_later = replace(self.after_reading, random_crop=False, random_resized_crop=False) != Augmentation()
        self.ready_when_read = self.by_image and not changed_later
        self.class_count = len(examples.table.class_names)
        with tf.device("CPU"):
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.rows = tf.constant(examples.rows, tf.int64)
            self.labels = tf.constant(examples.table.labels)
            self.ids = tf.constant(examples.table.ids)
            self.class_weights = None if class_weights is None else tf.constant(class_weights, tf.float32)
            self.boxes = tf.constant(examples.table.boxes, tf.float32) if localization else None

    def draws_of_batch(self, step: tf.Tensor) -> Draws:
        """The rows of one batch, with the draws for each: drawing for one at a time would take longer."""
        first, past = step * self.batch_size, tf.minimum((step + 1) * self.batch_size, self.rows.shape[0])
        if self.share and not self.cut_when_finished:
            start, end = at_least_one(*self.share.rows(past - first), of=past - first)
            first, past = first + start, first + end
        rows = tf.gather(self.rows, self.positions(self.epoch, tf.range(first, past)))
        keys = image_keys(self.seed, self.epoch, tf.gather(self.ids, rows))
        return Draws(rows, keys, random_places(keys), are_mirrored(keys, self.augmentation.horizontal_flip))

    def place_in_batch(self, share: Share, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """This rank's first row of a batch (int64), how many it has, and how many the batch has (float32)."""
        count = tf.minimum((step + 1) * self.batch_size, self.rows.shape[0]) - step * self.batch_size
        first, past = share.rows(count)
        return first, tf.cast(past - first, tf.float32), tf.cast(count, tf.float32)

    def positions(self, epoch: int | tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Which examples of the split (int64) are at these positions of an epoch."""
        if not self.shuffle:
            return places
        seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(epoch, tf.int64)])
        return tf.random.experimental.index_shuffle(places, seed=seed, max_index=self.rows.shape[0] - 1)

    def read(self, draws: Draws) -> tuple[tf.Tensor | Boxes, ...]:
        """The arguments of `finish`: one image, or several from an array, at the network's size; their rows and keys,
        and with localization their boxes."""
        if self.boxes is None:
            return self.scaled(self.pixels(draws), draws), draws.rows, draws.keys
        images, boxes = self.pixels_and_boxes(draws)
        return self.scaled(images, draws), draws.rows, draws.keys, boxes

    def scaled(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """One image, or several from an array, with the network's size and channels.

        An image that is read by itself is also flipped, and preprocessed if nothing else needs to be done to it: it is
        still in the CPU cache then, for which a batch is too large.
        """
        expected = self.network_input
        if not self.by_batch:
            images = resize(
                images,
                expected.image_size,
                policy=self.resize_policy,
                antialias=expected.antialias,
                crop_box=expected.crop_box,
            )
        if self.by_image and self.augmentation.horizontal_flip:
            images = flip_one(images, draws.mirrored)
        images = with_channels(images, expected.channels)
        if self.ready_when_read:
            images = preprocess(images, expected.preprocess)
        return images

    def pixels(self, draws: Draws) -> tf.Tensor:
        """The pixels of one row, or of several, before resizing."""
        if self.by_batch:
            return self.images.read_batch(draws.rows, draws.places, draws.mirrored)
        return self.images.read(draws.rows, self.part(draws))

    def pixels_and_boxes(self, draws: Draws) -> tuple[tf.Tensor, Boxes]:
        """`pixels`, cropped so that the object stays inside, and the boxes as they will be after resizing."""
        images, boxes = self.images.read(draws.rows), boxes_of(tf.gather(self.boxes, draws.rows))
        height, width = tf.shape(images)[-3], tf.shape(images)[-2]
        if self.augmentation.cuts:
            place, augmentation = draws.places, self.augmentation
            part, boxes = crop_with_object(
                height, width, key=draws.keys, place=place, augmentation=augmentation, boxes=boxes
            )
            images, (height, width) = crop(images, part), tf.unstack(part[2:])
        expected, size = self.network_input, tf.stack([height, width])
        moved = resize_map(size, expected.image_size, policy=self.resize_policy, crop_box=expected.crop_box)
        return images, boxes.mapped(*moved)

    def part(self, draws: Draws) -> Part | None:
        """The part that is cropped from an image before resizing; None if there is no crop, or no random one."""
        if not self.augmentation.cuts:
            return None
        box_of = functools.partial(
            random_box, key=draws.keys, place=draws.places, augmentation=self.augmentation
        )
        return Part(box_of, self.network_input.image_size, self.decoding)

    def finish(
        self, images: tf.Tensor, rows: tf.Tensor, keys: tf.Tensor, boxes: Boxes | None = None
    ) -> tuple[tf.Tensor, Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]]:
        """An augmented and preprocessed batch, with its targets and weights."""
        images = augment(images, keys, self.after_reading)
        labels = tf.gather(self.labels, rows)
        weights: Mapping[str, tf.Tensor] = {}
        if self.class_weights is not None:
            weights = {"class": tf.gather(self.class_weights, labels)}
        targets: Mapping[str, tf.Tensor] = {"class": tf.one_hot(labels, self.class_count)}
        images, targets, weights = mix_batch(images, targets, weights, keys, self.augmentation)
        if boxes is not None:
            boxes = augmented(boxes, keys, self.augmentation, self.network_input.image_size)
            box, weight = boxes.targets()
            targets, weights = {**targets, "box": box}, {**weights, "box": weight}
        if not self.ready_when_read:
            images = preprocess(images, self.network_input.preprocess)
        return images, targets, weights


def at_least_one(first: tf.Tensor, past: tf.Tensor, *, of: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same range of a batch's rows, or a row that is in it if it is empty: layers can't run on no rows."""
    first = tf.minimum(first, of - 1)
    return first, tf.maximum(past, first + 1)


def with_share(batch: tuple, place: tuple[tf.Tensor, tf.Tensor, tf.Tensor], *, whole: bool) -> tuple:
    """A batch with its share; of a `whole` batch, this rank's rows are cut out."""
    first, rows, of = place
    if whole:
        first, past = at_least_one(first, first + tf.cast(rows, tf.int64), of=tf.cast(of, tf.int64))
        batch = tf.nest.map_structure(lambda values: values[first:past], batch)
    return *batch, rows, of


def with_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
    """Gray images as color, or color as gray (by luma), if the network needs it."""
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return tf.image.grayscale_to_rgb(images)
    return luma(tf.cast(images, tf.float32))
