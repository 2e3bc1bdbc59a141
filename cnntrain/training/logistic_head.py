"""A head that is solved rather than trained: logistic regression on the features of frozen layers."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnntrain.errors import DataError

STRENGTHS = tuple(float(strength) for strength in 10 ** np.arange(-4, 1.01, 0.5))  # inverse, as in scikit-learn
FOLDS = 5
LARGEST_ITERATIONS = 500
FAR_BELOW = 10.0  # how far the logit of a class without examples is below that of the least common class


@dataclass(frozen=True)
class Labeled:
    """Features (n, units) with int labels (n,) and float weights (n,)."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: np.ndarray) -> "Labeled":
        """The chosen rows."""
        return Labeled(self.features[chosen], self.labels[chosen], self.weights[chosen])


@dataclass(frozen=True)
class LogisticHead:
    """A softmax layer: kernel float32 (units, classes) and bias float32 (classes,).

    `strength` is the inverse of the L2 penalty's weight (scikit-learn's C); `chosen_on` says on which images it was
    chosen.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    chosen_on: str


def solve(train: Labeled, validation: Labeled | None, *, class_count: int, seed: int) -> LogisticHead:
    """Logistic regression with the penalty that gives the lowest cross-entropy on validation, or over folds without it.

    Features are standardized for the penalty; the resulting layer takes them unstandardized. Raises DataError if all
    training images are of one class.
    """
    if len(np.unique(train.labels)) < 2:
        raise DataError(
            f"solver=logistic_regression: expected training images of at least two classes; received {len(train):,} of"
            " one class; raise limits.steps"
        )
    if validation is not None and len(validation):
        losses = list(losses_along_path(train, validation, class_count))
        chosen_on = f"{len(validation):,} validation images"
    else:
        losses, chosen_on = losses_over_folds(train, class_count, seed)
    strength = STRENGTHS[int(np.argmin(losses))]
    *_, (kernel, bias) = path(train, class_count, STRENGTHS[: STRENGTHS.index(strength) + 1])
    return LogisticHead(kernel.astype(np.float32), bias.astype(np.float32), strength, chosen_on)


def losses_along_path(train: Labeled, held_out: Labeled, class_count: int) -> Iterator[float]:
    """The cross-entropy on held-out images for each strength, stopping once it has risen twice."""
    lowest, rises = np.inf, 0
    for kernel, bias in path(train, class_count, STRENGTHS):
        loss = cross_entropy(held_out, kernel, bias)
        yield loss
        rises = rises + 1 if loss > lowest else 0
        lowest = min(lowest, loss)
        if rises == 2:
            return


def losses_over_folds(train: Labeled, class_count: int, seed: int) -> tuple[list[float], str]:
    """The mean cross-entropy over folds of the training images for each strength, and a description of the folds."""
    from sklearn.model_selection import KFold, StratifiedKFold

    fewest = int(np.bincount(train.labels)[np.unique(train.labels)].min())
    count = min(FOLDS, len(train))
    kind = StratifiedKFold if fewest >= count else KFold
    folds = kind(count, shuffle=True, random_state=seed).split(train.features, train.labels)
    by_fold = [list(losses_along_path(train.rows(kept), train.rows(left), class_count)) for kept, left in folds]
    shortest = min(map(len, by_fold))
    return [float(np.mean(losses)) for losses in zip(*(found[:shortest] for found in by_fold), strict=True)], (
        f"{count} folds of the training images"
    )


def path(train: Labeled, class_count: int, strengths: tuple[float, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias for each strength, each starting from the previous solution."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, spread = train.features.mean(axis=0), train.features.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    features = (train.features - mean) / spread
    model = LogisticRegression(max_iter=LARGEST_ITERATIONS, warm_start=True)
    for strength in strengths:
        model.C = strength
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the next strength continues from here
            model.fit(features, train.labels, train.weights)
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn returns the difference of the two
            weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
        kernel = np.zeros((features.shape[1], class_count))
        kernel[:, model.classes_] = (weights / spread).T
        bias = bias - (weights / spread) @ mean
        biases = np.full(class_count, bias.min() - FAR_BELOW)
        biases[model.classes_] = bias
        yield kernel, biases


def cross_entropy(held_out: Labeled, kernel: np.ndarray, bias: np.ndarray) -> float:
    """The mean cross-entropy of a softmax layer."""
    from scipy.special import log_softmax

    log_probabilities = log_softmax(held_out.features @ kernel + bias, axis=1)
    return float(-np.average(log_probabilities[np.arange(len(held_out)), held_out.labels], weights=held_out.weights))
