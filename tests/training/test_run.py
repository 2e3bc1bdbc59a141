"""Whole runs, by the command line, in small."""

import csv
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
import yaml

from cnntrain.experiment import parse
from cnntrain.settings import to_mapping
from cnntrain.training.loop import TrainingLoop
from cnntrain.training.preparation import fit_to_data
from tests.conftest import read_metrics, write_photos

SMOKE = ["experiment=smoke", "report=false"]
QUICK = [*SMOKE, "data=digits"]


def history_of(run):
    with open(run / "history.csv") as file:
        return list(csv.DictReader(file))


def without_times(rows):
    return [{key: value for key, value in row.items() if not key.endswith(("seconds", "per_second"))} for row in rows]


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A finished run of a few epochs on all digits."""
    from cnntrain.cli.main import main

    run = tmp_path_factory.mktemp("digits") / "run"
    assert main(["schedule.phases.all.epochs=4", "optimizer.learning_rate=0.005", f"hydra.run.dir={run}"]) == 0
    return run


def test_a_run_folder_holds_what_the_readme_says(digits_run):
    names = {path.name for path in digits_run.iterdir()}
    assert names == {
        "config.yaml", "run.json", "history.csv", "model.keras", "metrics.json", "predictions.csv", "report.html",
        "curves.png", "confusion.png", "log.txt", "run.lock", "checkpoints",
    }  # fmt: skip
    rows = history_of(digits_run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["phase"] for row in rows} == {"all"}
    test = read_metrics(digits_run)["test"]
    assert test["accuracy"] > 0.85
    assert np.array(test["confusion"]).sum() == test["examples"] == 449
    record = json.loads((digits_run / "run.json").read_text())
    assert record["class_names"] == [str(n) for n in range(10)]
    assert record["input"]["image_size"] == [28, 28]


def test_the_recorded_configuration_parses_to_the_same_experiment(digits_run):
    values = yaml.safe_load((digits_run / "config.yaml").read_text())
    experiment = parse(values)
    assert experiment.optimizer.learning_rate == 0.005
    assert to_mapping(experiment) == values


def test_the_saved_network_is_the_best_epochs_and_plain_keras_loads_it(digits_run):
    code = (
        "import sys, numpy, keras; m = keras.models.load_model(sys.argv[1]);"
        " print(m.predict(numpy.zeros((1, 28, 28, 1)), verbose=0).shape, 'cnntrain' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, digits_run / "model.keras"], capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 10) False"
    best = max(history_of(digits_run), key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert read_metrics(digits_run)["best_epoch"] == int(best["epoch"])


def test_evaluate_finds_the_numbers_of_the_run(digits_run, cnntrain):
    code, said = cnntrain("evaluate", digits_run, "--json")
    assert code == 0
    found, expected = json.loads(said.splitlines()[-1])["test"], read_metrics(digits_run)["test"]
    assert found["confusion"] == expected["confusion"]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    code, said = cnntrain("evaluate", digits_run, "--split", "validation")
    assert (code, "validation: accuracy" in said) == (0, True)


def test_predict_names_the_classes_of_image_files(digits_run, cnntrain, tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number in range(10):
        pixels = np.round(digits.images[number] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    code, said = cnntrain("predict", digits_run, tmp_path, "--json", "--top", 2)
    assert code == 0
    answers = json.loads(said.splitlines()[-1])
    right = [answer["top"][0]["class"] == answer["path"][-5] for answer in answers]
    assert sum(right) >= 8
    code, said = cnntrain("predict", digits_run, tmp_path / "3.png")
    assert (code, "3.png" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["predict", "{run}", "{tmp}/none.png"], "none.png: no such file"),
        (["predict", "{run}", "{tmp}/empty"], "expected images in this folder; there are none"),
        (["predict", "{run}", "{tmp}/broken.png"], "broken.png: not an image of a known format"),
        (["predict", "{tmp}", "{tmp}/x.png"], "expected a run's folder"),
        (["evaluate", "{tmp}/nowhere"], "expected a run's folder"),
    ],
)
def test_mistakes_with_runs_and_images_are_named(digits_run, cnntrain, tmp_path, words, text):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "x.png").write_bytes(b"")
    code, said = cnntrain(*(word.format(run=digits_run, tmp=tmp_path) for word in words))
    assert code == 3
    assert text in said


def test_a_damaged_network_is_named(digits_run, cnntrain, tmp_path):
    import shutil

    copy = shutil.copytree(digits_run, tmp_path / "copy")
    content = (copy / "model.keras").read_bytes()
    (copy / "model.keras").write_bytes(content[: len(content) // 2])
    code, said = cnntrain("evaluate", copy)
    assert (code, "model.keras: can't be loaded" in said) == (3, True)


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(digits_run, cnntrain):
    before = {path: path.stat().st_mtime_ns for path in digits_run.iterdir()}
    code, said = cnntrain(*QUICK, f"hydra.run.dir={digits_run}")
    assert (code, "holds a run already" in said) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in digits_run.iterdir()} == before


def test_one_seed_gives_one_history_whatever_the_parallel_calls(cnntrain, tmp_path, photos):
    words = ["data=folder", f"data.path={photos}", "schedule.phases.all.epochs=2", "batch_size=5",
             "augmentation=crop_flip", "augmentation.random_crop=true", "model.resize=crop"]  # fmt: skip
    for name, calls in (("a", 1), ("b", 2), ("c", 8)):
        assert cnntrain(*words, f"parallel_calls={calls}", f"hydra.run.dir={tmp_path / name}")[0] == 0
    assert cnntrain(*words, "seed=1", f"hydra.run.dir={tmp_path / 'd'}")[0] == 0
    histories = {name: without_times(history_of(tmp_path / name)) for name in "abcd"}
    assert histories["a"] == histories["b"] == histories["c"] != histories["d"]


def test_a_run_on_a_relative_path_is_evaluated_from_another_folder(cnntrain, tmp_path, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert cnntrain(*SMOKE, "data=folder", "data.path=photos", f"hydra.run.dir={tmp_path / 'run'}")[0] == 0
    monkeypatch.chdir(photos)
    assert cnntrain("evaluate", tmp_path / "run")[0] == 0


def test_a_folder_with_one_image_in_a_class_and_a_difficult_path_trains(cnntrain, tmp_path):
    root = write_photos(tmp_path / "Grüße aus (Köln)", {"many": 9, "one": 1})
    code, said = cnntrain(*SMOKE, "data=folder", f"data.path={root}", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    assert json.loads((tmp_path / "run" / "run.json").read_text())["class_counts"]["train"][1] == 1


@pytest.mark.parametrize("name", ["mnist", "tf_flowers"])
def test_the_whole_command_runs_on_mock_data(cnntrain, tmp_path, monkeypatch, name):
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=40):
        code, said = cnntrain(*SMOKE, "model=lenet5", f"data={name}", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0, said
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_every_training_setting_can_be_combined(cnntrain, tmp_path):
    code, said = cnntrain(
        *QUICK, "precision=mixed_bfloat16", "class_weights=balanced", "label_smoothing=0.1",
        "optimizer.ema_momentum=0.9", "optimizer.clip_norm=1", "optimizer.gradient_accumulation_steps=2",
        "+schedule.phases.more={epochs: 1, learning_rate_schedule: one_cycle}", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0, said
    assert [row["phase"] for row in history_of(tmp_path / "run")] == ["all", "more"]
    assert [row["epoch"] for row in history_of(tmp_path / "run")] == ["1", "2"]


def test_class_weights_by_name_are_checked_against_the_classes(cnntrain):
    code, said = cnntrain(*QUICK, "class_weights={7: 2, eleven: 1}")
    assert (code, "class_weights.eleven: no such class" in said) == (2, True)


def test_training_stops_early_when_nothing_is_gained(cnntrain, tmp_path):
    code, said = cnntrain(
        *QUICK, "limits.epochs_per_phase=null", "schedule.phases.all.epochs=50", "optimizer.learning_rate=1e-9",
        "schedule.phases.all.early_stopping_patience=2", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0, said
    assert "no gain in 2 epochs; best was" in said
    assert len(history_of(tmp_path / "run")) < 10


def test_a_loss_that_is_not_a_number_ends_the_run_and_the_best_network_stays(cnntrain, tmp_path, monkeypatch):
    run_epoch = TrainingLoop.run_epoch

    def poisoned(self, batches, steps, *, done):
        yield from run_epoch(self, batches, steps, done=done)
        if self.optimizer.iterations > 2:
            self.sums.totals[0] = float("nan")
            yield steps

    monkeypatch.setattr(TrainingLoop, "run_epoch", poisoned)
    code, said = cnntrain(*QUICK, "limits.epochs_per_phase=3", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 4
    assert "epoch 2 of phase all: the loss is nan by step 2" in said
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_without_validation_and_test_images_the_last_epoch_is_kept(cnntrain, tmp_path):
    code, said = cnntrain(*QUICK, "data.validation=0", "data.test=0", f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, "nothing to measure" in said) == (0, True)
    assert history_of(tmp_path / "run")[0]["val_loss"] == ""


def test_a_multirun_goes_on_after_a_job_that_fails(cnntrain, tmp_path, photos):
    code, _ = cnntrain(
        "-m", *SMOKE, "data=folder", f"data.path=/nowhere,{photos}", f"hydra.sweep.dir={tmp_path / 'sweep'}"
    )
    assert code == 3
    assert (tmp_path / "sweep" / "1" / "metrics.json").is_file()


def test_folds_of_a_multirun_test_every_image_once(cnntrain, tmp_path, photos):
    code, said = cnntrain(
        "-m", *SMOKE, "limits.steps=null", "data=folder", f"data.path={photos}", "data.folds=3",
        "data.fold=0,1,2", f"hydra.sweep.dir={tmp_path / 'cv'}",
    )  # fmt: skip
    assert code == 0, said
    assert [read_metrics(tmp_path / "cv" / str(n))["test"]["examples"] for n in range(3)] == [8, 8, 8]


STOP_AFTER_AN_EPOCH = """
import os, signal, sys
from cnntrain.cli.main import main
from cnntrain.runtime.run_dir import RunDir
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it starts in the background
whole = RunDir.write_history
def write_history(self, rows):
    whole(self, rows)
    os.kill(os.getpid(), signal.SIGINT)
