"""The learning rate as a function of the step: Keras's curves, with a warm-up before them."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule


@keras.saving.register_keras_serializable(package="cnntrain")
class Curve(LearningRateSchedule):
    """A linear warm-up to `peak`, then another schedule (None: constant), divided by (1 + decay · update).

    Keras counts batches, including those that only accumulate a gradient; `decay` counts updates. The
    curves' lengths are in batches.
    """

    def __init__(
        self,
        peak: float,
        *,
        after_warmup: LearningRateSchedule | None = None,
        warmup_steps: int = 0,
        decay: float = 0.0,
        batches_per_update: int = 1,
    ):
        super().__init__()
        self.peak = peak
        self.after_warmup = after_warmup
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.batches_per_update = batches_per_update

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate (a float32 scalar) for batch number `step`, counted from 0."""
        step = tf.cast(step, tf.float32)
        rate = tf.constant(self.peak, tf.float32)
        if self.after_warmup is not None:
            rate = self.after_warmup(tf.maximum(step - self.warmup_steps, 0.0))
        if self.warmup_steps:
            rising = self.peak * (step + 1) / self.warmup_steps
            rate = tf.where(step < self.warmup_steps, rising, rate)
        if self.decay:
            rate = rate / (1 + self.decay * tf.floor(step / self.batches_per_update))
        return rate

    def get_config(self) -> dict:
        """The constructor's arguments."""
        after = self.after_warmup and keras.saving.serialize_keras_object(self.after_warmup)
        return {
            "peak": self.peak,
            "after_warmup": after,
            "warmup_steps": self.warmup_steps,
            "decay": self.decay,
            "batches_per_update": self.batches_per_update,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Curve":
        """The curve described by `get_config`."""
        after = config["after_warmup"] and keras.saving.deserialize_keras_object(config["after_warmup"])
        return cls(**{**config, "after_warmup": after})


def with_factors(
    kind: type[keras.optimizers.Optimizer], factors: Sequence[float]
) -> type[keras.optimizers.Optimizer]:
    """The optimizer class with a learning-rate factor for each variable."""

    class WithFactors(kind):
        def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
            own = factors[self._get_variable_index(variable)]  # how Keras's optimizers find a variable's slots
            super().update_step(gradient, variable, learning_rate * own)

    return WithFactors
