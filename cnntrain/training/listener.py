"""What happens in training, told to whoever wants to know: checkpoints, history, trackers, the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnntrain.checkpoints.progress import Progress
from cnntrain.training.loop import TrainingLoop


@dataclass(frozen=True, kw_only=True)
class CallEnd:
    """A call of the graph is over, about a second of steps: where the run stands, and the epoch's metrics so far."""

    progress: Progress
    loop: TrainingLoop
    metrics: Mapping[str, float]
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """An epoch is over, validated and counted; `row` is its row of the history.

    `epoch_count`: of how many epochs, those of earlier phases included. `best`: of all so far. `last`: of its phase.
    """

    progress: Progress
    loop: TrainingLoop
    row: dict[str, Any]
    epoch_count: int
    best: bool
    last: bool


class Listener:
    """Is told what happens; does nothing about it. Override what matters."""

    def phase_begins(self, title: str) -> None:
        """A phase begins, or is resumed."""

    def epoch_begins(self, label: str, step_count: int) -> None:
        """The steps of an epoch begin, or are resumed."""

    def call_ended(self, call: CallEnd) -> None:
        """So many steps are done; may raise, where training is to end here."""

    def steps_ended(self) -> None:
        """The steps of an epoch are done, or broke off."""

    def best_reached(self) -> None:
        """The network, as it is now, is the best so far."""

    def taken_back(self) -> None:
        """The network is to be the best so far again."""

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """An epoch is over."""

    def phase_ended(self, history: Sequence[Mapping[str, Any]]) -> None:
        """A phase is over, and its last epoch is accounted for."""
