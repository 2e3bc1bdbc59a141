"""The base of every image source: it provides examples split into training, validation and test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnntrain.data import splits
from cnntrain.data.examples import Examples, LabeledImages, Table
from cnntrain.errors import DataError
from cnntrain.settings import Count, Fraction, Text, WholeNumber


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where labeled images come from, and how they are split.

    `train`, `validation` and `test` each name a part of the source, or a slice of one, such as
    `train[10%:25%]`. `validation` and `test` may also be a fraction: that fraction of `train` is set
    aside, class by class, in an order fixed by `split_seed`. Null: the part of that name if the
    source has one, else `default_fraction`. 0: no such split.

    `decoding` is how training reads JPEGs: `accurate` as in evaluation and prediction; `fast` uses the fast
    DCT, and decodes only the random crop (up to 24 of 255 off, at edges; on two cores it was no faster);
    `reduced` also decodes at a half, a quarter or an eighth of the scale if that is still larger than the network's
    input: for photos of many megapixels.

    `cache_decoded` keeps training images on disk, decoded and scaled: from the second run and the second
    epoch on, they are only cropped and flipped. 150 kB per 224×224 image.

    With `folds`, `train` is divided into that many folds, class by class, and fold number `fold` is the test set:
    a multirun over `data.fold` is a cross-validation.
    """

    source: str
    train: Text = "train"
    validation: Fraction | str | None = None
    test: Fraction | str | None = None
    default_fraction: Fraction = 0.15
    split_seed: WholeNumber = 0
    folds: Count | None = None
    fold: WholeNumber = 0
    decoding: Literal["accurate", "fast", "reduced"] = "accurate"
    cache_decoded: bool = False

    def __post_init__(self) -> None:
        if self.folds is not None and not self.fold < self.folds:
            raise ValueError(f"fold: expected 0 to {self.folds - 1}, below data.folds; received {self.fold}")
        if self.folds == 1:
            raise ValueError("folds: expected at least 2, or null; received 1")
        splits.check_expressions(train=self.train, validation=self.validation, test=self.test)

    def title(self) -> str:
        """A short description of the data."""
        return self.source

    def check(self) -> None:
        """Raises DataError, within seconds and without TensorFlow, if the source isn't available."""

    def table(self) -> Table:
        """All the images in the source; raises DataError."""
        raise TypeError(f"{type(self).__name__} gives no table")

    def refuse_empty_classes(self, table: Table) -> None:
        """Raises DataError if a class listed by the source has no image."""

    def load(self, *, empty_classes: bool = False) -> LabeledImages:
        """Reads the source and splits it; raises DataError if a split is impossible.

        `empty_classes`: classes may have no images, as when data are only inspected.
        """
        table = self.table()
        if not empty_classes:
            self.refuse_empty_classes(table)
        rows = splits.divide(self, table.labels, table.parts, groups=table.groups)
        if not len(rows.train):
            raise DataError(f"data.train={self.train}: no example is left for training; lower the other splits")
        return LabeledImages(
            **{name: Examples(table, np.asarray(getattr(rows, name))) for name in ("train", "validation", "test")}
        )
