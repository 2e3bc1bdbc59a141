"""Test-time augmentation: the mean over views, the same in evaluate, predict and an export."""

import json

import keras
import numpy as np
import pytest

from cnntrain.evaluation.tta import crops, with_views
from tests.conftest import write_photos, write_run

SUFFIXES = {"saved_model": "", "onnx": ".onnx"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on photos of three classes."""
    root = tmp_path_factory.mktemp("views")
    write_photos(root / "photos", {"bright": 6, "dark": 7, "middle": 5})
    return write_run(
        root / "run", "model=lenet5", "model.image_size=[24,20]", "data=folder", f"data.path={root / 'photos'}"
    )


@pytest.fixture
def network():
    """A network that looks at one side of an image more than at the other."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 8, 3))
    return keras.Model(images, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(images)))


def test_the_probabilities_are_the_mean_over_an_image_and_its_mirror_image(network):
    images = np.random.default_rng(0).normal(size=(5, 16, 8, 3)).astype(np.float32)
    expected = (network.predict(images, verbose=0) + network.predict(images[:, :, ::-1], verbose=0)) / 2
    np.testing.assert_allclose(with_views(network, "flip").predict(images, verbose=0), expected, atol=1e-6)
    assert with_views(network, None) is network


def test_crops_are_parts_of_the_image_at_its_size():
    gradient = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32)[None, :, None, None], (1, 16, 8, 3))
    found = [np.asarray(part)[0, :, 0, 0] for part in crops(gradient)]
    starts, ends = [float(part[0]) for part in found], [float(part[-1]) for part in found]
    np.testing.assert_allclose(starts, [0, 0, 2 / 15, 2 / 15, 1 / 15], atol=1e-6)
    np.testing.assert_allclose(ends, [13 / 15, 13 / 15, 1, 1, 14 / 15], atol=1e-6)
    assert all(part.shape == (16,) and (np.diff(part) >= 0).all() for part in found)


@pytest.mark.parametrize(("kind", "form"), [("flip", "saved_model"), ("flip_crops", "onnx")])
def test_evaluate_predict_and_an_export_agree_on_it(kind, form, cnntrain, run, tmp_path):
    photo = run.parent / "photos" / "dark"
    plain, averaged = (
        json.loads(cnntrain("predict", run, photo, "--json", *flags)[1].splitlines()[0])
        for flags in ((), ("--tta", kind))
    )
    assert plain != averaged
    first, second = (
        json.loads(cnntrain("evaluate", run, "--split", "all", "--json", *flags)[1].splitlines()[-1])["all"]["loss"]
        for flags in ((), ("--tta", kind))
    )
    assert first != second
    code, said = cnntrain("export", run, "--format", form, "--out", tmp_path / f"out{SUFFIXES[form]}", "--tta", kind)
    assert (code, "largest difference from predict" in said) == (0, True), said


def test_runs_with_boxes_are_refused(cnntrain, tmp_path):
    run = write_run(tmp_path / "run", "experiment=digits_on_canvas", "data.canvas_size=24", "model.image_size=[24,24]")
    for words in (["evaluate", run], ["predict", run, run / "model.keras"], ["export", run, "--format", "keras"]):
        code, said = cnntrain(*words, "--tta", "flip")
        assert (code, "--tta=flip: averages probabilities only" in said) == (2, True), said
