"""Image operations: plain functions of tensors and keys, with no state.

A `key` is a uint64 from randomness.py; operations on batches take one a image, (batch,). Each draw has its
own number, so that adding an operation changes no other.
"""

import tensorflow as tf

from cnntrain.data.randomness import uniform, whole

DRAW_CROP_TOP, DRAW_CROP_LEFT, DRAW_FLIP, DRAW_SHIFT_DOWN, DRAW_SHIFT_RIGHT = range(5)


def square_crop(image: tf.Tensor, key: tf.Tensor | None) -> tf.Tensor:
    """The largest square of images (…, height, width, channels): the central one, or anywhere by the key."""
    shape = tf.shape(image)
    height, width = shape[-3], shape[-2]
    side = tf.minimum(height, width)
    if key is None:
        top, left = (height - side) // 2, (width - side) // 2
    else:
        top = whole(key, DRAW_CROP_TOP, height - side + 1)
        left = whole(key, DRAW_CROP_LEFT, width - side + 1)
    return image[..., top : top + side, left : left + side, :]


def resize(
    image: tf.Tensor, size: tuple[int, int], *, policy: str, antialias: bool, key: tf.Tensor | None
) -> tf.Tensor:
    """Images (…, height, width, channels) at `size` (height, width), values kept in their range.

    `stretch` ignores the aspect ratio; `crop_or_pad` keeps every pixel's size, and cuts or pads with zeros
    round the centre; `crop` cuts the largest square, which a key places at random, and scales it.
    """
    if policy == "crop_or_pad":
        return tf.image.resize_with_crop_or_pad(image, *size)
    if policy == "crop" and not (image.shape[-3] and image.shape[-3] == image.shape[-2]):
        image = square_crop(image, key)
    if image.shape[-3:-1] == size:
        return image
    return tf.image.resize(image, size, antialias=antialias)


def horizontal_flip(images: tf.Tensor, keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Some of a batch (batch, height, width, channels) mirrored, left to right."""
    flipped = uniform(keys, DRAW_FLIP) < probability
    return tf.where(flipped[:, tf.newaxis, tf.newaxis, tf.newaxis], tf.reverse(images, [2]), images)


def pad_and_crop(images: tf.Tensor, keys: tf.Tensor, pad_pixels: int) -> tf.Tensor:
    """A batch (batch, height, width, channels) padded with zeros, and cut back to its size anywhere."""
    height, width = images.shape[1], images.shape[2]
    padding = [pad_pixels, pad_pixels]
    padded = tf.pad(images, [[0, 0], padding, padding, [0, 0]])
    rows = whole(keys, DRAW_SHIFT_DOWN, 2 * pad_pixels + 1)[:, tf.newaxis] + tf.range(height)  # (batch, height)
    columns = whole(keys, DRAW_SHIFT_RIGHT, 2 * pad_pixels + 1)[:, tf.newaxis] + tf.range(width)  # (batch, width)
    padded = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(padded, columns, axis=2, batch_dims=1)
