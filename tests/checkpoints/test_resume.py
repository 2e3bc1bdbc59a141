"""A run that is stopped anywhere and resumed ends as one that was never stopped, to the bit."""

import csv
import json
import os
import shutil
import signal

import keras
import pytest

from cnntrain.checkpoints.checkpoint import newest
from cnntrain.checkpoints.run_state import StateKeeper
from cnntrain.cli.main import main
from cnntrain.evaluation.loop import EvaluationLoop
from cnntrain.runtime import provenance
from cnntrain.runtime.run_dir import RunDir
from cnntrain.training import run as training_run
from tests.conftest import read_metrics

TIMES = ("seconds", "per_second")  # how the names of such columns end
DIGITS = ["report=false", "data=digits", "batch_size=16", "limits.steps=6", "augmentation=crop_flip"]
CONSTANT = [*DIGITS, "schedule=from_scratch", "schedule.phases.all.learning_rate_schedule=constant"]


class Killed(BaseException):
    """Stands for a SIGKILL; benchmarks/kill_and_resume.py sends real ones."""


@pytest.fixture(autouse=True)
def two_steps_a_call(monkeypatch):
    """A call of the graph has two steps, however fast they are: each epoch three calls."""
    monkeypatch.setattr("cnntrain.evaluation.loop.Pace.next", lambda self, remaining: min(2, remaining))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Two phases, with features of frozen layers, dropout and averaged weights."""
    backbone = tmp_path_factory.mktemp("backbone") / "run"
    assert main(["experiment=smoke", "report=false", "model.image_size=[12,12]", f"hydra.run.dir={backbone}"]) == 0
    return [
        *DIGITS, "model=transfer", f"model.weights={backbone}", "model.dropout=0.3", "optimizer=adamw",
        "optimizer.ema_momentum=0.9", "optimizer.learning_rate=0.003", "schedule=freeze_unfreeze",
        "schedule.phases.head.epochs=2", "schedule.phases.all.epochs=3", "checkpoint.every_minutes=1e-9",
        "checkpoint.min_seconds=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def expected(settings, tmp_path_factory):
    """The run that was left alone."""
    run = tmp_path_factory.mktemp("expected") / "run"
    assert main([*settings, f"hydra.run.dir={run}"]) == 0
    return run


def history_of(run):
    """The rows of history.csv but for how long they took."""
    with open(run / "history.csv", newline="") as file:
        return [{key: value for key, value in row.items() if not key.endswith(TIMES)} for row in csv.DictReader(file)]


def assert_equal(run, expected):
    """The two runs have the same weights, slots, seeds, history, best network and test results."""
    found, wanted = (newest(each / "checkpoints")[0].state for each in (run, expected))
    assert list(found.arrays) == list(wanted.arrays)
    assert [name for name in wanted.arrays if found.arrays[name].tobytes() != wanted.arrays[name].tobytes()] == []
    assert history_of(run) == history_of(expected)
    assert read_metrics(run) == read_metrics(expected)
    one, other = (keras.models.load_model(each / "model.keras").get_weights() for each in (run, expected))
    assert all((first == second).all() for first, second in zip(one, other, strict=True))


def at_call(monkeypatch, number, action, *, of=StateKeeper, name="save_within_epoch"):
    """Does something before the call of that number of a method; returns a function that mends it."""
    whole = getattr(of, name)
    calls = []

    def counting(self, *args, **kwargs):
        calls.append(True)
        if len(calls) == number:
            action()
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(of, name, counting)
    return lambda: monkeypatch.setattr(of, name, whole)


def kill():
    raise Killed


def test_a_signal_in_mid_epoch_saves_the_state_and_the_run_goes_on(
    settings, expected, cnntrain, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    mended = at_call(monkeypatch, 10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, said = cnntrain(*settings, f"hydra.run.dir={run}")
    mended()
    assert code == 143
    assert f"stopped after 3 epochs and 4 steps of the next; to go on: cnntrain resume {run}" in said
    code, said = cnntrain("resume", run)
    assert (code, "going on after 3 epochs and 4 steps of the next" in said) == (0, True)
    assert_equal(run, expected)
    assert json.loads((run / "run.json").read_text())["resumed"][0]["command"] == f"cnntrain resume {run}"
    assert "going on after" in (run / "log.txt").read_text()


def test_a_signal_in_validation_keeps_the_epochs_training(settings, expected, cnntrain, tmp_path, monkeypatch):
    run = tmp_path / "run"
    mended = at_call(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGINT), of=EvaluationLoop, name="run")
    assert cnntrain(*settings, f"hydra.run.dir={run}")[0] == 130
    mended()
    assert "going on after 1 epoch and 6 steps of the next" in cnntrain("resume", run)[1]
    assert_equal(run, expected)


def test_a_killed_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    settings, expected, cnntrain, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    mended = at_call(monkeypatch, 8, kill)
    with pytest.raises(Killed):
        cnntrain(*settings, f"hydra.run.dir={run}")
    mended()
    (run / "checkpoints" / ".000002-00000000.7.unfinished.safetensors").touch()
    last = sorted((run / "checkpoints").glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-5])
    code, said = cnntrain("resume", run)
    assert (code, f"{last}: is" in said, "; the one before is taken" in said) == (0, True, True)
    assert_equal(run, expected)
    assert not list(run.rglob("*.unfinished.*"))


@pytest.mark.parametrize(
    ("words", "call", "method"),
    [
        pytest.param([], 2, "save_within_epoch", marks=pytest.mark.slow),
        (["schedule.phases.all.image_size=[12,12]"], 5, "save_within_epoch"),
        pytest.param(["schedule.phases.all.batchnorm=frozen"], 1, "save_after_epoch", marks=pytest.mark.slow),
        (["optimizer.phases.all.learning_rate=300", "on_collapse=back"], 2, "save_after_epoch"),
    ],
)
def test_solved_heads_recalibrated_statistics_and_collapsed_phases_are_resumed(
    normalized, words, call, method, cnntrain, tmp_path, monkeypatch
):
    command = [*normalized, *words]
    assert cnntrain(*command, f"hydra.run.dir={tmp_path / 'whole'}")[0] == 0
    mended = at_call(monkeypatch, call, kill, name=method)
    with pytest.raises(Killed):
        cnntrain(*command, f"hydra.run.dir={tmp_path / 'run'}")
    mended()
    code, said = cnntrain("resume", tmp_path / "run")
    assert code == 0
    assert ("are taken back" in said) == ("on_collapse=back" in words)
    assert_equal(tmp_path / "run", tmp_path / "whole")


@pytest.fixture(scope="module")
def normalized(tmp_path_factory):
    """A solved head, then two epochs of all layers, whose normalization is recalibrated."""
    backbone = tmp_path_factory.mktemp("backbone") / "small.keras"
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(8, 3, padding="same", name="conv")(images)
    maps = keras.layers.BatchNormalization(name="bn")(maps)
    keras.Model(images, keras.layers.Dropout(0.2, name="drop")(maps)).save(backbone)
    return [
        *DIGITS, "model=transfer", f"model.weights={backbone}", "model.preprocess=unit", "on_collapse=warn",
        "schedule.phases.all.epochs=2",
        "schedule.phases.all.batchnorm=recalibrate", "checkpoint.every_minutes=1e-9", "checkpoint.min_seconds=0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A finished run of two epochs whose learning rate does not depend on the length."""
    run = tmp_path_factory.mktemp("short") / "run"
    assert main([*CONSTANT, "schedule.phases.all.epochs=2", f"hydra.run.dir={run}"]) == 0
    return run


