"""What trackers keep of a run is what its folder says; and none of them can harm it."""

import csv
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from cnntrain.checkpoints import resume
from cnntrain.cli.main import main
from cnntrain.errors import Stopped, TrainingError
from cnntrain.runtime.run_dir import RunDir
from cnntrain.trackers import Tracking, base
from cnntrain.trackers.listener import Followers, known_ids, tracked_run, undisturbed
from cnntrain.trackers.mlflow import MLflow, MLflowTracker
from cnntrain.trackers.tensorboard import TensorBoard
from tests.conftest import read_metrics

WORDS = [
    "limits.steps=2", "report=false", "schedule=from_scratch", "schedule.phases.all.epochs=2",
    "schedule.phases.all.learning_rate_schedule=constant", "checkpoint.min_seconds=0",
]  # fmt: skip


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's store is found from where a command is typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


class Kept(NamedTuple):
    """What was to be seen of a run when it had ended: in its folder, in MLflow, and in TensorBoard."""

    rows: list[dict[str, float]]
    results: dict[str, Any]
    weights: list[np.ndarray]
    mlflow: Any
    metrics: dict[str, list[tuple[int, float]]]
    files: set[str]
    events: dict[str, list[tuple[int, Any]]]

    @classmethod
    def of(cls, run: Path) -> "Kept":
        """Reads all of it."""
        return cls(history(run), read_metrics(run), weights(run), *in_mlflow(run), in_tensorboard(run))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, with all trackers; a test goes on with it."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / "wandb_files"))
        assert main([*WORDS, "tracker=mlflow,tensorboard,wandb", f"hydra.run.dir={folder / 'first'}"]) == 0
    return folder / "first"


@pytest.fixture(scope="module")
def kept(run: Path) -> Kept:
    """What was to be seen when those two epochs had ended."""
    return Kept.of(run)


def history(run: Path) -> list[dict[str, float]]:
    """The numbers of history.csv, by epoch."""
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if name != "phase" and value} for row in rows]


def in_mlflow(run: Path):
    """What MLflow's store has of a run: the run, the values of each metric at each step, and its files."""
    with undisturbed():
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{run.parent}/outputs/mlflow.db")
        [found] = client.search_runs([client.get_experiment_by_name("cnntrain").experiment_id])
        metrics = {
            name: [(point.step, point.value) for point in client.get_metric_history(found.info.run_id, name)]
            for name in found.data.metrics
        }
        return found, metrics, {file.path for file in client.list_artifacts(found.info.run_id)}


def in_tensorboard(run: Path) -> dict[str, list[tuple[int, Any]]]:
    """All values that a run's event files hold, by tag: numbers, texts, and the PNG files of pictures."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[str, list[tuple[int, Any]]] = {}
    for path in sorted((run / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                array = make_ndarray(value.tensor) if value.HasField("tensor") else None
                found.setdefault(value.tag, []).append((event.step, array))
    return found


def singles(values: list[tuple[int, Any]]) -> list[tuple[int, float]]:
    """Numbers at steps as TensorBoard keeps them: in single precision."""
    return [(step, float(np.float32(value))) for step, value in values]


def test_mlflow_and_tensorboard_hold_the_numbers_of_the_run(kept: Kept):
    names = set(kept.rows[0]) - {"epoch"}
    assert names >= {"loss", "val_accuracy", "learning_rate", "seconds", "images_per_second"}
    for name in names:
        expected = [(int(row["epoch"]), row[name]) for row in kept.rows]
        assert len(expected) == 2
        assert kept.metrics[name] == expected
        assert singles(kept.events[name]) == singles(expected)
    for name in ("accuracy", "loss", "examples"):
        expected = [(kept.results["best_epoch"], kept.results["test"][name])]
        assert kept.metrics[f"test_{name}"] == expected
        assert singles(kept.events[f"test_{name}"]) == singles(expected)


def test_mlflow_and_tensorboard_hold_the_pictures_and_the_configuration_of_the_run(kept: Kept, run: Path):
    assert kept.files == {"config.yaml", "curves.png", "confusion.png"}
    for picture in ("curves", "confusion"):
        [(epoch, content)] = kept.events[picture]
        assert epoch == 2
        assert content[2].startswith(b"\x89PNG")
    assert kept.events["confusion"][0][1][2] == (run / "confusion.png").read_bytes()
    assert kept.mlflow.data.params["optimizer.learning_rate"] == "0.002"
    assert "| optimizer.learning_rate | 0.002 |" in str(kept.events["configuration"][0][1])
    assert kept.mlflow.data.tags["command"].startswith("cnntrain train limits.steps=2")
    assert (kept.mlflow.info.run_name, kept.mlflow.info.status) == ("first", "FINISHED")


def test_a_run_whose_tracker_fails_has_the_same_weights(cnntrain, tmp_path, monkeypatch, kept):
    monkeypatch.setattr(TensorBoard, "build", lambda self: Failing("log"))
    code, output = cnntrain(*WORDS, "tracker=tensorboard", f"hydra.run.dir={tmp_path / 'run'}")
    assert code == 0
    assert output.count("warning: tracker tensorboard is left out") == 1
    assert all(np.array_equal(one, other) for one, other in zip(kept.weights, weights(tmp_path / "run"), strict=True))


def test_a_run_that_goes_on_from_an_earlier_checkpoint_has_each_epoch_once(cnntrain, kept, run, monkeypatch):
    for path in (run / "checkpoints").glob("000002*"):
        path.unlink()
    monkeypatch.chdir("/")
    code, output = cnntrain("resume", run, "schedule.phases.all.epochs=3")
    assert code == 0, output
    assert "going on after 1 epoch" in output
    assert "warning" not in output
    later = Kept.of(run)  # whose `mlflow` is the only run of its experiment
    assert later.mlflow.info.run_id == kept.mlflow.info.run_id
    assert later.mlflow.info.status == "FINISHED"
    expected = [(int(row["epoch"]), row["val_loss"]) for row in later.rows]
    assert len(expected) == 3
    assert later.metrics["val_loss"] == expected
    assert singles(later.events["val_loss"]) == singles(expected)
    newest = {step: value for step, value in later.metrics["seconds"]}
    assert newest == {int(row["epoch"]): row["seconds"] for row in later.rows}
    in_wandb(run)


def in_wandb(run: Path) -> None:
    """Holds that W&B kept both parts of a run under one id, each with all its epochs."""
    number = json.loads((run / "trackers.json").read_text())["wandb"]
    stores = sorted((run / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))
    assert [steps_in(store) for store in stores] == [[1, 2], [1, 2, 3]]
    assert {path.name.partition("_")[0] for path in (run / "wandb").rglob("*.png")} == {"curves", "confusion"}


def steps_in(store: Path) -> list[int]:
    """The steps at which one of W&B's files has a validation loss, as it has them."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for content in records_in(store.read_bytes()):
        values = {item.key or item.nested_key[0]: item.value_json for item in Record.FromString(content).history.item}
        if "val_loss" in values:
            found.append(int(values["_step"]))
    return found


