"""BatchNormalization with TensorFlow's fused op, in training steps."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

IMAGE_AXES = 4


@contextlib.contextmanager
def fused_batch_normalization() -> Iterator[None]:
    """Inside the block, Keras's BatchNormalization runs as a single op when it trains on images.

    Keras uses a dozen ops instead, each with another pass through memory, and in float32 even under bfloat16. The
    result is the same within rounding; layers, variables and saved files stay Keras's own.
    """
    written_out = keras.layers.BatchNormalization.call

    def call(layer: Any, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        if not (training and layer.trainable and mask is None and can_be_fused(layer, inputs)):
            return written_out(layer, inputs, training=training, mask=mask)
        return normalized(layer, inputs)

    keras.layers.BatchNormalization.call = call
    try:
        yield
    finally:
        keras.layers.BatchNormalization.call = written_out


def can_be_fused(layer: Any, inputs: tf.Tensor) -> bool:
    """Whether the op computes the same as the layer: on images, channels last, on one device."""
    last = len(inputs.shape) - 1
    return len(inputs.shape) == IMAGE_AXES and layer.axis in (-1, last) and not (layer.renorm or layer.synchronized)


def normalized(layer: Any, images: tf.Tensor) -> tf.Tensor:
    """Normalizes images (batch, height, width, channels) with batch statistics, and updates the moving averages."""
    channels = images.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=tf.cast(layer.gamma, tf.float32) if layer.scale else tf.ones(channels),
        offset=tf.cast(layer.beta, tf.float32) if layer.center else tf.zeros(channels),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    pixels = tf.cast(tf.size(images) // channels, tf.float32)
    biased = variance * (pixels - 1) / pixels  # the op divides by n - 1, Keras by n
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, biased)):
        average.assign(average * layer.momentum + value * (1 - layer.momentum))
    return outputs
