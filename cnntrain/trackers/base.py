"""The interface of every tracker, and the information about a run that it gets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from cnntrain.errors import ConfigError

Row = Mapping[str, Any]  # a row of history.csv
Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class TrackedRun:
    """A run as its trackers see it.

    `configuration` has a value for each full key; `facts` say what ran: the command, the git state, and so on.
    """

    name: str
    folder: Path
    configuration: Mapping[str, Any]
    facts: Mapping[str, str]
    config_file: Path


class Tracker(Protocol):
    """Logs a run where other programs can show it; may raise any error.

    It is called only at the end of an epoch, never within one.
    """

    def begin(self, run: TrackedRun, tracker_run: str | None) -> str | None:
        """Starts a run in the tracker, or continues the one with that ID; returns its ID, if it has one."""

    def log(self, history: Sequence[Row]) -> None:
        """Updates the tracker's run to these epochs: after each epoch, and after going back to an earlier one."""

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Logs metrics that were computed once, with the weights of an epoch."""

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """Logs pictures (PNG), and closes the tracker's run; the last epoch is `epoch`."""


class TrackerSettings(Protocol):
    """The settings of one tracker."""

    @property
    def packages(self) -> Sequence[str]:
        """The additional packages that it needs."""

    def build(self) -> Tracker:
        """A tracker for one run."""

    def next_command(self, folder: Path) -> tuple[str, str] | None:
        """The command that shows or uploads a folder's run, and what it does; None if there is nothing to do."""


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The values that are finite numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def check_packages(name: str, packages: Sequence[str]) -> None:
    """Raises ConfigError if a package is missing; a plain folder with its name, such as ./wandb, doesn't count."""
    specs = {package: find_spec(package) for package in packages}
    missing = [package for package, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        raise ConfigError(
            f"tracker.{name}: needs {', '.join(missing)}; pip install 'cnntrain[{name}]' brings"
            f" {'them' if len(missing) > 1 else 'it'}, and tracker.{name}=null goes without"
        )
