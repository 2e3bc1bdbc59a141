"""The fused operation is Keras's BatchNormalization within rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.evaluation.loop import Part
from cnntrain.runtime import ranks
from cnntrain.training.batch_normalization import MovingAverages, normalized, own_batch_normalization


def part_of(inputs):
    return Part.of_batch(inputs, ())


def layer_and_gradients(inputs, *, fused, **arguments):
    """What a layer gives in training, its averages after that, and the gradients of its inputs and weights."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.BatchNormalization(momentum=0.7, **arguments)
    layer.build(inputs.shape)
    for variable in layer.trainable_variables:
        variable.assign(np.random.default_rng(1).uniform(0.5, 2, variable.shape))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        if fused:
            averages = MovingAverages()
            with own_batch_normalization(averages, part_of(inputs)):
                outputs = layer(inputs, training=True)
            averages.update(averages.moments)
        else:
            outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
    gradients = tape.gradient(loss, [inputs, *(each.value for each in layer.trainable_variables)])
    return outputs, [tf.cast(each, tf.float32).numpy() for each in [outputs, *layer.variables, *gradients]]


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False, "epsilon": 0.01}])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 2e-4), ("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)]
)
@pytest.mark.parametrize("ranks_count", [1, 2])
def test_outputs_averages_and_gradients_are_those_of_keras(arguments, precision, tolerance, ranks_count, monkeypatch):
    # with two ranks, the sums are those of this one alone, since no other is there
    monkeypatch.setattr(ranks, "world", lambda: ranks_count)
    images = tf.constant(np.random.default_rng(0).normal(3, 2, (4, 5, 6, 3)).astype(np.float32))
    images = tf.cast(images, keras.DTypePolicy(precision).compute_dtype)
    results = [layer_and_gradients(images, fused=fused, dtype=precision, **arguments) for fused in (False, True)]
    assert results[0][0].dtype == results[1][0].dtype
    for plain, fused in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(fused, plain, rtol=tolerance, atol=tolerance * np.abs(plain).max())


@pytest.mark.parametrize(
    ("shape", "arguments", "trainable", "training"),
    [
        ((4, 6), {}, True, True),
        ((4, 5, 5, 3), {"axis": 1}, True, True),
        ((4, 5, 5, 3), {"renorm": True}, True, True),
        ((4, 5, 5, 3), {}, False, True),
        ((4, 5, 5, 3), {}, True, False),
    ],
)
def test_what_the_operation_can_not_do_is_left_to_keras(monkeypatch, shape, arguments, trainable, training):
    monkeypatch.setattr("cnntrain.training.batch_normalization.normalized", lambda *_: pytest.fail("fused"))
    layer = keras.layers.BatchNormalization(**arguments)
    layer.trainable = trainable
    with own_batch_normalization(MovingAverages(), part_of(tf.ones(shape))):
        assert layer(tf.ones(shape), training=training).shape == shape


def test_one_value_a_channel_has_no_variance():
    layer = keras.layers.BatchNormalization(momentum=0)
    layer.build((1, 1, 1, 2))
    outputs, mean, variance = normalized(layer, tf.constant([[[[3.0, 4.0]]]]))
    assert outputs.numpy().tolist() == [[[[0, 0]]]]
    assert (mean.numpy().tolist(), variance.numpy().tolist()) == ([3, 4], [0, 0])


def test_keras_is_as_before_after_the_block():
    before = keras.layers.BatchNormalization.call
    with pytest.raises(RuntimeError), own_batch_normalization(MovingAverages(), part_of(tf.ones((1, 1)))):
        assert keras.layers.BatchNormalization.call is not before
        raise RuntimeError
    assert keras.layers.BatchNormalization.call is before
