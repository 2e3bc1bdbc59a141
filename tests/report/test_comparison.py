"""`cnntrain compare`: runs side by side, and whether they differ by more than chance."""

import dataclasses
import json

import numpy as np
import pytest

from cnntrain.evaluation.metrics import classification_metrics
from cnntrain.evaluation.predictions import Predictions
from cnntrain.runtime.run_dir import RunDir
from cnntrain.settings import to_mapping

LABELS = np.random.default_rng(0).integers(0, 3, 600)
CLASS_NAMES = ("a", "b", "<b>c</b>")


def write_tested_run(path, hits, *words, ids=None):
    """A folder as a run leaves it that was right for these of 600 test images (600,), without a network."""
    from cnntrain.cli.main import only_experiment

    experiment = only_experiment(["model=lenet5", *words])
    answers = np.where(hits, LABELS, (LABELS + 1) % 3)
    probabilities = np.full((600, 3), 0.1, np.float32)
    probabilities[np.arange(600), answers] = 0.8
    run_dir = RunDir.create(path, exact=True)
    run_dir.write_config(to_mapping(experiment))
    record = {"class_names": CLASS_NAMES, "parameters": 1000, "input": {}, "data_fingerprint": "", "class_counts": {}}
    run_dir.write_json(run_dir.record, record)
    row = {"phase": "all", "epoch": 1, "learning_rate": 0.1, "loss": 1.0, "accuracy": 0.5, "val_loss": ""}
    run_dir.write_history([{**row, "val_accuracy": "", "seconds": 61.5, "images_per_second": 100.0}])
    found = classification_metrics(probabilities, LABELS, CLASS_NAMES)
    run_dir.write_json(run_dir.metrics, {"best_epoch": 1, "test": found})
    Predictions(
        ids=np.arange(600) if ids is None else ids,
        names=np.array([f"photo {number}" for number in range(600)], object),
        splits=np.full(600, "test", object),
        labels=LABELS,
        predicted=answers,
        probabilities=probabilities,
        class_names=CLASS_NAMES,
    ).write(run_dir.predictions)
    run_dir.close()
    return path


def right_for(share, seed):
    """Hits (600,) of about such a share."""
    return np.random.default_rng(seed).random(600) < share


def compared(cnntrain, *words):
    code, said = cnntrain("compare", *words, "--json")
    assert code == 0, said
    return json.loads(said.splitlines()[-1])


def test_two_seeds_do_not_differ_and_it_says_so(cnntrain, tmp_path):
    first = write_tested_run(tmp_path / "first", right_for(0.8, 1), "seed=1")
    no_difference = ["report=false", "checkpoint.keep=1", "tracker=tensorboard"]
    second = write_tested_run(tmp_path / "second", right_for(0.8, 2), "seed=2", *no_difference)
    code, said = cnntrain("compare", first, second)
    assert code == 0
    assert "the difference is within chance: these test images do not tell the two apart" in said
    found = compared(cnntrain, first, second)
    assert [run["values"] for run in found["runs"]] == [{"seed": "1"}, {"seed": "2"}]
    assert found["paired"]["differ"] is False
    (group,) = found["groups"]
    accuracies = [right_for(0.8, seed).mean() for seed in (1, 2)]
    assert group["mean"] == pytest.approx(np.mean(accuracies))
    assert group["deviation"] == pytest.approx(np.std(accuracies, ddof=1))


def test_a_better_run_is_named_whichever_comes_first(cnntrain, tmp_path):
    weak, strong = right_for(0.7, 1), right_for(0.9, 2)
    first = write_tested_run(tmp_path / "first", weak, "optimizer.learning_rate=0.1")
    order = np.random.default_rng(3).permutation(600)  # the same images in another order
    second = write_tested_run(tmp_path / "second", strong, "model.antialias=true")
    answers = Predictions.read(second / "predictions.csv")
    dataclasses.replace(answers.only(order)).write(second / "predictions.csv")
    found = compared(cnntrain, first, second)
    paired = found["paired"]
    assert paired["only_second"] == int((strong & ~weak).sum()) == len(paired["names"]["only_second"])
    assert paired["names"]["only_first"] == [f"photo {number}" for number in np.flatnonzero(weak & ~strong)]
    assert paired["difference"] == pytest.approx(strong.mean() - weak.mean())
    assert found["runs"][1]["values"] == {"model.antialias": "true", "optimizer.learning_rate": "0.002"}
    assert "the second is better, by more than chance explains" in cnntrain("compare", first, second)[1]
    assert "the first is better, by more than chance explains" in cnntrain("compare", second, first)[1]


def test_runs_on_other_images_get_no_verdict(cnntrain, tmp_path):
    first = write_tested_run(tmp_path / "first", right_for(0.7, 1))
    second = write_tested_run(tmp_path / "second", right_for(0.9, 2), ids=np.arange(600) + 1)
    found = compared(cnntrain, first, second)
    assert found["paired"] is None
    assert found["verdicts"] == ["no verdict image by image: the two were tested on different images"]
    (second / "predictions.csv").unlink()
    assert "second has no predictions of test images in predictions.csv" in cnntrain("compare", first, second)[1]


def test_groups_of_seeds_are_compared_by_their_means(cnntrain, tmp_path):
    for number, (share, rate) in enumerate([(0.7, 0.1), (0.9, 0.2)] * 3):
        words = [f"optimizer.learning_rate={rate}", f"seed={number}"]
        write_tested_run(tmp_path / str(number), right_for(share, number), *words)
    code, said = cnntrain("compare", tmp_path)
    assert (code, "the two groups differ by more than chance explains" in said) == (0, True)
    found = compared(cnntrain, tmp_path)
    assert [len(group["runs"]) for group in found["groups"]] == [3, 3]
    assert found["groups_p_value"] < 0.01
    assert found["paired"] is None


def test_a_page_shows_the_same_with_names_as_text(cnntrain, tmp_path):
    first = write_tested_run(tmp_path / "<i>first", right_for(0.7, 1), "seed=1")
    second = write_tested_run(tmp_path / "second", right_for(0.9, 2), "seed=2")
    code, _ = cnntrain("compare", first, second, "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert (code, "<i>" in page, "&lt;i&gt;first" in page, "the second is better" in page) == (0, False, True, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["{run}"], 2, "expected two runs or more, or a multirun's folder"),
        (["{run}", "{run}"], 2, "expected two runs or more"),
        (["{run}", "{tmp}/none"], 3, "expected a run's folder"),
        (["{run}", "{run}", "--out", "page.pdf"], 2, "--out: expected a file that ends in .html"),
        ([], 2, "required: RUN"),
    ],
)
def test_requests_that_make_no_sense_are_answered(cnntrain, tmp_path, words, code, text):
    run = write_tested_run(tmp_path / "run", right_for(0.7, 1))
    found, said = cnntrain("compare", *(word.format(run=run, tmp=tmp_path) for word in words))
    assert (found, text in said) == (code, True), said
