import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest

from cnntrain.errors import DataError
from cnntrain.models import MODELS
from cnntrain.models.applications import Application, Backbone, find_backbone, minimum_size
from cnntrain.models.imagenet import imagenet_classes
from cnntrain.models.keras_weights import weights_file
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


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """Where Keras looks for weights: a folder of the test's own."""
    downloader = sys.modules[keras.utils.get_file.__module__]
    monkeypatch.setattr(downloader.config, "keras_home", lambda: str(tmp_path / ".keras"))
    weights_file.cache_clear()
    yield tmp_path / ".keras"
    weights_file.cache_clear()


@pytest.mark.parametrize(
    ("backbone", "include_top", "name"),
    [
        ("ResNet50", True, "resnet50_weights_tf_dim_ordering_tf_kernels.h5"),
        ("ResNet50", False, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("NASNetMobile", True, "nasnet_mobile.h5"),
    ],
)
def test_the_file_that_keras_would_download_is_known_without_building_weights(keras_home, backbone, include_top, name):
    file = weights_file(backbone, (224, 224, 3), include_top=include_top)
    assert file.path == keras_home / "models" / name
    assert file.address.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")
    assert len(file.checksum) == 32
    keras.backend.clear_session()
    assert keras.layers.Conv2D(1, 1).name == "conv2d"  # the look has used up no names


def refuse(request, timeout):
    raise urllib.error.URLError("Name or service not known")


def test_weights_that_can_not_be_downloaded_are_named_with_their_place(keras_home, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(DataError) as caught:
        Xception(weights="imagenet").build((71, 71, 3), 10)
    name = "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert str(caught.value) == (
        "Xception: its ImageNet weights are not on this machine, and can't be downloaded (Name or service not known).\n"
        f"Get https://storage.googleapis.com/tensorflow/keras-applications/xception/{name}\n"
        f"and put it at {keras_home / 'models' / name}"
    )
    (keras_home / "models").mkdir(parents=True)
    (keras_home / "models" / name).write_bytes(b"something else")
    with pytest.raises(DataError, match="are damaged, or of another version, and can't be downloaded"):
        Xception(weights="imagenet").build((71, 71, 3), 10)
    assert (keras_home / "models" / name).read_bytes() == b"something else"


def test_weights_that_lie_where_keras_looks_are_loaded_without_a_network(keras_home, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    backbone = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(128, 128, 3))
    file = weights_file("MobileNet", (128, 128, 3), include_top=False)
    assert file.path.name == "mobilenet_1_0_128_tf_no_top.h5"  # Keras has one for each of some sizes
    file.path.parent.mkdir(parents=True)
    backbone.save(file.path)
    network = MobileNet(weights="imagenet").build((128, 128, 3), 5)
    np.testing.assert_array_equal(
        network.get_layer("conv1").get_weights(), backbone.get_layer("conv1").get_weights()
    )
    file.path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"mobilenet_1_0_128_tf_no_top.h5: holds no weights that fit MobileNet: "):
        MobileNet(weights="imagenet").build((128, 128, 3), 5)


def test_imagenets_classes_are_sorted_by_wordnets_numbers():
    classes = imagenet_classes()
    assert (len(classes), len(set(classes.values()))) == (1000, 1000)
    assert list(classes) == sorted(classes)
    assert list(classes.items())[0] == ("n01440764", "tench")
    assert (classes["n02123045"], classes["n02510455"]) == ("tabby", "giant_panda")


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("resnet50", "ResNet50"), ("mobilenet_v2", "MobileNetV2"), ("Xception", "Xception"), ("lenet5", None)],
)
def test_keras_networks_are_found_by_any_spelling(name, backbone):
    assert find_backbone(name) == backbone
