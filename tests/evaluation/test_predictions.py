"""predictions.csv: what is read is what was written, to the bit."""

import dataclasses

import numpy as np
import pytest

from cnntrain.data.examples import Examples, Names, Table
from cnntrain.errors import DataError
from cnntrain.evaluation.predictions import BoxPredictions, Predictions, SplitPredictions

CLASS_NAMES = ("<b>", 'a "quoted", name', "line\nbreak", "byte \udcff")


def predictions(count=40, class_names=CLASS_NAMES):
    """Random answers to so many examples, in two splits of a table of twice as many."""
    random = np.random.default_rng(0)
    table = Table(
        images=None,
        labels=random.integers(0, len(class_names), 2 * count),
        ids=random.integers(0, 2**56, 2 * count),
        names=Names(paths=tuple(f'folder/"{n}",\udcfe.png' for n in range(2 * count))),
        class_names=class_names,
        parts={},
    )
    rows = random.permutation(2 * count)
    probabilities = random.dirichlet(np.ones(len(class_names)), count).astype(np.float32)
    half = count // 2
    return table, rows, Predictions.of_splits(
        {
            "validation": SplitPredictions(Examples(table, rows[:half]), probabilities[:half]),
            "test": SplitPredictions(Examples(table, rows[half:count]), probabilities[half:]),
        }
    )


def test_answers_are_read_as_they_were_written(tmp_path):
    table, rows, written = predictions()
    written.write(tmp_path / "predictions.csv")
    read = Predictions.read(tmp_path / "predictions.csv")
    assert read.class_names == CLASS_NAMES
    for name in ("ids", "names", "splits", "labels", "predicted", "probabilities"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name), err_msg=name)
    test = read.split("test")
    assert len(test) == 20
    assert test.names[3] == table.names[int(rows[20 + 3])]
    assert test.labels[3] == table.labels[rows[20 + 3]]
    assert test.probabilities.dtype == np.float32


def test_hits_and_confidence_are_those_of_the_likeliest_class():
    _, _, answers = predictions()
    np.testing.assert_array_equal(answers.hits, answers.probabilities.argmax(axis=1) == answers.labels)
    np.testing.assert_array_equal(answers.confidence, answers.probabilities.max(axis=1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"path,class_1\nx,y\n",
        b"id,name,split,true,predicted,probability: a\n",
        b"id,name,split,true,predicted,probability: a\n1,x,test,a,a\n2,y,test,a,a,1\n",
        b"id,name,split,true,predicted,probability: a\n1,x,test,b,a,1\n",
        b"id,name,split,true,predicted,probability: a\n1,x,test,a,a,much\n",
    ],
)
def test_files_that_hold_no_answers_are_named(tmp_path, content):
    path = tmp_path / "predictions.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match="predictions.csv: can't be read as a table of predictions"):
        Predictions.read(path)


def test_boxes_are_kept_beside_and_left_empty_where_there_is_none(tmp_path):
    _, _, answers = predictions()
    numbers = np.random.default_rng(1).random((40, 9)).astype(np.float32)
    numbers[7, :5] = np.nan
    with_boxes = dataclasses.replace(answers, boxes=BoxPredictions.from_numbers(numbers))
    with_boxes.write(tmp_path / "predictions.csv")
    read = Predictions.read(tmp_path / "predictions.csv")
    np.testing.assert_array_equal(read.boxes.numbers(), numbers)
    np.testing.assert_array_equal(read.probabilities, answers.probabilities)
    np.testing.assert_array_equal(read.split("test").boxes.predicted, numbers[20:, 5:])
    assert "nan" not in (tmp_path / "predictions.csv").read_text(errors="surrogateescape")
    answers.write(tmp_path / "without.csv")
    assert Predictions.read(tmp_path / "without.csv").boxes is None
