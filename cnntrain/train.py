"""The whole story of a run: data, model, phases, test; every result in the run folder."""

import contextlib
import dataclasses
import functools
import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnntrain import backend, plots
from cnntrain.checkpoint import newest
from cnntrain.config import Experiment
from cnntrain.data import Examples, LabelledImages
from cnntrain.data.file_source import printable
from cnntrain.errors import NotFinite, Stopped
from cnntrain.evaluation import evaluate_split
from cnntrain.fitting import class_weights, prepare
from cnntrain.progress import Progress
from cnntrain.provenance import provenance
from cnntrain.resuming import Resumed
from cnntrain.run_dir import RunDir
from cnntrain.settings import to_mapping
from cnntrain.signals import StopRequests
from cnntrain.state_keeping import StateKeeper
from cnntrain.terminal import Terminal, duration

if TYPE_CHECKING:
    import keras

    from cnntrain.data.pipeline import NetworkInput
    from cnntrain.phase_training import PhaseTraining


def run(
    experiment: Experiment,
    claim: Callable[[], RunDir],
    *,
    command: str,
    requests: StopRequests,
    resumed: Resumed | None = None,
    job_number: int | None = None,
) -> float:
    """Trains what the experiment describes in the run folder that `claim` gives; its best validation accuracy.

    `job_number`: of a multirun. Raises CnntrainError; Stopped when a signal asks for it, with the state saved.
    """
    started = time.perf_counter()
    experiment, labelled, network_input = prepare(experiment)
    from cnntrain import trouble
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.freezing import check_phases

    if resumed:
        resumed.check_data(labelled)
    with trouble.named(experiment, going_on="the same command"):
        model = experiment.model.build(network_input.shape, len(labelled.class_names))
    check_phases(model, experiment.schedule.phases, head=experiment.model.head)
    with contextlib.closing(claim()) as run_dir, trouble.named(experiment, going_on=resume_command(run_dir)):
        terminal = Terminal(run_dir.log)
        job = Job(experiment, labelled, network_input, model, run_dir, terminal, requests)
        record = {**job.record(command), **({} if job_number is None else {"job": job_number})}
        run_dir.write_config(to_mapping(experiment))
        run_dir.write_json(run_dir.record, resumed.record(record) if resumed else record)
        terminal.header(job.facts())
        job.report_ignored()
        if resumed:
            job.go_on(resumed)
        with unreadable_file_named(labelled.train.table), trouble.named(experiment, going_on=resume_command(run_dir)):
            job.train_until_stopped()
        job.test()
        terminal.line(f"done in {duration(time.perf_counter() - started)}; everything is in {run_dir}")
        terminal.next_commands(next_commands(run_dir))
    return job.progress.best[0] if job.progress.best else float("nan")


def resume_command(run_dir: RunDir) -> str:
    """What goes on with a run."""
    return f"cnntrain resume {shlex.quote(str(run_dir))}"


