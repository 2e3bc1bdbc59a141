"""Passes a run's events to its trackers, none of which can break the run."""

import contextlib
import json
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.runtime.run_dir import RunDir
from cnntrain.settings import flat
from cnntrain.trackers import Tracking
from cnntrain.trackers.base import Row, Status, TrackedRun, Tracker, numbers

LONGEST_REASON = 300  # characters


class Followers:
    """The trackers of one run. A tracker that raises is reported once, and not called again.

    The ID of each tracker's run is kept in the run folder, so that a resumed run continues in the tracker, too.
    """

    def __init__(self, tracking: Tracking, run_dir: RunDir, warn: Callable[[str], None]):
        self.trackers: dict[str, Tracker] = {}
        self.settings = tracking.chosen()
        self.run_dir = run_dir
        self.warn = warn
        self.epoch = 0

    @contextlib.contextmanager
    def following(self, history: Sequence[Row]) -> Iterator[None]:
        """Tells the trackers that the run begins, or continues after `history`, and how the block ends."""
        if self.settings:
            self.begin(tracked_run(self.run_dir))
        if history:
            self.log(history)
        status: Status = "failed"
        try:
            yield
            status = "finished"
        except KeyboardInterrupt:
            status = "stopped"
            raise
        finally:
            pictures = sorted(self.run_dir.path.glob("*.png"))
            self.each(lambda name, tracker: tracker.finish(status, pictures, epoch=self.epoch))

    def begin(self, run: TrackedRun) -> None:
        """Starts or continues each tracker's run."""
        ids = known_ids(self.run_dir.tracker_runs)

        def begin(name: str, tracker: Tracker) -> None:
            found = tracker.begin(run, ids.get(name))
            if found is not None and found != ids.get(name):
                ids[name] = found
                self.run_dir.write_json(self.run_dir.tracker_runs, ids)

        self.trackers = {name: settings.build() for name, settings in self.settings.items()}
        self.each(begin)

    def log(self, history: Sequence[Row]) -> None:
        """Logs the epochs so far, of which the last is new."""
        self.epoch = history[-1]["epoch"]
        self.each(lambda _, tracker: tracker.log(history))

    def result(self, metrics: Mapping[str, Any], *, epoch: int) -> None:
        """Logs the test metrics, computed with the weights of the best epoch."""
        values = {"best_epoch": float(epoch)} | {f"test_{name}": value for name, value in numbers(metrics).items()}
        self.each(lambda _, tracker: tracker.result(values, epoch=epoch))

    def next_commands(self) -> list[tuple[str, str]]:
        """The commands that show or upload what the still active trackers logged, and what each command does."""
        found = [self.settings[name].next_command(self.run_dir.path) for name in self.trackers]
        return [command for command in found if command is not None]

    def each(self, tell: Callable[[str, Tracker], None]) -> None:
        """Calls a function for every tracker."""
        for name, tracker in list(self.trackers.items()):
            try:
                with undisturbed():
                    tell(name, tracker)
            except Exception as error:
                del self.trackers[name]
                self.warn(f"tracker {name} is left out from now on; the run goes on without it: {reason(error)}")


def tracked_run(run_dir: RunDir) -> TrackedRun:
    """A run as recorded in its folder; the name of a multirun job, whose folder is just a number, has two folders."""
    record, folder = run_dir.read_record(), run_dir.path.absolute()
    git = record.get("git") or {}
    facts = {
        "command": record["command"],
        "started": record["started"],
        "folder": str(folder),
        "git_commit": git.get("commit", "unknown"),
        "git_changed": str(git.get("changed", "unknown")).lower(),
        "data_fingerprint": record["data_fingerprint"],
    }
    return TrackedRun(
        name=f"{folder.parent.name}/{folder.name}" if "job" in record else folder.name,
        folder=folder,
        configuration=dict(flat(run_dir.read_config())),
        facts=facts,
        config_file=run_dir.config,
    )


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Inside the block, nothing affects later random numbers, and warnings are silenced."""
    before, numpy_before = random.getstate(), np.random.get_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


def reason(error: Exception) -> str:
    """The type of an error and the first line of its text, truncated."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:LONGEST_REASON]}" if lines else type(error).__name__


def known_ids(path: Path) -> dict[str, str]:
    """The ID of each tracker's run; none if they can't be read, in which case the trackers start new runs."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str) and re.fullmatch(r"\w+", value)}
