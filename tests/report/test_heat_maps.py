"""Grad-CAM points at what decides, on any architecture with maps."""

import keras
import numpy as np
import pytest

from cnntrain.models import MODELS
from cnntrain.report.network import heat_maps, last_map_layer


def brightness_network():
    """Answers class 1 the surer, the brighter the image is anywhere."""
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="maps")(images)
    means = keras.layers.GlobalAveragePooling2D()(maps)
    weights = keras.initializers.Constant(np.array([[-50.0, 50.0]]))
    return keras.Model(images, keras.layers.Dense(2, activation="softmax", kernel_initializer=weights)(means))


def test_the_heat_lies_where_the_answer_comes_from():
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[0, 1, 6], images[1, 5, 2] = 0.4, 0.8
    heats = heat_maps(brightness_network(), images, np.array([1, 1]))
    assert heats.shape == (2, 8, 8)
    assert [np.unravel_index(heat.argmax(), heat.shape) for heat in heats] == [(1, 6), (5, 2)]
    np.testing.assert_allclose(heats.max(axis=(1, 2)), 1, rtol=1e-3)


def test_what_speaks_against_an_answer_is_not_hot():
    images = np.full((1, 8, 8, 1), 0.1, np.float32)
    assert heat_maps(brightness_network(), images, np.array([0])).max() == 0


def test_a_network_without_maps_has_no_heat():
    images = keras.Input((8, 8, 1))
    network = keras.Model(images, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(images)))
    assert heat_maps(network, np.zeros((1, 8, 8, 1), np.float32), np.array([0])) is None


@pytest.mark.parametrize("name", ["lenet5_1998", "googlenet", "resnet9", "mobilenet", "nin"])
def test_architectures_of_many_kinds_have_maps_below_their_answer(name):
    settings = {"weights": None} if name == "mobilenet" else {}
    architecture = MODELS[name](name=name, **settings)
    size = architecture.minimum_image_size
    size = (max(size[0], 64), max(size[1], 64))
    with keras.StatelessScope(initialize_variables=False):
        layer = last_map_layer(architecture.build((*size, 3), 10))
    assert len(layer.output.shape) == 4
