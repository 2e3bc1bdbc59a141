"""Where a data set in TensorFlow Datasets keeps images, classes and boxes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnntrain.data.sources.drawn_boxes import Objects
from cnntrain.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Features:
    """The names of a data set's features: for an image, its class and its box, if it has one.

    `sequence` is the feature that holds the class and box of each of several objects; null if they belong to the image.
    """

    image: str
    label: str
    box: str | None = None
    sequence: str | None = None

    def class_names(self, features: Any) -> tuple[str, ...]:
        """The class names in a data set's features."""
        holder = features[self.sequence].feature if self.sequence else features
        return tuple(holder[self.label].names)

    def pick(self, example: Any, objects: Objects) -> "tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]":
        """The image of an example, the class and box (4,) of one object, and the number of objects.

        A box is as in boxes.py, zeros if there is none; the class of an image without objects is -1.
        """
        import tensorflow as tf

        holder = example[self.sequence] if self.sequence else example
        labels = tf.reshape(tf.cast(holder[self.label], tf.int64), [-1])
        if self.box is None:
            return example[self.image], labels[0], tf.zeros(4), tf.size(labels)
        corners = tf.reshape(holder[self.box], [-1, 4])  # top, left, bottom, right in fractions
        sides = tf.maximum(corners[:, 2:] - corners[:, :2], 0.0)
        boxes = tf.concat([(corners[:, :2] + corners[:, 2:]) / 2, sides], axis=1)
        labels = tf.concat([labels, [-1]], axis=0)  # stands for an image without objects
        boxes = tf.concat([boxes, tf.zeros((1, 4))], axis=0)
        chosen = tf.argmax(tf.reduce_prod(boxes[:, 2:], axis=1)) if objects == "largest" else 0
        return example[self.image], labels[chosen], boxes[chosen], tf.size(labels) - 1


def find_features(builder: Any) -> Features:
    """The features of a data set; raises DataError if it has no images with classes."""
    import tensorflow_datasets as tfds

    features = dict(builder.info.features or {})
    image = first(features, tfds.features.Image, builder.info.supervised_keys)
    label = first(features, tfds.features.ClassLabel, builder.info.supervised_keys)
    if image and label:
        return Features(image, label, first(features, tfds.features.BBoxFeature))
    for name, feature in features.items():
        inner = dict(feature.feature) if hasattr(feature, "feature") and hasattr(feature.feature, "items") else {}
        label = first(inner, tfds.features.ClassLabel, ("label",))
        box = first(inner, tfds.features.BBoxFeature)
        if image and label and box:
            return Features(image, label, box, sequence=name)
    raise DataError(f"data.name={builder.name}: expected images with class labels; the set has {list(features)}")


def first(features: dict[str, Any], kind: type, preferred: Any = None) -> str | None:
    """The name of the first feature of a kind, or of the one that the data set itself prefers."""
    names = [name for name, feature in features.items() if isinstance(feature, kind)]
    chosen = [name for name in preferred or () if name in names]
    return (chosen or names or [None])[0]
