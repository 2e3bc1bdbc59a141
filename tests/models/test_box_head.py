"""Losses and measures of boxes, and the loop that trains them beside classes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.utils import bounding_boxes

from cnntrain.errors import ConfigError
from cnntrain.evaluation.loop import EvaluationLoop
from cnntrain.evaluation.metrics import box_metrics
from cnntrain.experiment import parse
from cnntrain.models import MODELS
from cnntrain.models.box_head import BoxHead, complete_iou, generalized_iou, intersection_over_union
from cnntrain.runtime.backend import start_run
from cnntrain.training.loop import Objective, TrainingLoop

LOSSES = ("mse", "huber", "iou", "giou", "ciou")
COUNT = 32


def boxes(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """So many boxes within their images."""
    random = np.random.default_rng(seed)
    sides = random.uniform(0.1, 0.5, (count, 2))
    return np.concatenate([random.uniform(sides / 2, 1 - sides / 2), sides], axis=1).astype(np.float32)


def constant(*rows: tuple[float, float, float, float]) -> tf.Tensor:
    return tf.constant(rows, tf.float32)


def test_ious_are_kerases_of_the_same_pairs():
    expected = np.diag(bounding_boxes.compute_iou(boxes(), boxes(seed=1), "center_yxhw"))
    np.testing.assert_allclose(intersection_over_union(boxes(), boxes(seed=1)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("other", "iou", "giou"),
    [
        ((0.5, 0.5, 0.2, 0.2), 1.0, 1.0),
        ((0.5, 0.6, 0.2, 0.2), 1 / 3, 1 / 3),  # half of each is common, and nothing is left between them
        ((0.5, 0.9, 0.2, 0.2), 0.0, -1 / 3),  # two of six squares
        ((0.6, 0.6, 0.2, 0.2), 1 / 7, 1 / 7 - 2 / 9),
        ((0.5, 0.5, 0.0, 0.0), 0.0, 0.0),
    ],
)
def test_iou_and_giou_of_two_squares(other, iou, giou):
    one, two = constant((0.5, 0.5, 0.2, 0.2)), constant(other)
    assert float(intersection_over_union(one, two)[0]) == pytest.approx(iou, abs=1e-5)
    assert float(generalized_iou(one, two)[0]) == pytest.approx(giou, abs=1e-5)
    assert float(complete_iou(one, two)[0]) <= iou + 1e-5


@pytest.mark.parametrize("square_roots", [True, False])
def test_the_head_learns_square_roots_or_sides(square_roots):
    head = BoxHead("mse", square_root_sides=square_roots)
    true = constant((0.3, 0.4, 0.25, 0.09))
    outputs = constant((0.3, 0.4, 0.5, 0.3)) if square_roots else true
    np.testing.assert_allclose(head.boxes(outputs), true, atol=1e-6)
    assert float(head.errors(outputs, true)[0]) == pytest.approx(0, abs=1e-9)
    off = outputs + constant((0.0, 0.0, 0.0, 0.2))
    assert float(head.errors(off, true)[0]) == pytest.approx(0.2**2 / 4, rel=1e-4)


def test_what_lies_outside_the_image_is_no_part_of_the_answer():
    answer = BoxHead("mse", square_root_sides=False).predict(constant((0.1, 0.95, 0.4, 0.2)))
    np.testing.assert_allclose(answer, [[0.15, 0.925, 0.3, 0.15]], atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("square_roots", [True, False])
def test_a_loss_is_a_mean_over_the_boxes_and_images_without_one_change_nothing(loss, square_roots):
    head = BoxHead(loss, square_root_sides=square_roots)
    outputs, true = boxes(seed=1), boxes()
    weights = np.float32(np.arange(COUNT) % 4 == 0)
    true[weights == 0] = 0
    variable = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        error = head.mean_error(variable, true, weights)
    expected = np.mean(head.errors(outputs, true)[weights > 0])
    assert float(error) == pytest.approx(expected, rel=1e-5)
    gradient = tape.gradient(error, variable).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[weights > 0].any(axis=1).any() and not gradient[weights == 0].any()
    assert float(head.mean_error(outputs, true, 0 * weights)) == 0


def two_heads() -> keras.Model:
    start_run(seed=1, precision="float32")
    images = keras.Input((8, 8, 1))
    features = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(images))
    return keras.Model(images, MODELS["lenet5"](localization=True).heads(features, 2))


def batches() -> tf.data.Dataset:
    """Images that show their class and box; every fourth has no box."""
    true, weights = boxes(), np.float32(np.arange(COUNT) % 4 > 0)
    images = np.random.default_rng(0).normal(0, 0.1, (COUNT, 8, 8, 1)).astype(np.float32)
    images[:, 0, :4, 0] = true
    labels = np.arange(COUNT) % 2
    images[:, 1, 0, 0] = labels
    targets = {"class": np.eye(2, dtype=np.float32)[labels], "box": true * weights[:, None]}
    return tf.data.Dataset.from_tensor_slices((images, targets, {"class": 1 + labels / 2, "box": weights})).batch(8)


@pytest.mark.parametrize("loss", ["mse", "giou", "ciou"])
def test_losses_teach_boxes_beside_classes(loss):
    model, head = two_heads(), BoxHead(loss, square_root_sides=True)
    objective = Objective({"class": 1.0, "box": 1.0 if "iou" in loss else 20.0}, box_head=head)
    loop = TrainingLoop(model, keras.optimizers.Adam(0.01), objective)
    evaluation = EvaluationLoop(model, box_head=head)
    before = evaluation.run(batches(), 4)
    list(loop.run_epoch(batches().repeat(50), 200))
    after = evaluation.run(batches(), 4)
    assert after["accuracy"] == 1
    assert after["mean_iou"] > max(0.45, before["mean_iou"] + 0.2)
    assert after["accuracy_iou_50"] > 0.4


def test_the_total_loss_is_the_weighted_sum_and_class_weights_are_those_of_all_class_outputs():
    model, head = two_heads(), BoxHead("mse", square_root_sides=True)
    images, targets, weights = next(iter(batches()))
    outputs = model(images)
    both = {"class": 0.8, "box": 0.2, "auxiliary": 0.3}
    total = Objective(both, box_head=head)(model, {**outputs, "auxiliary": outputs["class"]}, targets, weights)
    classes = keras.losses.CategoricalCrossentropy()(targets["class"], outputs["class"], sample_weight=weights["class"])
    expected = 1.1 * classes + 0.2 * head.mean_error(outputs["box"], targets["box"], weights["box"])
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_measures_of_the_loop_and_of_a_split_agree():
    model, head = two_heads(), BoxHead("mse", square_root_sides=True)
    found = EvaluationLoop(model, box_head=head).run(batches(), 4)
    ious, right, has_box = [], [], []
    for images, targets, weights in batches():
        outputs = model(images)
        ious.append(intersection_over_union(head.predict(outputs["box"]), targets["box"]))
        right.append(np.argmax(outputs["class"], 1) == np.argmax(targets["class"], 1))
        has_box.append(weights["box"].numpy() > 0)
    expected = box_metrics(*(np.concatenate(parts) for parts in (ious, right, has_box)))
    assert expected.pop("boxes") == COUNT * 3 // 4
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_shares_count_images_that_are_right_both_ways():
    found = box_metrics(np.array([0.9, 0.6, 0.8, 0.3, 1.0]), np.array([1, 1, 0, 1, 1]) > 0, np.arange(5) < 4)
    assert found == {"boxes": 4, "mean_iou": pytest.approx(0.65), "accuracy_iou_50": 0.5, "accuracy_iou_75": 0.25}
    assert box_metrics(np.zeros(2), np.ones(2) > 0, np.zeros(2) > 0) == {"boxes": 0}


def settings(**groups: dict) -> dict:
    """A configuration that learns boxes."""
    return {
        "model": {"name": "lenet5", "localization": True},
        "data": {"source": "digits_on_canvas"},
        "optimizer": {"name": "adam"},
        "schedule": {"phases": {"all": {}}},
        **groups,
    }


def test_losses_weigh_as_in_the_chapter_unless_something_else_is_said():
    assert parse(settings()).output_weights == {"class": 0.8, "box": 0.2}
    assert parse(settings(loss_weights={"box": 50})).output_weights == {"class": 0.8, "box": 50}
    googlenet = settings(model={"name": "googlenet", "localization": True}, loss_weights={"auxiliary_1": 0})
    weights = parse(googlenet).output_weights
    assert weights == {"class": 0.8, "box": 0.2, "auxiliary_1": 0.0, "auxiliary_2": 0.3}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"loss_weights": {"bocks": 1}}, "loss_weights.bocks: the model has no such output: did you mean box?"),
        ({"loss_weights": {"box": 1}, "model": {"name": "lenet5"}}, "set model.localization=true"),
        ({"augmentation": {"mixup_alpha": 0.2}}, "augmentation.mixup_alpha: mixes an image with others"),
        ({"augmentation": {"cutmix_alpha": 0.2}}, "augmentation.cutmix_alpha: mixes"),
        ({"augmentation": {"aug_mix_severity": 3}}, "augmentation.aug_mix_severity: mixes"),
        ({"box_loss": "diou"}, "box_loss: expected mse or huber or iou or giou or ciou; .*did you mean iou?"),
        ({"data": {"source": "digits_on_canvas", "decoding": "reduced"}}, "data.decoding: images with boxes are read"),
        ({"data": {"source": "digits_on_canvas", "cache_decoded": True}}, "data.cache_decoded: keeps no boxes"),
    ],
)
def test_what_does_not_go_with_boxes_is_refused(groups, message):
    with pytest.raises(ConfigError, match=message):
        parse(settings(**groups))
