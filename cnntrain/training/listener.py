"""Training events, for whoever listens: checkpoints, history, trackers, the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnntrain.checkpoints.progress import Progress
from cnntrain.training.loop import TrainingLoop


@dataclass(frozen=True, kw_only=True)
class CallEnd:
    """A graph call (about a second of steps) has ended: the run's progress, and the epoch's metrics so far."""

    progress: Progress
    loop: TrainingLoop
    metrics: Mapping[str, float]
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """An epoch has ended, including validation; `row` is its row of the history.

    `epoch_count`: the total number of epochs, including earlier phases. `best`: it is the best so far. `last`: it is
    the last of its phase.
    """

    progress: Progress
    loop: TrainingLoop
    row: dict[str, Any]
    epoch_count: int
    best: bool
    last: bool


class Listener:
    """Receives training events and does nothing. Override the methods you need."""

    def phase_begins(self, title: str) -> None:
        """A phase begins or resumes."""

    def epoch_begins(self, label: str, step_count: int) -> None:
        """The steps of an epoch begin or resume."""

    def call_ended(self, call: CallEnd) -> None:
        """A graph call has ended; may raise to end training here."""

    def steps_ended(self) -> None:
        """The steps of an epoch are done, or were interrupted."""

    def best_reached(self) -> None:
        """The network in its current state is the best so far."""

    def taken_back(self) -> None:
        """The network should go back to the best so far."""

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """An epoch has ended."""

    def phase_ended(self, history: Sequence[Mapping[str, Any]]) -> None:
        """A phase has ended, and the history row of its last epoch is complete."""