def test_a_run_killed_before_its_first_checkpoint_begins_anew(short, cnntrain, tmp_path, monkeypatch):
    run = tmp_path / "run"
    mended = at_call(monkeypatch, 1, kill)
    with pytest.raises(Killed):
        cnntrain(*CONSTANT, "schedule.phases.all.epochs=2", f"hydra.run.dir={run}")
    mended()
    code, said = cnntrain("resume", run)
    assert (code, "the run begins anew" in said) == (0, True)
    assert_equal(run, short)


def test_a_finished_run_is_left_alone_and_can_be_extended(short, cnntrain, tmp_path, monkeypatch):
    run, longer = tmp_path / "run", tmp_path / "longer"
    shutil.copytree(short, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, said = cnntrain("resume", run)
    assert (code, "finished already; schedule.phases.all.epochs=… makes it longer" in said) == (0, True)
    code, said = cnntrain("resume", run, "schedule.phases.all.epochs=3", "limits.epochs_per_phase=2")
    assert (code, "nothing is left to train: all has 2 epochs, since limits.epochs_per_phase=2" in said) == (2, True)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    mended = at_call(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM), of=training_run, name="test")
    code, said = cnntrain("resume", run, "schedule.phases.all.epochs=3")
    mended()
    assert (code, f"stopped after 3 epochs; to go on: cnntrain resume {run}" in said) == (143, True)
    assert not RunDir(run).finished
    assert cnntrain("resume", run)[0] == 0
    assert cnntrain(*CONSTANT, "schedule.phases.all.epochs=3", f"hydra.run.dir={longer}")[0] == 0
    assert_equal(run, longer)
    assert RunDir(run).read_config() == RunDir(longer).read_config()
    changes = json.loads((run / "run.json").read_text())["resumed"][0]["changes"]
    assert changes == ["schedule.phases.all.epochs: 3, was 2"]