def next_commands(run_dir: RunDir) -> list[tuple[str, str]]:
    """What can be done with a finished run, and what it does."""
    folder = shlex.quote(str(run_dir))
    return [
        (f"cnntrain predict {folder} IMAGE…", "classify images"),
        (f"cnntrain evaluate {folder} --split validation", "measure another split"),
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
        requests: StopRequests,
    ):
        from cnntrain.data.pipeline import Batches

        self.experiment = experiment
        self.labelled = labelled
        self.network_input = network_input
        self.model = model
        self.run_dir = run_dir
        self.terminal = terminal
        self.requests = requests
        self.progress = Progress()
        self.keeper = StateKeeper(model, run_dir, experiment.checkpoint)
        self.under_way: PhaseTraining | None = None
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

    def report_ignored(self) -> None:
        """Names the files that were left out, and settings that are."""
        for name in self.experiment.optimizer.phases:
            if name not in self.epochs:
                self.terminal.warning(f"optimizer.phases.{name} is ignored: the schedule has no such phase")
        files = self.labelled.quarantined
        if files:
            self.run_dir.write_quarantine(files)
            path, reason = files[0]
            more = f"; {len(files) - 1:,} more in {self.run_dir.quarantine}" if len(files) > 1 else ""
            self.terminal.warning(f"{len(files):,} files left out: {printable(path)}: {reason}{more}")

    def go_on(self, resumed: "Resumed") -> None:
        """Puts back the state of a checkpoint, and what belongs to it."""
        self.run_dir.metrics.unlink(missing_ok=True)  # of a run that is extended
        for text in resumed.warnings:
            self.terminal.warning(text)
        if resumed.found is None:
            self.terminal.line("no checkpoint had been written: the run begins anew")
            return
        self.progress = self.keeper.put_back(resumed.found)
        if self.progress.history:
            self.run_dir.write_history(self.progress.history)
        self.terminal.line(f"going on after {self.progress.place()}")

    def train_until_stopped(self) -> None:
        """Trains; when a signal asks for it, saves where the run stands and raises Stopped."""
        try:
            with self.requests.deferred():
                self.train()
                self.keeper.checkpoints.wait()
        except Stopped:
            if self.under_way is not None:
                self.keeper.save(self.progress, self.under_way.loop)
            self.keeper.checkpoints.wait()
            self.terminal.line(f"stopped after {self.progress.place()}; to go on: {resume_command(self.run_dir)}")
            raise
        finally:
            self.keeper.checkpoints.close()
            if self.progress.history:
                with contextlib.suppress(OSError):  # a full disk has been said already
                    plots.draw_curves(self.progress.history, self.run_dir.curves)

    def train(self) -> None:
        """All phases that are left; where a number is not finite, from the last checkpoint on, if asked to."""
        if self.experiment.on_nan == "rollback" and not self.progress.phase:
            self.keeper.save(self.progress, None)
        while True:
            try:
                return self.train_phases()
            except NotFinite as error:
                self.roll_back(error)

    def train_phases(self) -> None:
        """One phase after another, from where the run stands."""
        from cnntrain.phase_training import PhaseTraining

        names = list(self.experiment.schedule.phases)
        past = names.index(self.progress.phase) if self.progress.phase else 0
        for name in names[past:]:
            phase = self.experiment.schedule.phases[name]
            if name != self.progress.phase:
                self.keeper.forget_phase()
                self.progress.begin(name)
            if not self.progress.at_end_of(phase, self.epochs[name]):
                self.under_way = PhaseTraining(self, name, phase)
                self.under_way.run()
                self.under_way = None

    def roll_back(self, error: NotFinite) -> None:
        """Puts back the last checkpoint, for a lower learning rate; raises the error where that is not asked for."""
        experiment, rollbacks = self.experiment, self.progress.rollbacks + 1
        self.under_way = None
        self.keeper.checkpoints.wait()
        if experiment.on_nan != "rollback" or rollbacks > experiment.rollback.times:
            raise error
        found, complaints = newest(self.run_dir.checkpoints)
        if found is None:
            raise error
        for text in [str(error).splitlines()[0], *complaints]:
            self.terminal.warning(text)
        self.progress = self.keeper.put_back(found)
        self.progress.rollbacks = rollbacks
        factor = experiment.rollback.learning_rate_factor**rollbacks
        self.terminal.line(
            f"rollback {rollbacks} of {experiment.rollback.times}: going on after {self.progress.place()}"
            f" with {factor:g} of the learning rate"
        )

    def test(self) -> None:
        """Measures the best epoch's weights on the test images, once."""
        if not len(self.labelled.test):
            self.terminal.line("no test images (data.test=0): nothing to measure")
            self.run_dir.write_json(self.run_dir.metrics, {"best_epoch": self.progress.best_epoch})
            return
        self.model.load_weights(self.run_dir.model)
        results = evaluate_split(
            self.model,
            self.labelled.test,
            self.network_input,
            batch_size=self.experiment.batch_size,
            limit=self.experiment.limits.steps,
        )
        plots.draw_confusion(results["confusion"], self.labelled.class_names, self.run_dir.confusion)
        self.run_dir.write_json(self.run_dir.metrics, {"best_epoch": self.progress.best_epoch, "test": results})
        self.terminal.result(results, f"test (weights of epoch {self.progress.best_epoch})")
