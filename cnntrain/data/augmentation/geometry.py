"""Geometric augmentation: flips, shifts, and affine maps of a batch (batch, height, width, channels).

Each image has a uint64 key (batch,) from keyed_random.py, or its own number (batch,).
"""

import numpy as np
import tensorflow as tf

from cnntrain.data.augmentation.keyed_random import Draw, between, uniform, whole

Moves = dict[str, tf.Tensor | float]  # arguments of `affine`
FILL_MODES = {"black": "CONSTANT", "white": "CONSTANT", "edge": "NEAREST", "reflect": "REFLECT"}


def horizontal_flip(images: tf.Tensor, keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Flips some of the images left to right."""
    return chosen(are_mirrored(keys, probability), tf.reverse(images, [2]), images)


def flip_one(image: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """One image (height, width, channels), flipped or not."""
    return tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)


def are_mirrored(keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Whether images are flipped, by their keys."""
    return uniform(keys, Draw.HORIZONTAL_FLIP) < probability


def vertical_flip(images: tf.Tensor, keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Flips some of the images upside down."""
    return chosen(are_upside_down(keys, probability), tf.reverse(images, [1]), images)


def are_upside_down(keys: tf.Tensor, probability: float) -> tf.Tensor:
    """Whether images are flipped upside down, by their keys."""
    return uniform(keys, Draw.VERTICAL_FLIP) < probability


def chosen(condition: tf.Tensor, images: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Whole images from the first batch where the condition (batch,) holds, else from the second.

    The operation behind tf.where before TensorFlow 2: it copies whole images, and takes a third of the time.
    """
    return tf.raw_ops.Select(condition=condition, x=images, y=others)


def pad_and_crop(images: tf.Tensor, keys: tf.Tensor, pad_pixels: int) -> tf.Tensor:
    """The images padded with zeros, and randomly cropped back to their size."""
    height, width = images.shape[1], images.shape[2]
    padding = [pad_pixels, pad_pixels]
    padded = tf.pad(images, [[0, 0], padding, padding, [0, 0]])
    top, left = padded_corners(keys, pad_pixels)
    rows = top[:, tf.newaxis] + tf.range(height)  # (batch, height)
    columns = left[:, tf.newaxis] + tf.range(width)  # (batch, width)
    padded = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(padded, columns, axis=2, batch_dims=1)


def padded_corners(keys: tf.Tensor, pad_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Top and left, int32 (batch,) each, of the crops of the padded images."""
    top = whole(keys, Draw.PAD_DOWN, 2 * pad_pixels + 1)
    left = whole(keys, Draw.PAD_RIGHT, 2 * pad_pixels + 1)
    return top, left


def random_affine(
    images: tf.Tensor,
    keys: tf.Tensor,
    *,
    translate_fraction: float,
    rotate_degrees: float,
    zoom_fraction: float,
    shear_degrees: float,
    fill: str,
) -> tf.Tensor:
    """Shears, scales, rotates and shifts each image, by a random amount up to each limit in either direction."""
    moves = random_moves(
        keys,
        translate_fraction=translate_fraction,
        rotate_degrees=rotate_degrees,
        zoom_fraction=zoom_fraction,
        shear_degrees=shear_degrees,
    )
    return affine(images, **moves, fill=fill)


def random_moves(
    keys: tf.Tensor,
    *,
    translate_fraction: float,
    rotate_degrees: float,
    zoom_fraction: float,
    shear_degrees: float,
) -> Moves:
    """The arguments of `affine`, drawn for each image: up to each limit in either direction."""

    def either_way(draw: Draw, most: float) -> tf.Tensor:
        return between(keys, draw, -most, most)

    return {
        "down": either_way(Draw.TRANSLATE_DOWN, translate_fraction) if translate_fraction else 0.0,
        "right": either_way(Draw.TRANSLATE_RIGHT, translate_fraction) if translate_fraction else 0.0,
        "degrees": either_way(Draw.ROTATE, rotate_degrees) if rotate_degrees else 0.0,
        "zoom": 1 + either_way(Draw.ZOOM, zoom_fraction) if zoom_fraction else 1.0,
        "shear_right": either_way(Draw.SHEAR, np.tan(np.radians(shear_degrees))) if shear_degrees else 0.0,
    }


def affine(
    images: tf.Tensor,
    *,
    down: tf.Tensor | float = 0.0,
    right: tf.Tensor | float = 0.0,
    degrees: tf.Tensor | float = 0.0,
    zoom: tf.Tensor | float = 1.0,
    shear_right: tf.Tensor | float = 0.0,
    shear_down: tf.Tensor | float = 0.0,
    fill: str = "black",
) -> tf.Tensor:
    """Shears, scales, rotates and shifts each image, in this order, about its center; bilinear, float32.

    `down` and `right` are fractions of the height and width, rounded to whole pixels, so that a pure shift
    causes no blur. `degrees` rotates counterclockwise. `zoom` above 1 enlarges. `shear_right` moves a pixel right by
    this times its distance below the center, `shear_down` down by this times its distance to the right of it.
    `fill` is what fills the gaps: `black`, `white`, the `edge` repeated, or the image mirrored (`reflect`).
    """
    height, width = images.shape[1], images.shape[2]
    rows = affine_map(
        (height, width),
        down=down,
        right=right,
        degrees=degrees,
        zoom=zoom,
        shear_right=shear_right,
        shear_down=shear_down,
    )
    batch = tf.shape(images)[0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([tf.broadcast_to(value, [batch]) for value in [*rows, 0.0, 0.0]], axis=-1),  # (batch, 8)
        output_shape=tf.constant([height, width]),
        fill_value=255.0 if fill == "white" else 0.0,
        interpolation="BILINEAR",
        fill_mode=FILL_MODES[fill],
    )


def affine_map(
    size: tuple[int, int],
    *,
    down: tf.Tensor | float = 0.0,
    right: tf.Tensor | float = 0.0,
    degrees: tf.Tensor | float = 0.0,
    zoom: tf.Tensor | float = 1.0,
    shear_right: tf.Tensor | float = 0.0,
    shear_down: tf.Tensor | float = 0.0,
) -> list[tf.Tensor]:
    """`affine` as six numbers, each () or (batch,): a pixel (x, y) of the result comes from the point
    (a·x + b·y + c, d·x + e·y + f) in an image of `size` (height, width)."""
    height, width = size
    # float64 (see keyed_random.py), shape (): the same for all images, or (batch,)
    down, right, degrees, zoom, shear_right, shear_down = (
        tf.cast(value, tf.float64) for value in (down, right, degrees, zoom, shear_right, shear_down)
    )
    sine, cosine = tf.sin(degrees * (np.pi / 180)), tf.cos(degrees * (np.pi / 180))
    # from a point in the output (x, y), relative to the center, to its source: undoes rotation and shear
    shrink = 1 / (zoom * (1 - shear_right * shear_down))
    x_of_x, x_of_y = (cosine - shear_right * sine) * shrink, (-sine - shear_right * cosine) * shrink
    y_of_x, y_of_y = (sine - shear_down * cosine) * shrink, (cosine + shear_down * sine) * shrink
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = middle_x + tf.round(right * width), middle_y + tf.round(down * height)
    offset_x = middle_x - x_of_x * from_x - x_of_y * from_y
    offset_y = middle_y - y_of_x * from_x - y_of_y * from_y
    return [tf.cast(value, tf.float32) for value in (x_of_x, x_of_y, offset_x, y_of_x, y_of_y, offset_y)]
