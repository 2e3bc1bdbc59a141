"""One phase of a run: what trains, on which batches, epoch after epoch."""

import dataclasses
import time
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np

from cnntrain.errors import NotFinite
from cnntrain.optimization.optimizers import Optimizer, loss_scaled
from cnntrain.optimization.schedule import Phase, learning_rate_curve
from cnntrain.runtime.terminal import duration
from cnntrain.runtime.wording import counted
from cnntrain.training.feature_cache import FeatureBatches, FrozenLayers, Views
from cnntrain.training.freezing import depth_factors, freeze
from cnntrain.training.loop import EvaluationLoop, Objective, TrainingLoop, averaged_weights

if TYPE_CHECKING:
    from cnntrain.data.pipeline import Batches
    from cnntrain.training.run import Job


class PhaseTraining:
    """A phase under way, with an optimizer and a learning-rate curve of its own.

    What is frozen runs on each image once where its output can be kept (see `keep_features`), else in every step.
    History and the best epoch are the job's: they go on over phases. A phase can be entered anywhere in it.
    """

    def __init__(self, job: "Job", name: str, phase: Phase):
        self.job = job
        self.name = name
        self.phase = phase
        self.epochs = job.epochs[name]
        self.first = len(job.progress.history) - job.progress.epochs
        self.optimizer = self.own_optimizer()
        self.divided = freeze(job.model, phase, phase_name=name, head=job.experiment.model.head)
        job.terminal.line(self.title())
        self.training: Batches | Views = job.training_batches
        self.validation: Batches | FeatureBatches = job.validation_batches
        self.frozen_in_training = self.frozen_in_validation = self.divided.frozen
        self.kept: FrozenLayers | None = None
        self.accounted = {"saving_seconds": job.keeper.seconds}
        if self.divided.frozen is not None:
            self.keep_features(self.divided.frozen)
        self.loop = self.training_loop()
        job.keeper.put_back_phase(self.loop)
        self.evaluation = EvaluationLoop(
            self.divided.trained, frozen=self.frozen_in_validation, box_head=job.box_head
        )

    def own_optimizer(self) -> Optimizer:
        """The optimizer's settings for this phase, slower after each rollback."""
        experiment = self.job.experiment
        optimizer = experiment.optimizer.for_phase(self.name)
        factor = experiment.rollback.learning_rate_factor**self.job.progress.rollbacks
        return dataclasses.replace(optimizer, learning_rate=cast(float, optimizer.learning_rate) * factor)

    def title(self) -> str:
        """What trains, and how much that is."""
        names = self.divided.trainable_names
        layers = ", ".join(names) if len(names) <= 3 else f"{len(names)} layers, {names[0]} to {names[-1]},"
        trained = sum(int(np.prod(variable.shape)) for variable in self.job.model.trainable_variables)
        total = self.job.model.count_params()
        return f"{self.name}: {counted(self.epochs, 'epoch')}, training {layers} {trained:,} of {total:,} parameters"

    def keep_features(self, network: keras.Model) -> None:
        """Runs the frozen layers once on the validation images, and on views of the training images."""
        job, settings = self.job, self.job.experiment.feature_cache
        frozen = FrozenLayers(network, settings, job.terminal, between_batches=job.requests.raise_if_asked)
        self.kept = frozen
        self.frozen_in_training = self.frozen_in_validation = frozen.network
        if settings.where == "off" or self.epochs == 1:
            return
        steps = job.steps(job.labelled.validation)
        seen = min(steps * job.experiment.batch_size, len(job.labelled.validation))
        if steps and frozen.reserve("validation images", seen):
            self.validation = frozen.keep(job.validation_batches, epoch=0, steps=steps, label="validation images")
            self.frozen_in_validation = None
        batches, images = job.training_batches, len(job.labelled.train)
        views = self.phase.cache_views if batches.varies else 1
        if not views:
            self.offer_views(frozen.images_per_second)
        elif views >= self.epochs or job.steps_per_epoch < batches.steps:
            return  # nothing would be seen twice
        elif frozen.reserve("training images" if views == 1 else f"training images in {views} views", images * views):
            self.training = Views(frozen, batches, first=self.first, count=views)
            self.frozen_in_training = None

    def offer_views(self, images_per_second: float | None) -> None:
        """Says what keeping views of augmented images would spare."""
        spared = self.epochs - 2
        if spared <= 0:
            return
        seconds = spared * len(self.job.labelled.train) / images_per_second if images_per_second else 0
        about = f", about {duration(seconds)}" if seconds else ""
        self.job.terminal.line(
            f"  schedule.phases.{self.name}.cache_views=2 would spare {spared} of {self.epochs} passes through the"
            f" frozen layers{about}: they would see two augmented views of each image"
        )

    def training_loop(self) -> TrainingLoop:
        """The loop with the phase's own optimizer."""
        experiment, optimizer, model = self.job.experiment, self.optimizer, self.divided.trained
        curve = learning_rate_curve(
            self.phase, optimizer, steps_per_epoch=self.job.steps_per_epoch, epochs=self.epochs
        )
        factors = None
        if self.phase.layer_decay < 1:
            by_path = depth_factors(self.job.model, self.phase.layer_decay)
            factors = [by_path[variable.path] for variable in model.trainable_variables]
        objective = Objective(
            experiment.output_weights,
            experiment.label_smoothing,
            l2=optimizer.l2 or 0.0,
            box_head=self.job.box_head,
        )
        keras_optimizer = loss_scaled(optimizer.build(curve, factors=factors), experiment.precision)
        return TrainingLoop(model, keras_optimizer, objective, frozen=self.frozen_in_training)

    def run(self) -> None:
        """All epochs of the phase that are left, or those until nothing is gained any more."""
        job, progress = self.job, self.job.progress
        while not progress.at_end_of(self.phase, self.epochs):
            row = self.train_epoch(len(progress.history))
            start = time.perf_counter()
            with averaged_weights(self.loop.model, self.loop.optimizer):
                row |= self.validate()
                row["validation_seconds"] = round(time.perf_counter() - start, 3)
                best = progress.add(row, min_delta=self.phase.early_stopping_min_delta)
                if best:
                    job.keeper.remember_best()
            self.account(row)
            job.run_dir.write_history(progress.history)
            last = progress.at_end_of(self.phase, self.epochs)
            job.keeper.save_after_epoch(progress, self.loop, last=last)
            self.account(row)
            if last:  # else the next epoch writes it
                job.run_dir.write_history(progress.history)
            job.followers.log(progress.history)
            job.terminal.epoch(row, epochs=self.first + self.epochs, best=best)
        if progress.epochs < self.epochs:
            patience = counted(self.phase.early_stopping_patience or 0, "epoch")
            job.terminal.line(f"{self.name}: no gain in {patience}; best was {progress.best_epoch}")

    def train_epoch(self, number: int) -> dict[str, Any]:
        """What is left of one epoch's training; the epoch's row of the history without validation."""
        job, loop, progress = self.job, self.loop, self.job.progress
        batches = self.training.epoch(number, first_batch=progress.steps)
        images = min(job.steps_per_epoch * job.experiment.batch_size, len(job.labelled.train))
        start, waited = time.perf_counter(), loop.pace.waited
        with job.terminal.epoch_bar(f"{self.name} {number + 1}", job.steps_per_epoch) as bar:
            for done in loop.run_epoch(batches, job.steps_per_epoch, done=progress.steps):
                if not np.isfinite(loop.sums.loss):
                    raise NotFinite(self.diverged(f"the loss is {loop.sums.loss}", number + 1, done))
                progress.steps = done
                progress.seconds += time.perf_counter() - start
                progress.input_seconds += loop.pace.waited - waited
                rate = min(done * job.experiment.batch_size, images) / progress.seconds
                bar.update(done, loop.sums.measures(), images_per_second=rate)
                job.requests.raise_if_asked()
                job.keeper.save_within_epoch(progress, loop)
                start, waited = time.perf_counter(), loop.pace.waited
        measures = loop.sums.measures()
        return {
            "phase": self.name,
            "epoch": number + 1,
            "learning_rate": loop.learning_rate(),
            **measures,
            **{f"val_{name}": "" for name in measures},
            "seconds": round(progress.seconds, 3),
            "images_per_second": round(images / progress.seconds, 1),
            "input_seconds": round(progress.input_seconds, 3),
        }

    def account(self, row: dict[str, Any]) -> None:
        """Adds to an epoch's row what took time beside training and validation: to run frozen layers once and for
        all, and to save."""
        features = self.kept.seconds if self.kept else 0.0
        totals = {"features_seconds": features, "saving_seconds": self.job.keeper.seconds}
        for name, total in totals.items():
            row[name] = round(row.get(name, 0.0) + total - self.accounted.get(name, 0.0), 3)
        self.accounted = totals

    def diverged(self, what: str, epoch: int, step: int) -> str:
        """What to say and advise when a number is none."""
        return (
            f"epoch {epoch} of phase {self.name}: {what} by step {step};"
            f" {self.job.progress.reached()} is kept.\n"
            f"Lower optimizer.learning_rate (it is {self.optimizer.learning_rate:g}), lengthen"
            f" schedule.phases.{self.name}.warmup_epochs, or set optimizer.clip_norm=1;"
            f" with such a change and --force, {self.job.resume_command} goes on from the last checkpoint"
        )

    def validate(self) -> dict[str, float]:
        """Loss, accuracy and the like on the validation images, if there are any; raises NotFinite for weights that
        are no numbers."""
        job, epoch = self.job, len(self.job.progress.history) + 1
        for variable in job.model.variables:
            if not np.isfinite(variable.numpy()).all():
                raise NotFinite(self.diverged(f"{variable.path} holds NaN or infinity", epoch, job.progress.steps))
        steps = job.steps(job.labelled.validation)
        if not steps:
            return {}
        measures = self.evaluation.run(
            self.validation.epoch(), steps, between_calls=job.requests.raise_if_asked
        )
        if not np.isfinite(measures["loss"]):
            raise NotFinite(self.diverged(f"the validation loss is {measures['loss']}", epoch, job.progress.steps))
        return {f"val_{name}": value for name, value in measures.items()}
