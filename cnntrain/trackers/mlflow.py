"""MLflow: by default in one database beside all runs, so that those of a sweep stand in one table."""

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
MOST_METRICS = 1000  # of one call
# read when MLflow is imported, or when it calls a server: it sends nothing home, and no server holds a run up for long
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """Runs of an `experiment` in MLflow's store.

    `uri`: sqlite:///FILE, or the address of a server. Pictures lie beside the file, in `mlflow_artifacts`.
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
        """The settings with a file that is the same from any folder."""
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
        """What shows all runs of the store; a server does so itself."""
        if self.database is None:
            return None
        uri = self.wherever_started().uri
        return f"mlflow ui --backend-store-uri {shlex.quote(uri)}", "all tracked runs (pip install mlflow)"


class MLflowTracker:
    """One run of an experiment.

    MLflow forgets no number. So only those are logged that are not there yet, or differ: of several at one step the
    newest counts.
    """

    def __init__(self, settings: MLflow):
        self.settings = settings
        self.known: dict[tuple[str, int], float] = {}  # a metric at a step

    def begin(self, run: TrackedRun, tracker_run: str | None) -> str:
        """Begins a run, or goes on with one if the store still has it."""
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
        """The id, where the store has such a run; reads what it has logged."""
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
        """The id of a new run."""
        return self.client.create_run(self.experiment_id(), run_name=run.name).info.run_id

    def experiment_id(self) -> str:
        """The experiment's id; it is made where it is missing."""
        from mlflow.exceptions import MlflowException

        name, database = self.settings.experiment, self.settings.database
        place = (database.parent / "mlflow_artifacts").as_uri() if database else None
        if self.client.get_experiment_by_name(name) is None:
            with contextlib.suppress(MlflowException):  # another process was first; else what follows says why
                self.client.create_experiment(name, artifact_location=place)
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise RuntimeError(f"the experiment {name} was deleted, or can't be made")
        return experiment.experiment_id

    def log_parameters(self, configuration: Mapping[str, Any]) -> None:
        """The configuration; MLflow changes no parameter that is there, and takes few characters in a name."""
        from mlflow.entities import Param

        there = self.client.get_run(self.run_id).data.params
        named = {re.sub(r"[^\w.\- ]", "_", name): str(value)[:LONGEST_VALUE] for name, value in configuration.items()}
        new = [Param(name, value) for name, value in named.items() if name not in there]
        for some in chunks(new, 100):
            self.client.log_batch(self.run_id, params=some)

    def log(self, history: Sequence[Row]) -> None:
        """The numbers of all epochs that are not there yet."""
        rows = [(row["epoch"], numbers(row)) for row in history]
        self.log_metrics([(name, value, step) for step, row in rows for name, value in row.items() if name != "epoch"])

    def log_metrics(self, values: Sequence[tuple[str, float, int]]) -> None:
        """Numbers at steps, but for those that are there."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value, step in values if self.known.get((name, step)) != value]
        for some in chunks(new, MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=some)
        self.known |= {(metric.key, metric.step): metric.value for metric in new}

    def result(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        """A metric for each number."""
        self.log_metrics([(name, value, epoch) for name, value in metrics.items()])

    def finish(self, status: Status, pictures: Sequence[Path], *, epoch: int) -> None:
        """The pictures, and how the run ended."""
        try:
            for path in pictures:
                self.client.log_artifact(self.run_id, str(path))
        finally:
            self.client.set_terminated(self.run_id, STATUSES[status])


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
