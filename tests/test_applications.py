from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest

from cnntrain.errors import DataError
from cnntrain.models import MODELS
from cnntrain.models.applications import Application, Backbone, minimum_size
from cnntrain.models.mobilenet import MobileNet
from cnntrain.models.xception import Xception


def test_backbones_are_all_that_keras_has():
    theirs = {name for name in dir(keras.applications) if callable(getattr(keras.applications, name))}
    assert set(get_args(Backbone)) == theirs


@pytest.mark.parametrize(
    ("backbone", "mode", "size", "least"),
    [
        ("VGG16", "caffe", 224, 32),
        ("Xception", "tf", 299, 71),
        ("DenseNet121", "torch", 224, 32),
        ("EfficientNetB3", "raw", 300, 32),
        ("MobileNetV3Small", "raw", 224, 32),
        ("NASNetLarge", "tf", 331, 32),
    ],
)
def test_sizes_and_preprocessing_of_applications_come_from_keras(backbone, mode, size, least):
    model = Application(backbone=backbone)
    assert model.preprocess_mode == mode
    assert model.default_image_size == (size, size)
    assert model.minimum_image_size == (least, least)
    assert Application(backbone=backbone, preprocess="unit").preprocess_mode == "unit"


def test_trained_weights_refuse_images_that_are_not_in_color():
    with pytest.raises(ValueError, match="need images of 3 channels; received 1; set model.weights=null"):
        Xception(weights="imagenet").build((71, 71, 1), 10)


def test_a_path_of_weights_fills_the_network_below_its_top(tmp_path):
    backbone = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    backbone.save_weights(tmp_path / "notop.weights.h5")
    network = MobileNet(weights=tmp_path / "notop.weights.h5").build((32, 32, 3), 5)
    assert network.output_shape == (None, 5)
    np.testing.assert_array_equal(
        network.get_layer("conv1").get_weights(), backbone.get_layer("conv1").get_weights()
    )


def test_a_missing_file_of_weights_is_named():
    with pytest.raises(DataError, match=r"model.weights: expected .* nothing at .*nowhere.h5"):
        MobileNet(weights=Path("nowhere.h5")).build((32, 32, 3), 5)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.pretrained])
def test_the_smallest_size_is_keras_own(name):
    model = MODELS[name](name=name)
    assert model.minimum_image_size == minimum_size(model.backbone)
