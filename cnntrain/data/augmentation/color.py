"""Color augmentation: changes to a batch (batch, height, width, channels) from 0 to 255, float32 out.

A gray image changes as if it were a color image: hue and saturation have no effect, lighting shifts its brightness.
"""

import numpy as np
import tensorflow as tf

from cnntrain.data.augmentation.keyed_random import Draw, between, normal, streams

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# From RGB to luma and two color axes (NTSC's YIQ), in whose plane hue is an angle.
YIQ = np.array([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
# Principal components of ImageNet's RGB values, as columns, and the standard deviation along each (on a scale of 0 to
# 255). The paper gives no values; these are the commonly used ones, from facebookarchive/fb.resnet.torch.
LIGHTING_DIRECTIONS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
LIGHTING_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045]) * 255


def random_color(
    images: tf.Tensor,
    keys: tf.Tensor,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue_degrees: float,
    lighting: float,
) -> tf.Tensor:
    """Changes each image's colors, by a random amount up to each limit in either direction.

    `lighting` is the standard deviation of a normal distribution; source: Krizhevsky, Sutskever and Hinton,
    "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 4.1.
    """

    def factor(draw: Draw, most: float) -> tf.Tensor | None:
        return between(keys, draw, 1 - most, 1 + most) if most else None

    shift = None
    if lighting:
        amounts = normal(streams(keys, Draw.LIGHTING, 3), Draw.LIGHTING) * lighting  # (batch, 3)
        columns = tf.constant(LIGHTING_DIRECTIONS * LIGHTING_DEVIATIONS, tf.float32)
        shift = tf.add_n([amounts[:, number, tf.newaxis] * columns[:, number] for number in range(3)])
    return adjust(
        images,
        brightness=factor(Draw.BRIGHTNESS, brightness),
        contrast=factor(Draw.CONTRAST, contrast),
        saturation=factor(Draw.SATURATION, saturation),
        hue_degrees=between(keys, Draw.HUE, -hue_degrees, hue_degrees) if hue_degrees else None,
        shift=shift,
    )


def adjust(
    images: tf.Tensor,
    *,
    brightness: tf.Tensor | None = None,
    contrast: tf.Tensor | None = None,
    saturation: tf.Tensor | None = None,
    hue_degrees: tf.Tensor | None = None,
    shift: tf.Tensor | None = None,
) -> tf.Tensor:
    """Adjusts the colors of images by one number (batch,) each, and clips the result to 0 and 255.

    `brightness` multiplies; `contrast` multiplies the distance from the image's mean luma, `saturation` the distance
    from each pixel's own luma; hues are rotated at constant luma; `shift` (batch, 3) is added. All of these are
    affine, so they combine into one map: of single values, or of RGB triples if channels are mixed.
    """
    images = tf.cast(images, tf.float32)
    color = images.shape[-1] == 3
    gain, offset = brightness, None  # (batch,)
    if contrast is not None:
        bright_mean = mean_luma(images) if brightness is None else mean_luma(images) * brightness
        offset = (1 - contrast) * bright_mean
        gain = contrast if gain is None else gain * contrast
    if color and (saturation is not None or hue_degrees is not None):
        matrices = color_matrices(saturation, hue_degrees)  # (batch, 3, 3)
        matrices = matrices if gain is None else matrices * per_image(gain, rank=3)
        shape = tf.shape(images)
        images = tf.reshape(tf.matmul(tf.reshape(images, [shape[0], -1, 3]), matrices), shape)
    elif gain is not None:
        images = images * per_image(gain)
    if offset is not None:
        images = images + per_image(offset)
    if shift is not None:
        shift = shift if color else luma(shift)
        images = images + shift[:, tf.newaxis, tf.newaxis, :]
    return tf.clip_by_value(images, 0, 255)


def color_matrices(saturation: tf.Tensor | None, hue_degrees: tf.Tensor | None) -> tf.Tensor:
    """Matrices (batch, 3, 3) that a row (red, green, blue) is multiplied by."""
    angle = tf.cast(0.0 if hue_degrees is None else hue_degrees, tf.float64) * (np.pi / 180)
    strength = tf.cast(1.0 if saturation is None else saturation, tf.float64)
    along, across = strength * tf.cos(angle), strength * tf.sin(angle)
    # Y stays, I and Q rotate and scale: Y·(1, 0, 0) + along·(I, Q) + across·(−Q, I), each converted back to RGB
    kept, same, turned = (
        np.linalg.inv(YIQ) @ np.array(matrix) @ YIQ
        for matrix in (
            [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
            [[0, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        )
    )
    matrices = kept.T + per_image(along, rank=3) * same.T + per_image(across, rank=3) * turned.T
    return tf.cast(matrices, tf.float32)


def luma(values: tf.Tensor) -> tf.Tensor:
    """The luma (…, 1) of RGB values (…, 3); gray values are unchanged."""
    if values.shape[-1] != 3:
        return values
    red, green, blue = tf.split(values, 3, axis=-1)
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def mean_luma(images: tf.Tensor) -> tf.Tensor:
    """Each image's mean luma (batch,), from the channel means."""
    return tf.squeeze(luma(mean_color(images)), axis=-1)


def mean_color(images: tf.Tensor) -> tf.Tensor:
    """Each image's mean (batch, channels), of values rounded to integers.

    Integers add up to the same sum in any order, and TensorFlow's order depends on the number of cores.
    """
    sums = tf.reduce_sum(tf.cast(tf.cast(images, tf.float32) + 0.5, tf.int32), axis=[1, 2])
    return tf.cast(sums, tf.float32) * (1 / (images.shape[1] * images.shape[2]))


def per_image(numbers: tf.Tensor, *, rank: int = 4) -> tf.Tensor:
    """One number per image (batch,), shaped to multiply a batch of tensors of that rank."""
    return tf.reshape(numbers, [-1] + [1] * (rank - 1))
