"""Whole runs that learn classes and boxes, by the command line, in small."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from PIL import Image

from cnntrain.data.sources.digits_on_canvas import DigitsOnCanvas
from cnntrain.evaluation.predictions import Predictions
from cnntrain.models.box_head import intersection_over_union
from tests.checkpoints.test_resume import Killed, assert_equal, at_call, kill
from tests.conftest import read_metrics
from tests.data.sources import annotation_writers as writers
from tests.report.test_page import read_page
from tests.training.test_run import history_of

CANVAS = [
    "report=false", "data=digits_on_canvas", "data.copies=1", "data.canvas_size=24", "data.clutter=0",
    "model.localization=true",
]  # fmt: skip
MEASURES = ("mean_iou", "accuracy_iou_50", "accuracy_iou_75")


@pytest.fixture(scope="module")
def boxed_run(tmp_path_factory):
    """A finished run of a few epochs on small canvases."""
    from cnntrain.cli.main import main

    run = tmp_path_factory.mktemp("boxes") / "run"
    words = ["loss_weights={class: 1, box: 50}", "schedule.phases.all.epochs=6", f"hydra.run.dir={run}"]
    assert main([*CANVAS, *words]) == 0
    return run


def test_a_run_with_boxes_measures_them_everywhere(boxed_run, cnntrain):
    rows = history_of(boxed_run)
    assert {*MEASURES, *(f"val_{name}" for name in MEASURES)} <= rows[0].keys()
    test = read_metrics(boxed_run)["test"]
    assert test["boxes"] == test["examples"] > 440
    assert test["mean_iou"] > max(0.5, float(rows[0]["val_mean_iou"]))
    assert test["accuracy_iou_75"] <= test["accuracy_iou_50"] <= test["accuracy"]
    assert "mean IoU" in (boxed_run / "log.txt").read_text()
    best = max(rows, key=lambda row: float(row["val_accuracy"]) + float(row["val_mean_iou"]))
    assert read_metrics(boxed_run)["best_epoch"] == int(best["epoch"])
    code, said = cnntrain("evaluate", boxed_run, "--json")
    assert code == 0
    found = json.loads(said.splitlines()[-1])["test"]
    assert {name: found[name] for name in MEASURES} == pytest.approx({name: test[name] for name in MEASURES}, abs=1e-6)


def test_the_page_shows_how_boxes_fit_and_draws_true_and_predicted_ones(boxed_run, cnntrain):
    answers, test = Predictions.read(boxed_run / "predictions.csv").split("test"), read_metrics(boxed_run)["test"]
    found = intersection_over_union(answers.boxes.predicted, answers.boxes.true)
    np.testing.assert_allclose(found, answers.boxes.ious, atol=1e-6)
    assert answers.boxes.ious.mean() == pytest.approx(test["mean_iou"], abs=1e-6)
    assert cnntrain("report", boxed_run)[0] == 0
    page = read_page(boxed_run)
    kinds = [rectangle["class"] for rectangle in page.all("rect")]
    assert "boxes" in page.ids()
    assert kinds.count("predicted") == 24  # twelve that fit worst, twelve typical ones
    assert kinds.count("true") == 24 + 24  # and those on the first training images
    worst = [float(image["alt"].rsplit(" ")[-1]) for image in page.all("img") if "IoU" in image["alt"]][:12]
    assert worst == sorted(worst) and worst[0] == pytest.approx(answers.boxes.ious.min(), abs=0.005)
    assert f"mean IoU of {test['mean_iou']:.3f}" in "".join(page.text)


def test_the_saved_network_has_both_outputs(boxed_run):
    model = keras.models.load_model(boxed_run / "model.keras")
    assert {name: output.shape for name, output in model.output.items()} == {"class": (None, 10), "box": (None, 4)}


@pytest.mark.slow
def test_boxes_are_kept_with_the_features_of_frozen_layers(cnntrain, tmp_path):
    images = keras.Input((24, 24, 1))
    maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(images)
    keras.Model(images, maps).save(tmp_path / "small.keras")
    for where in ("off", "memory"):
        code, said = cnntrain(
            *CANVAS, "model=transfer", f"model.weights={tmp_path / 'small.keras'}", "model.preprocess=unit",
            "augmentation=shift", "schedule.phases.head.cache_views=3", "schedule.phases.head.epochs=3",
            "schedule.phases.all.epochs=1", "limits.steps=3", f"feature_cache.where={where}",
            f"hydra.run.dir={tmp_path / where}",
        )  # fmt: skip
        assert code == 0, said
    assert "head: 3 epochs, training box, class 70 of" in said
    for row, expected in zip(history_of(tmp_path / "memory"), history_of(tmp_path / "off"), strict=True):
        for name in ("loss", *MEASURES, *(f"val_{name}" for name in MEASURES)):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_annotated_photos_train_with_every_setting(cnntrain, tmp_path):
    root = writers.write_labelimg(tmp_path / "photos", [
        dataclasses.replace(picture, objects=picture.objects * 2) for picture in writers.pictures(20)
    ])  # fmt: skip
    code, said = cnntrain(
        "experiment=smoke", "report=false", "data=annotations", f"data.path={root}", "model.localization=true",
        "augmentation=random_resized_crop", "augmentation.rotate_degrees=10", "augmentation.trivial_augment=true",
        "box_loss=ciou", "loss_weights={class: 0.5}", "class_weights=balanced", "label_smoothing=0.1",
        "precision=mixed_bfloat16", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0, said
    assert 0 <= read_metrics(tmp_path / "run")["test"]["mean_iou"] <= 1


def test_data_without_boxes_are_refused_before_a_run_folder_is_made(cnntrain, tmp_path):
    code, said = cnntrain("data=digits", "model.localization=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 3
    assert "model.localization: no box comes with scikit-learn's digits; give data with boxes, such as" in said
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def canvases(tmp_path_factory):
    """Image files of canvases, in their own size and, under `large`, three and five times as high and wide."""
    folder = tmp_path_factory.mktemp("canvases")
    (folder / "large").mkdir()
    pixels = DigitsOnCanvas(copies=1, canvas_size=24, clutter=0).table().images.pixels[:3, ..., 0]
    for number, canvas in enumerate(pixels):
        Image.fromarray(canvas).save(folder / f"{number}.png")
        Image.fromarray(canvas.repeat(3, 0).repeat(5, 1)).save(folder / "large" / f"{number}.png")
    return folder


def test_predict_tells_boxes_in_pixels_of_each_image_and_draws_them(boxed_run, canvases, cnntrain, tmp_path):
    code, said = cnntrain("predict", boxed_run, canvases, "--json", "--draw", tmp_path / "drawn")
    assert code == 0, said
    answers = {answer["path"]: answer["box"] for answer in json.loads(said)}
    for number in range(3):
        paths = (canvases / f"{number}.png", canvases / "large" / f"{number}.png")
        small, large = (list(answers[str(path)].values()) for path in paths)
        np.testing.assert_allclose(large, np.multiply(small, [5, 3, 5, 3]), atol=2)
        left, top, right, bottom = small
        assert 0 <= left < right <= 24 and 0 <= top < bottom <= 24
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "0-2.png", "0.png", "1-2.png", "1.png", "2-2.png", "2.png",
    ]  # fmt: skip
    drawn = Image.open(tmp_path / "drawn" / "0.png").convert("RGB")
    assert drawn.size == (240, 240)
    assert (np.asarray(drawn) == [255, 0, 0]).all(axis=-1).sum() > 50


@pytest.mark.parametrize(("form", "text"), [("--csv", ",left,top,right,bottom\n"), ("--top=1", "left, top, right")])
def test_tables_and_csv_have_boxes_too(boxed_run, canvases, cnntrain, form, text):
    code, said = cnntrain("predict", boxed_run, canvases / "1.png", form)
    assert (code, text in said) == (0, True)


def test_evaluate_draws_the_boxes_that_fit_worst(boxed_run, cnntrain, tmp_path):
    code, said = cnntrain("evaluate", boxed_run, "--split", "validation", "--draw", tmp_path / "worst")
    assert (code, "mean IoU" in said) == (0, True)
    names = sorted(path.name for path in (tmp_path / "worst").iterdir())
    assert len(names) == 100 and names[0].startswith("001 ") and names[-1].startswith("100 ")


def test_what_learned_no_boxes_draws_none(cnntrain, tmp_path, canvases, monkeypatch):
    run = tmp_path / "run"
    assert cnntrain("experiment=smoke", "report=false", "data=digits", f"hydra.run.dir={run}")[0] == 0
    for words in (["predict", run, canvases / "1.png"], ["evaluate", run]):
        code, said = cnntrain(*words, "--draw", tmp_path / "drawn")
        assert (code, "learned no boxes" in said) == (2, True)
    assert not (tmp_path / "drawn").exists()
    code, said = cnntrain("evaluate", run, "data=digits_on_canvas", "data.copies=1")
    assert (code, "mean IoU" in said) == (0, False)


def test_data_without_boxes_do_not_measure_a_run_with_them(boxed_run, cnntrain):
    code, said = cnntrain("evaluate", boxed_run, "data=digits")
    assert (code, "these data have no boxes to compare with" in said) == (3, True)


@pytest.mark.slow
def test_a_killed_run_with_boxes_goes_on_to_the_same_bits(cnntrain, tmp_path, monkeypatch):
    monkeypatch.setattr("cnntrain.evaluation.loop.Pace.next", lambda self, remaining: min(2, remaining))
    words = [
        *CANVAS, "batch_size=16", "limits.steps=6", "schedule.phases.all.epochs=3", "augmentation=affine",
        "augmentation.random_resized_crop=true", "box_loss=giou", "checkpoint.every_minutes=1e-9",
    ]  # fmt: skip
    assert cnntrain(*words, f"hydra.run.dir={tmp_path / 'whole'}")[0] == 0
    mended = at_call(monkeypatch, 5, kill)
    with pytest.raises(Killed):
        cnntrain(*words, f"hydra.run.dir={tmp_path / 'killed'}")
    mended()
    code, said = cnntrain("resume", tmp_path / "killed")
    assert (code, "1 epoch and 2 steps" in said) == (0, True), said
    assert_equal(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_an_onnx_export_of_a_run_tells_classes_and_boxes(boxed_run, canvases, cnntrain, tmp_path):
    import onnxruntime

    code, said = cnntrain("export", boxed_run, "--format", "onnx", "--out", tmp_path / "model.onnx")
    assert (code, "largest difference from predict on 100 images" in said) == (0, True), said
    answers = json.loads(cnntrain("predict", boxed_run, canvases / "large" / "1.png", "--json")[1])
    pixels = np.asarray(Image.open(canvases / "large" / "1.png"))[np.newaxis, ..., np.newaxis]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    probabilities, box = session.run(["probabilities", "box"], {"images": pixels})
    assert probabilities[0].max() == pytest.approx(answers[0]["top"][0]["probability"], abs=1e-4)
    np.testing.assert_allclose(box[0] * [120, 72, 120, 72], list(answers[0]["box"].values()), atol=0.02)
