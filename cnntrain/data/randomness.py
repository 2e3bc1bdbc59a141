"""Random numbers that are a function of (seed, epoch, example id, draw) and of nothing else.

tf.random's stateless operations give one stream a seed, thus one call an image. These are plain integer
operations, so that one call draws for a whole batch, of which each image has a key of its own.
Source of the mixing: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014
(SplitMix64), whose finalizer is applied after each part of the key.
"""

import numpy as np
import tensorflow as tf

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)


def image_keys(seed: int, epoch: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """uint64 keys of images, of the shape of `ids`: equal where (seed, epoch, id) are equal."""
    key = mix(tf.constant(seed, tf.uint64), tf.cast(epoch, tf.uint64))
    return mix(key, tf.cast(ids, tf.uint64))


def uniform(keys: tf.Tensor, draw: int) -> tf.Tensor:
    """float32 numbers from 0 to below 1, one a key; another `draw` gives independent ones."""
    bits = mix(keys, tf.constant(draw, tf.uint64))
    return tf.cast(tf.bitwise.right_shift(bits, np.uint64(40)), tf.float32) * 2.0**-24


def whole(keys: tf.Tensor, draw: int, bound: tf.Tensor) -> tf.Tensor:
    """int32 numbers from 0 to below `bound`, one a key."""
    below = tf.cast(tf.floor(uniform(keys, draw) * tf.cast(bound, tf.float32)), tf.int32)
    return tf.minimum(below, tf.cast(bound, tf.int32) - 1)


def mix(key: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """A uint64 in which every bit depends on all bits of both."""
    z = key + (part + np.uint64(1)) * GOLDEN
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(30))) * FIRST
    z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(27))) * SECOND
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint64(31)))
