"""What goes wrong outside of cnntrain is said in words, and what was there stays whole."""

import csv
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnntrain.checkpoints.checkpoint import checkpoints_in, newest, read_state
from cnntrain.data.sources.digits import Digits
from cnntrain.errors import TrainingError
from cnntrain.experiment import Experiment
from cnntrain.models.lenet5 import LeNet5
from cnntrain.optimization.optimizers import Adam
from cnntrain.optimization.schedule import Phase, Schedule
from cnntrain.training import resource_errors
from cnntrain.training.loop import TrainingLoop
from tests.conftest import full_disk, read_metrics, write_photos

EXPERIMENT = Experiment(
    model=LeNet5(), data=Digits(), optimizer=Adam(), schedule=Schedule(phases={"all": Phase()})
)
QUICK = [
    "report=false", "data=digits", "batch_size=16", "limits.steps=4", "optimizer.learning_rate=0.001",
    "checkpoint.min_seconds=0",
]  # fmt: skip


def assert_finite(run):
    """Neither the last checkpoint nor the best network holds NaN."""
    assert newest(run / "checkpoints")[0].state.not_finite() is None
    model = keras.models.load_model(run / "model.keras")
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def poison(monkeypatch, *, after, above=0.0, weights=False):
    """After so many steps and above such a learning rate, the loss, or only a weight, becomes NaN."""
    run_epoch = TrainingLoop.run_epoch

    def poisoned(self, batches, steps, *, done):
        for number in run_epoch(self, batches, steps, done=done):
            if self.optimizer.iterations > after and float(self.optimizer.learning_rate) > above:
                if weights:
                    self.model.trainable_variables[-1].assign(np.full(10, np.nan))
                else:
                    self.sums.totals[0] = float("inf")
            yield number

    monkeypatch.setattr(TrainingLoop, "run_epoch", poisoned)


def rates(run):
    with open(run / "history.csv", newline="") as file:
        return [float(row["learning_rate"]) for row in csv.DictReader(file)]


ROLLBACK = [*QUICK, "on_nan=rollback", "schedule.phases.all={epochs: 3, learning_rate_schedule: constant}"]


def test_a_rollback_goes_on_from_the_last_good_checkpoint_at_a_lower_rate(cnntrain, tmp_path, monkeypatch):
    run = tmp_path / "run"
    poison(monkeypatch, after=5, above=0.0007)
    code, said = cnntrain(*ROLLBACK, f"hydra.run.dir={run}")
    assert code == 0, said
    assert "the loss is inf by step" in said
    assert "rollback 1 of 3: going on after 1 epoch with 0.5 of the learning rate" in said
    assert rates(run) == pytest.approx([0.001, 0.0005, 0.0005])
    assert newest(run / "checkpoints")[0].state.facts["rollbacks"] == 1
    assert_finite(run)


def test_after_so_many_rollbacks_the_run_ends_all_the_same(cnntrain, tmp_path, monkeypatch):
    run = tmp_path / "run"
    poison(monkeypatch, after=-1)
    code, said = cnntrain(*ROLLBACK, "rollback.times=2", f"hydra.run.dir={run}")
    assert code == 4
    assert "rollback 2 of 2: going on after 0 epochs with 0.25 of the learning rate" in said
    assert "epoch 1 of phase all: the loss is inf by step" in said
    assert newest(run / "checkpoints")[0].state.not_finite() is None
    assert not (run / "model.keras").exists()
    monkeypatch.undo()
    assert cnntrain("resume", run, "schedule.phases.all.epochs=1")[0] == 0


def test_weights_that_are_not_numbers_end_the_run_before_they_are_saved(cnntrain, tmp_path, monkeypatch):
    run = tmp_path / "run"
    poison(monkeypatch, after=7, weights=True)
    code, said = cnntrain(*QUICK, "schedule.phases.all.epochs=3", f"hydra.run.dir={run}")
    assert code == 4
    assert "epoch 2 of phase all: class/bias holds NaN or infinity by step 4" in said
    assert len(rates(run)) == 1
    assert_finite(run)


