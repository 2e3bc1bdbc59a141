"""Exports: every format answers as `predict` does, from what a client has, without cnntrain."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.pipeline import with_channels
from cnntrain.data.preprocess import preprocess
from cnntrain.data.resize import resize
from cnntrain.errors import DataError
from cnntrain.evaluation.evaluate import boxes_in
from cnntrain.export import formats
from cnntrain.export.formats import FORMATS
from cnntrain.export.resampling import to_size
from cnntrain.export.serving import serving_network
from cnntrain.models import MODELS
from cnntrain.models.box_head import BoxHead
from tests.conftest import write_photos, write_run
from tests.data.image_files.difficult_files import GOOD, with_orientation

CLIENT = Path(__file__).parent.parent.parent / "benchmarks" / "export_client.py"
POLICIES = [("stretch", None), ("crop", None), ("crop_or_pad", None), ("crop_and_resize", (0.0, 0.1, 1.0, 0.95))]


def network_input(**changes) -> NetworkInput:
    """A small input, with some of it changed."""
    values = dict(image_size=(24, 20), channels=3, resize="stretch", antialias=False, preprocess="torch")
    return NetworkInput(**(values | changes))


@pytest.fixture(scope="module")
def photos_run(tmp_path_factory):
    """A run on small color photos: LeNet-5 after central squares, laid on blue where they are transparent."""
    root = tmp_path_factory.mktemp("export")
    write_photos(root / "photos", {"dark": 12, "light": 12})
    for name, data in (("sideways.jpg", with_orientation(6)), ("clear.png", GOOD["alpha.png"]())):
        (root / "photos" / "dark" / name).write_bytes(data)
    words = ["model=lenet5", "model.image_size=[28,28]", "model.resize=crop", "data=folder", "data.background=blue"]
    return write_run(root / "run", *words, f"data.path={root / 'photos'}", "data.test=0.9", "data.validation=0")


@pytest.mark.parametrize(("policy", "box"), POLICIES)
@pytest.mark.parametrize("antialias", [False, True])
def test_every_policy_is_resized_as_prediction_does(policy, box, antialias):
    expected = network_input(resize=policy, crop_box=box, antialias=antialias and policy in ("stretch", "crop"))
    random = np.random.default_rng(0)
    for shape in ((2, 61, 47, 3), (1, 15, 90, 3), (1, 24, 20, 3), (1, 231, 116, 1), (1, 1, 1, 3), (1, 601, 799, 3)):
        images = random.integers(0, 256, shape, dtype=np.uint8)
        theirs = resize(
            tf.constant(images),
            expected.image_size,
            policy=policy,
            antialias=expected.antialias,
            crop_box=expected.crop_box,
        )
        ours = to_size(tf.constant(images), expected)
        np.testing.assert_allclose(ours, tf.cast(theirs, tf.float32), atol=0.02)  # of 255


def test_a_box_that_reaches_the_edge_has_no_black_last_row():
    images = tf.fill((1, 116, 231, 1), 200)  # sizes at which rounding leaves the image
    resized = resize(images, (224, 224), policy="crop_and_resize", antialias=False, crop_box=(0.0, 0.0, 1.0, 1.0))
    np.testing.assert_allclose(resized, 200, atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "channels"), [*((mode, 3) for mode in ("unit", "tf", "torch", "caffe", "raw")), ("unit", 1), ("tf", 1)]
)
def test_gray_and_color_images_are_preprocessed_as_prediction_does(mode, channels):
    expected = network_input(preprocess=mode, channels=channels)
    network = keras.Sequential([keras.Input(expected.shape), keras.layers.Flatten()])
    model = keras.Model(network.inputs[0], network.outputs[0])
    serving = serving_network(model, expected, ("a", "b"))
    for given in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (2, *expected.image_size, given), dtype=np.uint8)
        theirs = preprocess(with_channels(tf.constant(images), channels), mode)
        np.testing.assert_allclose(serving.from_pixels()(images), tf.reshape(theirs, (2, -1)), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_a_client_without_cnntrain_gets_predicts_answers(photos_run, cnntrain, tmp_path):
    files = sorted((photos_run.parent / "photos" / "dark").iterdir())
    answers = json.loads(cnntrain("predict", photos_run, *files, "--json", "--top", 2)[1].splitlines()[-1])
    for form, chosen in FORMATS.items():
        code, said = cnntrain("export", photos_run, "--format", form)
        assert code == 0, said
        assert f"{photos_run / 'export' / chosen.file_name}: 1." in said
        assert "largest difference from predict on 23 images: " in said
    words = [sys.executable, CLIENT, photos_run / "export", *files]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == set(FORMATS)
    for form, client in found.items():
        for answer in answers:
            turned = answer["path"].endswith(("sideways.jpg", "clear.png"))  # by the client, unless it sends files
            if form == "saved_model" or not turned:
                probabilities = client["answers"][answer["path"]]
                for top in answer["top"]:
                    assert probabilities[top["class"]] == pytest.approx(top["probability"], abs=1e-4)


NETWORKS = {
    "auxiliary": ("googlenet", {}, network_input(image_size=(65, 65), preprocess="unit")),
    "residual": ("resnet10", {"width": 8}, network_input(image_size=(32, 32), preprocess="caffe", antialias=True)),
    "backbone": ("mobilenet_v2", {}, network_input(image_size=(64, 64), preprocess="tf", resize="crop")),
    "constants": ("application", {"backbone": "EfficientNetB0"}, network_input(image_size=(64, 64), preprocess="raw")),
}


SLOW = [(form, name) for form in ("onnx", "litert") for name in NETWORKS]
QUICK = [("litert", "auxiliary"), ("onnx", "residual")]


@pytest.mark.parametrize(
    ("form", "name"),
    [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW if pair not in QUICK)],
)
def test_networks_of_each_kind_are_written(form, name, tmp_path):
    architecture, settings, expected = NETWORKS[name]
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = MODELS[architecture](name=architecture, **settings).build(expected.shape, 3)
    images = np.random.default_rng(0).integers(0, 256, (4, 50, 70, 3), dtype=np.uint8)
    images[0] //= 8
    pixels = resize(tf.constant(images), expected.image_size, policy=expected.resize, antialias=expected.antialias)
    inputs = preprocess(pixels, expected.preprocess)
    take_statistics(model, inputs)
    serving = serving_network(model, expected, ("a", "b", "c"))
    assert len(serving.network.outputs) == 1
    theirs = serving.network(inputs).numpy()
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-2
    path = tmp_path / FORMATS[form].file_name
    FORMATS[form].write(serving, path)
    np.testing.assert_allclose(FORMATS[form].load(path).from_pixels(images), theirs, atol=1e-4)
    with pytest.raises(Exception, match="out of bound|out of data bounds"):  # of a class of the runtime's own
        FORMATS[form].load(path).from_pixels(np.zeros((1, 40, 40, 4), np.uint8))


def small_network(middle) -> tuple[keras.Model, NetworkInput]:
    """Two convolutions with something between them."""
    expected = network_input(preprocess="unit")
    images = keras.Input(expected.shape)
    maps = keras.layers.Conv2D(8, 3)(middle(keras.layers.Conv2D(8, 3)(images)))
    maps = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(images, keras.layers.Dense(2, activation="softmax", name="class")(maps)), expected


def grouped_and_gelu(maps):
    return keras.layers.Activation("gelu")(keras.layers.Conv2D(8, 3, groups=8)(maps))


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_operations_that_converters_lack_are_said_in_others(form, tmp_path):
    serving = serving_network(*small_network(grouped_and_gelu), ("a", "b"))
    path = tmp_path / FORMATS[form].file_name
    FORMATS[form].write(serving, path)
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    found = FORMATS[form].load(path).from_pixels(images)
    np.testing.assert_allclose(found, serving.from_pixels()(images), atol=1e-6)


@pytest.mark.parametrize(("form", "name"), [("onnx", "ONNX"), ("litert", "LiteRT")])
def test_a_network_that_a_format_has_no_words_for_is_told(form, name, tmp_path):
    serving = serving_network(*small_network(lambda maps: keras.ops.erfinv(maps * 0.1)), ("a", "b"))
    path = tmp_path / FORMATS[form].file_name
    with pytest.raises(DataError, match=f"this network can't be written as {name}: .*\nTry --format saved_model"):
        FORMATS[form].write(serving, path)
        FORMATS[form].load(path)


def take_statistics(model, inputs):
    """Sets batch normalization to these inputs: as it starts, some networks give all images one answer."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(inputs, training=True)