def records_in(content: bytes) -> Iterator[bytes]:
    """The records of W&B's file, which is a log as LevelDB writes them: in blocks of 32 KiB, after 7 bytes of its own.

    A part of a record has a header of 7 bytes: checksum, length, and whether it is all (1), the first part (2), one
    between (3), or the last (4).
    """
    place, record = 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


class Failing:
    """A tracker that fails in its own way, after it has used up random numbers."""

    def __init__(self, method: str):
        self.method = method
        self.calls: list[str] = []

    def told(self, method: str) -> None:
        random.random()  # noqa: S311
        np.random.rand()
        np.random.seed(0)
        self.calls.append(method)
        if method == self.method:
            raise RuntimeError("no connection\nand a long story")

    def begin(self, run, tracker_run):
        self.told("begin")

    def log(self, history):
        self.told("log")

    def result(self, metrics, *, epoch):
        self.told("result")

    def finish(self, status, pictures, *, epoch):
        self.told("finish")


@pytest.mark.parametrize("method", ["begin", "log", "result", "finish"])
def test_a_tracker_that_fails_is_reported_once_and_told_nothing_more(tmp_path, monkeypatch, method):
    failing, said = Failing(method), []
    followers = followers_of(tmp_path, failing, said, monkeypatch)
    with followers.following([]):
        followers.log([{"epoch": 1}])
        followers.result({}, epoch=1)
    assert failing.calls == ["begin", "log", "result", "finish"][: len(failing.calls)]
    assert failing.calls[-1] == method
    assert said == [
        "tracker tensorboard is left out from now on; the run goes on without it: RuntimeError: no connection"
    ]


