"""The state of a run in progress: what is saved, when, and how it is restored."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnntrain.checkpoints.checkpoint import Checkpoints, Found, State
from cnntrain.checkpoints.progress import Progress
from cnntrain.errors import DataError
from cnntrain.experiment import Checkpoint
from cnntrain.runtime import ranks
from cnntrain.runtime.files import replace_by_link, whole_file
from cnntrain.runtime.run_dir import RunDir

if TYPE_CHECKING:
    import keras



class Sums(Protocol):
    """Sums over the steps of an epoch."""

    totals: np.ndarray


class Loop(Protocol):
    """The training loop of a phase, as far as its state is concerned."""

    @property
    def optimizer(self) -> "keras.optimizers.Optimizer": ...
    @property
    def sums(self) -> Sums: ...


class StateKeeper:
    """Saves and restores the state of one run: the variables of model and optimizer, sums and progress.

    The model's variables include not only weights but also the moving averages of BatchNormalization and the random
    state of dropout. The best network so far stays in memory until the state is written, so that both are from the
    same moment. `each_epoch`: save after each epoch, whatever settings.min_seconds says.
    """

    def __init__(self, model: "keras.Model", run_dir: RunDir, settings: Checkpoint, *, each_epoch: bool = False):
        self.model = model
        self.run_dir = run_dir
        self.min_seconds = 0.0 if each_epoch else settings.min_seconds
        self.every_seconds = settings.every_minutes and settings.every_minutes * 60
        self.checkpoints = Checkpoints(run_dir.checkpoints, keep=settings.keep)
        self.seconds = 0.0  # that training spent waiting
        self._saved_at = time.monotonic()
        self._best: dict[str, np.ndarray] | None = None  # not yet written to model.keras
        self._for_phase: Found | None = None

    def save(self, progress: Progress, loop: Loop | None) -> None:
        """Starts writing the run's state; raises the previous checkpoint's error if it failed."""
        self.write_best()
        with self.counted():
            arrays = arrays_of("model", self.model.variables)
            if loop is not None:
                arrays |= {**arrays_of("optimizer", loop.optimizer.variables), "totals": loop.sums.totals.copy()}
            state = State(arrays, dataclasses.asdict(progress))
            epoch, step = len(progress.history), progress.steps
            self.checkpoints.save(state, epoch=epoch, step=step, best_model=self.run_dir.model)
            self._saved_at = time.monotonic()

    def remember_best(self) -> None:
        """Remembers the network in its current state as the best so far."""
        self._best = arrays_of("model", self.model.variables)

    def write_best(self) -> None:
        """Writes the best network to model.keras, if it is not there yet."""
        if self._best is None:
            return
        with self.counted():
            now = arrays_of("model", self.model.variables)
            give(self.model.variables, self._best)
            try:
                with whole_file(self.run_dir.model) as temporary:
                    self.model.save(temporary)
            finally:
                give(self.model.variables, now)
            self._best = None

    def give_best(self) -> None:
        """Gives the model the weights of the best network so far."""
        self.write_best()
        self.model.load_weights(self.run_dir.model)
        ranks.give_to_all(self.model.weights)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Adds the block's time to the time that training spent waiting."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def save_within_epoch(self, progress: Progress, loop: Loop) -> None:
        """Saves every few minutes; raises the previous checkpoint's error if it failed."""
        self.checkpoints.raise_failure()
        if self.every_seconds and time.monotonic() - self._saved_at >= self.every_seconds:
            self.save(progress, loop)

    def save_after_epoch(self, progress: Progress, loop: Loop, *, last: bool) -> None:
        """Saves after the last epoch of a phase, and after other epochs unless the last save was just before."""
        if last or time.monotonic() - self._saved_at >= self.min_seconds:
            self.save(progress, loop)

    def put_back(self, found: Found) -> Progress:
        """Restores the model's variables and the best network from a checkpoint."""
        assign(self.model.variables, "model", found)
        ranks.separate_noise(self.model.variables)
        self._best = None
        if found.best_model is not None:
            replace_by_link(self.run_dir.model, found.best_model)
        self._for_phase = found
        return progress_of(found)

    def put_back_phase(self, loop: Loop) -> None:
        """Restores the optimizer and sums of the phase that was in progress; later phases start with their own."""
        found, self._for_phase = self._for_phase, None
        if found is not None and "totals" in found.state.arrays:
            assign(loop.optimizer.variables, "optimizer", found)
            loop.sums.totals = found.state.arrays["totals"].copy()

    def forget_phase(self) -> None:
        """Drops the state of the phase that was in progress, because it had ended."""
        self._for_phase = None


class ReadingKeeper(StateKeeper):
    """The same for a rank other than the first: it reads the state, and saves nothing."""

    def save(self, progress: Progress, loop: Loop | None) -> None:
        """Nothing."""

    def remember_best(self) -> None:
        """Nothing."""

    def write_best(self) -> None:
        """Nothing."""

    def give_best(self) -> None:
        """Gives the model the weights that rank 0 reads."""
        ranks.give_to_all(self.model.weights)

    def put_back(self, found: Found) -> Progress:
        """Restores the model's variables."""
        return super().put_back(dataclasses.replace(found, best_model=None))


def progress_of(found: Found) -> Progress:
    """The progress of a checkpoint's run."""
    try:
        return Progress.from_facts(found.state.facts)
    except TypeError as error:
        raise DataError(f"{found.path}: was written by another version of cnntrain: {error}") from error


def names_of(kind: str, variables: "Sequence[keras.Variable]") -> list[str]:
    """A name for each variable: its position and its path, which alone might not be unique.

    A path begins with the name of the layer or optimizer. The optimizer's name contains a per-process counter, so it
    is left out.
    """
    paths = [variable.path for variable in variables]
    if kind == "optimizer":
        paths = [path.partition("/")[2] for path in paths]
    return [f"{kind}/{number}/{path}" for number, path in enumerate(paths)]


def arrays_of(kind: str, variables: "Sequence[keras.Variable]") -> dict[str, np.ndarray]:
    """The current values of variables, by name.

    On a CPU nothing is copied here: the arrays share the variables' memory, which TensorFlow does not overwrite as
    long as somebody else refers to it; the next step makes copies of what it changes.
    """
    names = names_of(kind, variables)
    return {
        name: np.asarray(memoryview(variable.value.read_value()))
        for name, variable in zip(names, variables, strict=True)
    }


def assign(variables: "Sequence[keras.Variable]", kind: str, found: Found) -> None:
    """Sets variables to the values in a checkpoint; raises DataError, before any is changed, if they don't fit."""
    arrays: Mapping[str, Any] = found.state.arrays
    names = names_of(kind, variables)
    expected = {name: tuple(variable.shape) for name, variable in zip(names, variables, strict=True)}
    saved = {name: array.shape for name, array in arrays.items() if name.startswith(f"{kind}/")}
    if expected != saved:
        strange = sorted(expected.items() ^ saved.items())[0][0]
        raise DataError(f"{found.path}: is of another network or optimizer: {strange} is in one of them only")
    give(variables, {name: arrays[name] for name in names})


def give(variables: "Sequence[keras.Variable]", arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns arrays in the order of the variables."""
    for variable, array in zip(variables, arrays.values(), strict=True):
        variable.assign(array)
