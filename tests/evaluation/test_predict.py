"""`cnntrain predict`: what is asked for, image by image, through the preprocessing that the run recorded."""

import csv
import io
import json
import sys
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
from PIL import Image

from cnntrain.evaluation.evaluate import read_run
from cnntrain.models.imagenet import imagenet_classes
from cnntrain.models.keras_weights import weights_file
from tests.conftest import write_photos, write_run
from tests.data.image_files.difficult_files import translucent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on small color photos of two classes, on red where they are transparent."""
    root = tmp_path_factory.mktemp("prediction")
    write_photos(root / "photos", {"dark": 6, "light": 6})
    words = ["data=folder", f"data.path={root / 'photos'}", "data.background=[200,10,0]"]
    return write_run(root / "run", "model=lenet5", "model.image_size=[20,24]", *words)


@pytest.fixture(scope="module")
def gray_run(tmp_path_factory):
    """A run on digits."""
    return write_run(tmp_path_factory.mktemp("prediction") / "run", "model=lenet5")


def predict(cnntrain, *words):
    """The answers by path, and the exit code."""
    code, said = cnntrain("predict", *words, "--json")
    return {answer["path"]: answer["top"] for answer in json.loads(said.splitlines()[0])}, code


def test_the_record_holds_all_that_the_network_expects_of_an_image(tmp_path):
    write_photos(tmp_path / "photos", {"dark": 2, "light": 2})
    words = ["model=lenet5", "model.image_size=[20,24]", "model.resize=crop_and_resize", "model.crop_box=[0,0.1,1,0.9]"]
    run = write_run(tmp_path / "run", *words, "data=folder", f"data.path={tmp_path / 'photos'}", "data.background=blue")
    record = json.loads((run / "run.json").read_text())
    assert record["input"] == {
        "image_size": [20, 24],
        "channels": 3,
        "resize": "crop_and_resize",
        "antialias": False,
        "preprocess": "unit",
        "crop_box": [0.0, 0.1, 1.0, 0.9],
        "background": [0, 0, 255],
        "orientation": "exif",
    }
    assert record["class_names"] == ["dark", "light"]
    found = read_run(run).network_input
    assert (found.crop_box, found.background) == ((0.0, 0.1, 1.0, 0.9), (0, 0, 255))


def test_a_record_that_makes_no_sense_is_named(cnntrain, tmp_path, run):
    import shutil

    copy = shutil.copytree(run, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["input"] |= {"channels": "many", "gamma": 2}
    (copy / "run.json").write_text(json.dumps(record))
    code, said = cnntrain("predict", copy, run.parent / "photos")
    assert code == 3
    assert "run.json: was changed, or written by another version" in said
    assert "input.gamma: no such key" in said and "input.channels: expected a whole number" in said


def test_transparent_pixels_show_the_background_that_the_run_recorded(cnntrain, tmp_path, run):
    clear = translucent()
    clear.save(tmp_path / "clear.png")
    on_red = Image.new("RGBA", clear.size, (200, 10, 0, 255))
    on_red.alpha_composite(clear)
    on_red.convert("RGB").save(tmp_path / "red.png")
    answers, code = predict(cnntrain, run, tmp_path)
    assert code == 0
    assert answers[str(tmp_path / "clear.png")] == answers[str(tmp_path / "red.png")]


def test_an_answer_depends_on_its_image_alone(cnntrain, tmp_path, gray_run):
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    Image.fromarray(np.stack([pixels, pixels.T, pixels], axis=-1)).save(tmp_path / "color.png")
    alone = predict(cnntrain, gray_run, tmp_path / "gray.png")[0][str(tmp_path / "gray.png")]
    beside = predict(cnntrain, gray_run, tmp_path)[0][str(tmp_path / "gray.png")]
    for one, other in zip(alone, beside, strict=True):
        assert one["class"] == other["class"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_many_images_are_answered_in_order_as_json_csv_and_table(cnntrain, tmp_path, gray_run):
    names = [str(tmp_path / f"{number:03}.png") for number in range(70)]  # more than two batches
    for number, name in enumerate(names):
        Image.fromarray(np.full((28, 28), 3 * number, np.uint8)).save(name)
    answers, _ = predict(cnntrain, gray_run, tmp_path, "--top", "2")
    assert list(answers) == names
    code, said = cnntrain("predict", gray_run, tmp_path, "--csv", "--top", 2)
    rows = list(csv.DictReader(io.StringIO(said)))
    assert (code, [row["path"] for row in rows]) == (0, names)
    for row in rows:
        best = answers[row["path"]]
        assert [row["class_1"], row["class_2"]] == [top["class"] for top in best]
        assert float(row["probability_1"]) == pytest.approx(best[0]["probability"])
    table = cnntrain("predict", gray_run, tmp_path)[1]
    assert all(name in table for name in names)
    assert f"{answers[names[5]][0]['class']} {answers[names[5]][0]['probability']:.1%}" in table


def test_csv_is_written_while_images_are_classified(cnntrain, tmp_path, gray_run, monkeypatch):
    from cnntrain.evaluation import predict as prediction

    for number in range(40):
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / f"{number:02}.png")
    make_predictor = prediction.predictor

    def stops_after_one(model, box_head):
        answer, seen = make_predictor(model, box_head), []

        def once(images):
            if seen:
                raise KeyboardInterrupt
            seen.append(images)
            return answer(images)

        return once

    monkeypatch.setattr(prediction, "predictor", stops_after_one)
    code, said = cnntrain("predict", gray_run, tmp_path, "--csv")
    assert (code, len(said.splitlines())) == (130, 33)
    assert len(predict(cnntrain, gray_run, tmp_path)[0]) == 32  # the list is closed


def test_all_bad_and_missing_paths_are_named_and_the_good_ones_answered(cnntrain, tmp_path, run):
    good = run.parent / "photos" / "dark" / "0.jpg"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    code, said = cnntrain("predict", run, tmp_path / "a.png", good, tmp_path / "empty", tmp_path / "broken.png",
                          *(tmp_path / f"{number}.png" for number in range(9)), "--csv")  # fmt: skip
    assert code == 3
    assert str(good) in said.splitlines()[1]
    assert f"{tmp_path / 'a.png'}: no such file" in said
    assert f"{tmp_path / 'empty'}: expected images in this folder; there are none" in said
    assert f"{tmp_path / 'broken.png'}: not an image of a known format" in said
    assert all(f"{tmp_path / f'{number}.png'}: no such file" in said for number in range(9))


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["{run}", "{image}", "--resize", "crop"], 2, "--resize: a run's images are resized as in its training"),
        (["nowhere", "{image}"], 3, "nor is nowhere a network of keras.applications, such as ResNet50"),
        (["nowhere/run", "{image}"], 3, "expected a run's folder, as cnntrain writes one; it is not a folder"),
        (["vgg16", "{image}", "--resize", "crop_and_resize"], 2, "--crop-box: belongs to --resize=crop_and_resize"),
        (["vgg16", "{image}", "--crop-box", "0", "0", "2", "1"], 2, "--crop-box: expected a list of a number"),
        (["{run}", "{image}", "--json", "--csv"], 2, "not allowed with argument"),
    ],
)
def test_requests_that_make_no_sense_are_answered(cnntrain, run, words, code, text):
    image = run.parent / "photos" / "dark" / "0.jpg"
    found, said = cnntrain("predict", *(word.format(run=run, image=image) for word in words))
    assert (found, text in said) == (code, True), said


def refuse(request, timeout):
    raise urllib.error.URLError("Name or service not known")


def test_a_network_of_keras_predicts_imagenets_classes(cnntrain, tmp_path, run, monkeypatch):
    image = run.parent / "photos" / "light" / "0.jpg"
    monkeypatch.setattr(sys.modules[keras.utils.get_file.__module__].config, "keras_home", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    weights_file.cache_clear()
    code, said = cnntrain("predict", "MobileNet", image)
    assert (code, f"put it at {tmp_path}" in said) == (3, True)
    network = keras.applications.MobileNet(weights=None)
    path = weights_file("MobileNet", (224, 224, 3), include_top=True).path
    path.parent.mkdir(parents=True)
    network.save(path)
    answers, code = predict(cnntrain, "mobilenet", image, "--resize", "crop_or_pad")
    weights_file.cache_clear()
    pixels = np.zeros((1, 224, 224, 3), np.float32)
    with Image.open(image) as opened:
        top, left = (224 - opened.height) // 2, (224 - opened.width) // 2
        pixels[0, top : top + opened.height, left : left + opened.width] = np.asarray(opened)
    expected = network(keras.applications.mobilenet.preprocess_input(pixels)).numpy()[0]
    names = list(imagenet_classes().values())
    assert code == 0
    for place, number in enumerate(np.argsort(-expected)[:3]):
        assert answers[str(image)][place]["class"] == names[number]
        assert answers[str(image)][place]["probability"] == pytest.approx(expected[number], abs=1e-6)
