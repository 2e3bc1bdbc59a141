"""Which rows of a source's table are used for training, validation and test."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cnntrain.did_you_mean import unknown
from cnntrain.errors import DataError

SLICE = re.compile(r"(?P<part>[\w.-]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


class Asked(Protocol):
    """The settings that determine how a table is split; see Source, which has them."""

    @property
    def train(self) -> str: ...
    @property
    def validation(self) -> float | str | None: ...
    @property
    def test(self) -> float | str | None: ...
    @property
    def default_fraction(self) -> float: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def folds(self) -> int | None: ...
    @property
    def fold(self) -> int: ...


@dataclass(frozen=True)
class Rows:
    """Row numbers of each split; no row is in two splits."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def check_expressions(**expressions: str | float | None) -> None:
    """Raises ValueError for a slice that can't be parsed, or fractions that leave nothing for training."""
    for key, expression in expressions.items():
        for term in expression.split("+") if isinstance(expression, str) else ():
            if not SLICE.fullmatch(term.strip()):
                raise ValueError(
                    f"{key}: expected a part such as train, a slice such as train[10%:25%], or a fraction;"
                    f" received {expression!r}"
                )
    fractions = [value for value in expressions.values() if isinstance(value, float)]
    if sum(fractions) >= 1:
        raise ValueError(f"validation and test: expected fractions that add up to less than 1; received {fractions}")


def divide(
    source: Asked,
    labels: np.ndarray,
    parts: Mapping[str, tuple[int, int]],
    *,
    groups: np.ndarray | None = None,
) -> Rows:
    """The rows of each split, according to the source's settings; rows of one group (n,) stay together."""
    named = {name: choice(source, name, parts) for name in ("validation", "test")}
    pool = rows_of("data.train", source.train, parts)
    random = np.random.default_rng(source.split_seed)
    by_class = order_by_class(pool, labels, random)
    if source.folds is not None:
        held_out = pick_fold(by_class, labels, groups, folds=source.folds, fold=source.fold)
        named["test"] = 0.0
    else:
        held_out = pick(by_class, labels, named["test"], groups)
    by_class = by_class[~np.isin(by_class, held_out)]
    fraction = named["validation"]
    if isinstance(fraction, float) and isinstance(named["test"], float) and named["test"]:
        fraction = fraction / (1 - named["test"])  # of the whole pool, not of what is left after the test split
    checked = pick(by_class, labels, fraction, groups)
    train = by_class[~np.isin(by_class, checked)]
    rows = Rows(
        train=np.sort(train),
        validation=named_or(checked, named["validation"], "validation", parts),
        test=named_or(held_out, named["test"], "test", parts),
    )
    refuse_overlap(rows, groups)
    return rows


def refuse_overlap(rows: Rows, groups: np.ndarray | None) -> None:
    """Raises DataError if an example or group would be in two splits."""
    for first, second in itertools.combinations(("train", "validation", "test"), 2):
        pair = getattr(rows, first), getattr(rows, second)
        shared = np.intersect1d(*pair).size
        if shared:
            raise DataError(
                f"data.{first} and data.{second}: share {shared} examples, so that results would look better than"
                f" they are; name slices that don't overlap, such as train[10%:] and train[:10%]"
            )
        count = 0 if groups is None else np.intersect1d(*(groups[side] for side in pair)).size
        if count:
            raise DataError(
                f"in data.{first} and data.{second} lie members of the same groups ({count}), so that results would"
                f" look better than they are; give fractions, or move each group's rows into one part"
            )


def choice(source: Asked, name: str, parts: Mapping[str, tuple[int, int]]) -> str | float:
    """A split's slice or fraction; null stands for the source's own part or the default fraction."""
    asked: str | float | None = getattr(source, name)
    if asked is not None:
        return asked
    return name if name in parts else source.default_fraction


