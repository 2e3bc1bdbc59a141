"""The training loop: many steps per graph call, built on Keras's public API."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from cnntrain.evaluation.loop import Pace, Part, Sums, TotalsAndWait, named, next_timed, run_paced
from cnntrain.models.box_head import BoxHead
from cnntrain.optimization.optimizers import UNDECAYED
from cnntrain.runtime import ranks
from cnntrain.training.batch_normalization import MovingAverages, own_batch_normalization


@dataclass(frozen=True)
class Objective:
    """What training minimizes: the weighted sum of the outputs' losses and the layers' own penalties.

    `loss_weights` by output name: `box` is trained as `box_head` says; any other output is a classifier, with label
    smoothing. `l2` is the optimizer's (see there). Its penalty is kept separate, so that the losses of runs with
    different values can be compared.
    """

    loss_weights: Mapping[str, float]
    label_smoothing: float = 0.0
    l2: float = 0.0
    box_head: BoxHead | None = None

    def __call__(
        self,
        model: keras.Model,
        outputs: Mapping[str, tf.Tensor],
        targets: Mapping[str, tf.Tensor],
        weights: Mapping[str, tf.Tensor],
        part: Part | None = None,
    ) -> tf.Tensor:
        """A float32 scalar: what this rank's part of a batch (null: all of it) adds to the mean over the batch; for
        boxes, to that over the images that have a box."""
        part = part or Part.of_batch(targets["class"], ())
        losses = []
        for name, weight in self.loss_weights.items():
            if name == "box" and self.box_head is not None:
                loss = self.box_head.mean_error(outputs["box"], targets["box"], weights["box"] * part.counts)
            else:
                errors = keras.losses.categorical_crossentropy(
                    targets["class"], outputs[name], label_smoothing=self.label_smoothing
                )
                if "class" in weights:
                    errors *= tf.cast(weights["class"], errors.dtype)
                loss = part.mean(errors)
            losses.append(weight * loss)
        penalties = [tf.cast(penalty, tf.float32) / ranks.world() for penalty in model.losses]
        return tf.add_n([*losses, *penalties])

    def penalty(self, variables: list[keras.Variable]) -> tf.Tensor:
        """A float32 scalar: this rank's part of l2/2 times the sum of all squared weights, except biases and
        normalization."""
        if not self.l2:
            return tf.constant(0.0)
        weights = [variable for variable in variables if not variable.name.endswith(UNDECAYED)]
        return self.l2 / ranks.world() * tf.add_n([tf.nn.l2_loss(weight.value) for weight in weights])


class TrainingLoop:
    """Training steps for a model and an optimizer; one loop is created for each phase.

    A step is a function of one batch, and `run_steps` repeats it. With several ranks, each computes the gradient of its
    rows, and all apply the sum. `frozen` layers run on the images first, and never change. `batchnorm_sync`:
    BatchNormalization takes its statistics from the rows of all ranks. `compiled`: XLA compiles a step.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        objective: Objective,
        *,
        frozen: keras.Model | None = None,
        batchnorm_sync: bool = True,
        compiled: bool = False,
    ):
        self.model = model
        self.frozen = frozen
        self.batchnorm_sync = batchnorm_sync
        self.one_step = tf.function(self.step, jit_compile=True) if compiled else self.step
        self.optimizer = optimizer
        self.objective = objective
        self.sums = Sums(objective.box_head)
        self.pace = Pace()
        self.variables = model.trainable_variables
        optimizer.build(self.variables)

    def run_epoch(self, batches: tf.data.Dataset, steps: int, *, done: int = 0) -> Iterator[int]:
        """Trains until `steps` are done. The first `done` of them are skipped: `sums` holds their metrics.

        Yields the number of steps done so far, about once a second.
        """
        if not done:
            self.sums.reset()
        return run_paced(self.run_steps, batches, steps, self.sums, self.pace, done=done)

    @tf.function
    def run_steps(self, iterator: tf.data.Iterator, steps: tf.Tensor, totals: tf.Tensor) -> TotalsAndWait:
        """Runs a number of training steps in one graph call; returns the new totals, and the seconds spent waiting."""
        waited = tf.constant(0.0, tf.float64)
        for _ in tf.range(steps):
            batch, seconds = next_timed(iterator)
            totals += self.one_step(*batch)
            waited += seconds
        return totals, waited

    def step(self, *batch: Any) -> tf.Tensor:
        """One update (or one of the batches that are accumulated for it); returns its float64 sums."""
        averages = MovingAverages()
        gradients, moments, sums = ranks.together(functools.partial(self.gradients, averages), batch)
        averages.update(moments)
        self.optimizer.apply(gradients, self.variables)
        return sums

    def gradients(
        self,
        averages: MovingAverages,
        images: tf.Tensor,
        targets: Mapping[str, tf.Tensor],
        weights: Mapping[str, tf.Tensor],
        *share: tf.Tensor,
    ) -> tuple[list[tf.Tensor | None], list[tf.Tensor], tf.Tensor]:
        """The gradient of each variable, the moments for `averages`, and the float64 sums, over all ranks."""
        part = Part.of_batch(images, share)
        if self.frozen is not None:
            images = self.frozen(images, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            with own_batch_normalization(averages, part, synchronized=self.batchnorm_sync):
                outputs = named(self.model(images, training=True))
            loss = self.objective(self.model, outputs, targets, weights, part)
            scaled = self.optimizer.scale_loss(loss + self.objective.penalty(self.variables))
        gradients = tape.gradient(scaled, self.variables)
        given = [gradient for gradient in gradients if gradient is not None]
        summed = ranks.total([*given, *averages.moments])
        found = iter(summed)
        gradients = [None if gradient is None else next(found) for gradient in gradients]
        (sums,) = ranks.total([self.sums.of_batch(loss, outputs, targets, weights, part)])
        return gradients, list(found), sums

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.learning_rate)


@contextlib.contextmanager
def averaged_weights(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Inside the block, the model has the moving average of its weights, if the optimizer keeps one."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.use_ema:
        yield
        return
    trained = [variable.numpy() for variable in model.trainable_variables]
    inner.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained, strict=True):
            variable.assign(value)
