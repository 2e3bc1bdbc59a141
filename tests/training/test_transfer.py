"""Transfer by the command line, in small: backbones, recipes, and features that are computed once."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
import yaml

from cnntrain.data.sources.tfds import Tfds
from cnntrain.models.transfer import Transfer
from cnntrain.training import feature_cache
from tests.conftest import read_metrics
from tests.training.test_run import history_of, without_times


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A small network with BatchNormalization and dropout, as a .keras file."""
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    maps = images
    for number, filters in enumerate((4, 8), start=1):
        maps = keras.layers.Conv2D(filters, 3, strides=2, padding="same", name=f"block{number}_conv")(maps)
        maps = keras.layers.BatchNormalization(name=f"block{number}_bn")(maps)
        maps = keras.layers.ReLU(name=f"block{number}_relu")(maps)
        maps = keras.layers.Dropout(0.2, name=f"block{number}_drop")(maps)
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.Model(images, maps).save(path)
    return path


@pytest.fixture
def transfer(cnntrain, backbone, photos, tmp_path):
    """Runs a transfer from the small network to the photos; gives the run's folder and what was said."""

    def run(name, *words, code=0):
        folder = tmp_path / name
        done, said = cnntrain(
            "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", "data=folder", f"data.path={photos}",
            "augmentation=none", "batch_size=5", "schedule=freeze_unfreeze", "optimizer=sgd_freeze_unfreeze",
            "schedule.phases.head.epochs=4", "schedule.phases.all.epochs=1",
            *words, f"hydra.run.dir={folder}",
        )  # fmt: skip
        assert done == code, said
        return folder, said

    return run


def weights_of(run):
    return keras.models.load_model(run / "model.keras", compile=False).get_weights()


def test_kept_features_change_no_result_wherever_they_are_kept(transfer):
    without, _ = transfer("off", "feature_cache.where=off", "model.dropout=0.3")
    for where in ("memory", "disk"):
        kept, said = transfer(where, f"feature_cache.where={where}", "model.dropout=0.3")
        assert "frozen layers run once, and what they give is kept: 4×4×8 for 4 validation images" in said
        assert f"for 16 training images, 0.0 MiB in float32, {where}" in said
        for ours, plain in zip(history_of(kept), history_of(without), strict=True):
            for key in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
                assert float(ours[key]) == pytest.approx(float(plain[key]), rel=1e-4, abs=1e-5), key
        for ours, plain in zip(weights_of(kept), weights_of(without), strict=True):
            np.testing.assert_allclose(ours, plain, atol=1e-5)


@pytest.mark.slow
def test_half_precision_and_bfloat16_features_come_close(transfer):
    plain, _ = transfer("plain")
    half, _ = transfer("half", "feature_cache.dtype=float16")
    brain, _ = transfer("brain", "feature_cache.precision=mixed_bfloat16")
    for other in (half, brain):
        assert float(history_of(other)[0]["loss"]) == pytest.approx(float(history_of(plain)[0]["loss"]), rel=0.05)


def test_the_frozen_part_runs_once_over_each_image_and_a_later_run_finds_its_output_on_disk(transfer, monkeypatch):
    passes = []
    fill = feature_cache.FrozenLayers._fill
    monkeypatch.setattr(
        feature_cache.FrozenLayers, "_fill", lambda self, *words: (passes.append(words[-1]), fill(self, *words))[1]
    )
    first, _ = transfer("first", "feature_cache.where=disk")
    assert passes == ["validation images", "training images"]
    second, _ = transfer("second", "feature_cache.where=disk")
    assert len(passes) == 2
    assert without_times(history_of(first)) == without_times(history_of(second))
    transfer("other weights", "feature_cache.where=disk", "model.preprocess=torch")
    assert len(passes) == 4


def test_old_features_make_room_on_disk(tmp_path):
    for number, name in enumerate(("old", "new", "newest")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "features.npy").write_bytes(b"x" * 100)
        import os

        os.utime(folder, (number, number))
    feature_cache.forget_oldest(tmp_path / "newest", limit=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "newest"]


@pytest.mark.slow
def test_views_take_turns_and_the_first_round_is_the_uncached_runs(transfer, monkeypatch):
    words = ("augmentation=crop_flip", "augmentation.pad_pixels=2")
    plain, said = transfer("plain", *words)
    assert "cache_views=2 would spare 2 of 4 passes through the frozen layers" in said
    passes = []
    fill = feature_cache.FrozenLayers._fill
    monkeypatch.setattr(
        feature_cache.FrozenLayers, "_fill", lambda self, *words: (passes.append(words[-1]), fill(self, *words))[1]
    )
    views, said = transfer("views", *words, "schedule.phases.head.cache_views=2")
    assert "for 32 training images in 2 views" in said
    assert passes == ["validation images", "view 1 of 2", "view 2 of 2"]
    losses = [[float(row["loss"]) for row in history_of(run)] for run in (plain, views)]
    np.testing.assert_allclose(losses[0][:2], losses[1][:2], rtol=1e-4)
    assert abs(losses[0][2] - losses[1][2]) > 1e-6  # the third epoch sees the first view again


