"""`cnntrain inspect RUN… --labels`: planted label errors come first, and the table goes back into training."""

import csv
import dataclasses

import numpy as np
import pytest

from cnntrain.evaluation.predictions import Predictions
from cnntrain.inspection.labels import merged, ranked
from tests.conftest import write_photos

COUNT, CLASSES = 400, 4


@pytest.fixture
def planted():
    """Confident predictions of the truth, and labels of which 20 are wrong."""
    random = np.random.default_rng(0)
    truth = np.arange(COUNT) % CLASSES
    logits = random.normal(size=(COUNT, CLASSES)) + 5 * np.eye(CLASSES)[truth]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    wrong = random.choice(COUNT, 20, replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % CLASSES
    names = np.array([f"{number}.png" for number in range(COUNT)], object)
    predictions = Predictions(
        ids=np.arange(COUNT),
        names=names,
        splits=np.full(COUNT, "test", object),
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        class_names=("a", "b", "c", "d"),
    )
    return predictions, wrong


def test_planted_errors_come_first(planted):
    predictions, wrong = planted
    found = ranked(predictions)
    assert len(np.intersect1d(found[:20], wrong)) >= 16
    assert (predictions.predicted[found] != predictions.labels[found]).all()


def test_labels_that_the_predictions_share_are_never_suspect(planted):
    predictions, _ = planted
    assert not len(ranked(dataclasses.replace(predictions, labels=predictions.predicted)))


def test_several_predictions_of_an_image_count_as_their_mean(planted):
    predictions, _ = planted
    other = dataclasses.replace(predictions, probabilities=predictions.probabilities[:, ::-1])
    found = merged([predictions, other])
    np.testing.assert_allclose(found.probabilities, (predictions.probabilities + other.probabilities) / 2)
    assert len(found) == COUNT


def test_a_cross_validation_gives_a_page_and_a_table_that_trains(cnntrain, tmp_path):
    photos = write_photos(tmp_path / "photos", {"bright": 8, "dark": 8})
    sweep = tmp_path / "sweep"
    words = ["data=folder", f"data.path={photos}", "batch_size=4", "schedule.phases.all.epochs=6", "report=false"]
    code, said = cnntrain("-m", *words, "data.folds=2", "data.fold=0,1", f"hydra.sweep.dir={sweep}")
    assert code == 0, said
    code, said = cnntrain("inspect", sweep, "--labels")
    assert code == 0, said
    assert "of 16 probably wrong, by 2 runs" in said and "were in no test" not in said
    page = (sweep / "suspect_labels.html").read_text()
    assert "Labels that look wrong" in page
    with open(sweep / "suspect_labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["image"] for row in rows) == sorted(
        str(path.relative_to(photos)) for path in photos.rglob("*") if path.is_file()
    )
    command = next(line for line in said.splitlines() if "train on the edited table" in line).partition("cnntrain ")[2]
    code, said = cnntrain(*command.split(), *words[2:], f"hydra.run.dir={tmp_path / 'again'}")
    assert code == 0, said


def test_what_is_no_run_and_runs_of_other_data_are_refused(cnntrain, tmp_path):
    code, said = cnntrain("inspect", "data=digits", "--labels")
    assert (code, "expected folders of runs, or a multirun's; received data=digits" in said) == (2, True)
    runs = []
    for number in (1, 2):
        photos = write_photos(tmp_path / f"photos{number}", {"bright": 3 + number, "dark": 4})
        runs.append(tmp_path / f"run{number}")
        words = ["data=folder", f"data.path={photos}", "batch_size=4", "limits.epochs_per_phase=1", "report=false"]
        assert cnntrain(*words, f"hydra.run.dir={runs[-1]}")[0] == 0
    code, said = cnntrain("inspect", *runs, "--labels")
    assert (code, "was trained on other data than" in said) == (3, True)
    code, said = cnntrain("inspect", runs[0], "--labels", "--out", tmp_path / "page.html")
    assert (code, "were in no test or validation set; a cross-validation covers all" in said) == (0, True)
    assert (tmp_path / "page.csv").is_file()