def test_an_export_is_never_overwritten_unless_told_to(photos_run, cnntrain, tmp_path):
    out = tmp_path / "model.keras"
    out.write_bytes(b"precious")
    words = ["export", photos_run, "--format", "keras", "--out", out]
    code, said = cnntrain(*words)
    assert (code, f"{out}: is there already; --force replaces it" in said) == (2, True)
    assert out.read_bytes() == b"precious"
    assert cnntrain(*words, "--force")[0] == 0
    assert out.stat().st_size > 1e6
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("form", "name", "text"),
    [
        ("onnx", "model.pb", "expected a name that ends in .onnx"),
        ("saved_model", "precious", "is no earlier export, and --force replaces nothing else"),
        ("onnx", "file/model.onnx", "nothing can be written in"),
    ],
)
def test_targets_that_make_no_sense_are_refused_before_anything_happens(
    photos_run, cnntrain, tmp_path, form, name, text
):
    (tmp_path / "precious").mkdir()
    (tmp_path / "file").touch()
    code, said = cnntrain("export", photos_run, "--format", form, "--out", tmp_path / name, "--force")
    assert (code, text in said) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


def test_missing_packages_are_named_with_what_brings_them(photos_run, cnntrain, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    code, said = cnntrain("export", photos_run, "--format", "onnx")
    assert code == 2
    assert "needs tf2onnx and onnx and onnxruntime; pip install 'cnntrain[export]' brings them" in said


def broken(serving, path):
    """Fails with the target half written."""
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


def off(path):
    """Answers that are a little wrong."""
    right = formats.load_keras(path)
    return formats.Runtime(lambda images: right.from_pixels(images) + np.float32(2e-4))


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"write": broken}, 3, "can't be written: [Errno 28] No space left on device"),
        ({"load": off}, 1, "largest difference from predict on 23 images: 2.0e-04, more than 0.0001: do not use"),
        ({"load": lambda path: formats.Runtime(lambda images: np.float32(np.nan))}, 1, "images: nan, more than"),
    ],
)
def test_an_export_that_fails_or_differs_says_so(photos_run, cnntrain, monkeypatch, tmp_path, changes, code, text):
    monkeypatch.setitem(FORMATS, "keras", dataclasses.replace(FORMATS["keras"], **changes))
    out = tmp_path / "model.keras"
    found, said = cnntrain("export", photos_run, "--format", "keras", "--out", out)
    assert (found, text in said) == (code, True), said
    assert out.exists() == (code == 1)
    assert len(list(tmp_path.iterdir())) == out.exists()


