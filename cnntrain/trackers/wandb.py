"""Weights & Biases: offline, in the run folder, unless it is set to upload as it trains."""

import shlex
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from cnntrain.errors import ConfigError
from cnntrain.settings import Text
from cnntrain.trackers.base import Row, Status, TrackedRun

EXIT_CODES: Mapping[Status, int] = {"finished": 0, "failed": 1, "stopped": 130}


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases:
    """A run in a `project` of a user or team (`entity`; null: the default one).

    `mode`: offline keeps it below the run folder until `wandb sync` uploads it; online uploads as it trains.
    """

    project: Text = "cnntrain"
    entity: Text | None = None
    mode: Literal["offline", "online"] = "offline"

    packages: ClassVar[Sequence[str]] = ("wandb",)

    def check_login(self) -> None:
        """Raises ConfigError if uploading is impossible: W&B would ask for a key in the middle of the run."""
        if self.mode == "offline":
            return
        import wandb

        if not wandb.login(prompt=False):
            raise ConfigError("tracker.wandb.mode=online: nobody is logged in; wandb login does that once")

    def build(self) -> "WeightsAndBiasesTracker":
        """A tracker for one run."""
        return WeightsAndBiasesTracker(self)

    def next_command(self, folder: Path) -> tuple[str, str] | None:
        """The command that uploads the run, if it hasn't been uploaded."""
        if self.mode == "online":
            return None
        return f"wandb sync {shlex.quote(str(folder / 'wandb' / 'latest-run'))}", "send what W&B kept offline"


class WeightsAndBiasesTracker:
    """One run, whose steps are epochs.

    Offline, a resumed run logs all its epochs again, in a new folder: what `wandb sync` uploads replaces what it
    uploaded before. Online, W&B ignores steps that it already has.
    """

    def __init__(self, settings: WeightsAndBiases):
        self.settings = settings
        self.logged = 0  # epochs

    def begin(self, run: TrackedRun, tracker_run: str | None) -> str:
        """Starts a run, or continues the one with that ID."""
        import wandb

        settings, run_id = self.settings, tracker_run or uuid.uuid4().hex[:12]
        self.run = wandb.init(
            id=run_id,
            resume="allow",
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode,
            name=run.name,
            dir=run.folder,
            notes=run.facts.get("command"),
            settings=wandb.Settings(silent=True, console="off", reinit="create_new", init_timeout=30),
        )
        self.run.config.update({**run.configuration, "run": dict(run.facts)}, allow_val_change=True)
        self.run.define_metric("*", step_metric="epoch")
        return run_id

    def log(self, history: Sequence[Row]) -> None:
        """Logs the epochs that are not logged yet."""
        self.logged = min(self.logged, len(history) - 1)
        for row in history[self.logged :]:
            self.run.log({name: value for name, value in row.items() if value != ""}, step=row["epoch"])
        self.logged = len(history)

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Logs the metrics in the run's summary."""
        self.run.summary.update(dict(metrics))

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """Logs the pictures, and how the run ended."""
        import wandb

        try:
            if pictures:
                self.run.log({path.stem: wandb.Image(str(path)) for path in pictures}, step=epoch)
        finally:
            self.run.finish(exit_code=EXIT_CODES[status])