def named_or(rows: np.ndarray, asked: str | float, name: str, parts: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The rows of a slice if one was given, else the rows picked by a fraction."""
    return rows_of(f"data.{name}", asked, parts) if isinstance(asked, str) else np.sort(rows)


def rows_of(key: str, expression: str, parts: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The rows of a slice such as `train[10%:25%]`, or of several joined by +; percentages round to the nearest row."""
    return np.concatenate([rows_of_term(key, term.strip(), parts) for term in expression.split("+")])


def rows_of_term(key: str, term: str, parts: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The rows of one slice."""
    match = SLICE.fullmatch(term)
    if match is None or match["part"] not in parts:
        name = match["part"] if match else term
        raise DataError(unknown(f"{key}={term}: the data have no part {name!r}", name, parts))
    first, last = parts[match["part"]]
    count = last - first
    start = boundary(match["start"], count, default=0)
    stop = boundary(match["stop"], count, default=count)
    return np.arange(first + start, first + max(start, stop))


def boundary(text: str | None, count: int, *, default: int) -> int:
    """One end of a slice in examples; negative counts from the end."""
    if text is None:
        return default
    value = round(count * int(text[:-1]) / 100) if text.endswith("%") else int(text)
    return min(max(value + count if text.startswith("-") else value, 0), count)


def order_by_class(rows: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The rows sorted by class, in random order within one."""
    shuffled = random.permutation(rows)
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def pick(
    by_class: np.ndarray, labels: np.ndarray, asked: str | float, groups: np.ndarray | None = None
) -> np.ndarray:
    """A fraction of rows sorted by class, evenly across the classes; whole groups if there are any.

    At least one row of each class is left, if groups allow it, so that no class is missing from training.
    """
    if isinstance(asked, str) or asked == 0:
        return by_class[:0]
    if groups is not None:
        return by_class[deal_groups(labels[by_class], groups[by_class], shares=(1 - asked, asked)) == 1]
    before = np.floor(np.arange(len(by_class)) * asked + 0.5)
    after = np.floor(np.arange(1, len(by_class) + 1) * asked + 0.5)
    picked = after > before
    for number in np.unique(labels[by_class]):
        members = labels[by_class] == number
        if picked[members].all():
            picked[np.flatnonzero(members)[0]] = False
    return by_class[picked]


def pick_fold(
    by_class: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, *, folds: int, fold: int
) -> np.ndarray:
    """The rows of one fold, from rows sorted by class; whole groups if there are any."""
    if groups is None:
        return by_class[np.arange(len(by_class)) % folds == fold]
    count = len(np.unique(groups[by_class]))
    if count < folds:
        raise DataError(f"data.folds={folds}: expected at most as many folds as groups; there are {count} groups")
    return by_class[deal_groups(labels[by_class], groups[by_class], shares=(1 / folds,) * folds) == fold]


def deal_groups(labels: np.ndarray, groups: np.ndarray, *, shares: Sequence[float]) -> np.ndarray:
    """The bin (n,) of each row: whole groups are assigned, so that each bin gets about its share of each class.

    The largest group goes first, each to the bin in which it reduces the squared distance from the desired
    class counts the most. Source: the idea of scikit-learn's StratifiedGroupKFold.
    """
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    _, class_of_row = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(sizes), class_of_row.max(initial=0) + 1))  # (groups, classes)
    np.add.at(counts, (group_of_row, class_of_row), 1)
    totals = counts.sum(axis=0)
    missing = np.outer(shares, totals)  # (bins, classes)
    first_rows = np.unique(group_of_row, return_index=True)[1]  # rows come in random order, and so do equal groups
    bin_of_group = np.zeros(len(sizes), np.int64)
    for group in np.lexsort((first_rows, -sizes)):
        gain = (counts[group] * (2 * missing - counts[group]) / totals).sum(axis=1)
        chosen = int(np.argmax(gain))
        missing[chosen] -= counts[group]
        bin_of_group[group] = chosen
    return bin_of_group[group_of_row]