REFUSED = [
    (["optimizer.learning_rate=1"], "  optimizer.learning_rate: 1.0, was 0.0"),
    (["seed=3", "batch_size=8"], "  batch_size: 8, was 16"),
    (["schedule.phases.all.epochs=1"], "  schedule.phases.all: 1 epoch, was 2: it has had 2 already"),
    (["schedule.phases.all.early_stopping_patience=1"], "  schedule.phases.all.early_stopping_patience: 1, was None"),
    (["schedule.phases.all.learning_rate_schedule=cosine", "schedule.phases.all.epochs=5"], "the rate depends on it"),
    (["+schedule.phases.more.epochs=2", "data.split_seed=4"], "  data.split_seed: 4, was 0"),
]


@pytest.mark.parametrize(("words", "text"), REFUSED)
def test_what_would_give_another_result_is_refused_with_a_list(short, cnntrain, words, text):
    before = {path: path.stat().st_mtime_ns for path in short.rglob("*")}
    code, said = cnntrain("resume", short, *words)
    assert code == 2
    assert f"{short}: stands after 2 epochs; going on would give another result:" in said
    assert text in said and "--force goes on nevertheless" in said
    assert {path: path.stat().st_mtime_ns for path in short.rglob("*")} == before


def test_other_versions_code_and_data_are_refused_unless_forced(short, cnntrain, tmp_path, monkeypatch):
    run = shutil.copytree(short, tmp_path / "run")
    longer = ["resume", run, "schedule.phases.all.epochs=3"]
    record = json.loads((run / "run.json").read_text())
    record["versions"]["keras"], record["code"], record["data_fingerprint"] = "2.0", "other", "other"
    record["machine"]["processor"] = "abacus"
    (run / "run.json").write_text(json.dumps(record))
    code, said = cnntrain(*longer)
    assert code == 2
    assert f"  keras is {provenance.version('keras')}, was 2.0" in said and "  cnntrain's own code is that of" in said
    record |= {"versions": provenance.provenance()["versions"], "code": provenance.code_fingerprint()}
    (run / "run.json").write_text(json.dumps(record))
    code, said = cnntrain(*longer)
    assert (code, "the data are not those that the run began with" in said) == (3, True)
    code, said = cnntrain(*longer, "--force")
    assert (code, "on another machine the last bits of results may differ: processor" in said) == (0, True)
    assert len(history_of(run)) == 3
    assert json.loads((run / "run.json").read_text())["data_fingerprint"] != "other"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model=resnet9"], "a run keeps its options; expected the full key of a value, model.…=…"),
        (["~seed"], "expected KEY=VALUE"),
        (["hydra.run.dir=x"], "expected KEY=VALUE"),
        (["seed.x=1"], "seed is a value and has no keys below it"),
        (["sed=1"], "sed: no such key: did you mean seed?"),
    ],
)
def test_words_that_can_not_change_a_run_are_named(short, cnntrain, words, text):
    code, said = cnntrain("resume", short, *words)
    assert code == 2
    assert text in said


def test_a_multirun_goes_on_with_jobs_that_were_stopped_or_never_began(cnntrain, tmp_path, monkeypatch, photos):
    sweep = tmp_path / "sweep"
    monkeypatch.chdir(photos.parent)
    words = ["data=folder", f"data.path={photos.name}", "batch_size=4", "schedule.phases.all.epochs=2"]
    mended = at_call(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert cnntrain("-m", *words, "seed=1,2,3", f"hydra.sweep.dir={sweep}")[0] == 143
    mended()
    assert len(list(sweep.glob("*/metrics.json"))) == 1
    first = (sweep / "0" / "metrics.json").stat().st_mtime_ns
    monkeypatch.chdir(sweep)
    photos.rename(tmp_path / "elsewhere")
    code, said = cnntrain("resume", sweep)
    assert (code, said.count("does not exist; expected a folder")) == (3, 2)
    code, said = cnntrain("resume", sweep, f"data.path={tmp_path / 'elsewhere'}", "checkpoint.keep=1")
    assert code == 0, said
    assert "going on after" in said and f"{sweep / '0'}: finished already" in said
    assert (sweep / "0" / "metrics.json").stat().st_mtime_ns == first
    assert [RunDir(sweep / name).read_record()["seed"] for name in "012"] == [1, 2, 3]
    assert all(len(history_of(sweep / name)) == 2 and read_metrics(sweep / name) for name in "012")
    assert "finished already" in cnntrain("resume", sweep)[1]


def test_a_run_in_which_another_process_trains_is_refused(short, cnntrain):
    held = RunDir.reopen(short)
    code, said = cnntrain("resume", short, "schedule.phases.all.epochs=3")
    held.close()
    assert (code, "another process trains in this folder" in said) == (2, True)


def test_a_finished_run_without_checkpoints_is_not_begun_anew(short, cnntrain, tmp_path):
    run = shutil.copytree(short, tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    code, said = cnntrain("resume", run, "schedule.phases.all.epochs=3")
    assert (code, "no checkpoint is left" in said) == (2, True)
    assert read_metrics(run)