RunDir.write_history = write_history
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_cleanly_and_another_process_goes_on_to_the_same_end(digits_run, cnntrain, tmp_path):
    run = tmp_path / "run"
    words = ["schedule.phases.all.epochs=4", "optimizer.learning_rate=0.005", f"hydra.run.dir={run}"]
    done = subprocess.run([sys.executable, "-c", STOP_AFTER_AN_EPOCH, *words], capture_output=True, text=True)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "stopped after 1 epoch" in done.stdout and f"to go on: cnntrain resume {run}" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(history_of(run)) == 1 and (run / "model.keras").is_file() and (run / "curves.png").is_file()
    assert cnntrain("resume", run)[0] == 0
    assert without_times(history_of(run)) == without_times(history_of(digits_run))
    assert read_metrics(run) == read_metrics(digits_run)


def test_a_network_of_several_outputs_trains_and_is_loaded_for_evaluation(cnntrain, tmp_path):
    run = tmp_path / "run"
    code, said = cnntrain(*QUICK, "model=googlenet", "model.image_size=[65,65]", f"hydra.run.dir={run}")
    assert code == 0, said
    assert read_metrics(run)["test"]["examples"] == 16
    assert cnntrain("predict", run, write_photos(tmp_path / "photos", {"dark": 1}))[0] == 0


