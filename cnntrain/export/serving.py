"""The exported network: from the client's input to probabilities, with all the preprocessing inside."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, ops

from cnntrain.data.boxes import resize_map
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.pipeline import with_channels
from cnntrain.data.preprocess import preprocess
from cnntrain.evaluation.loop import named
from cnntrain.evaluation.tta import with_views
from cnntrain.export.resampling import extent, to_size
from cnntrain.models.box_head import BoxHead
from cnntrain.models.transfer import in_precision

RED_GREEN_BLUE = np.arange(3, dtype="float32")


@dataclass(frozen=True)
class Serving:
    """A trained network in float32 with its class output and, with a `box_head`, its box output; the input that it
    expects, and its classes."""

    network: keras.Model
    network_input: NetworkInput
    class_names: tuple[str, ...]
    box_head: BoxHead | None = None

    def from_pixels(self) -> keras.Model:
        """The network for uint8 images (batch, height, width, 1 or 3) of any size, in Keras's own ops.

        `predictions` are its output; probabilities alone are a bare tensor.
        """
        images = keras.Input((None, None, None), dtype="uint8", name="images")
        pixels = as_color(to_size(images, self.network_input))
        matrix, offset = pixel_map(self.network_input)
        values = ops.matmul(pixels, matrix) + offset
        predictions = self.predictions(self.network(values), ops.stack([extent(images, 1), extent(images, 2)]))
        outputs = predictions if len(predictions) > 1 else predictions["probabilities"]
        return keras.Model(images, outputs, name="from_pixels")

    def predictions(self, outputs: Any, size: KerasTensor) -> dict[str, KerasTensor]:
        """What a client gets from the network's outputs on images of `size`, (2,) or (batch, 2), height and width.

        `probabilities` (batch, classes) and, with a box head, `box` (batch, 4): left, top, right and bottom as
        fractions of the image that the client sent.
        """
        found = named(outputs)
        predictions = {"probabilities": found["class"]}
        if self.box_head is not None:
            expected = self.network_input
            scale, offset = resize_map(
                size, expected.image_size, policy=expected.resize, crop_box=expected.crop_box
            )
            box = self.box_head.predict(found["box"])
            corners = [(box[:, :2] + sign * box[:, 2:] / 2 - offset) / scale for sign in (-1, 1)]
            flipped = [ops.flip(corner, axis=1) for corner in corners]
            predictions["box"] = ops.clip(ops.concatenate(flipped, axis=1), 0, 1)
        return predictions


def serving_network(
    model: keras.Model,
    network_input: NetworkInput,
    class_names: tuple[str, ...],
    box_head: BoxHead | None = None,
    *,
    tta: str | None = None,
) -> Serving:
    """The trained network without auxiliary outputs, computing in float32, on views of images (`tta`)."""
    outputs = named(model.output)
    kept = outputs["class"] if box_head is None else {name: outputs[name] for name in ("class", "box")}
    network = keras.Model(model.inputs[0], kept, name=model.name)
    return Serving(with_views(in_precision(network, "float32"), tta), network_input, class_names, box_head)


def as_color(images: keras.KerasTensor) -> keras.KerasTensor:
    """Gray images as color; with neither 1 nor 3 channels, it requests a missing channel, which makes every runtime
    fail."""
    channels = extent(images, 3)
    known = ops.logical_or(ops.equal(channels, 1.0), ops.equal(channels, 3.0))
    wanted = ops.where(known, ops.minimum(channels - 1, RED_GREEN_BLUE), channels + RED_GREEN_BLUE)
    return ops.take(images, ops.cast(wanted, "int32"), axis=3)


def pixel_map(expected: NetworkInput) -> tuple[np.ndarray, np.ndarray]:
    """The last steps of the pipeline as a map of colors: a matrix (3, channels) and an offset (channels,)."""
    probes = tf.constant(np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])[:, np.newaxis, np.newaxis], tf.float32)
    values = preprocess(with_channels(probes, expected.channels), expected.preprocess).numpy()[:, 0, 0]
    return (values[1:] - values[0]) / 255, values[0]
