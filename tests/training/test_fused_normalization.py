"""The fused operation is Keras's BatchNormalization within rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.training.fused_normalization import fused_batch_normalization, normalized


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
            with fused_batch_normalization():
                outputs = layer(inputs, training=True)
        else:
            outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
    gradients = tape.gradient(loss, [inputs, *(each.value for each in layer.trainable_variables)])
    return outputs, [tf.cast(each, tf.float32).numpy() for each in [outputs, *layer.variables, *gradients]]


@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"center": False, "epsilon": 0.01}])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 2e-4), ("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)]
)
def test_outputs_averages_and_gradients_are_those_of_keras(arguments, precision, tolerance):
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
    monkeypatch.setattr("cnntrain.training.fused_normalization.normalized", lambda *_: pytest.fail("fused"))
    layer = keras.layers.BatchNormalization(**arguments)
    layer.trainable = trainable
    with fused_batch_normalization():
        assert layer(tf.ones(shape), training=training).shape == shape


def test_one_value_a_channel_has_no_variance():
    layer = keras.layers.BatchNormalization(momentum=0)
    layer.build((1, 1, 1, 2))
    assert normalized(layer, tf.constant([[[[3.0, 4.0]]]])).numpy().tolist() == [[[[0, 0]]]]
    assert (layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()) == ([3, 4], [0, 0])


def test_keras_is_as_before_after_the_block():
    before = keras.layers.BatchNormalization.call
    with pytest.raises(RuntimeError), fused_batch_normalization():
        assert keras.layers.BatchNormalization.call is not before
        raise RuntimeError
    assert keras.layers.BatchNormalization.call is before
