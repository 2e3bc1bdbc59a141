"""BatchNormalization's statistics, recomputed on training images ("precise BatchNorm").

Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from cnntrain.evaluation.loop import Part
from cnntrain.runtime import ranks
from cnntrain.training.batch_normalization import MovingAverages, own_batch_normalization

STEPS = 100  # batches, enough for good statistics


def normalization_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """All BatchNormalization layers of a network, those inside its layers included."""
    return [
        part
        for layer in model.layers
        for part in (layer, *getattr(layer, "layers", ()))
        if isinstance(part, keras.layers.BatchNormalization)
    ]


def recalibrate(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    frozen: keras.Model | None = None,
    between_batches: Callable[[], None] = lambda: None,
) -> None:
    """Sets the moving statistics of trainable BatchNormalization layers to those over all images in `batches`.

    `frozen` runs on the images first, as in TrainingLoop. No weights change.
    """
    layers = [layer for layer in normalization_layers(model) if layer.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    moments = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # so that the moving statistics are those of the last batch
    seeds = [variable for variable in model.variables if "seed" in variable.name]
    states = [variable.numpy() for variable in seeds]

    def moments_of(averages: MovingAverages, images: tf.Tensor, *share: tf.Tensor) -> list[tf.Tensor]:
        with own_batch_normalization(averages, Part.of_batch(images, share)):
            model(images if frozen is None else frozen(images, training=False), training=True)
        return ranks.total(averages.moments) if averages.moments else []

    @tf.function(reduce_retracing=True)
    def statistics(*batch: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        averages = MovingAverages()
        averages.update(ranks.together(functools.partial(moments_of, averages), batch))
        return [(layer.moving_mean.value, layer.moving_variance.value) for layer in layers]

    count = 0
    try:
        for images, *others in batches:
            share = others[2:]  # after targets and weights
            size = int(share[1]) if share else len(images)
            count += size
            for (mean, square), (of_mean, of_variance) in zip(moments, statistics(images, *share), strict=True):
                batch_mean = of_mean.numpy().astype(np.float64)
                mean += size * batch_mean
                square += size * (of_variance.numpy() + batch_mean**2)
            between_batches()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, state in zip(seeds, states, strict=True):
            variable.assign(state)
    for layer, (mean, square) in zip(layers, moments, strict=True):
        layer.moving_mean.assign(mean / count)
        layer.moving_variance.assign(np.maximum(square / count - (mean / count) ** 2, 0.0))
