"""Random numbers that are a function of (seed, epoch, example id, draw) and of nothing else.

tf.random's stateless ops give one stream per seed, and so need one call per image. These are plain integer
ops, so that one call draws for a whole batch, in which each image has its own key.
Source of the mixing: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014
(SplitMix64), whose finalizer is applied after each part of the key.

Logarithms and similar functions are computed in float64: the last bit of TensorFlow's float32 ones depends on a
number's position in its vector, and so on how many images are in a batch.
"""

import enum

import numpy as np
import tensorflow as tf

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
QUANTILES = 4096


class Draw(enum.IntEnum):
    """What a number is drawn for. A new draw gets a new number, so that adding one changes no others."""

    CROP_TOP = 0
    CROP_LEFT = 1
    HORIZONTAL_FLIP = 2
    PAD_DOWN = 3
    PAD_RIGHT = 4
    CROP_AREA = 5
    CROP_ASPECT_RATIO = 6
    VERTICAL_FLIP = 7
    TRANSLATE_DOWN = 8
    TRANSLATE_RIGHT = 9
    ROTATE = 10
    ZOOM = 11
    SHEAR = 12
    BRIGHTNESS = 13
    CONTRAST = 14
    SATURATION = 15
    HUE = 16
    LIGHTING = 17
    RAND_AUGMENT = 18
    TRIVIAL_AUGMENT = 19
    AUG_MIX = 20
    ERASE = 21
    ERASED_AREA = 22
    ERASED_ASPECT_RATIO = 23
    ERASED_TOP = 24
    ERASED_LEFT = 25
    PARTNER = 26
    MIX_KIND = 27
    MIXUP_SHARE = 28
    CUTMIX_SHARE = 29
    CUTMIX_ROW = 30
    CUTMIX_COLUMN = 31
    CROP_AGAIN = 32


def image_keys(seed: int, epoch: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """uint64 keys of images, with the shape of `ids`: equal where (seed, epoch, id) are equal."""
    key = mix(tf.constant(seed, tf.uint64), tf.cast(epoch, tf.uint64))
    return mix(key, tf.cast(ids, tf.uint64))


def streams(keys: tf.Tensor, draw: int, count: int) -> tf.Tensor:
    """Further keys (…, count) that a draw of several numbers needs."""
    drawn = mix(keys, tf.constant(draw, tf.uint64))[..., tf.newaxis]
    return mix(drawn, tf.constant(np.arange(count), tf.uint64))


def uniform(keys: tf.Tensor, draw: int) -> tf.Tensor:
    """float32 numbers in [0, 1), one per key; a different `draw` gives independent ones."""
    bits = mix(keys, tf.constant(draw, tf.uint64))
    return tf.cast(tf.bitwise.right_shift(bits, np.uint64(40)), tf.float32) * 2.0**-24


def between(keys: tf.Tensor, draw: int, low: float, high: float) -> tf.Tensor:
    """float32 numbers from `low` to `high`, one per key."""
    return low + uniform(keys, draw) * (high - low)


def log_between(keys: tf.Tensor, draw: int, low: float, high: float) -> tf.Tensor:
    """float32 numbers from `low` to `high`, one per key, whose logarithms are uniform."""
    exponent = tf.cast(uniform(keys, draw), tf.float64) * np.log(high / low)
    return tf.cast(low * tf.exp(exponent), tf.float32)


def exponential(keys: tf.Tensor, draw: int) -> tf.Tensor:
    """float32 numbers from the exponential distribution with mean 1, one per key."""
    return tf.cast(-tf.math.log1p(-tf.cast(uniform(keys, draw), tf.float64)), tf.float32)


def normal(keys: tf.Tensor, draw: int) -> tf.Tensor:
    """float32 numbers from the standard normal distribution, one per key (Box and Muller, 1958)."""
    radius, angle = tf.unstack(tf.cast(uniform(streams(keys, draw, 2), 0), tf.float64), axis=-1)
    return tf.cast(tf.sqrt(-2 * tf.math.log1p(-radius)) * tf.cos(2 * np.pi * angle), tf.float32)


def beta(keys: tf.Tensor, draw: int, alpha: float) -> tf.Tensor:
    """float32 numbers from the distribution Beta(alpha, alpha), one per key, from a table of its quantiles."""
    from scipy.special import betaincinv

    table = tf.constant(betaincinv(alpha, alpha, np.linspace(0, 1, QUANTILES + 1)), tf.float32)
    position = uniform(keys, draw) * QUANTILES
    below = tf.cast(position, tf.int32)
    low, high = tf.gather(table, below), tf.gather(table, below + 1)
    return low + (high - low) * (position - tf.floor(position))


def whole(keys: tf.Tensor, draw: int, bound: tf.Tensor) -> tf.Tensor:
    """int32 numbers from 0 to `bound` - 1, one per key."""
    below = tf.cast(tf.floor(uniform(keys, draw) * tf.cast(bound, tf.float32)), tf.int32)
    return tf.minimum(below, tf.cast(bound, tf.int32) - 1)


def mix(key: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """A uint64 in which every bit depends on all bits of both."""
    z = key + (part + np.uint64(1)) * GOLDEN
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(30))) * FIRST
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(27))) * SECOND
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(31)))
