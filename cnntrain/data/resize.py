"""What happens to an image at its own size: cropping, and resizing to the network's size.

A box is int32 (4,): top, left, height, width in pixels. A `key` is a uint64 from keyed_random.py. A `place` is
float32 (2,) in [0, 1): the position of a box within its possible range, down and to the right; None is the center.
"""

import tensorflow as tf

from cnntrain.data.augmentation.keyed_random import Draw, between, log_between, streams, uniform

ATTEMPTS = 10
LAST_ROW_INSIDE = 1 - 1e-6  # at 1, rounding may put the last row outside the image, where TensorFlow fills in black


def square_crop(image: tf.Tensor, place: tf.Tensor | None) -> tf.Tensor:
    """The largest square of images (…, height, width, channels)."""
    return crop(image, square_box(tf.shape(image)[-3], tf.shape(image)[-2], place))


def square_box(height: tf.Tensor, width: tf.Tensor, place: tf.Tensor | None) -> tf.Tensor:
    """The largest square of an image."""
    side = tf.minimum(height, width)
    return placed(side, side, height, width, place)


def random_places(keys: tf.Tensor) -> tf.Tensor:
    """Positions of boxes, by their keys (…): float32 (…, 2)."""
    return tf.stack([uniform(keys, Draw.CROP_TOP), uniform(keys, Draw.CROP_LEFT)], axis=-1)


def resized_crop_box(
    height: tf.Tensor,
    width: tf.Tensor,
    key: tf.Tensor,
    *,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tf.Tensor:
    """A random crop of an image, with a random aspect ratio.

    `area` is its share of the image, `aspect_ratio` its width divided by its height, log-uniform. The first of ten
    draws that fits is used; if none does, the largest central crop whose ratio is in range.
    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, section 6; as in torchvision.
    """
    full_height, full_width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    attempts = streams(key, Draw.CROP_AREA, ATTEMPTS)  # (10,)
    pixels = between(attempts, Draw.CROP_AREA, *area) * full_height * full_width
    ratios = log_between(attempts, Draw.CROP_ASPECT_RATIO, *aspect_ratio)
    sizes = tf.stack([tf.sqrt(pixels / ratios), tf.sqrt(pixels * ratios)], axis=-1)  # (10, 2)
    sizes = tf.cast(tf.round(sizes), tf.int32)
    fits = tf.reduce_all((sizes > 0) & (sizes <= tf.stack([height, width])), axis=-1)
    first = sizes[tf.argmax(fits)]
    ratio = tf.clip_by_value(full_width / full_height, *aspect_ratio)
    largest_height = tf.minimum(full_height, full_width / ratio)
    largest = tf.maximum(1, tf.cast(tf.round([largest_height, largest_height * ratio]), tf.int32))
    return tf.where(
        tf.reduce_any(fits),
        placed(first[0], first[1], height, width, random_places(key)),
        placed(largest[0], largest[1], height, width, None),
    )


def placed(
    box_height: tf.Tensor, box_width: tf.Tensor, height: tf.Tensor, width: tf.Tensor, place: tf.Tensor | None
) -> tf.Tensor:
    """A box of the given size inside an image."""
    corner = corners(tf.stack([height - box_height, width - box_width]), place)
    return tf.concat([corner, [box_height, box_width]], axis=0)


def corners(spare: tf.Tensor, places: tf.Tensor | None) -> tf.Tensor:
    """Top and left, int32 (…, 2), of boxes that leave `spare` rows and columns (…, 2) of their images."""
    if places is None:
        return spare // 2
    free = tf.cast(spare + 1, tf.float32)
    return tf.minimum(tf.cast(tf.floor(places * free), tf.int32), spare)


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """The part of images (…, height, width, channels) inside the box."""
    top, left, height, width = tf.unstack(box)
    return image[..., top : top + height, left : left + width, :]


def resize(
    image: tf.Tensor,
    size: tuple[int, int],
    *,
    policy: str,
    antialias: bool,
    crop_box: tuple[float, float, float, float] | None = None,
) -> tf.Tensor:
    """Images (…, height, width, channels) at `size` (height, width), values kept in their range.

    `stretch` ignores the aspect ratio; `crop_or_pad` doesn't scale, but crops or pads with zeros around
    the center; `crop` crops the largest central square and scales it; `crop_and_resize` scales the part
    inside `crop_box`, (top, left, bottom, right) as fractions of the image.
    """
    if policy == "crop_or_pad":
        return tf.image.resize_with_crop_or_pad(image, *size)
    if policy == "crop_and_resize":
        return crop_and_resize(image, size, crop_box)
    if policy == "crop" and not (image.shape[-3] and image.shape[-3] == image.shape[-2]):
        image = square_crop(image, None)
    if image.shape[-3:-1] == size:
        return image
    image = tf.cast(image, tf.float32)  # TensorFlow's resize is vectorized for floats, but not for bytes
    return tf.image.resize(image, size, antialias=antialias)


def crop_and_resize(
    image: tf.Tensor, size: tuple[int, int], crop_box: tuple[float, float, float, float] | None
) -> tf.Tensor:
    """tf.image.crop_and_resize with the same box for one image, or for each image in a batch."""
    images = image if image.shape.rank == 4 else image[tf.newaxis]
    count = tf.shape(images)[0]
    box = tf.minimum(tf.constant([crop_box], tf.float32), LAST_ROW_INSIDE)
    boxes = tf.repeat(box, count, axis=0)  # (batch, 4)
    images = tf.image.crop_and_resize(images, boxes, tf.range(count), size)
    return images if image.shape.rank == 4 else images[0]
