"""A schedule is a mapping of named phases: for how long, and how the learning rate moves in each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cnntrain.settings import Count, Fraction, NonNegative, Positive, WholeNumber

if TYPE_CHECKING:
    from keras.optimizers.schedules import LearningRateSchedule

    from cnntrain.optimizers import Optimizer

LearningRateCurve = Literal["constant", "inverse_time", "step", "exponential", "cosine", "one_cycle"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training.

    `epochs` null: as many as reach both `minimum_epochs` and `minimum_steps`, so that a small data set,
    whose epochs are short, gets more of them.

    `learning_rate_schedule` is the curve that optimizer.learning_rate follows, anew in each phase:

    constant: no change; inverse_time: 1 / (1 + decay_rate · epochs / decay_epochs);
    step: · decay_rate after every `decay_epochs`; exponential: the same, smoothly;
    cosine: half a cosine down to `final_fraction` of it; one_cycle: a straight rise from a 25th in the first
    30 % of the phase, then half a cosine down to `final_fraction`.

    `warmup_epochs`: before that, a straight rise from near 0 over so many epochs (not with one_cycle).
    `early_stopping_patience`: the phase ends after so many epochs in which validation accuracy did not
    improve (by more than `early_stopping_min_delta`); null: never.
    """

    epochs: Count | None = None
    minimum_epochs: Count = 10
    minimum_steps: WholeNumber = 0
    learning_rate_schedule: LearningRateCurve = "constant"
    warmup_epochs: NonNegative = 0.0
    decay_rate: Positive = 0.1
    decay_epochs: Positive = 10.0
    final_fraction: Fraction = 0.0
    early_stopping_patience: Count | None = None
    early_stopping_min_delta: NonNegative = 0.0

    def __post_init__(self) -> None:
        if self.learning_rate_schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("warmup_epochs: one_cycle has a rise of its own; expected 0")

    def length(self, steps_per_epoch: int, *, limit: int | None) -> int:
        """The number of epochs, at most `limit`."""
        epochs = self.epochs or max(self.minimum_epochs, math.ceil(self.minimum_steps / steps_per_epoch))
        return min(epochs, limit) if limit else epochs


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The phases, in the order in which they run."""

    phases: Mapping[str, Phase]

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("phases: expected at least one phase; received none")


def learning_rate_curve(
    phase: Phase, optimizer: "Optimizer", *, steps_per_epoch: int, epochs: int
) -> "LearningRateSchedule":
    """The learning rate of a phase as Keras wants it: a function of the optimizer's count of batches."""
    from keras.optimizers import schedules

    from cnntrain.learning_rate import Curve

    peak = optimizer.learning_rate
    warmup_steps = round(phase.warmup_epochs * steps_per_epoch)
    total_steps = max(1, steps_per_epoch * epochs - warmup_steps)
    decay_steps = phase.decay_epochs * steps_per_epoch
    rise_steps = max(1, round(0.3 * total_steps))
    curves = {
        "constant": lambda: None,
        "inverse_time": lambda: schedules.InverseTimeDecay(peak, decay_steps, phase.decay_rate),
        "step": lambda: schedules.ExponentialDecay(peak, decay_steps, phase.decay_rate, staircase=True),
        "exponential": lambda: schedules.ExponentialDecay(peak, decay_steps, phase.decay_rate),
        "cosine": lambda: schedules.CosineDecay(peak, total_steps, alpha=phase.final_fraction),
        "one_cycle": lambda: schedules.CosineDecay(
            peak / 25,
            max(1, total_steps - rise_steps),
            alpha=phase.final_fraction,
            warmup_target=peak,
            warmup_steps=rise_steps,
        ),
    }
    return Curve(
        peak,
        after_warmup=curves[phase.learning_rate_schedule](),
        warmup_steps=warmup_steps,
        decay=optimizer.decay,
        batches_per_update=optimizer.batches_per_update,
    )
