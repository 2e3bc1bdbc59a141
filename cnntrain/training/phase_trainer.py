"""One phase of a run: what is trained, on which batches, epoch after epoch."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import keras
import numpy as np

from cnntrain.checkpoints.progress import Progress
from cnntrain.data.pipeline import Batches
from cnntrain.errors import ConfigError, NotFinite, TrainingError
from cnntrain.evaluation.loop import EvaluationLoop
from cnntrain.optimization.optimizers import Optimizer, loss_scaled
from cnntrain.optimization.schedule import FeatureCache, Phase, learning_rate_curve
from cnntrain.runtime import ranks
from cnntrain.runtime.terminal import Terminal, duration
from cnntrain.runtime.wording import counted
from cnntrain.training import batch_statistics, logistic_head
from cnntrain.training.deadline import Deadline
from cnntrain.training.feature_cache import FeatureBatches, FrozenLayers, Views
from cnntrain.training.freezing import Divided, at_size, depth_factors
from cnntrain.training.listener import CallEnd, EpochEnd, Listener
from cnntrain.training.loop import Objective, TrainingLoop, averaged_weights

LOST = 0.1  # how much accuracy a phase may lose in its first epoch


@dataclass(frozen=True)
class Split:
    """Batches of a split, and the number of them in an epoch or an evaluation, which limits.steps may cut short."""

    batches: Batches
    steps: int

    @property
    def image_count(self) -> int:
        """The number of images in them."""
        return min(self.steps * self.batches.batch_size, len(self.batches.examples))


class PhaseTrainer:
    """Trains one phase with its own optimizer and learning-rate schedule; can resume it at any step.

    The frozen part runs on each image once if its output can be cached (see `keep_features`), else in every step.
    `epochs`: the number of epochs of the phase. `optimizer`: its settings for the phase. `divided`: the model's frozen
    and trained parts. `deadline`: when training has to end. `resume_command`: the command that resumes the run.
    """

    def __init__(
        self,
        model: keras.Model,
        phase: Phase,
        *,
        name: str,
        epochs: int,
        divided: Divided,
        optimizer: Optimizer,
        precision: str,
        objective: Objective,
        training: Split,
        validation: Split,
        feature_cache: FeatureCache,
        seed: int,
        batchnorm_sync: bool,
        compiled: bool,
        on_collapse: Literal["stop", "warn", "back"],
        deadline: Deadline,
        progress: Progress,
        listeners: Sequence[Listener],
        terminal: Terminal,
        between_calls: Callable[[], None],
        resume_command: str,
    ):
        self.model = model
        self.phase = phase
        self.name = name
        self.epochs = epochs
        self.divided = divided
        self.optimizer = optimizer
        self.training = training
        self.validation = validation
        self.seed = seed
        self.on_collapse = on_collapse
        self.deadline = deadline
        self.progress = progress
        self.listeners = listeners
        self.terminal = terminal
        self.between_calls = between_calls
        self.resume_command = resume_command
        self.first = len(progress.history) - progress.epochs
        for listener in listeners:
            listener.phase_begins(self.title())
        size = phase.image_size
        batches = training.batches.at_size(size) if size else training.batches
        self.training_batches: Batches | Views | FeatureBatches = batches
        self.validation_batches: Batches | FeatureBatches = validation.batches
        self.frozen_in_training = self.frozen_in_validation = divided.frozen
        self.kept: FrozenLayers | None = None
        self.accounted = 0.0  # seconds of running frozen layers that are in the history
        trained = divided.trained
        if divided.frozen is not None:
            self.keep_features(divided.frozen, feature_cache)
        if size:  # frozen layers, too, run on images of that size, in every step
            trained, self.frozen_in_training = at_size(model, size), None
        objective = dataclasses.replace(objective, l2=optimizer.l2 or 0.0)
        self.loop = TrainingLoop(
            trained,
            self.keras_optimizer(trained, precision),
            objective,
            frozen=self.frozen_in_training,
            batchnorm_sync=batchnorm_sync,
            compiled=compiled,
        )
        self.evaluation = EvaluationLoop(
            divided.trained, frozen=self.frozen_in_validation, box_head=objective.box_head
        )

    def title(self) -> str:
        """What is trained, and the number of parameters."""
        names = self.divided.trainable_names
        layers = ", ".join(names) if len(names) <= 3 else f"{len(names)} layers, {names[0]} to {names[-1]},"
        trained = sum(int(np.prod(variable.shape)) for variable in self.model.trainable_variables)
        total = self.model.count_params()
        size = f" on images of {'×'.join(map(str, self.phase.image_size))}" if self.phase.image_size else ""
        epochs = counted(self.epochs, "epoch")
        return f"{self.name}: {epochs}, training {layers} {trained:,} of {total:,} parameters{size}"

    def keep_features(self, network: keras.Model, settings: FeatureCache) -> None:
        """Runs the frozen layers once on the validation images, and on views of the training images."""
        frozen = FrozenLayers(network, settings, self.terminal, between_batches=self.between_calls)
        self.kept = frozen
        self.frozen_in_training = self.frozen_in_validation = frozen.network
        if self.phase.solver == "logistic_regression":
            return self.keep_for_solver(frozen)
        if settings.where == "off" or self.epochs == 1:
            return
        steps, batches = self.validation.steps, self.validation.batches
        if steps and frozen.reserve("validation images", self.validation.image_count):
            self.validation_batches = frozen.keep(batches, epoch=0, steps=steps, label="validation images")
            self.frozen_in_validation = None
        batches, images = self.training.batches, len(self.training.batches.examples)
        views = self.phase.cache_views if batches.varies else 1
        if self.phase.image_size:
            return
        if not views:
            self.offer_views(frozen.images_per_second)
        elif views >= self.epochs or self.training.steps < batches.steps:
            return  # no image would be seen twice
        elif frozen.reserve("training images" if views == 1 else f"training images in {views} views", images * views):
            self.training_batches = Views(frozen, batches, first=self.first, count=views)
            self.frozen_in_training = None

    def keep_for_solver(self, frozen: FrozenLayers) -> None:
        """Runs the frozen layers once on all images, as in validation; raises ConfigError if there isn't room."""
        plain = dataclasses.replace(self.training, batches=self.training.batches.as_validated(self.training.steps))
        for split, what in ((plain, "training images"), (self.validation, "validation images")):
            if split.steps and not frozen.reserve(what, split.image_count):
                raise ConfigError(
                    f"schedule.phases.{self.name}.solver: logistic_regression needs the features of all images in"
                    " memory; raise feature_cache.limit_mb, or set solver=gradient"
                )
        self.training_batches = frozen.keep(plain.batches, epoch=0, steps=plain.steps, label="training images")
        self.frozen_in_training = self.frozen_in_validation = None
        if self.validation.steps:
            self.validation_batches = frozen.keep(
                self.validation.batches, epoch=0, steps=self.validation.steps, label="validation images"
            )

    def offer_views(self, images_per_second: float | None) -> None:
        """Says how much time caching views of augmented images would save."""
        spared = self.epochs - 2
        if spared <= 0:
            return
        images = len(self.training.batches.examples)
        seconds = spared * images / images_per_second if images_per_second else 0
        about = f", about {duration(seconds)}" if seconds else ""
        self.terminal.line(
            f"  schedule.phases.{self.name}.cache_views=2 would spare {spared} of {self.epochs} passes through the"
            f" frozen layers{about}: they would see two augmented views of each image"
        )

    def keras_optimizer(self, trained: keras.Model, precision: str) -> keras.optimizers.Optimizer:
        """The phase's own, with its learning-rate curve, and lower rates for lower layers where that is asked for."""
        curve = learning_rate_curve(
            self.phase, self.optimizer, steps_per_epoch=self.training.steps, epochs=self.epochs
        )
        factors = None
        if self.phase.layer_decay < 1:
            by_path = depth_factors(self.model, self.phase.layer_decay)
            factors = [by_path[variable.path] for variable in trained.trainable_variables]
        return loss_scaled(self.optimizer.build(curve, factors=factors), precision)

    def run(self) -> None:
        """Runs the remaining epochs of the phase, or until early stopping."""
        progress = self.progress
        while not progress.at_end_of(self.phase, self.epochs):
            before, number = progress.best, len(progress.history)
            solved = self.phase.solver == "logistic_regression"
            row = self.solve_epoch(number) if solved else self.train_epoch(number)
            best = self.validate_epoch(row)
            if progress.epochs == 1 and before is not None:
                self.compare(row, before[0])
            self.account(row)
            epoch = EpochEnd(
                progress=progress,
                loop=self.loop,
                row=row,
                epoch_count=self.first + self.epochs,
                best=best,
                last=progress.at_end_of(self.phase, self.epochs),
            )
            for listener in self.listeners:
                listener.epoch_ended(epoch)
        for listener in self.listeners:
            listener.phase_ended(progress.history)
        if progress.out_of_time:
            self.terminal.line(
                f"{self.name}: limits.minutes={self.deadline.minutes:g} ends training in epoch {progress.epochs} of"
                f" {self.epochs}; the weights of epoch {progress.best_epoch} are the best"
            )
        elif progress.epochs < self.epochs and not progress.collapsed:
            patience = counted(self.phase.early_stopping_patience or 0, "epoch")
            self.terminal.line(f"{self.name}: no gain in {patience}; best was {progress.best_epoch}")

    def compare(self, row: dict[str, Any], best: float) -> None:
        """If a phase's first epoch lost what earlier phases had learned, does what on_collapse says."""
        score = row["val_accuracy"] + row.get("val_mean_iou", 0.0)
        chance = 3 * (0.5 / self.validation.image_count) ** 0.5  # three standard errors of a difference at most
        if score >= best - max(LOST, chance):
            return
        text = (
            f"{self.name}: its first epoch took validation from {best:.4f} to {score:.4f}: it destroys what was learned"
            f" before. Lower the learning rate of this phase (it is {self.optimizer.learning_rate:g}), lengthen"
            f" schedule.phases.{self.name}.warmup_epochs, or set schedule.phases.{self.name}.batchnorm=frozen"
        )
        if self.on_collapse == "stop":
            raise TrainingError(f"{text}; on_collapse=back would end the phase instead")
        self.terminal.warning(text)
        if self.on_collapse == "back":
            for listener in self.listeners:
                listener.taken_back()
            self.progress.collapsed = True
            self.terminal.line(
                f"{self.name}: ended; the weights of epoch {self.progress.best_epoch} are taken back (on_collapse=back)"
            )

    def solve_epoch(self, number: int) -> dict[str, Any]:
        """Solves for the head; returns the epoch's history row without validation."""
        progress, start = self.progress, time.perf_counter()
        train = as_labeled(cast(FeatureBatches, self.training_batches))
        validation = as_labeled(cast(FeatureBatches, self.validation_batches)) if self.validation.steps else None
        head = self.model.get_layer("class")
        with self.terminal.working(f"{self.name}: logistic regression on {len(train):,} images"):
            found = logistic_head.solve(train, validation, class_count=head.units, seed=self.seed)
        head.kernel.assign(found.kernel)
        head.bias.assign(found.bias)
        ranks.give_to_all(head.weights)
        metrics = self.evaluation.run(
            self.training_batches.epoch(number), self.training.steps, between_calls=self.between_calls
        )
        progress.seconds = time.perf_counter() - start
        self.terminal.line(f"  penalty 1/{found.strength:.3g}, chosen on {found.chosen_on}")
        return self.row(number, metrics, learning_rate=0.0)

    def validate_epoch(self, row: dict[str, Any]) -> bool:
        """Adds the validation to an epoch's row, and the row to the history; returns whether it is the best so far."""
        start = time.perf_counter()
        with averaged_weights(self.loop.model, self.loop.optimizer):
            row |= self.validate()
            row["validation_seconds"] = round(time.perf_counter() - start, 3)
            best = self.progress.add(row, min_delta=self.phase.early_stopping_min_delta)
            if best:
                for listener in self.listeners:
                    listener.best_reached()
        return best

    def train_epoch(self, number: int) -> dict[str, Any]:
        """Runs the rest of an epoch's training; returns the epoch's history row without validation."""
        loop, progress = self.loop, self.progress
        batches = self.training_batches.epoch(number, first_batch=progress.steps)
        for listener in self.listeners:
            listener.epoch_begins(f"{self.name} {number + 1}", self.training.steps)
        start, waited = time.perf_counter(), loop.pace.waited
        try:
            for done in loop.run_epoch(batches, self.training.steps, done=progress.steps):
                if not np.isfinite(loop.sums.loss):
                    raise NotFinite(self.diverged(f"the loss is {loop.sums.loss}", number + 1, done))
                progress.steps = done
                progress.seconds += time.perf_counter() - start
                progress.input_seconds += loop.pace.waited - waited
                self.tell_of_call()
                if self.out_of_time():
                    break
                start, waited = time.perf_counter(), loop.pace.waited
        finally:
            for listener in self.listeners:
                listener.steps_ended()
        return self.row(number, loop.sums.metrics(), learning_rate=loop.learning_rate())

    def row(self, number: int, metrics: dict[str, float], *, learning_rate: float) -> dict[str, Any]:
        """An epoch's history row without validation."""
        progress = self.progress
        return {
            "phase": self.name,
            "epoch": number + 1,
            "learning_rate": learning_rate,
            **metrics,
            **{f"val_{name}": "" for name in metrics},
            "seconds": round(progress.seconds, 3),
            "images_per_second": round(self.images_done() / progress.seconds, 1),
            "input_seconds": round(progress.input_seconds, 3),
        }

    def tell_of_call(self) -> None:
        """Tells listeners that a graph call has ended."""
        call = CallEnd(
            progress=self.progress,
            loop=self.loop,
            metrics=self.loop.sums.metrics(),
            images_per_second=self.images_done() / self.progress.seconds,
        )
        for listener in self.listeners:
            listener.call_ended(call)

    def images_done(self) -> int:
        """The training images of this epoch so far; all of them if the head is solved."""
        steps = self.progress.steps or self.training.steps
        return min(steps * self.training.batches.batch_size, self.training.image_count)

    def out_of_time(self) -> bool:
        """Whether training has to end, to leave time for the validation and the test."""
        progress = self.progress
        if self.deadline.minutes is None:
            return False
        seconds = progress.seconds / self.images_done() / 3  # a training step costs about three forward passes
        if self.kept and self.kept.images_per_second:
            seconds += 1 / self.kept.images_per_second
        progress.out_of_time = bool(ranks.agreed_number(self.deadline.passed(seconds)))
        return progress.out_of_time

    def account(self, row: dict[str, Any]) -> None:
        """Adds other times to an epoch's row: running frozen layers once up front; and saving, once that is done."""
        features = self.kept.seconds if self.kept else 0.0
        row["features_seconds"] = round(features - self.accounted, 3)
        row["saving_seconds"] = 0.0
        self.accounted = features

    def diverged(self, what: str, epoch: int, step: int) -> str:
        """The error text, with advice, for a number that is not finite."""
        return (
            f"epoch {epoch} of phase {self.name}: {what} by step {step};"
            f" {self.progress.reached()} is kept.\n"
            f"Lower optimizer.learning_rate (it is {self.optimizer.learning_rate:g}), lengthen"
            f" schedule.phases.{self.name}.warmup_epochs, or set optimizer.clip_norm=1;"
            f" with such a change and --force, {self.resume_command} goes on from the last checkpoint"
        )

    def validate(self) -> dict[str, float]:
        """Loss, accuracy and other metrics on the validation images, if any; raises NotFinite for weights that are NaN
        or infinite."""
        epoch, steps = len(self.progress.history) + 1, self.progress.steps
        for variable in self.model.variables:
            if not np.isfinite(variable.numpy()).all():
                raise NotFinite(self.diverged(f"{variable.path} holds NaN or infinity", epoch, steps))
        if self.phase.batchnorm == "recalibrate":
            self.recalibrate(epoch)
        if not self.validation.steps:
            return {}
        metrics = self.evaluation.run(
            self.validation_batches.epoch(), self.validation.steps, between_calls=self.between_calls
        )
        if not np.isfinite(metrics["loss"]):
            raise NotFinite(self.diverged(f"the validation loss is {metrics['loss']}", epoch, steps))
        return {f"val_{name}": value for name, value in metrics.items()}

    def recalibrate(self, epoch: int) -> None:
        """Recomputes BatchNormalization's statistics on the first batches of the epoch that was just trained."""
        steps = min(self.training.steps, batch_statistics.STEPS)
        with self.terminal.working(f"{self.name}: BatchNormalization on {counted(steps, 'batch', 'batches')}"):
            batch_statistics.recalibrate(
                self.loop.model,
                self.training_batches.epoch(epoch - 1).take(steps),
                frozen=self.frozen_in_training,
                between_batches=self.between_calls,
            )


def as_labeled(batches: FeatureBatches) -> logistic_head.Labeled:
    """Cached features with their labels."""
    arrays = batches.arrays
    labels = arrays["targets/class"].argmax(axis=1)
    weights = arrays.get("weights/class", np.ones(len(labels)))
    return logistic_head.Labeled(np.asarray(arrays["features"], np.float32), labels, weights)