def test_a_network_with_the_small_stem_trains_on_small_images(cnntrain, tmp_path):
    words = ["model=resnet18_small", "model.width=8", f"hydra.run.dir={tmp_path / 'run'}"]
    code, said = cnntrain(*QUICK, *words)
    assert code == 0, said
    assert json.loads((tmp_path / "run/run.json").read_text())["input"]["image_size"] == [8, 8]


@pytest.mark.parametrize(
    ("settings", "channels", "mode"),
    [
        ({"name": "lenet5"}, 1, "unit"),
        ({"name": "lenet5", "preprocess": "caffe"}, 3, "caffe"),
        ({"name": "vgg16", "image_size": [32, 32]}, 3, "caffe"),
        ({"name": "mobilenet", "image_size": [32, 32]}, 1, "tf"),
        ({"name": "mobilenet", "image_size": [32, 32], "weights": "imagenet"}, 3, "tf"),
        ({"name": "application", "image_size": [32, 32]}, 1, "raw"),
    ],
)
def test_gray_images_get_the_channels_that_mode_and_weights_need(settings, channels, mode):
    values = {
        "model": settings,
        "data": {"source": "digits"},
        "optimizer": {"name": "sgd"},
        "schedule": {"phases": {"all": {}}},
    }
    experiment = parse(values)
    network_input = fit_to_data(experiment, experiment.data.load())[1]
    assert (network_input.channels, network_input.preprocess) == (channels, mode)


def test_a_run_ends_in_time_with_everything_written_and_goes_on_when_given_more(cnntrain, tmp_path):
    run = tmp_path / "run"
    words = ["limits.epochs_per_phase=null", "schedule.phases.all.epochs=3", "checkpoint.min_seconds=0"]
    code, said = cnntrain(*QUICK, *words, "limits.minutes=1e-6", f"hydra.run.dir={run}")
    assert code == 0, said
    assert "limits.minutes=1e-06 ends training in epoch 1 of 3; the weights of epoch 1 are the best" in said
    assert (len(history_of(run)), (run / "model.keras").is_file()) == (1, True)
    assert read_metrics(run)["test"]["accuracy"] > 0
    code, said = cnntrain("resume", run, "schedule.phases.all.epochs=4", "--force")
    assert (code, "nothing is left to train within limits.minutes=1e-06; raise it" in said) == (2, True)
    code, said = cnntrain("resume", run, "limits.minutes=null")
    assert code == 0, said
    assert len(history_of(run)) == 3


@pytest.mark.slow
def test_a_compiled_run_in_the_precision_of_the_device_records_what_it_chose(cnntrain, tmp_path, monkeypatch):
    monkeypatch.setattr("cnntrain.runtime.backend.processor_flags", lambda: {"avx512_bf16"})
    runs = [tmp_path / "compiled", tmp_path / "plain"]
    for run, words in zip(runs, (["compile=xla", "precision=auto"], ["precision=mixed_bfloat16"]), strict=True):
        code, said = cnntrain(*QUICK, *words, f"hydra.run.dir={run}")
        assert code == 0, said
    assert yaml.safe_load((runs[0] / "config.yaml").read_text())["precision"] == "mixed_bfloat16"
    losses = [float(history_of(run)[-1]["loss"]) for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