def test_layers_that_keras_lacks_and_other_precisions_are_said(cnntrain, tmp_path):
    run = write_run(tmp_path / "run", "model=lenet5_1998", "precision=mixed_bfloat16")
    code, said = cnntrain("export", run, "--format", "keras")
    assert code == 0, said
    assert "trained in mixed_bfloat16; the export, and predict here, compute in float32" in said
    assert "layers that Keras lacks (CodeDistances, " in said
    assert "import cnntrain.models.layers before it is loaded" in said


def test_a_run_whose_data_are_gone_is_compared_with_other_images(cnntrain, tmp_path):
    root = write_photos(tmp_path / "photos", {"dark": 3, "light": 3})
    words = ["model=lenet5", "data=folder", f"data.path={root}", "data.validation=0", "data.test=0"]
    run = write_run(tmp_path / "run", *words)
    root = root.rename(tmp_path / "moved")
    code, said = cnntrain("export", run, "--format", "keras")
    assert (code, "does not exist" in said, "name them: --images …" in said) == (3, True, True)
    code, said = cnntrain("export", run, "--format", "keras", "--images", root)
    assert (code, "on 6 images" in said) == (0, True)
    code, said = cnntrain("export", run, "--format", "keras", "--force", "--images", root, tmp_path / "none.png")
    assert (code, "none.png: no such file" in said) == (3, True)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("policy", "box"), [("stretch", None), ("crop", None)])
def test_boxes_come_in_fractions_of_the_clients_own_image(form, policy, box, tmp_path):
    expected = network_input(image_size=(28, 28), resize=policy, crop_box=box, preprocess="unit")
    keras.backend.clear_session()
    model = MODELS["lenet5"](localization=True).build(expected.shape, 3)
    head = BoxHead("mse", square_root_sides=True)
    serving = serving_network(model, expected, ("a", "b", "c"), head)
    path = tmp_path / FORMATS[form].file_name
    FORMATS[form].write(serving, path)
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    found = FORMATS[form].load(path).from_pixels(images)
    outputs = model(preprocess(resize(tf.constant(images), (28, 28), policy=policy, antialias=False), "unit"))
    np.testing.assert_allclose(found[:, :3], outputs["class"], atol=1e-5)
    pixels = boxes_in(head.predict(outputs["box"]).numpy(), np.array([[50, 70]] * 2), expected)
    np.testing.assert_allclose(found[:, 3:], pixels / [70, 50, 70, 50], atol=1e-5)
