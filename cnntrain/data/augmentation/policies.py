"""RandAugment, TrivialAugment and AugMix: operations drawn for each image of a batch.

An operation takes images (n, height, width, channels), float32 from 0 to 255, and levels (n,) from -1 to 1:
the sign is the direction, if an operation has one, and the absolute value is the strength. A policy's `Reach` says
how strong level 1 is. The operations are Pillow's, as used in the papers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from cnntrain.data.augmentation.color import adjust, per_image
from cnntrain.data.augmentation.geometry import Moves, affine
from cnntrain.data.augmentation.keyed_random import Draw, between, exponential, streams, uniform, whole

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

RAND_AUGMENT_LEVELS = 30
CHAINS, LONGEST_CHAIN = 3, 3


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What operations do at level 1: `shift` is a fraction of a side, `factor` the change in brightness, color,
    contrast and sharpness, `bits` the number of bits out of 8 that posterizing removes."""

    shear: float = 0.3
    shift: float = 150 / 331
    degrees: float = 30.0
    factor: float = 0.9
    bits: int = 4


@dataclass(frozen=True)
class Moved:
    """An operation that moves pixels, and so boxes, too; no two in one policy move them the same way."""

    moves: Callable[[tf.Tensor], Moves]
    fill: str

    def __call__(self, images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
        """Moves images according to their levels."""
        return affine(images, **self.moves(levels), fill=self.fill)


def rand_augment(images: tf.Tensor, keys: tf.Tensor, *, count: int, magnitude: float, fill: str) -> tf.Tensor:
    """Applies `count` operations to each image, one after another, all at `magnitude` of 30, in a random direction.

    Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
    2019.
    """
    operations = rand_augment_operations(fill)
    for choice, levels in rand_augment_steps(keys, operations, count=count, magnitude=magnitude):
        images = apply_choice(images, operations, choice, levels)
    return images


def rand_augment_operations(fill: str) -> list[Operation]:
    """The operations that RandAugment chooses from."""
    return [*common_operations(Reach(), fill), *enhancements(Reach())]


def rand_augment_steps(
    keys: tf.Tensor, operations: list[Operation], *, count: int, magnitude: float
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The index of each image's operation (batch,), and its level (batch,), in each of `count` steps."""
    strength = tf.fill(tf.shape(keys), magnitude / RAND_AUGMENT_LEVELS)
    for step in range(count):
        step_keys = streams(keys, Draw.RAND_AUGMENT, count)[:, step]
        choice = whole(step_keys, 0, len(operations))
        yield choice, signed(step_keys, 1, strength)


def trivial_augment(images: tf.Tensor, keys: tf.Tensor, *, fill: str) -> tf.Tensor:
    """Applies one operation to each image, at a random strength: the paper's wide variant.

    Shifts reach 32 of 224 pixels. Source: Müller and Hutter, "TrivialAugment: Tuning-free Yet
    State-of-the-Art Data Augmentation", 2021.
    """
    operations = trivial_augment_operations(fill)
    return apply_choice(images, operations, *trivial_augment_step(keys, operations))


def trivial_augment_operations(fill: str) -> list[Operation]:
    """The operations that TrivialAugment chooses from."""
    reach = Reach(shear=0.99, shift=32 / 224, degrees=135.0, factor=0.99, bits=6)
    return [*common_operations(reach, fill), *enhancements(reach)]


def trivial_augment_step(keys: tf.Tensor, operations: list[Operation]) -> tuple[tf.Tensor, tf.Tensor]:
    """The index of each image's operation (batch,), and its level (batch,)."""
    keys = streams(keys, Draw.TRIVIAL_AUGMENT, 1)[:, 0]
    choice = whole(keys, 0, len(operations))
    return choice, signed(keys, 1, uniform(keys, 2))


def aug_mix(images: tf.Tensor, keys: tf.Tensor, *, severity: int, fill: str) -> tf.Tensor:
    """Mixes each image with a random mean of three chains of one to three operations, up to `severity` of 10.

    Source: Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty",
    2019, with alpha 1; without its additional loss.
    """
    operations = common_operations(Reach(shift=1 / 3), fill)
    chain_keys = tf.reshape(streams(keys, Draw.AUG_MIX, CHAINS), [-1])  # (batch · chains,)
    chained, length = tf.repeat(images, CHAINS, axis=0), 1 + whole(chain_keys, 0, LONGEST_CHAIN)
    for step in range(LONGEST_CHAIN):
        step_keys = streams(chain_keys, 1, LONGEST_CHAIN)[:, step]
        choice = 1 + whole(step_keys, 0, len(operations) - 1)
        choice = tf.where(step < length, choice, 0)  # the chain has ended: the image is unchanged
        levels = signed(step_keys, 1, uniform(step_keys, 2) * (severity / 10))
        chained = apply_choice(chained, operations, choice, levels)
    chained = tf.reshape(chained, [-1, CHAINS, *images.shape[1:]])
    weights = tf.reshape(exponential(chain_keys, 2), [-1, CHAINS])
    weights = weights / tf.reduce_sum(weights, axis=1, keepdims=True)  # drawn from the Dirichlet distribution
    mixed = tf.add_n([chained[:, chain] * per_image(weights[:, chain]) for chain in range(CHAINS)])
    share = per_image(uniform(keys, Draw.AUG_MIX))
    return images * (1 - share) + mixed * share


def apply_choice(images: tf.Tensor, operations: list[Operation], choice: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Each image after the operation with its index in `choice`, at its level: one call per operation."""
    groups = tf.dynamic_partition(tf.range(tf.size(choice)), choice, len(operations))
    changed = [
        operation(tf.gather(images, group), tf.gather(levels, group))
        for operation, group in zip(operations, groups, strict=True)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(groups, changed), images.shape)


def chosen_moves(operations: list[Operation], choice: tf.Tensor, levels: tf.Tensor) -> Moves:
    """The moves of the chosen operations; none for those that only change values."""
    moves: Moves = {}
    for number, operation in enumerate(operations):
        if isinstance(operation, Moved):
            for name, amount in operation.moves(levels).items():
                moves[name] = tf.where(choice == number, amount, 0.0)
    return moves


def signed(keys: tf.Tensor, draw: int, strength: tf.Tensor) -> tf.Tensor:
    """Strengths (batch,), half of them negative."""
    return tf.where(between(keys, draw, -1, 1) < 0, -strength, strength)


def common_operations(reach: Reach, fill: str) -> list[Operation]:
    """No operation (the first); shears, shifts and rotations; and maps of single values."""
    return [
        lambda images, levels: images,
        Moved(lambda levels: {"shear_right": levels * reach.shear}, fill),
        Moved(lambda levels: {"shear_down": levels * reach.shear}, fill),
        Moved(lambda levels: {"right": levels * reach.shift}, fill),
        Moved(lambda levels: {"down": levels * reach.shift}, fill),
        Moved(lambda levels: {"degrees": levels * reach.degrees}, fill),
        lambda images, levels: posterize(images, levels * reach.bits),
        solarize,
        autocontrast,
        equalize,
    ]


def enhancements(reach: Reach) -> list[Operation]:
    """Pillow's ImageEnhance: brightness, contrast, color, sharpness."""
    return [
        lambda images, levels: adjust(images, brightness=1 + levels * reach.factor),
        lambda images, levels: adjust(images, contrast=1 + levels * reach.factor),
        lambda images, levels: adjust(images, saturation=1 + levels * reach.factor),
        lambda images, levels: sharpen(images, 1 + levels * reach.factor),
    ]


def autocontrast(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to range from 0 to 255."""
    low = tf.reduce_min(images, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(images, axis=[1, 2], keepdims=True)
    return tf.where(high > low, (images - low) * (255 / tf.maximum(high - low, 1)), images)


def equalize(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Equalizes each channel's histogram; values are rounded to integers first."""
    shape = tf.shape(images)
    count, channels = shape[0], images.shape[-1]
    values = tf.cast(tf.round(images), tf.int32)
    row = tf.range(count * channels) * 256  # one histogram for each image and channel
    values = values + tf.reshape(row, [count, 1, 1, channels])
    ones = tf.ones_like(tf.reshape(values, [-1]))
    histograms = tf.math.unsorted_segment_sum(ones, tf.reshape(values, [-1]), count * channels * 256)
    histograms = tf.reshape(histograms, [count * channels, 256])
    highest = tf.reduce_max(tf.where(histograms > 0, tf.range(256), 0), axis=1)
    last = tf.gather(histograms, highest, batch_dims=1)
    step = ((tf.reduce_sum(histograms, axis=1) - last) // 255)[:, tf.newaxis]  # pixels per new value
    below = tf.cumsum(histograms, axis=1, exclusive=True)
    table = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, table, tf.range(256))
    return tf.cast(tf.gather(tf.reshape(table, [-1]), values), tf.float32)


def solarize(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Inverts values from a threshold upward: from 256 (that is, none) at level 0 to all of them at level 1."""
    return tf.where(images < 256 * (1 - per_image(tf.abs(levels))), images, 255 - images)


def posterize(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Clears the given number of lowest bits, of 8; the sign is ignored."""
    step = 2 ** per_image(tf.round(tf.abs(bits)))
    return tf.floor(images / step) * step


def sharpen(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blurs below a factor of 1 and sharpens above it: toward or away from the result of Pillow's SMOOTH."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    nine = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = (nine + 4 * images) * (1 / 13)
    return tf.clip_by_value(smooth + (images - smooth) * per_image(factor), 0, 255)
