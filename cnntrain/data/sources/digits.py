"""Handwritten digits that ship with scikit-learn: nothing to download."""

from dataclasses import dataclass

import numpy as np

from cnntrain.data.examples import Names, Table
from cnntrain.data.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """1,797 gray images of 8×8 pixels, ten classes.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test
    part); pixels 0 to 16 are scaled to 0 to 255.
    """

    source: str = "digits"

    def title(self) -> str:
        """A short description of the data."""
        return "scikit-learn's digits"

    def table(self) -> Table:
        """All digits, in one part, `train`."""
        from sklearn.datasets import load_digits

        from cnntrain.data.images import ArrayImages

        digits = load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        count = len(pixels)
        return Table(
            images=ArrayImages(pixels),
            labels=digits.target.astype(np.int64),
            ids=np.arange(count),
            names=Names("digits/"),
            class_names=tuple(str(name) for name in digits.target_names),
            parts={"train": (0, count)},
        )
