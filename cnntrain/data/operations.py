"""What happens to an image at its own size: cuts, and the resize to the network's.

A box is int32 (4,): top, left, height, width in pixels. A `key` is a uint64 from randomness.py.
"""

import tensorflow as tf

from cnntrain.data.randomness import Draw, between, log_between, streams, whole

ATTEMPTS = 10


def square_crop(image: tf.Tensor, key: tf.Tensor | None) -> tf.Tensor:
    """The largest square of images (…, height, width, channels): the central one, or anywhere by the key."""
    height, width = tf.shape(image)[-3], tf.shape(image)[-2]
    side = tf.minimum(height, width)
    return crop(image, placed(side, side, height, width, key))


def resized_crop_box(
    height: tf.Tensor,
    width: tf.Tensor,
    key: tf.Tensor,
    *,
    area: tuple[float, float],
    aspect_ratio: tuple[float, float],
) -> tf.Tensor:
    """A random part of an image, of a random shape.

    `area` is its share of the image, `aspect_ratio` its width by its height, uniform in the logarithm. Of ten
    draws the first that fits counts; if none does, the central largest part whose ratio is in range.
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
        placed(first[0], first[1], height, width, key),
        placed(largest[0], largest[1], height, width, None),
    )


def placed(
    box_height: tf.Tensor, box_width: tf.Tensor, height: tf.Tensor, width: tf.Tensor, key: tf.Tensor | None
) -> tf.Tensor:
    """A box of a size inside an image: in the centre, or anywhere by the key."""
    if key is None:
        top, left = (height - box_height) // 2, (width - box_width) // 2
    else:
        top = whole(key, Draw.CROP_TOP, height - box_height + 1)
        left = whole(key, Draw.CROP_LEFT, width - box_width + 1)
    return tf.stack([top, left, box_height, box_width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """The part of images (…, height, width, channels) that lies in the box."""
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

    `stretch` ignores the aspect ratio; `crop_or_pad` keeps every pixel's size, and cuts or pads with zeros
    round the centre; `crop` cuts the central largest square, and scales it; `crop_and_resize` scales what
    lies in `crop_box`, (top, left, bottom, right) in fractions of the image.
    """
    if policy == "crop_or_pad":
        return tf.image.resize_with_crop_or_pad(image, *size)
    if policy == "crop_and_resize":
        return crop_and_resize(image, size, crop_box)
    if policy == "crop" and not (image.shape[-3] and image.shape[-3] == image.shape[-2]):
        image = square_crop(image, None)
    if image.shape[-3:-1] == size:
        return image
    return tf.image.resize(image, size, antialias=antialias)


def crop_and_resize(
    image: tf.Tensor, size: tuple[int, int], crop_box: tuple[float, float, float, float] | None
) -> tf.Tensor:
    """tf.image.crop_and_resize with the same box for one image, or for each of a batch."""
    images = image if image.shape.rank == 4 else image[tf.newaxis]
    count = tf.shape(images)[0]
    boxes = tf.repeat(tf.constant([crop_box], tf.float32), count, axis=0)  # (batch, 4)
    images = tf.image.crop_and_resize(images, boxes, tf.range(count), size)
    return images if image.shape.rank == 4 else images[0]
