"""The whole story of a run: data, model, phases, test; every result in the run folder."""

import contextlib
import dataclasses
import functools
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnntrain import backend, plots
from cnntrain.config import Experiment
from cnntrain.data import Examples, LabelledImages
from cnntrain.data.file_source import printable
from cnntrain.evaluation import evaluate_split
from cnntrain.fitting import class_weights, prepare
from cnntrain.predictions import Predictions
from cnntrain.progress import Progress
from cnntrain.provenance import provenance
from cnntrain.run_dir import RunDir
from cnntrain.settings import to_mapping
from cnntrain.terminal import Terminal, duration

if TYPE_CHECKING:
    import keras
    import numpy as np

    from cnntrain.data.pipeline import NetworkInput

MEASURED = ("validation", "test")


def run(experiment: Experiment, path: Path, *, exact: bool, command: str) -> float:
    """Trains what the experiment describes in a new run folder; the validation accuracy of its best epoch.

    Raises CnntrainError; KeyboardInterrupt when it is stopped, with everything reached saved.
    """
    started = time.perf_counter()
    experiment, labelled, network_input = prepare(experiment)
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.freezing import check_phases

    model = experiment.model.build(network_input.shape, len(labelled.class_names))
    check_phases(model, experiment.schedule.phases, head=experiment.model.head)
    with contextlib.closing(RunDir.create(path, exact=exact)) as run_dir:
        terminal = Terminal(run_dir.log)
        job = Job(experiment, labelled, network_input, model, run_dir, terminal)
        run_dir.write_config(to_mapping(experiment))
        run_dir.write_json(run_dir.record, job.record(command))
        terminal.header(job.facts())
        job.report_quarantine()
        try:
            with unreadable_file_named(labelled.train.table):
                job.train()
        except KeyboardInterrupt:
            terminal.line(f"stopped; {job.progress.reached()} is in {run_dir}")
            raise
        finally:
            if job.progress.history:
                plots.draw_curves(job.progress.history, run_dir.curves)
        job.test()
        if experiment.report:
            job.report()
        terminal.line(f"done in {duration(time.perf_counter() - started)}; everything is in {run_dir}")
        terminal.next_commands(next_commands(run_dir))
    return job.progress.best[0] if job.progress.best else float("nan")


def next_commands(run_dir: RunDir) -> list[tuple[str, str]]:
    """What can be done with a finished run, and what it does."""
    folder = shlex.quote(str(run_dir))
    return [
        (f"cnntrain predict {folder} IMAGE…", "classify images"),
        (f"cnntrain evaluate {folder} --split validation", "measure another split"),
        (f"cnntrain compare {folder} RUN", "is another run better?"),
    ]


