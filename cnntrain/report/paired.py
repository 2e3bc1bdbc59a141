"""Two networks on the same images: how much they differ, and whether chance alone explains it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Paired:
    """The second network's predictions compared with the first's, image by image.

    `only_first` and `only_second` count the images that only one of them gets right. `difference` is the second's
    accuracy minus the first's, `interval` its 95% bootstrap interval, and `p_value` comes from McNemar's exact test.
    """

    examples: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p_value: float

    @property
    def differ(self) -> bool:
        """Whether the difference is significant at the 5% level."""
        return self.p_value < SIGNIFICANT

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "differ": self.differ}


def compare_pairs(first: np.ndarray, second: np.ndarray) -> Paired:
    """Whether two networks differ, given which of n images each gets right (n,)."""
    from scipy.stats import binomtest

    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return Paired(
        examples=count,
        both=int((first & second).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~first & ~second).sum()),
        difference=(only_second - only_first) / count,
        interval=bootstrap_interval(only_first, only_second, count),
        p_value=float(binomtest(only_second, discordant).pvalue) if discordant else 1.0,
    )


def bootstrap_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """The 95% percentile interval of the difference.

    Instead of resampling n images, it draws how many of each kind there are: the difference depends on nothing else.
    """
    shares = [only_first / count, only_second / count, (count - only_first - only_second) / count]
    draws = np.random.default_rng(0).multinomial(count, shares, size=RESAMPLES)
    low, high = np.percentile((draws[:, 1] - draws[:, 0]) / count, [2.5, 97.5])
    return float(low), float(high)


def compare_groups(first: np.ndarray, second: np.ndarray) -> float | None:
    """The p-value of Welch's t-test on the accuracies of two groups of runs; None with fewer than two of either."""
    from scipy.stats import ttest_ind

    if min(len(first), len(second)) < 2:
        return None
    if not (first.std() or second.std()):
        return 1.0 if first[0] == second[0] else 0.0
    return float(ttest_ind(first, second, equal_var=False).pvalue)
