"""What every source of images is, and what it gives: examples divided into training, validation, test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnntrain.data import splits
from cnntrain.data.examples import Examples, LabeledImages, Table
from cnntrain.errors import DataError
from cnntrain.settings import Count, Fraction, Text, WholeNumber


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where labeled images come from, and how they are divided.

    `train`, `validation` and `test` each name a part of the source, or a slice of one, such as
    `train[10%:25%]`. `validation` and `test` may also be a fraction: so much of what `train` names is set
    aside, class by class, in an order that `split_seed` fixes. Null: the part of that name where the
    source has one, else `default_fraction`. 0: no such split.

    `decoding` is how training reads JPEGs: `accurate` as evaluation and prediction always do; `fast` by the fast
    DCT, and only what is cut out at random (up to 24 of 255 off, at edges; on two cores it was no faster);
    `reduced` also at a half, a quarter or an eighth of the scale where that is still larger than the network's:
    for photos of many megapixels.

    `cache_decoded` keeps training images on disk, decoded and scaled: from the second start on, and the second
    epoch, they are only cut and mirrored. 150 kB an image of 224×224.

    With `folds`, what `train` names is divided into that many folds, class by class, and the fold of number
    `fold` is the test set: a multirun over `data.fold` is a cross-validation.
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
        """What the data are, in words."""
        return self.source

    def check(self) -> None:
        """Raises DataError, within seconds and without TensorFlow, where the source can't be had."""

    def table(self) -> Table:
        """All the images of the source; raises DataError."""
        raise TypeError(f"{type(self).__name__} gives no table")

    def refuse_empty_classes(self, table: Table) -> None:
        """Raises DataError where a class that the source names has no image."""

    def load(self, *, empty_classes: bool = False) -> LabeledImages:
        """Reads the source and divides it; raises DataError where a split can't be.

        `empty_classes`: classes may lack images, as where data are only looked at.
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