def test_features_of_mixed_images_keep_their_mixed_targets(transfer):
    plain, _ = transfer("plain", "augmentation=mixup")
    views, _ = transfer("views", "augmentation=mixup", "schedule.phases.head.cache_views=3")
    first, again = (float(history_of(run)[0]["loss"]) for run in (plain, views))
    assert again == pytest.approx(first, rel=1e-4)


def test_what_takes_too_much_room_is_not_kept_and_that_is_said(transfer, monkeypatch):
    monkeypatch.setattr(feature_cache, "MIB", 1024)
    _, said = transfer("small", "feature_cache.limit_mb=4")
    assert "frozen layers run once, and what they give is kept: 4×4×8 for 4 validation images" in said
    assert "frozen layers run in every epoch: 4×4×8 for 16 training images, 8.0 MiB in float32, would be more" in said


def test_each_phase_says_what_it_trains_and_starts_its_learning_rate_anew(transfer):
    run, said = transfer("run", "optimizer.phases={head: {learning_rate: 0.2, decay: 0.5}, all: {learning_rate: 0.01}}")
    assert "head: 4 epochs, training class 18 of" in said
    assert "all: 1 epoch, training 5 layers, block1_conv to class," in said
    rates = [float(row["learning_rate"]) for row in history_of(run)]
    np.testing.assert_allclose(
        rates, [0.2 / (1 + 0.5 * steps) for steps in (4, 8, 12, 16)] + [0.01 / (1 + 0.001 * 4)], rtol=1e-4
    )


def test_a_value_for_the_whole_group_wins_over_the_phases_and_a_phase_that_is_missing_is_said(transfer):
    run, said = transfer(
        "run", "optimizer.learning_rate=0.03", "optimizer.decay=0", "+optimizer.phases.middle.learning_rate=1"
    )
    assert {round(float(row["learning_rate"]), 6) for row in history_of(run)} == {0.03}
    assert "warning: optimizer.phases.middle is ignored: the schedule has no such phase" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["+optimizer.phases.head.momentu=1"], "optimizer.phases.head.momentu: no such key: did you mean momentum?"),
        (["optimizer.phases.head.learning_rate=-1"], "optimizer.phases.head.learning_rate: expected a number greater"),
        (["schedule.phases.head.trainable=[]"], "schedule.phases.head.trainable: expected all, head, or names"),
        (["schedule.phases.head.trainable=nothing_*"], "schedule.phases.head.trainable: no layer is named 'nothing_*'"),
        (["schedule.phases.all.cache_views=2"], "schedule.phases.all.cache_views: keeps what frozen layers give"),
        (["schedule.phases.all.layer_decay=0"], "schedule.phases.all.layer_decay: expected more than 0"),
        (["model.preprocess=null"], "model.preprocess: "),
        (["model.weights=imagenet"], "model.backbone: expected a network of keras.applications"),
        (["model.weights=some.weights.h5"], "model.weights: only a .keras file or a run's folder brings its own"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_a_run_folder_is_made(transfer, words, text):
    run, said = transfer("run", *words, code=2)
    assert text in said
    assert not run.exists()


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda path: None, "model.weights: expected imagenet, a file or a run's folder; there is nothing at"),
        (lambda path: path.write_bytes(b"no network"), "expected a network of one image in a .keras file"),
        (lambda path: path.mkdir(), "expected a run's folder"),
    ],
)  # fmt: skip
def test_weights_that_are_not_there_or_damaged_are_named(transfer, tmp_path, prepare, text):
    prepare(tmp_path / "other.keras")
    run, said = transfer("run", f"model.weights={tmp_path / 'other.keras'}", code=3)
    assert text in said
    assert not run.exists()


def test_weights_of_another_network_are_refused(transfer, tmp_path, backbone):
    copy = shutil.copy(backbone, tmp_path / "of.keras")
    _, said = transfer("run", f"model.weights={copy}", "model.backbone=MobileNet", "model.image_size=[32,32]", code=3)
    assert "does not fit MobileNet without its top" in said and "set model.backbone=null" in said


