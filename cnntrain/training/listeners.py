"""The listeners of every run: history.csv, signals, checkpoints, trackers, the terminal."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from cnntrain.checkpoints.run_state import StateKeeper
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import StopRequests
from cnntrain.runtime.terminal import EpochBar, Terminal
from cnntrain.trackers.listener import Followers
from cnntrain.training.listener import CallEnd, EpochEnd, Listener


class HistoryFile(Listener):
    """Keeps history.csv up to date."""

    def __init__(self, run_dir: RunDir):
        self.run_dir = run_dir

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """Writes the new row."""
        self.run_dir.write_history(epoch.progress.history)

    def phase_ended(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Writes the additions to the last row."""
        self.run_dir.write_history(history)


class Signals(Listener):
    """Ends training between two graph calls if a signal asks for it."""

    def __init__(self, requests: StopRequests):
        self.requests = requests

    def call_ended(self, call: CallEnd) -> None:
        """Raises Stopped if a signal was received."""
        self.requests.raise_if_asked()


class CheckpointWriter(Listener):
    """Saves the state of the run when it is due."""

    def __init__(self, keeper: StateKeeper):
        self.keeper = keeper
        self.accounted = keeper.seconds

    def call_ended(self, call: CallEnd) -> None:
        """Saves within an epoch."""
        self.keeper.save_within_epoch(call.progress, call.loop)

    def best_reached(self) -> None:
        """Remembers the best network."""
        self.keeper.remember_best()

    def taken_back(self) -> None:
        """Gives the network its best weights."""
        self.keeper.give_best()

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """Saves after an epoch; the time that training waited for it goes into the epoch's row."""
        self.account(epoch.row)
        self.keeper.save_after_epoch(epoch.progress, epoch.loop, last=epoch.last)
        self.account(epoch.row)

    def account(self, row: dict[str, Any]) -> None:
        """Adds the time spent saving since the last call."""
        row["saving_seconds"] = round(row["saving_seconds"] + self.keeper.seconds - self.accounted, 3)
        self.accounted = self.keeper.seconds


class TrackerLog(Listener):
    """Passes each epoch to the trackers."""

    def __init__(self, followers: Followers):
        self.followers = followers

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """Logs the history."""
        self.followers.log(epoch.progress.history)


class Display(Listener):
    """Shows a live progress bar, and a line per epoch."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        self.bar: EpochBar | None = None
        self.bars = contextlib.ExitStack()

    def phase_begins(self, title: str) -> None:
        """A line."""
        self.terminal.line(title)

    def epoch_begins(self, label: str, step_count: int) -> None:
        """The bar appears."""
        self.bar = self.bars.enter_context(self.terminal.epoch_bar(label, step_count))

    def call_ended(self, call: CallEnd) -> None:
        """The bar moves."""
        if self.bar is not None:
            self.bar.update(call.progress.steps, call.metrics, images_per_second=call.images_per_second)

    def steps_ended(self) -> None:
        """The bar disappears."""
        self.bars.close()

    def epoch_ended(self, epoch: EpochEnd) -> None:
        """A line."""
        self.terminal.epoch(epoch.row, epochs=epoch.epoch_count, best=epoch.best)
