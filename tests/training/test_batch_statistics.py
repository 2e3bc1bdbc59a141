"""Statistics of BatchNormalization computed anew: lagging ones give chance, these what training shows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.training.batch_statistics import recalibrate


@pytest.fixture
def network():
    """Two normalized layers and dropout, whose moving averages lag far behind."""
    keras.utils.set_random_seed(3)
    images = keras.Input((6,))
    x = keras.layers.Dense(8, name="dense")(images)
    x = keras.layers.BatchNormalization(name="lower", momentum=0.9999)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Dropout(0.1)(x)
    x = keras.layers.Dense(8, name="between")(x)
    x = keras.layers.BatchNormalization(name="upper", momentum=0.9999)(x)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="class")(x))


def labeled(count=240, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.random.default_rng(7).normal(size=(3, 6))
    return (40 + 5 * (3 * centers[labels] + random.normal(size=(count, 6)))).astype(np.float32), labels


def batches(features, labels, size=50):
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(size)


def test_lagging_statistics_give_chance_and_recalibrated_ones_what_training_shows(network):
    features, labels = labeled()
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(features, labels, batch_size=40, epochs=12, verbose=0).history
    assert history["accuracy"][-1] > 0.95
    held_out, truth = labeled(90, seed=1)

    def accuracy():
        return float(np.mean(network.predict(held_out, verbose=0).argmax(axis=1) == truth))

    assert accuracy() < 0.5
    trained = [value.copy() for value in network.trainable_variables[0].numpy()]
    recalibrate(network, batches(features, labels))
    assert accuracy() > 0.95
    assert all((one == other).all() for one, other in zip(trained, network.trainable_variables[0].numpy(), strict=True))


def test_the_statistics_are_those_of_all_images_however_they_are_batched(network):
    features, labels = labeled()
    lower = network.get_layer("lower")
    expected = network.get_layer("dense")(features).numpy()
    for size in (50, 240):
        recalibrate(network, batches(features, labels, size))
        np.testing.assert_allclose(lower.moving_mean.numpy(), expected.mean(axis=0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(lower.moving_variance.numpy(), expected.var(axis=0), rtol=1e-3)


def test_momentum_and_the_state_of_dropout_stay_and_frozen_layers_keep_their_statistics(network):
    features, labels = labeled()
    network.get_layer("lower").trainable = False
    seeds = [variable for variable in network.variables if "seed" in variable.name]
    before = [variable.numpy() for variable in (*seeds, network.get_layer("lower").moving_mean)]
    recalibrate(network, batches(features, labels))
    after = [variable.numpy() for variable in (*seeds, network.get_layer("lower").moving_mean)]
    assert len(seeds) == 1
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    assert network.get_layer("upper").momentum == 0.9999
