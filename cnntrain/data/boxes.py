"""Where objects are: boxes that move with the pixels.

Outside this file a box is float32 (…, 4): center y, center x, height and width, each as a fraction of its upright
image; all 0 if an example has no box. Inside this file it is stored as corners, which are simpler to move.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cnntrain.data.augmentation.geometry import (
    affine_map,
    are_mirrored,
    are_upside_down,
    padded_corners,
    random_moves,
)
from cnntrain.data.augmentation.policies import (
    chosen_moves,
    rand_augment_operations,
    rand_augment_steps,
    trivial_augment_operations,
    trivial_augment_step,
)
from cnntrain.data.augmentation.settings import Augmentation

LEAST_VISIBLE = 0.5  # the share of an object's box that must be visible for it to count as still in the image


class Boxes(NamedTuple):
    """Boxes clipped to their images.

    corners: float32 (…, 4), top, left, bottom and right as fractions of the image. visible: float32 (…,), the
    share of each box that has not been clipped; 0 if there is no box.
    """

    corners: tf.Tensor
    visible: tf.Tensor

    def moved(self, corners: tf.Tensor) -> "Boxes":
        """The boxes at new corners, which may be outside the image."""
        inside = tf.clip_by_value(corners, 0.0, 1.0)
        kept = tf.math.divide_no_nan(areas(inside), areas(corners))
        return Boxes(inside, self.visible * kept)

    def mapped(self, scale: tf.Tensor, offset: tf.Tensor) -> "Boxes":
        """The boxes after a map of heights and widths, fraction · scale + offset, (…, 2) each."""
        return self.moved(self.corners * tf.concat([scale, scale], -1) + tf.concat([offset, offset], -1))

    def targets(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Boxes (…, 4) in the format used outside this file, and their weights (…,): 0 for lost objects, else 1."""
        weights = tf.cast(self.visible >= LEAST_VISIBLE, tf.float32)
        top, left, bottom, right = tf.unstack(self.corners, axis=-1)
        values = tf.stack([(top + bottom) / 2, (left + right) / 2, bottom - top, right - left], axis=-1)
        return values * weights[..., tf.newaxis], weights


def boxes_of(values: tf.Tensor) -> Boxes:
    """Boxes from (…, 4) in the format used outside this file."""
    middle, half = values[..., :2], values[..., 2:] / 2
    return Boxes(tf.concat([middle - half, middle + half], -1), tf.cast(values[..., 2] > 0, tf.float32))


def areas(corners: tf.Tensor) -> tf.Tensor:
    """Areas (…,) of corners (…, 4)."""
    return (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])