class Job:
    """One run under way."""

    def __init__(
        self,
        experiment: Experiment,
        labelled: LabelledImages,
        network_input: "NetworkInput",
        model: "keras.Model",
        run_dir: RunDir,
        terminal: Terminal,
    ):
        from cnntrain.data.pipeline import Batches

        self.experiment = experiment
        self.labelled = labelled
        self.network_input = network_input
        self.model = model
        self.run_dir = run_dir
        self.terminal = terminal
        self.progress = Progress()
        batches = functools.partial(
            Batches,
            network_input=network_input,
            batch_size=experiment.batch_size,
            parallel_calls=experiment.parallel_calls,
        )
        self.training_batches = batches(
            self.training_examples(),
            seed=experiment.seed,
            shuffle=True,
            augmentation=experiment.augmentation,
            class_weights=class_weights(experiment, labelled),
            decoding=experiment.data.decoding,
        )
        self.validation_batches = batches(labelled.validation)
        self.steps_per_epoch = self.steps(labelled.train)
        self.epochs = {
            name: phase.length(self.steps_per_epoch, limit=experiment.limits.epochs_per_phase)
            for name, phase in experiment.schedule.phases.items()
        }

    def training_examples(self) -> Examples:
        """The training split, from the cache of decoded images where that is asked for."""
        if not self.experiment.data.cache_decoded:
            return self.labelled.train
        from cnntrain.data.decoded import decoded_once

        return decoded_once(self.labelled.train, self.network_input, self.experiment.augmentation)

    def steps(self, examples: Examples) -> int:
        """The number of batches of a split."""
        steps = -(-len(examples) // self.experiment.batch_size)
        limit = self.experiment.limits.steps
        return min(steps, limit) if limit else steps

    def facts(self) -> dict[str, str]:
        """The header's lines."""
        labelled, experiment = self.labelled, self.experiment
        size = "×".join(map(str, self.network_input.shape))
        names = ", ".join(labelled.class_names[:8]) + (", …" if len(labelled.class_names) > 8 else "")
        splits = ((len(labelled.split(name)), name) for name in ("train", "validation", "test"))
        fold = f", fold {experiment.data.fold} of {experiment.data.folds}" if experiment.data.folds else ""
        epochs = " + ".join(f"{name} {count}" for name, count in self.epochs.items())
        return {
            "model": f"{experiment.model.description}, {self.model.count_params():,} parameters, {size} input",
            "data": f"{experiment.data.title()}{fold}: " + ", ".join(f"{count:,} {name}" for count, name in splits),
            "classes": f"{len(labelled.class_names)}: {names}",
            "training": f"{epochs} epochs of {self.steps_per_epoch:,} steps, batch {experiment.batch_size},"
            f" {experiment.optimizer.name}, {experiment.precision}, seed {experiment.seed}",
            "device": backend.device_name(),
            "run": str(self.run_dir),
        }

    def record(self, command: str) -> dict[str, Any]:
        """What ran, for run.json."""
        return {
            "command": command,
            **provenance(),
            "seed": self.experiment.seed,
            "input": dataclasses.asdict(self.network_input),
            "class_names": list(self.labelled.class_names),
            "data_fingerprint": self.labelled.train.table.fingerprint(),
            "class_counts": {
                name: self.labelled.split(name).class_counts().tolist() for name in ("train", "validation", "test")
            },
            "parameters": self.model.count_params(),
        }

    def report_quarantine(self) -> None:
        """Names the files that were left out."""
        files = self.labelled.quarantined
        if files:
            self.run_dir.write_quarantine(files)
            path, reason = files[0]
            more = f"; {len(files) - 1:,} more in {self.run_dir.quarantine}" if len(files) > 1 else ""
            self.terminal.warning(f"{len(files):,} files left out: {printable(path)}: {reason}{more}")

    def train(self) -> None:
        """All phases, one after another."""
        from cnntrain.phase_training import PhaseTraining

        phases = self.experiment.schedule.phases
        for name in self.experiment.optimizer.phases:
            if name not in phases:
                self.terminal.warning(f"optimizer.phases.{name} is ignored: the schedule has no such phase")
        for name, phase in phases.items():
            PhaseTraining(self, name, phase).run()

    def test(self) -> None:
        """Measures the best epoch's weights on the validation and test images, once, and keeps every answer."""
        self.model.load_weights(self.run_dir.model)
        measured = {name: self.evaluate(name) for name in MEASURED if len(self.labelled.split(name))}
        if measured:
            Predictions.of_splits(
                {name: (self.labelled.split(name), probabilities) for name, (_, probabilities) in measured.items()}
            ).write(self.run_dir.predictions)
        if "test" not in measured:
            self.terminal.line("no test images (data.test=0): nothing to measure")
            return
        results, _ = measured["test"]
        self.run_dir.write_json(self.run_dir.metrics, {"best_epoch": self.progress.best_epoch, "test": results})
        plots.draw_confusion(results["confusion"], self.labelled.class_names, self.run_dir.confusion)
        self.terminal.result(results, f"test (weights of epoch {self.progress.best_epoch})")

    def evaluate(self, split: str) -> tuple[dict[str, Any], "np.ndarray"]:
        """All measures of a split, and its probabilities (n, classes)."""
        return evaluate_split(
            self.model,
            self.labelled.split(split),
            self.network_input,
            batch_size=self.experiment.batch_size,
            limit=self.experiment.limits.steps,
        )

    def report(self) -> None:
        """Draws the run's page."""
        from cnntrain.report.run_page import write_report
        from cnntrain.report.saved_run import SavedRun

        write_report(SavedRun.read(self.run_dir.path), labelled=self.labelled, model=self.model)
