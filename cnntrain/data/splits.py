"""Which rows of a source's table are for training, validation and test."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.errors import DataError
from cnntrain.settings import unknown

if TYPE_CHECKING:
    from cnntrain.data.base import Source

SLICE = re.compile(r"(?P<part>[\w.-]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


@dataclass(frozen=True)
class Rows:
    """Row numbers of each split; none is in two."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def check_expressions(**expressions: str | float | None) -> None:
    """Raises ValueError for a slice that can't be read, or fractions that leave nothing for training."""
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


def divide(source: "Source", labels: np.ndarray, parts: Mapping[str, tuple[int, int]]) -> Rows:
    """The rows of each split, as the source's settings ask for."""
    named = {name: choice(source, name, parts) for name in ("validation", "test")}
    pool = rows_of("data.train", source.train, parts)
    random = np.random.default_rng(source.split_seed)
    by_class = order_by_class(pool, labels, random)
    if source.folds is not None:
        held_out = by_class[np.arange(len(by_class)) % source.folds == source.fold]
        named["test"] = 0.0
    else:
        held_out = pick(by_class, labels, named["test"])
    by_class = by_class[~np.isin(by_class, held_out)]
    fraction = named["validation"]
    if isinstance(fraction, float) and isinstance(named["test"], float) and named["test"]:
        fraction = fraction / (1 - named["test"])  # of the whole pool, not of what the test left
    checked = pick(by_class, labels, fraction)
    train = by_class[~np.isin(by_class, checked)]
    rows = Rows(
        train=np.sort(train),
        validation=named_or(checked, named["validation"], "validation", parts),
        test=named_or(held_out, named["test"], "test", parts),
    )
    refuse_overlap(rows)
    return rows


def refuse_overlap(rows: Rows) -> None:
    """Raises DataError where an example would be in two splits."""
    for first, second in itertools.combinations(("train", "validation", "test"), 2):
        shared = np.intersect1d(getattr(rows, first), getattr(rows, second)).size
        if shared:
            raise DataError(
                f"data.{first} and data.{second}: share {shared} examples, so that results would look better than"
                f" they are; name slices that don't overlap, such as train[10%:] and train[:10%]"
            )


def choice(source: "Source", name: str, parts: Mapping[str, tuple[int, int]]) -> str | float:
    """A split's slice or fraction, where null stands for the source's own part or the default fraction."""
    asked: str | float | None = getattr(source, name)
    if asked is not None:
        return asked
    return name if name in parts else source.default_fraction


def named_or(rows: np.ndarray, asked: str | float, name: str, parts: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The rows of a slice where one was asked for, else those that a fraction picked."""
    return rows_of(f"data.{name}", asked, parts) if isinstance(asked, str) else np.sort(rows)


def rows_of(key: str, expression: str, parts: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """The rows of a slice such as `train[10%:25%]` or of several joined by +; percents round to the nearest."""
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


def pick(by_class: np.ndarray, labels: np.ndarray, asked: str | float) -> np.ndarray:
    """A fraction of rows that are sorted by class, evenly over the classes.

    Of each class at least one row is left, so that no class is missing from training.
    """
    if isinstance(asked, str) or asked == 0:
        return by_class[:0]
    before = np.floor(np.arange(len(by_class)) * asked + 0.5)
    after = np.floor(np.arange(1, len(by_class) + 1) * asked + 0.5)
    picked = after > before
    for number in np.unique(labels[by_class]):
        members = labels[by_class] == number
        if picked[members].all():
            picked[np.flatnonzero(members)[0]] = False
    return by_class[picked]
