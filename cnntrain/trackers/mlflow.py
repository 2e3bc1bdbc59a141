"""MLflow: by default in one database next to all runs, so that the runs of a sweep are in one table."""

import contextlib
import dataclasses
import logging
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnntrain.settings import Text
from cnntrain.trackers.base import Row, Status, TrackedRun, numbers

if TYPE_CHECKING:
    pass

SQLITE = "sqlite:///"
STATUSES: Mapping[Status, str] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
LONGEST_VALUE = 6000  # characters of a parameter; MLflow refuses longer ones
MOST_METRICS = 1000  # per call
# read when MLflow is imported, or when it calls a server: no telemetry, and no server delays a run for long
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """Runs of an `experiment` in MLflow's store.

    `uri`: sqlite:///FILE, or the address of a server. Pictures are stored next to the file, in `mlflow_artifacts`.
    """

    uri: Text = "sqlite:///outputs/mlflow.db"
    experiment: Text = "cnntrain"

    packages: ClassVar[Sequence[str]] = ("mlflow", "sqlalchemy", "alembic")

    def __post_init__(self) -> None:
        if "://" not in self.uri or self.uri.startswith("file:"):
            raise ValueError(
                f"uri: expected sqlite:///FILE or the address of a server; received {self.uri!r}, and MLflow no"
                " longer writes to folders"
            )

    def wherever_started(self) -> "MLflow":
        """The settings with an absolute path to the file."""
        path = self.database
        return self if path is None else dataclasses.replace(self, uri=f"{SQLITE}{path}")

    @property
    def database(self) -> Path | None:
        """The file that is written to; None for a server."""
        local = self.uri.startswith(SQLITE)
        return Path(self.uri.removeprefix(SQLITE)).expanduser().absolute() if local else None

    def build(self) -> "MLflowTracker":
        """A tracker for one run."""
        return MLflowTracker(self)

    def next_command(self, folder: Path) -> tuple[str, str] | None:
        """The command that shows all runs in the store; a server does that itself."""
        if self.database is None:
            return None
        uri = self.wherever_started().uri
        return f"mlflow ui --backend-store-uri {shlex.quote(uri)}", "all tracked runs (pip install mlflow)"


class MLflowTracker:
    """One run of an experiment.

    MLflow never deletes a number. So only numbers that are new or have changed are logged: if there are several at one
    step, the newest counts.
    """

    def __init__(self, settings: MLflow):
        self.settings = settings
        self.known: dict[tuple[str, int], float] = {}  # a metric at a step

    def begin(self, run: TrackedRun, tracker_run: str | None) -> str:
        """Starts a run, or continues one if the store still has it."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if self.settings.database:
            self.settings.database.parent.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=self.settings.wherever_started().uri)
        self.run_id = self.found(tracker_run) or self.created(run)
        self.client.update_run(self.run_id, status="RUNNING", name=run.name)
        for name, value in run.facts.items():
            self.client.set_tag(self.run_id, name, value)
        self.log_parameters(run.configuration)
        self.client.log_artifact(self.run_id, str(run.config_file))
        return self.run_id

    def found(self, run_id: str | None) -> str | None:
        """The ID, if the store has that run; also reads what has been logged."""
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return None
        try:
            data = self.client.get_run(run_id).data
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        for name in data.metrics:
            points = sorted(self.client.get_metric_history(run_id, name), key=lambda point: point.timestamp)
            self.known |= {(name, point.step): point.value for point in points}
        return run_id

    def created(self, run: TrackedRun) -> str:
        """The ID of a new run."""
        return self.client.create_run(self.experiment_id(), run_name=run.name).info.run_id

    def experiment_id(self) -> str:
        """The experiment's ID; the experiment is created if it doesn't exist."""
        from mlflow.exceptions import MlflowException

        name, database = self.settings.experiment, self.settings.database
        place = (database.parent / "mlflow_artifacts").as_uri() if database else None
        if self.client.get_experiment_by_name(name) is None:
            with contextlib.suppress(MlflowException):  # another process was first; otherwise the next call says why
                self.client.create_experiment(name, artifact_location=place)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise RuntimeError(f"the experiment {name} was deleted, or can't be made")
        return experiment.experiment_id

    def log_parameters(self, configuration: Mapping[str, Any]) -> None:
        """Logs the configuration; MLflow never changes existing parameters, and allows few characters in names."""
        from mlflow.entities import Param

        there = self.client.get_run(self.run_id).data.params
        named = {re.sub(r"[^\w.\- ]", "_", name): str(value)[:LONGEST_VALUE] for name, value in configuration.items()}
        new = [Param(name, value) for name, value in named.items() if name not in there]
        for some in chunks(new, 100):
            self.client.log_batch(self.run_id, params=some)

    def log(self, history: Sequence[Row]) -> None:
        """Logs the numbers of all epochs that are not logged yet."""
        rows = [(row["epoch"], numbers(row)) for row in history]
        self.log_metrics([(name, value, step) for step, row in rows for name, value in row.items() if name != "epoch"])

    def log_metrics(self, values: Sequence[tuple[str, float, int]]) -> None:
        """Logs numbers at steps, except those already logged."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value, step in values if self.known.get((name, step)) != value]
        for some in chunks(new, MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=some)
        self.known |= {(metric.key, metric.step): metric.value for metric in new}

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Logs a metric for each number."""
        self.log_metrics([(name, value, epoch) for name, value in metrics.items()])

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """Logs the pictures, and how the run ended."""
        try:
            for path in pictures:
                self.client.log_artifact(self.run_id, str(path))
        finally:
            self.client.set_terminated(self.run_id, STATUSES[status])


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in chunks of the given size."""
    return (items[start : start + size] for start in range(0, len(items), size))