def test_a_disk_without_room_is_said_and_what_was_there_is_whole(cnntrain, tmp_path):
    run = tmp_path / "run"
    words = [*QUICK, "schedule.phases.all.epochs=2", f"hydra.run.dir={run}"]
    with full_disk(3_000_000):  # the network has 1.5 MB, a checkpoint 4.4
        code, said = cnntrain(*words)
    assert code == 4
    assert f"{run}/checkpoints/000001-00000000.safetensors: can't be written: File too large (4.4 MB needed, " in said
    assert f"go on with cnntrain resume {run}" in said
    assert not list(run.rglob("*.unfinished.*")) and not checkpoints_in(run / "checkpoints")
    assert keras.models.load_model(run / "model.keras")
    assert cnntrain("resume", run)[0] == 0
    shutil.rmtree(run)
    with full_disk(1_000_000):
        code, said = cnntrain(*words)
    assert (code, f"{run}/model.keras: can't be written: File too large" in said) == (4, True)
    assert not (run / "model.keras").exists()


def test_weights_for_which_there_is_no_memory_are_answered_with_what_helps(cnntrain, tmp_path):
    code, said = cnntrain(*QUICK, "model.image_size=[12000,12000]", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 4
    assert "no memory left for a tensor of shape[431424192,256]" in said
    assert "lenet5 on batches of 16 images of 12000×12000 in float32" in said
    assert "Lower batch_size (with optimizer.gradient_accumulation_steps" in said and "precision=mixed_bfloat16" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[16,28,28,64]"),
        tf.errors.InternalError(None, None, "Failed to allocate shape[16,28,28,64] on GPU"),
        MemoryError("Unable to allocate shape[16,28,28,64]"),
    ],
)
def test_no_memory_in_training_is_answered_alike(error):
    with pytest.raises(TrainingError, match=r"no memory left for a tensor of shape\[16,28,28,64\]"):
        with resource_errors.named(EXPERIMENT, going_on="x"):
            raise error


def test_other_errors_are_left_as_they_are(tmp_path):
    for error in (tf.errors.InvalidArgumentError(None, None, "no"), FileNotFoundError(2, "no", "/elsewhere/x")):
        with pytest.raises(type(error)), resource_errors.named(EXPERIMENT, going_on="x", folder=tmp_path):
            raise error
    with pytest.raises(TrainingError, match="x: can't be written: no"):
        with resource_errors.named(EXPERIMENT, going_on="x", folder=tmp_path):
            raise PermissionError(13, "no", str(tmp_path / "x"))


def test_a_file_that_vanishes_in_mid_run_is_named_and_the_run_can_go_on(cnntrain, tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", {"dark": 12, "light": 12})
    run, gone = tmp_path / "run", photos / "dark" / "3.png"
    validate = "cnntrain.training.phase_trainer.PhaseTrainer.validate"
    from cnntrain.training.phase_trainer import PhaseTrainer

    whole = PhaseTrainer.validate

    def moving(self):
        if gone.exists():
            gone.rename(tmp_path / "kept.png")
        return whole(self)

    monkeypatch.setattr(validate, moving)
    words = ["data=folder", f"data.path={photos}", "data.validation=0", "data.test=0", "batch_size=6",
             "checkpoint.min_seconds=0"]  # fmt: skip
    code, said = cnntrain(*words, "schedule.phases.all.epochs=3", f"hydra.run.dir={run}")
    assert (code, "dark/3.png: the file is gone" in said) == (3, True)
    monkeypatch.setattr(validate, whole)
    assert "the data are not those that the run began with" in cnntrain("resume", run)[1]
    (tmp_path / "kept.png").rename(gone)
    assert cnntrain("resume", run)[0] == 0
    assert read_metrics(run) == {"best_epoch": 3}
    assert read_state(checkpoints_in(run / "checkpoints")[0]).facts["epochs"] == 3