def test_a_runs_network_becomes_the_backbone_of_another_with_what_it_expects_of_images(cnntrain, tmp_path, transfer):
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["experiment=smoke", "report=false", "model.preprocess=tf", "data=digits"]
    code, said = cnntrain(*words, f"hydra.run.dir={first}")
    assert code == 0, said
    words = ["model=transfer", f"model.weights={first}", "schedule.phases.all.trainable=head", "experiment=smoke"]
    code, said = cnntrain(*words, "data=digits", f"hydra.run.dir={second}")
    assert code == 0, said
    lenet, transferred = (keras.models.load_model(run / "model.keras", compile=False) for run in (first, second))
    for layer in lenet.layers[1:-1]:
        for ours, theirs in zip(transferred.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    contracts = [json.loads((run / "run.json").read_text())["input"] for run in (first, second)]
    assert contracts[0]["preprocess"] == contracts[1]["preprocess"] == "tf"
    assert contracts[0]["image_size"] == contracts[1]["image_size"]


def test_a_loaded_backbone_computes_in_the_runs_precision(backbone):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = Transfer(backbone=None, weights=backbone, preprocess="tf").build((16, 16, 3), 4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("block1_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_xception_transfer_is_the_chapters_recipe_number_for_number(cnntrain):
    code, said = cnntrain("model=xception_transfer", "data=tf_flowers", "--cfg", "job")
    assert code == 0
    shown = yaml.safe_load(said)
    assert shown["batch_size"] == 32
    assert shown["model"] == {
        "name": "transfer", "backbone": "Xception", "weights": "imagenet", "image_size": [224, 224], "resize": "crop",
    }  # fmt: skip
    assert shown["augmentation"] == {"random_crop": True, "horizontal_flip": 0.5}
    phases, values = shown["schedule"]["phases"], shown["optimizer"]["phases"]
    assert list(phases) == ["head", "all"]
    assert (phases["head"]["epochs"], phases["head"]["trainable"], phases["all"]["epochs"]) == (5, "head", 40)
    assert shown["optimizer"]["name"] == "sgd" and shown["optimizer"]["momentum"] == 0.9
    assert values["head"] == {"learning_rate": 0.2, "nesterov": False, "decay": 0.01}
    assert values["all"] == {"learning_rate": 0.01, "nesterov": True, "decay": 0.001}
    splits = [shown["data"][name] for name in ("test", "validation", "train")]
    assert splits == ["train[:10%]", "train[10%:25%]", "train[25%:]"]


@pytest.mark.slow
def test_the_chapters_command_with_its_two_heads_runs_through_both_phases_on_mock_flowers(
    cnntrain, tmp_path, monkeypatch
):
    table = Tfds.table

    def with_random_boxes(self):
        found = table(self)
        boxes = np.random.default_rng(0).uniform(0.2, 0.8, (len(found.labels), 4)).astype(np.float32)
        return dataclasses.replace(found, boxes=boxes)

    monkeypatch.setattr(Tfds, "table", with_random_boxes)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    run = tmp_path / "run"
    with tfds.testing.mock_data(num_examples=40):
        code, said = cnntrain(
            "experiment=smoke", "report=false", "model=xception_transfer", "data=tf_flowers", "model.weights=null",
            "model.image_size=[71,71]", "model.localization=true", f"hydra.run.dir={run}",
        )  # fmt: skip
    assert code == 0, said
    assert [row["phase"] for row in history_of(run)] == ["head", "all"]
    assert all(0 < float(row["val_mean_iou"]) < 1 for row in history_of(run))
    test = read_metrics(run)["test"]
    assert test["examples"] == test["boxes"] == 4  # a tenth of 40
    record = json.loads((run / "run.json").read_text())
    assert (record["input"]["preprocess"], record["input"]["resize"]) == ("tf", "crop")


def test_gradual_unfreezing_trains_one_more_stage_at_a_time(transfer):
    _, said = transfer(
        "run", "schedule=gradual", "~schedule.phases.all", "schedule.phases.head.epochs=1",
        "schedule.phases.last_stage.epochs=1", "schedule.phases.last_2_stages.epochs=1",
    )  # fmt: skip
    assert "head: 1 epoch, training class " in said
    assert "last_stage: 1 epoch, training block2_conv, block2_bn, class " in said
    assert "last_2_stages: 1 epoch, training 5 layers, block1_conv to class," in said


def test_the_head_is_solved_and_training_goes_on_from_it(cnntrain, backbone, photos, tmp_path):
    words = [
        "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", "data=folder", f"data.path={photos}",
        "batch_size=5", "schedule.phases.all.epochs=2", "model.dropout=0.2",
    ]  # fmt: skip
    code, said = cnntrain(*words, f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    rows = history_of(tmp_path / "run")
    assert [(row["phase"], row["epoch"]) for row in rows] == [("head", "1"), ("all", "2"), ("all", "3")]
    assert float(rows[0]["accuracy"]) > 0.8 and float(rows[0]["learning_rate"]) == 0
    assert "chosen on 4 validation images" in said
    code, said = cnntrain(*words, "data.validation=0", f"hydra.run.dir={tmp_path / 'folds'}")
    assert code == 0, said
    assert "chosen on 5 folds of the training images" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model.hidden_units=4"], "here the head has hidden, class; set model.hidden_units=null"),
        (["schedule.phases.head.epochs=2"], "logistic_regression takes one; expected 1 or null; received 2"),
        (["schedule.phases.head.trainable=all"], "logistic_regression needs trainable=head; received trainable=all"),
        (["++schedule.phases.head.cache_views=2"], "logistic_regression sees images without augmentation"),
    ],
)
def test_what_can_not_be_solved_is_refused(words, text, cnntrain, backbone, photos, tmp_path):
    code, said = cnntrain(
        "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", "data=folder", f"data.path={photos}",
        *words, f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert (code, text in said) == (2, True), said
    assert not (tmp_path / "run").exists()


COLLAPSING = [
    "schedule=freeze_unfreeze", "optimizer=sgd_freeze_unfreeze", "schedule.phases.head.epochs=1",
    "++schedule.phases.head.solver=logistic_regression", "schedule.phases.all.epochs=3", "data=digits",
    "optimizer.phases.all.learning_rate=30", "data.validation=0.3",
]  # fmt: skip


@pytest.mark.parametrize(("on_collapse", "epochs", "code"), [("back", 2, 0), ("warn", 4, 0), ("stop", 1, 4)])
def test_a_phase_that_destroys_what_was_learned_says_so_and_does_what_was_asked(
    on_collapse, epochs, code, cnntrain, backbone, tmp_path
):
    run = tmp_path / "run"
    done, said = cnntrain(
        "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", *COLLAPSING,
        f"on_collapse={on_collapse}", f"hydra.run.dir={run}",
    )  # fmt: skip
    assert done == code, said
    assert "all: its first epoch took validation from" in said and "it destroys what was learned" in said
    rows = history_of(run)
    assert len(rows) == epochs
    if on_collapse == "back":
        assert "the weights of epoch 1 are taken back" in said
        assert read_metrics(run)["best_epoch"] == 1
        assert read_metrics(run)["test"]["accuracy"] > float(rows[0]["val_accuracy"]) - 0.1


def test_the_head_can_see_several_stages(cnntrain, backbone, photos, tmp_path):
    words = [
        "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", "data=folder", f"data.path={photos}",
        "batch_size=5", "schedule.phases.all.epochs=1",
    ]  # fmt: skip
    code, said = cnntrain(*words, "model.feature_stages=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert model.get_layer("average").output.shape == (None, 4 + 8)
    lower = keras.Model(model.inputs, model.get_layer("average_1").input)
    assert lower.output.shape == (None, 8, 8, 4)
    code, said = cnntrain(*words, "model.feature_stages=3", f"hydra.run.dir={tmp_path / 'other'}")
    assert (code, "model.feature_stages: expected at most 2 stages" in said) == (2, True), said


SMALL_FIRST = ["++schedule.phases.all.image_size=[8,8]", "++schedule.phases.all.layer_decay=0.8"]


def test_a_phase_can_train_on_smaller_images_and_is_validated_at_the_networks_size(
    cnntrain, backbone, photos, tmp_path, monkeypatch
):
    from cnntrain.training.loop import TrainingLoop

    sizes = []
    begin = TrainingLoop.__init__
    monkeypatch.setattr(
        TrainingLoop, "__init__", lambda self, model, *rest, **more: (sizes.append(model.inputs[0].shape),
                                                                      begin(self, model, *rest, **more))[1]
    )  # fmt: skip
    run = tmp_path / "run"
    code, said = cnntrain(
        "model=transfer", f"model.weights={backbone}", "model.preprocess=tf", "data=folder", f"data.path={photos}",
        "batch_size=5", "schedule.phases.all.epochs=1", *SMALL_FIRST, "++schedule.phases.large.epochs=1",
        "++schedule.phases.large.trainable=block2_*", "++schedule.phases.large.image_size=[24,24]",
        f"hydra.run.dir={run}",
    )  # fmt: skip
    assert code == 0, said
    assert [size[1:3] for size in sizes[1:]] == [(8, 8), (24, 24)]
    assert "parameters on images of 8×8" in said
    model = keras.models.load_model(run / "model.keras")
    assert model.input_shape == (None, 16, 16, 3)
    assert json.loads((run / "run.json").read_text())["input"]["image_size"] == [16, 16]
    code, said = cnntrain("evaluate", run, "--split", "validation", "--json")
    best = max(history_of(run), key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert json.loads(said.splitlines()[-1])["validation"]["loss"] == pytest.approx(float(best["val_loss"]), rel=1e-4)


def test_networks_that_can_not_train_at_another_size_are_refused(cnntrain, tmp_path):
    code, said = cnntrain("++schedule.phases.all.image_size=[12,12]", f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, "schedule.phases.all.image_size" in said) == (2, True), said
    assert not (tmp_path / "run").exists()