def followers_of(folder: Path, tracker, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Followers:
    """The followers of a run's folder, of which the only one is `tracker`."""
    monkeypatch.setattr(TensorBoard, "build", lambda self: tracker)
    run_dir = RunDir(folder)
    run_dir.write_config({})
    facts = {"command": "cnntrain", "started": "now", "data_fingerprint": "0", "input": {}, "class_names": []}
    run_dir.write_json(run_dir.record, {**facts, "class_counts": {}})
    return Followers(Tracking(tensorboard=TensorBoard()), run_dir, said.append)


def test_a_job_of_a_multirun_is_named_by_two_folders(tmp_path, monkeypatch):
    run_dir = followers_of(tmp_path / "12-30-00" / "0", Failing("never"), [], monkeypatch).run_dir
    assert tracked_run(run_dir).name == "0"
    run_dir.write_json(run_dir.record, {**run_dir.read_record(), "job": 0})
    assert tracked_run(run_dir).name == "12-30-00/0"


@pytest.mark.parametrize(
    ("content", "expected"),
    [('{"mlflow": "0a"}', {"mlflow": "0a"}), ('{"wandb": "../a", "mlflow": 1}', {}), ("[1", {}), ("[]", {})],
)
def test_ids_that_no_tracker_gave_are_left_aside(tmp_path, content, expected):
    (tmp_path / "trackers.json").write_text(content)
    assert known_ids(tmp_path / "trackers.json") == expected


def test_trackers_change_no_result_so_that_resume_takes_others():
    assert resume.is_harmless("tracker.mlflow.experiment")


@pytest.mark.parametrize(("error", "status"), [(TrainingError("diverged"), "failed"), (Stopped(2), "stopped")])
def test_trackers_are_told_how_a_run_ends(tmp_path, monkeypatch, error, status):
    told = []
    tracker = Failing("never")
    tracker.finish = lambda status, pictures, *, epoch: told.append(status)
    followers = followers_of(tmp_path, tracker, [], monkeypatch)
    with pytest.raises(type(error)), followers.following([]):
        raise error
    assert told == [status]


def weights(run: Path) -> list[np.ndarray]:
    """All weights of a run's network."""
    import keras

    return keras.saving.load_model(run / "model.keras", compile=False).get_weights()


def test_a_store_that_cant_be_reached_is_reported(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    said: list[str] = []
    followers = followers_of(tmp_path, MLflowTracker(MLflow(uri="sqlite:///file/mlflow.db")), said, monkeypatch)
    with followers.following([{"epoch": 1}]):
        pass
    assert followers.next_commands() == []
    assert len(said) == 1
    assert "it: FileExistsError: [Errno 17] File exists" in said[0]


def test_mlflow_begins_anew_where_its_run_was_lost_and_takes_names_of_any_kind(tmp_path, kept, run):
    tracker = MLflowTracker(MLflow(uri=f"sqlite:///{run.parent}/outputs/mlflow.db", experiment="other"))
    (tmp_path / "config.yaml").write_text("")
    values = {"class_weights.dog/cat: <b>": 1.0}
    tracked = base.TrackedRun("a", tmp_path, values, {}, tmp_path / "config.yaml")
    with undisturbed():
        assert tracker.begin(tracked, "0" * 32) != "0" * 32
        assert tracker.client.get_run(tracker.run_id).data.params == {"class_weights.dog_cat_ _b_": "1.0"}
        tracker.finish("stopped", [], epoch=1)
        assert tracker.client.get_run(tracker.run_id).info.status == "KILLED"


def test_a_missing_package_is_said_before_anything_is_written(cnntrain, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    for words in (["tracker=mlflow"], ["-m", "seed=1,2", "tracker=mlflow"]):
        code, output = cnntrain(*words)
        assert code == 2
        assert output.strip() == (
            "tracker.mlflow: needs mlflow, sqlalchemy, alembic; pip install 'cnntrain[mlflow]' brings them, and"
            " tracker.mlflow=null goes without"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_mere_folder_of_a_packages_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "not_a_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(base.ConfigError, match="tracker.x: needs not_a_package"):
        base.check_packages("x", ["not_a_package"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tracker=mlfow", "tracker=mlfow: no such option: did you mean mlflow?"),
        ("tracker=mlflow,excel", "tracker=excel: no such option: valid: mlflow, none, tensorboard, wandb"),
        ("tracker.wandb.mode=onlin", "tracker.wandb.mode: expected offline or online; received 'onlin'; did you mean"),
        ("tracker.mlflow.uri=mlruns", "tracker.mlflow.uri: expected sqlite:///FILE or the address of a server; receiv"),
        ("tracker.tensorboard.folder=x", "tracker.tensorboard.folder: no such key: valid: none"),
    ],
)
def test_mistakes_about_trackers_are_answered(cnntrain, words, expected):
    code, output = cnntrain(words)
    assert code == 2
    assert expected in output


def test_a_mistyped_tracker_in_a_users_yaml_is_answered(cnntrain, tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /tracker: [mlflow, wandbb]\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    code, output = cnntrain("--config-dir", tmp_path, "experiment=mine")
    assert code == 2
    assert "mine.yaml: defaults: tracker: no such option 'wandbb': did you mean wandb?" in output


@pytest.mark.parametrize("words", ["tracker=mlflow,wandb", "tracker=[mlflow,wandb]", "tracker=[none,wandb,mlflow]"])
def test_several_trackers_are_chosen_at_once_in_a_multirun_too(words):
    from cnntrain.cli.main import checked

    for command in ([words], ["-m", "seed=1,2", words]):
        experiments = checked(command)[2]
        assert len(experiments) == len(command) - (len(command) > 1)
        assert all(set(experiment.tracker.chosen()) == {"mlflow", "wandb"} for experiment in experiments)


def test_a_server_is_taken_from_mlflows_own_variable(monkeypatch):
    from cnntrain.cli.main import only_experiment

    assert only_experiment(["tracker=mlflow"]).tracker.mlflow.uri == "sqlite:///outputs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org:5000")
    tracking = only_experiment(["tracker=mlflow"]).tracker
    assert tracking.mlflow.uri == "https://mlflow.example.org:5000"
    assert tracking.wherever_started() == tracking
