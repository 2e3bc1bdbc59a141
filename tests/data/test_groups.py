"""Splits that keep groups together."""

import numpy as np
import pytest

from cnntrain.data.sources.base import Source
from cnntrain.data.splits import Rows, divide
from cnntrain.errors import DataError

CLASSES = 3


def patients(seed: int, *, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and groups (n,): patients with 1 to 9 images each, mostly of one class, shuffled."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), random.integers(1, 10, count))
    labels = np.where(
        random.random(len(groups)) < 0.8, groups % CLASSES, random.integers(0, CLASSES, len(groups))
    )
    order = random.permutation(len(groups))
    return labels[order], groups[order]


def split(labels: np.ndarray, groups: np.ndarray, **settings: object) -> Rows:
    """The rows of each split."""
    return divide(Source(source="x", **settings), labels, {"train": (0, len(labels))}, groups=groups)  # type: ignore[arg-type]


def shares(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The part (classes,) of each class that the rows are."""
    return np.bincount(labels[rows], minlength=CLASSES) / np.bincount(labels, minlength=CLASSES)


@pytest.mark.parametrize("seed", range(5))
def test_fractions_of_groups_are_disjoint_complete_and_nearly_stratified(seed: int) -> None:
    labels, groups = patients(seed)
    rows = split(labels, groups, validation=0.1, test=0.2)
    parts = [rows.train, rows.validation, rows.test]
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert sum(len(set(groups[part])) for part in parts) == len(set(groups))
    for part, wanted in zip(parts, (0.7, 0.1, 0.2), strict=True):
        np.testing.assert_allclose(shares(labels, part), wanted, atol=0.02)


def test_folds_of_groups_hold_every_example_once_and_are_nearly_stratified() -> None:
    labels, groups = patients(7)
    tests = [split(labels, groups, folds=5, fold=fold, validation=0.0).test for fold in range(5)]
    assert sorted(np.concatenate(tests)) == list(range(len(labels)))
    assert sum(len(set(groups[rows])) for rows in tests) == len(set(groups))
    for rows in tests:
        np.testing.assert_allclose(shares(labels, rows), 0.2, atol=0.03)


def test_the_split_seed_moves_groups_and_nothing_else_does() -> None:
    labels, groups = patients(3)
    first, again, other = (split(labels, groups, split_seed=seed).test.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_a_group_in_two_named_parts_is_an_error() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 2])
    with pytest.raises(DataError, match="in data.train and data.test lie members of the same groups"):
        divide(Source(source="x", validation=0), labels, {"train": (0, 2), "test": (2, 4)}, groups=groups)


def test_more_folds_than_groups_are_an_error() -> None:
    with pytest.raises(
        DataError, match=r"data.folds=3: expected at most as many folds as groups; there are 2"
    ):
        split(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), folds=3)
