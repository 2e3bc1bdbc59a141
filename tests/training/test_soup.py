"""`cnntrain soup`: the mean of weights, never worse on validation than the best run, and an ordinary run folder."""

import json

import keras
import numpy as np
import pytest

from cnntrain.training.soup import mean_of
from tests.conftest import read_metrics

WORDS = [
    "model=transfer", "model.preprocess=unit", "data=digits", "report=false", "batch_size=32", "limits.steps=12",
    "schedule.phases.all.epochs=2", "optimizer.phases.all.learning_rate=0.001",
]  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A small network with BatchNormalization, as a .keras file."""
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(12, 3, padding="same", name="conv")(images)
    maps = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="bn")(maps))
    path = tmp_path_factory.mktemp("backbone") / "small.keras"
    keras.Model(images, maps).save(path)
    return path


@pytest.fixture(scope="module")
def runs(backbone, tmp_path_factory):
    """Three runs of one network that differ in their seed; the third also in what normalization did."""
    from cnntrain.cli.main import main

    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2, 3):
        words = ["schedule.phases.all.batchnorm=train"] if seed == 3 else []
        folder = f"hydra.run.dir={root / str(seed)}"
        assert main([*WORDS, *words, f"model.weights={backbone}", f"seed={seed}", folder]) == 0
    return [root / name for name in "123"]


def validation_of(cnntrain, run):
    code, said = cnntrain("evaluate", run, "--split", "validation", "--json")
    assert code == 0, said
    return json.loads(said.splitlines()[-1])["validation"]


def test_the_soup_is_never_worse_on_validation_and_a_run_like_any_other(cnntrain, runs, tmp_path):
    soup = tmp_path / "soup"
    code, said = cnntrain("soup", *runs, "--out", soup)
    assert code == 0, said
    scores = [validation_of(cnntrain, run)["accuracy"] for run in runs]
    assert validation_of(cnntrain, soup)["accuracy"] >= max(scores)
    record = json.loads((soup / "run.json").read_text())["soup"]
    assert record["validation"] == pytest.approx(validation_of(cnntrain, soup)["accuracy"])
    assert set(one["run"] for one in record["ingredients"]) <= {str(run) for run in runs}
    assert read_metrics(soup)["test"]["accuracy"] > 0
    for verb in (["compare", soup, runs[0]], ["report", soup], ["resume", soup]):
        code, said = cnntrain(*verb)
        assert code == 0, said


def test_the_soup_of_a_run_with_itself_is_that_run(cnntrain, runs, tmp_path):
    twin = tmp_path / "twin"
    import shutil

    shutil.copytree(runs[0], twin)
    assert cnntrain("soup", runs[0], twin, "--out", tmp_path / "soup")[0] == 0
    one, other = (keras.models.load_model(run / "model.keras").get_weights() for run in (runs[0], tmp_path / "soup"))
    assert all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_the_mean_keeps_each_arrays_type():
    found = mean_of([[np.float32([1, 2]), np.uint32([3])], [np.float32([3, 2]), np.uint32([3])]])
    assert [array.tolist() for array in found] == [[2, 2], [3]]
    assert [array.dtype for array in found] == [np.float32, np.uint32]


def test_what_does_not_belong_together_is_refused_and_nothing_written(cnntrain, runs, backbone, tmp_path):
    other = tmp_path / "other"
    words = [*WORDS, f"model.weights={backbone}", "data.split_seed=5"]
    assert cnntrain(*words, f"hydra.run.dir={other}")[0] == 0
    for arguments, code, text in [
        ([runs[0], other], 3, "data.split_seed is 5, and 0 in"),
        ([runs[0]], 2, "expected two runs or more"),
        ([*runs, "--out", runs[0]], 2, "holds a run already"),
    ]:
        found, said = cnntrain("soup", "--out", tmp_path / "soup", *arguments)
        assert (found, text in said) == (code, True), said
    assert not (tmp_path / "soup").exists()
