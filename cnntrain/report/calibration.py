"""Whether a network's probabilities are calibrated, and how far a temperature would fix them."""

from dataclasses import dataclass

import numpy as np

from cnntrain.evaluation.metrics import SMALLEST

BINS = 15
TEMPERATURES = 0.25, 4.0
FEWEST_MISTAKES = 10  # with fewer, the temperature would fit noise


@dataclass(frozen=True)
class Bin:
    """The predictions with a confidence in (low, high]: how many, their mean confidence, their accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray, hits: np.ndarray, *, bins: int = BINS) -> list[Bin]:
    """Equal-width bins of confidence (n,) with hits (n,); empty bins are left out."""
    edges = np.linspace(0, 1, bins + 1)
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            count=int(chosen.sum()),
            confidence=float(confidence[chosen].mean()),
            accuracy=float(hits[chosen].mean()),
        )
        for place in range(bins)
        if (chosen := places == place).any()
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """The mean gap between confidence and accuracy over all predictions (Guo et al., 2017, section 2)."""
    total = sum(found.count for found in bins)
    return sum(found.count * abs(found.confidence - found.accuracy) for found in bins) / total


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, classes) as if their logits had been divided by a temperature."""
    logits = np.log(np.clip(probabilities.astype(np.float64), SMALLEST, 1)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """The temperature that maximizes the likelihood of labels (n,) (Guo et al., 2017, section 4.2); None if too few
    predictions are wrong to tell."""
    if (probabilities.argmax(axis=1) != labels).sum() < FEWEST_MISTAKES:
        return None
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        scaled = tempered(probabilities, float(np.exp(logarithm)))
        return float(-np.log(np.clip(scaled[np.arange(len(labels)), labels], SMALLEST, 1)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))