def after_crop(boxes: Boxes, crop: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> Boxes:
    """Boxes of an image of that size, relative to `crop`; see resize.py."""
    size = tf.cast(tf.stack([height, width]), tf.float32)
    corner, part = tf.cast(crop[:2], tf.float32), tf.cast(crop[2:], tf.float32)
    return boxes.mapped(size / part, -corner / part)


def resize_map(
    size: tf.Tensor,
    network_size: tuple[int, int],
    *,
    policy: str,
    crop_box: tuple[float, float, float, float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The map that resize.resize applies to points in images of `size` (…, 2), height and width: a point, as
    fractions (…, 2) of its image, moves to point · scale + offset, (…, 2) each, as fractions of the network's input.

    In Keras ops, for exports.
    """
    from keras import ops

    old, new = ops.cast(size, "float32"), np.array(network_size, np.float32)
    if policy == "stretch":
        return ops.ones_like(old), ops.zeros_like(old)
    if policy == "crop":
        side = ops.min(old, axis=-1, keepdims=True)
        return old / side, -ops.floor((old - side) / 2) / side
    if policy == "crop_or_pad":
        shift = ops.maximum(ops.floor((new - old) / 2), 0.0) - ops.maximum(ops.floor((old - new) / 2), 0.0)
        return old / new, shift / new
    box = np.array(crop_box or (0.0, 0.0, 1.0, 1.0), np.float32)
    # by pixel centers: the first and last of the result are on the edges of the crop box
    start, stop = (old - 1) * box[:2], (old - 1) * box[2:]
    enlarged = (new - 1) / ops.maximum(stop - start, 1e-6)
    return old * enlarged / new, (0.5 - (start + 0.5) * enlarged) / new


def in_image_pixels(
    boxes: np.ndarray,
    sizes: np.ndarray,
    network_size: tuple[int, int],
    *,
    policy: str,
    crop_box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Converts boxes (n, 4) in the output of resize.resize to left, top, right and bottom (n, 4) in pixels of the
    original images, of `sizes` (n, 2)."""
    scale, offset = resize_map(tf.constant(sizes, tf.int32), network_size, policy=policy, crop_box=crop_box)
    corners = boxes_of(tf.constant(boxes, tf.float32)).corners.numpy().reshape(-1, 2, 2)
    places = (corners - offset.numpy()[:, np.newaxis]) / scale.numpy()[:, np.newaxis]
    pixels = np.clip(places, 0, 1) * sizes[:, np.newaxis]
    return pixels.reshape(-1, 4)[:, [1, 0, 3, 2]]


def augmented(boxes: Boxes, keys: tf.Tensor, augmentation: Augmentation, size: tuple[int, int]) -> Boxes:
    """Boxes (batch,) in images of `size` (height, width) after `augment` with the same keys (batch,).

    Its draws are a function of the keys and are repeated here, so that images without boxes cost nothing.
    """
    sides = tf.constant(size, tf.float32)
    if augmentation.horizontal_flip:
        boxes = mirrored(boxes, are_mirrored(keys, augmentation.horizontal_flip), axis=1)
    if augmentation.vertical_flip:
        boxes = mirrored(boxes, are_upside_down(keys, augmentation.vertical_flip), axis=0)
    if augmentation.pad_pixels:
        corners = tf.cast(tf.stack(padded_corners(keys, augmentation.pad_pixels), -1), tf.float32)  # (batch, 2)
        boxes = boxes.mapped(tf.ones(2), (augmentation.pad_pixels - corners) / sides)
    if augmentation.moves:
        moves = random_moves(
            keys,
            translate_fraction=augmentation.translate_fraction,
            rotate_degrees=augmentation.rotate_degrees,
            zoom_fraction=augmentation.zoom_fraction,
            shear_degrees=augmentation.shear_degrees,
        )
        boxes = after_affine(boxes, affine_map(size, **moves), sides)
    return after_policies(boxes, keys, augmentation, size)


def mirrored(boxes: Boxes, chosen: tf.Tensor, *, axis: int) -> Boxes:
    """Boxes with top and bottom (axis 0) or left and right (1) swapped, where `chosen` (…,) is true."""
    sides = tf.unstack(boxes.corners, axis=-1)
    sides[axis], sides[axis + 2] = 1 - sides[axis + 2], 1 - sides[axis]
    return Boxes(tf.where(chosen[..., tf.newaxis], tf.stack(sides, -1), boxes.corners), boxes.visible)


def after_policies(boxes: Boxes, keys: tf.Tensor, augmentation: Augmentation, size: tuple[int, int]) -> Boxes:
    """Boxes (batch,) after RandAugment and TrivialAugment, if they are on."""
    steps, sides = [], tf.constant(size, tf.float32)
    if augmentation.rand_augment:
        operations = rand_augment_operations(augmentation.fill)
        count, magnitude = augmentation.rand_augment, augmentation.rand_augment_magnitude
        drawn = rand_augment_steps(keys, operations, count=count, magnitude=magnitude)
        steps += [chosen_moves(operations, *step) for step in drawn]
    if augmentation.trivial_augment:
        operations = trivial_augment_operations(augmentation.fill)
        steps.append(chosen_moves(operations, *trivial_augment_step(keys, operations)))
    for moves in steps:
        boxes = after_affine(boxes, affine_map(size, **moves), sides)
    return boxes


def after_affine(boxes: Boxes, numbers: list[tf.Tensor], sides: tf.Tensor) -> Boxes:
    """The axis-aligned boxes around boxes (batch,) moved by geometry.affine_map, which maps in the other direction."""
    x_of_x, x_of_y, offset_x, y_of_x, y_of_y, offset_y = (number[..., tf.newaxis] for number in numbers)
    corners = boxes.corners * tf.concat([sides, sides], 0) - 0.5  # by pixel centers
    top, left, bottom, right = tf.unstack(corners, axis=-1)
    x = tf.stack([left, right, left, right], -1) - offset_x  # (batch, 4)
    y = tf.stack([top, top, bottom, bottom], -1) - offset_y
    determinant = x_of_x * y_of_y - x_of_y * y_of_x
    x, y = (y_of_y * x - x_of_y * y) / determinant, (x_of_x * y - y_of_x * x) / determinant
    low = tf.stack([tf.reduce_min(y, -1), tf.reduce_min(x, -1)], -1)  # (batch, 2)
    high = tf.stack([tf.reduce_max(y, -1), tf.reduce_max(x, -1)], -1)
    return boxes.moved(tf.concat([(low + 0.5) / sides, (high + 0.5) / sides], -1))
