"""Splits are stratified, fixed by their seed, and never overlap."""

from dataclasses import replace

import numpy as np
import pytest

from cnntrain.data.sources.base import Source
from cnntrain.data.splits import divide, rows_of
from cnntrain.errors import DataError

LABELS = np.repeat(np.arange(4), [40, 30, 20, 10])
PARTS = {"train": (0, 100)}
SOURCE = Source(source="any", validation=0.2, test=0.1)


def as_lists(rows):
    return [rows.train.tolist(), rows.validation.tolist(), rows.test.tolist()]


def test_every_example_is_in_exactly_one_split():
    rows = divide(SOURCE, LABELS, PARTS)
    assert sorted(sum(as_lists(rows), [])) == list(range(100))
    assert [len(split) for split in as_lists(rows)] == [70, 20, 10]


def test_fractions_are_even_over_the_classes():
    rows = divide(SOURCE, LABELS, PARTS)
    assert np.bincount(LABELS[rows.test]).tolist() == [4, 3, 2, 1]
    assert np.bincount(LABELS[rows.validation]).tolist() == [8, 6, 4, 2]


def test_the_split_seed_fixes_the_split():
    assert as_lists(divide(SOURCE, LABELS, PARTS)) == as_lists(divide(SOURCE, LABELS, PARTS))
    other = divide(replace(SOURCE, split_seed=1), LABELS, PARTS)
    assert as_lists(other) != as_lists(divide(SOURCE, LABELS, PARTS))


def test_folds_are_stratified_and_cover_everything_once():
    source = replace(SOURCE, folds=5, validation=0.0, test=None)
    folds = [divide(replace(source, fold=fold), LABELS, PARTS) for fold in range(5)]
    assert sorted(np.concatenate([rows.test for rows in folds]).tolist()) == list(range(100))
    for rows in folds:
        assert np.bincount(LABELS[rows.test]).tolist() == [8, 6, 4, 2]
        assert not np.intersect1d(rows.train, rows.test).size


def test_a_class_of_one_image_stays_in_training():
    labels = np.array([0] * 9 + [1])
    rows = divide(replace(SOURCE, validation=0.4, test=0.4), labels, {"train": (0, 10)})
    assert 9 in rows.train


def test_named_parts_are_found_without_being_asked_for():
    parts = {"train": (0, 50), "validation": (50, 70), "test": (70, 100)}
    rows = divide(Source(source="any"), LABELS, parts)
    assert [len(split) for split in as_lists(rows)] == [50, 20, 30]


def test_slices_count_as_tensorflow_datasets_does():
    parts = {"train": (10, 3680)}
    assert rows_of("k", "train[:10%]", parts).tolist() == list(range(10, 377))
    assert rows_of("k", "train[25%:]", parts)[0] == 10 + 918  # 917.5, rounded to even
    assert rows_of("k", "train[-5:]", parts).tolist() == list(range(3675, 3680))
    assert len(rows_of("k", "train[:10]+train[20:25]", parts)) == 15


def test_overlapping_slices_are_refused():
    source = Source(source="any", train="train", validation="train[:10%]", test=0.0)
    with pytest.raises(DataError, match="data.train and data.validation: share 10 examples"):
        divide(source, LABELS, PARTS)


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(DataError, match="no part 'trian': did you mean train"):
        divide(Source(source="any", train="trian"), LABELS, PARTS)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"train": "train[10"}, "train: expected a part such as train"),
        ({"validation": 0.5, "test": 0.5}, "validation and test: expected fractions that add up to less than 1"),
        ({"folds": 5, "fold": 5}, "fold: expected 0 to 4"),
        ({"folds": 1}, "folds: expected at least 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, text):
    with pytest.raises(ValueError, match=text):
        Source(source="any", **values)
