"""BatchNormalization in training steps: with TensorFlow's fused op, and over the rows of all ranks."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from cnntrain.evaluation.loop import Part
from cnntrain.runtime import ranks

IMAGE_AXES = 4


class MovingAverages:
    """The moments of a batch in each layer, in the order in which the layers ran, for the layers' moving averages.

    `moments` are this rank's parts of them: float32, means and variances in turn.
    """

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.moments: list[tf.Tensor] = []

    def add(self, layer: Any, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Notes a layer's moments."""
        self.layers.append(layer)
        self.moments += [mean, variance]

    def update(self, moments: Sequence[tf.Tensor]) -> None:
        """Updates the layers' moving averages by these moments of the whole batch."""
        for layer, mean, variance in zip(self.layers, moments[::2], moments[1::2], strict=True):
            for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
                average.assign(average * layer.momentum + value * (1 - layer.momentum))


@contextlib.contextmanager
def own_batch_normalization(averages: MovingAverages, part: Part, *, synchronized: bool = True) -> Iterator[None]:
    """Inside the block, Keras's BatchNormalization runs as a single op when it trains on images, and over the rows of
    all ranks if `synchronized`; its moving averages wait in `averages`.

    Keras uses a dozen ops instead, each with another pass through memory, and in float32 even under bfloat16. The
    result is the same within rounding; layers, variables and saved files stay Keras's own.
    """
    written_out = keras.layers.BatchNormalization.call

    def call(layer: Any, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        if not (training and layer.trainable and mask is None and can_be_replaced(layer, inputs)):
            return written_out(layer, inputs, training=training, mask=mask)
        if ranks.world() > 1 and synchronized:
            outputs, mean, variance = normalized_together(layer, inputs, part)
        elif len(inputs.shape) == IMAGE_AXES:
            outputs, mean, variance = normalized(layer, inputs)
        else:
            return written_out(layer, inputs, training=training, mask=mask)
        weight = part.rows / part.of if ranks.world() > 1 else 1.0
        averages.add(layer, mean * weight, variance * weight)
        return outputs

    keras.layers.BatchNormalization.call = call
    try:
        yield
    finally:
        keras.layers.BatchNormalization.call = written_out


def can_be_replaced(layer: Any, inputs: tf.Tensor) -> bool:
    """Whether the ops compute the same as the layer: channels last, without renormalization."""
    return layer.axis in (-1, len(inputs.shape) - 1) and not (layer.renorm or layer.synchronized)


def scale_and_offset(layer: Any, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A layer's gamma and beta (channels,), float32."""
    return (
        tf.cast(layer.gamma, tf.float32) if layer.scale else tf.ones(channels),
        tf.cast(layer.beta, tf.float32) if layer.center else tf.zeros(channels),
    )


def normalized(layer: Any, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images (batch, height, width, channels) normalized with their statistics; their mean and variance (channels,)."""
    channels = images.shape[-1]
    scale, offset = scale_and_offset(layer, channels)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=scale,
        offset=offset,
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    pixels = tf.cast(tf.size(images) // channels, tf.float32)
    return outputs, mean, variance * (pixels - 1) / pixels  # the op divides by n - 1, Keras by n


def normalized_together(layer: Any, inputs: tf.Tensor, part: Part) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inputs (batch, …, channels) normalized with the statistics of all ranks' rows; mean and variance (channels,).

    The gradient is that of the whole batch.
    """
    channels = inputs.shape[-1]
    counted = tf.minimum(part.rows, 1.0)  # a rank has only rows that count, or a single one that doesn't
    images = inputs if len(inputs.shape) == IMAGE_AXES else tf.reshape(inputs, (-1, 1, 1, channels))
    count, mean, variance = moments_together(layer, tf.stop_gradient(images), counted)
    scale, offset = scale_and_offset(layer, channels)

    @tf.custom_gradient
    def normalize(images: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, Any]:
        fixed = {"epsilon": layer.epsilon, "is_training": False}
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=images, scale=scale, offset=offset, mean=mean, variance=variance, **fixed
        ).y

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            of_images, of_scale, of_offset, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream, x=images, scale=scale, reserve_space_1=mean, reserve_space_2=variance,
                reserve_space_3=tf.zeros(0), **fixed,
            )  # fmt: skip
            (of_all,) = ranks.total([tf.concat([of_scale, of_offset], axis=0)])
            spread = tf.math.rsqrt(variance + layer.epsilon)
            slope = scale * tf.square(spread) * of_all[:channels] / count
            constant = scale * spread * of_all[channels:] / count - slope * mean
            return of_images - times_plus(images, slope * counted, constant * counted), of_scale, of_offset

        return outputs, gradient

    return tf.reshape(normalize(images, scale, offset), tf.shape(inputs)), mean, variance


def moments_together(layer: Any, images: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The number of pixels, mean and variance (channels,) over all ranks; `counted`: 0 if this rank's don't count.

    Moments are added up around the moving mean, for precision.
    """
    channels = images.shape[-1]
    _, mean, variance = normalized(layer, images)
    pixels = tf.cast(tf.size(images) // channels, tf.float32)
    shift = tf.cast(layer.moving_mean, tf.float32)
    apart = mean - shift
    sums = [tf.ones(1), apart, variance + tf.square(apart)]
    (total,) = ranks.total([tf.concat(sums, axis=0) * pixels * counted])
    count, apart = total[0], total[1 : channels + 1] / total[0]
    return count, apart + shift, tf.maximum(total[channels + 1 :] / count - tf.square(apart), 0.0)


def times_plus(images: tf.Tensor, slope: tf.Tensor, constant: tf.Tensor) -> tf.Tensor:
    """slope · images + constant, by channel, in one pass through memory."""
    nothing, epsilon = tf.zeros_like(slope), 1e-3
    return tf.raw_ops.FusedBatchNormV3(
        x=images, scale=slope, offset=constant, mean=nothing, variance=nothing + (1 - epsilon), epsilon=epsilon,
        is_training=False,
    ).y  # fmt: skip
