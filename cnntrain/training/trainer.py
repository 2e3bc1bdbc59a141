"""Takes a run through its phases: resuming from saved state, stopping, and rolling back."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import keras

from cnntrain.checkpoints.checkpoint import newest
from cnntrain.checkpoints.progress import Progress
from cnntrain.checkpoints.resumed import Resumed
from cnntrain.checkpoints.run_state import StateKeeper
from cnntrain.errors import NotFinite, Stopped
from cnntrain.experiment import Rollback
from cnntrain.optimization.optimizers import Optimizer
from cnntrain.optimization.schedule import FeatureCache, Phase
from cnntrain.runtime import ranks
from cnntrain.runtime.terminal import Terminal
from cnntrain.training.deadline import Deadline
from cnntrain.training.freezing import freeze
from cnntrain.training.listener import Listener
from cnntrain.training.loop import Objective
from cnntrain.training.phase_trainer import PhaseTrainer, Split


class Trainer:
    """Trains a model through the phases of a schedule; `progress` says how far along it is.

    `epochs`: the number of epochs of each phase, by name. `head`: patterns for the layers of the model's head.
    `on_nan` and `rollback`: what to do about numbers that are not finite. `deadline`: when training has to end.
    `between_calls` may raise Stopped.
    """

    def __init__(
        self,
        model: keras.Model,
        phases: Mapping[str, Phase],
        *,
        epochs: Mapping[str, int],
        head: Sequence[str],
        optimizer: Optimizer,
        precision: str,
        objective: Objective,
        training: Split,
        validation: Split,
        feature_cache: FeatureCache,
        on_nan: Literal["stop", "rollback"],
        rollback: Rollback,
        batchnorm_sync: bool,
        compiled: bool,
        on_collapse: Literal["stop", "warn", "back"],
        deadline: Deadline,
        seed: int,
        keeper: StateKeeper,
        listeners: Sequence[Listener],
        terminal: Terminal,
        between_calls: Callable[[], None],
        resume_command: str,
    ):
        self.model = model
        self.phases = phases
        self.epochs = epochs
        self.head = head
        self.optimizer = optimizer
        self.precision = precision
        self.objective = objective
        self.training = training
        self.validation = validation
        self.feature_cache = feature_cache
        self.on_nan = on_nan
        self.rollback = rollback
        self.batchnorm_sync = batchnorm_sync
        self.compiled = compiled
        self.on_collapse = on_collapse
        self.deadline = deadline
        self.seed = seed
        self.keeper = keeper
        self.listeners = listeners
        self.terminal = terminal
        self.between_calls = between_calls
        self.resume_command = resume_command
        self.progress = Progress()
        self.under_way: PhaseTrainer | None = None

    def go_on(self, resumed: Resumed) -> None:
        """Restores a checkpoint; starts over if there is none."""
        for text in resumed.warnings:
            self.terminal.warning(text)
        if resumed.found is None:
            self.terminal.line("there is no checkpoint to go on from: the run begins anew")
            return
        ranks.same_everywhere("checkpoints", resumed.found.path.name)
        self.progress = self.keeper.put_back(resumed.found)
        self.progress.out_of_time = False
        self.deadline.started -= self.progress.spent()
        if self.progress.history:
            for listener in self.listeners:
                listener.phase_ended(self.progress.history)
        self.terminal.line(f"going on after {self.progress.place()}")

    def run(self) -> None:
        """Trains; if a signal asks for it, saves the run's state and raises Stopped."""
        ranks.give_to_all(self.model.weights)
        try:
            self.train()
        except Stopped:
            if self.under_way is not None:
                self.keeper.save(self.progress, self.under_way.loop)
            self.keeper.checkpoints.wait()
            raise
        finally:
            self.keeper.checkpoints.close()
            with contextlib.suppress(OSError):  # a full disk has already been reported
                self.keeper.write_best()

    def train(self) -> None:
        """Runs the remaining phases; if a number is not finite, rolls back to the last checkpoint if so configured."""
        if self.on_nan == "rollback" and not self.progress.phase:
            self.keeper.save(self.progress, None)
        while True:
            try:
                return self.train_phases()
            except NotFinite as error:
                self.roll_back(error)

    def train_phases(self) -> None:
        """Runs one phase after another, from where the run is now."""
        names = list(self.phases)
        past = names.index(self.progress.phase) if self.progress.phase else 0
        for name in names[past:]:
            if name != self.progress.phase:
                self.keeper.forget_phase()
                self.progress.begin(name)
            if not self.progress.at_end_of(self.phases[name], self.epochs[name]):
                phase_trainer = self.phase_trainer(name)
                self.keeper.put_back_phase(phase_trainer.loop)
                self.under_way = phase_trainer
                phase_trainer.run()
                self.under_way = None
        self.keeper.checkpoints.wait()

    def phase_trainer(self, name: str) -> PhaseTrainer:
        """The trainer for a phase."""
        phase = self.phases[name]
        return PhaseTrainer(
            self.model,
            phase,
            name=name,
            epochs=self.epochs[name],
            divided=freeze(self.model, phase, phase_name=name, head=self.head),
            optimizer=self.optimizer_of(name),
            precision=self.precision,
            objective=self.objective,
            training=self.training,
            validation=self.validation,
            feature_cache=self.feature_cache,
            seed=self.seed,
            batchnorm_sync=self.batchnorm_sync,
            compiled=self.compiled,
            on_collapse=self.on_collapse,
            deadline=self.deadline,
            progress=self.progress,
            listeners=self.listeners,
            terminal=self.terminal,
            between_calls=self.between_calls,
            resume_command=self.resume_command,
        )

    def optimizer_of(self, name: str) -> Optimizer:
        """The optimizer's settings for a phase, with a lower learning rate after each rollback."""
        optimizer = self.optimizer.for_phase(name)
        factor = self.rollback.learning_rate_factor**self.progress.rollbacks
        return dataclasses.replace(optimizer, learning_rate=cast(float, optimizer.learning_rate) * factor)

    def roll_back(self, error: NotFinite) -> None:
        """Restores the last checkpoint, to continue at a lower learning rate; raises the error if not so configured."""
        rollbacks = self.progress.rollbacks + 1
        self.under_way = None
        self.keeper.checkpoints.settle()
        ranks.wait()
        found, complaints = newest(self.keeper.run_dir.checkpoints)
        if self.on_nan != "rollback" or rollbacks > self.rollback.times or found is None:
            raise error
        for text in [str(error).splitlines()[0], *complaints]:
            self.terminal.warning(text)
        self.progress = self.keeper.put_back(found)
        self.progress.rollbacks = rollbacks
        self.terminal.line(
            f"rollback {rollbacks} of {self.rollback.times}: going on after {self.progress.place()} with"
            f" {self.rollback.learning_rate_factor**rollbacks:g} of the learning rate"
        )
