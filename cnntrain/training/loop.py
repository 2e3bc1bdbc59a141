"""The training loop: many steps per graph call, built on Keras's public API."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import tensorflow as tf

from cnntrain.evaluation.loop import Pace, Sums, TotalsAndWait, named, next_timed, run_paced
from cnntrain.models.box_head import BoxHead
from cnntrain.optimization.optimizers import UNDECAYED
from cnntrain.training.fused_normalization import fused_batch_normalization


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
    ) -> tf.Tensor:
        """A float32 scalar: the mean over the batch; for boxes, over the images that have a box."""
        loss_of_classes = keras.losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing)
        losses = []
        for name, weight in self.loss_weights.items():
            if name == "box" and self.box_head is not None:
                loss = self.box_head.mean_error(outputs["box"], targets["box"], weights["box"])
            else:
                loss = loss_of_classes(targets["class"], outputs[name], sample_weight=weights.get("class"))
            losses.append(weight * loss)
        return tf.add_n([*losses, *(tf.cast(penalty, tf.float32) for penalty in model.losses)])

    def penalty(self, variables: list[keras.Variable]) -> tf.Tensor:
        """A float32 scalar: l2/2 times the sum of all squared weights, except biases and normalization."""
        if not self.l2:
            return tf.constant(0.0)
        weights = [variable for variable in variables if not variable.name.endswith(UNDECAYED)]
        return self.l2 * tf.add_n([tf.nn.l2_loss(weight.value) for weight in weights])


class TrainingLoop:
    """Training steps for a model and an optimizer; one loop is created for each phase.

    A step is a function of one batch, and `run_steps` repeats it: a tf.distribute strategy can run the step
    on its replicas instead. `frozen` layers run on the images first, and never change.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        objective: Objective,
        *,
        frozen: keras.Model | None = None,
    ):
        self.model = model
        self.frozen = frozen
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
            totals += self.step(*batch)
            waited += seconds
        return totals, waited

    def step(
        self, images: tf.Tensor, targets: Mapping[str, tf.Tensor], weights: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """One update (or one of the batches that are accumulated for it); returns its float64 sums."""
        if self.frozen is not None:
            images = self.frozen(images, training=False)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            with fused_batch_normalization():
                outputs = named(self.model(images, training=True))
            loss = self.objective(self.model, outputs, targets, weights)
            scaled = self.optimizer.scale_loss(loss + self.objective.penalty(self.variables))
        self.optimizer.apply(tape.gradient(scaled, self.variables), self.variables)
        return self.sums.of_batch(loss, outputs, targets, weights)

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
