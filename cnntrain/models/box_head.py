"""Where the object is: the meaning of the box output, its metrics, and its loss.

A box is float32 (…, 4): center y, center x, height and width as fractions of the image as the network sees it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from keras import ops
from keras.utils import bounding_boxes

from cnntrain.runtime import ranks

if TYPE_CHECKING:
    from cnntrain.models.base import Architecture

HUBER_DELTA = 0.1  # box errors are below 1, so with Keras's default delta, Huber would be half the squared error


@dataclass(frozen=True)
class BoxHead:
    """The meaning of the four units of the box output, and the loss that trains them.

    They are center y, center x, height and width, the last two as square roots with `square_root_sides`, so that an
    error of a few pixels costs less for a large box than for a small one. `loss` is mse or huber on these numbers,
    or 1 minus the boxes' iou, giou or ciou.

    Sources: Rezatofighi et al., "Generalized Intersection over Union", 2019; Zheng et al., "Distance-IoU Loss:
    Faster and Better Learning for Bounding Box Regression", 2020, section 3.3 (CIoU, Keras's).
    """

    loss: str
    square_root_sides: bool

    def boxes(self, outputs: tf.Tensor) -> tf.Tensor:
        """Converts outputs to boxes (batch, 4); a side's sign is ignored."""
        center, sides = outputs[:, :2], outputs[:, 2:]
        return ops.concatenate([center, ops.square(sides) if self.square_root_sides else ops.abs(sides)], axis=1)

    def predict(self, outputs: tf.Tensor) -> tf.Tensor:
        """The same boxes, clipped to the image; in Keras ops, for exports."""
        boxes = self.boxes(outputs)
        low = ops.clip(boxes[:, :2] - boxes[:, 2:] / 2, 0.0, 1.0)
        high = ops.clip(boxes[:, :2] + boxes[:, 2:] / 2, 0.0, 1.0)
        return ops.concatenate([(low + high) / 2, high - low], axis=1)

    def errors(self, outputs: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """The loss (batch,) of each output against its true box."""
        if self.loss in ("iou", "giou", "ciou"):
            return 1 - OVERLAPS[self.loss](self.boxes(outputs), boxes)
        sides = tf.sqrt(boxes[:, 2:]) if self.square_root_sides else boxes[:, 2:]
        wanted = tf.concat([boxes[:, :2], sides], axis=1)
        if self.loss == "mse":
            return keras.losses.mean_squared_error(wanted, outputs)
        return keras.losses.huber(wanted, outputs, delta=HUBER_DELTA)

    def mean_error(self, outputs: tf.Tensor, boxes: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The mean loss over the examples that have a box (weights (batch,), 1 or 0), of all ranks: what this one adds
        to it. 0 if none has."""
        (count,) = ranks.total([tf.reduce_sum(weights)])
        return tf.math.divide_no_nan(tf.reduce_sum(self.errors(outputs, boxes) * weights), count)


def box_head(architecture: "Architecture", *, loss: str) -> BoxHead | None:
    """The box head of an architecture, None if it learns no boxes."""
    if not architecture.localization:
        return None
    return BoxHead(loss=loss, square_root_sides=architecture.square_root_sides)


def corners_of(boxes: tf.Tensor) -> tf.Tensor:
    """Top, left, bottom and right (batch, 4)."""
    return bounding_boxes.convert_format(boxes, "center_yxhw", "yxyx")


def intersection_and_union(one: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The intersection and union areas (batch,) of pairs of boxes (batch, 4).

    Keras's compute_iou compares all boxes with all others.
    """
    first, second = corners_of(one), corners_of(other)
    sides = tf.minimum(first[:, 2:], second[:, 2:]) - tf.maximum(first[:, :2], second[:, :2])
    shared = tf.reduce_prod(tf.maximum(sides, 0.0), axis=1)
    return shared, tf.reduce_prod(one[:, 2:], axis=1) + tf.reduce_prod(other[:, 2:], axis=1) - shared


def intersection_over_union(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """IoU (batch,) of pairs of boxes (batch, 4), from 0 to 1; 0 if neither box has an area."""
    return tf.math.divide_no_nan(*intersection_and_union(one, other))


def generalized_iou(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """IoU minus the share of the smallest enclosing box that belongs to neither: (batch,), from -1 to 1."""
    shared, union = intersection_and_union(one, other)
    first, second = corners_of(one), corners_of(other)
    sides = tf.maximum(first[:, 2:], second[:, 2:]) - tf.minimum(first[:, :2], second[:, :2])
    common = tf.reduce_prod(sides, axis=1)
    return tf.math.divide_no_nan(shared, union) - tf.math.divide_no_nan(common - union, common)


def complete_iou(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """IoU minus the distance between the centers and the difference in aspect ratio: (batch,), at most 1."""
    return bounding_boxes.compute_ciou(one, other, "center_yxhw")


OVERLAPS = {"iou": intersection_over_union, "giou": generalized_iou, "ciou": complete_iou}
