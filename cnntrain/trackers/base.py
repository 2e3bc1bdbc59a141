"""What every tracker does, and what it is told of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from cnntrain.errors import ConfigError

Row = Mapping[str, Any]  # of history.csv
Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class TrackedRun:
    """A run as its trackers see it.

    `configuration` has a value for each full key; `facts` are what ran: the command, the state of git, and the like.
    """

    name: str
    folder: Path
    configuration: Mapping[str, Any]
    facts: Mapping[str, str]
    config_file: Path


class Tracker(Protocol):
    """Keeps what a run gives where other programs show it; may raise whatever goes wrong.

    It is asked at the ends of epochs only, never within one.
    """

    def begin(self, run: TrackedRun, tracker_run: str | None) -> str | None:
        """Begins a run of the tracker, or goes on with the one of that id; gives its id, if it has one."""

    def log(self, history: Sequence[Row]) -> None:
        """Makes the tracker's run hold these epochs: after each epoch, and after going back to an earlier one."""

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Logs what was measured once, with the weights of an epoch."""

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """Logs pictures (PNG), and closes the tracker's run; the last epoch is `epoch`."""


class TrackerSettings(Protocol):
    """The settings of one tracker."""

    @property
    def packages(self) -> Sequence[str]:
        """What it takes beyond our own."""

    def build(self) -> Tracker:
        """A tracker for one run."""

    def next_command(self, folder: Path) -> tuple[str, str] | None:
        """What shows or sends what was kept of the run in a folder, and what it does; None where nothing is to do."""


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those values that are finite numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def check_packages(name: str, packages: Sequence[str]) -> None:
    """Raises ConfigError where a package is missing; a mere folder of its name, such as ./wandb, is none."""
    specs = {package: find_spec(package) for package in packages}
    missing = [package for package, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        raise ConfigError(
            f"tracker.{name}: needs {', '.join(missing)}; pip install 'cnntrain[{name}]' brings"
            f" {'them' if len(missing) > 1 else 'it'}, and tracker.{name}=null goes without"
        )
