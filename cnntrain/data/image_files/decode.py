"""From encoded files to pixels: exactly, as evaluation does, or faster, as training may."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from cnntrain.data.resize import crop

BoxOf = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# by EXIF orientation (there is no 0): the direction in which rows and columns are read
ROW_STEPS = (1, 1, 1, -1, -1, 1, 1, -1, -1)
COLUMN_STEPS = (1, 1, -1, -1, 1, 1, -1, -1, 1)
SCALES = (1, 2, 4, 8)  # at which libjpeg-turbo decodes without computing all pixels


@dataclass(frozen=True)
class Part:
    """The part of an image to read: `box_of` gives the crop box of an upright image (height, width), which is later
    scaled to `size` (height, width). `decoding` is data.decoding: see Source.
    """

    box_of: BoxOf
    size: tuple[int, int]
    decoding: str = "accurate"


def read_image(
    encoded: tf.Tensor, *, channels: int, part: Part | None = None, orientation: tf.Tensor | None = None
) -> tf.Tensor:
    """uint8 pixels (height, width, channels) of an encoded image, upright; for an animation, the first frame.

    With `part`, only that box; with decoding `reduced`, at a half, a quarter or an eighth of its scale if that is
    still large enough. Without a part, or with decoding `accurate`, a JPEG is bit-identical to Pillow's.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: read_jpeg(encoded, channels, part, orientation),
        lambda: cut(read_other(encoded, channels), part, orientation),
    )
    return tf.ensure_shape(image, (None, None, channels))


def read_jpeg(encoded: tf.Tensor, channels: int, part: Part | None, orientation: tf.Tensor | None) -> tf.Tensor:
    """The pixels of a JPEG, or of a part of it."""
    if part is None or part.decoding == "accurate":
        image = tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")
        return cut(image, part, orientation)
    shape = tf.io.extract_jpeg_shape(encoded)
    turned = False if orientation is None else orientation >= 5
    height, width = tf.where(turned, shape[1], shape[0]), tf.where(turned, shape[0], shape[1])
    box = part.box_of(height, width)
    full = functools.partial(part_of_jpeg, encoded, channels, box, orientation)
    if part.decoding == "fast":
        return full(1)
    fits = tf.reduce_min(box[2:] // tf.constant(part.size))
    number = tf.add_n([tf.cast(fits >= scale, tf.int32) for scale in SCALES[1:]])
    return tf.switch_case(number, [functools.partial(full, scale) for scale in SCALES])


def part_of_jpeg(
    encoded: tf.Tensor, channels: int, box: tf.Tensor, orientation: tf.Tensor | None, scale: int
) -> tf.Tensor:
    """The box of a JPEG at 1/`scale` of its size, with the fast DCT; if possible, only the box is decoded."""
    if scale == 1 and orientation is None:
        return tf.image.decode_and_crop_jpeg(encoded, box, channels=channels, dct_method="INTEGER_FAST")
    image = tf.io.decode_jpeg(encoded, channels=channels, ratio=scale, dct_method="INTEGER_FAST")
    image = image if orientation is None else upright(image, orientation)
    return crop(image, box // scale)


def read_other(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """The pixels of an image that is not a JPEG."""
    image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels))


def cut(image: tf.Tensor, part: Part | None, orientation: tf.Tensor | None) -> tf.Tensor:
    """Turns decoded pixels upright, and crops the part."""
    image = image if orientation is None else upright(image, orientation)
    if part is None:
        return image
    shape = tf.shape(image)
    return crop(image, part.box_of(shape[-3], shape[-2]))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """An image (height, width, channels) rotated and flipped according to its EXIF orientation, 1 to 8.

    Source: Exif 2.32, 4.6.4 A, tag 274. From 5 on, rows and columns are swapped first.
    """
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    down = tf.gather(ROW_STEPS, orientation)
    right = tf.gather(COLUMN_STEPS, orientation)
    return tf.ensure_shape(image[::down, ::right], (None, None, image.shape[2]))
