"""The whole story of a run: data, model, phases, test; every result in the run folder."""

import contextlib
import dataclasses
import functools
import shlex
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cnntrain.checkpoints.progress import Progress
from cnntrain.checkpoints.resumed import Resumed
from cnntrain.checkpoints.run_state import StateKeeper
from cnntrain.data.sources.base import Examples, LabelledImages
from cnntrain.errors import Stopped
from cnntrain.evaluation.evaluate import SplitAnswers, answer_split
from cnntrain.evaluation.predictions import Predictions
from cnntrain.experiment import Experiment
from cnntrain.report import plots
from cnntrain.runtime import backend
from cnntrain.runtime.provenance import provenance
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import StopRequests
from cnntrain.runtime.terminal import Terminal, duration
from cnntrain.runtime.wording import counted, printable
from cnntrain.settings import to_mapping
from cnntrain.trackers.listener import Followers
from cnntrain.training.preparation import class_weights, prepare
from cnntrain.training.trainer import Course

if TYPE_CHECKING:
    import keras

    from cnntrain.data.pipeline import Batches, NetworkInput

MEASURED = ("validation", "test")


def run(
    experiment: Experiment,
    claim: Callable[[], RunDir],
    *,
    command: str,
    requests: StopRequests,
    resumed: Resumed | None = None,
    job_number: int | None = None,
) -> float:
    """Trains what the experiment describes in the run folder that `claim` gives; what its best
    epoch reached: see Progress.

    `job_number`: of a multirun. Raises CnntrainError; Stopped when a signal asks for it, with the state saved.
    """
    started = time.perf_counter()
    experiment, labelled, network_input = prepare(experiment)
    labelled.refuse_untrained_classes()
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.runtime import resource_errors

    if resumed:
        resumed.check_data(labelled)
    with resource_errors.named(experiment, going_on="the same command"):
        model = build_model(experiment, labelled, network_input)
    with contextlib.closing(claim()) as run_dir:
        job = Job(experiment, labelled, network_input, model, run_dir, requests)
        with resource_errors.named(experiment, going_on=job.resume_command, folder=run_dir.path):
            job.begin(command, resumed, job_number)
            with job.followers.following(job.progress.history):
                with job.stop_said(), unreadable_file_named(labelled.train.table):
                    job.course.run()
                    job.test()
                if experiment.report:
                    job.report()
            took, saving = duration(time.perf_counter() - started), duration(job.keeper.seconds)
            job.terminal.line(f"done in {took}, of which saving took {saving}; everything is in {run_dir}")
            job.terminal.next_commands(run_dir.path, job.followers.next_commands())
    return job.progress.best[0] if job.progress.best else float("nan")


def build_model(
    experiment: Experiment, labelled: LabelledImages, network_input: "NetworkInput"
) -> "keras.Model":
    """The network; raises ConfigError where a phase names layers that it has not."""
    from cnntrain.training.freezing import check_phases

    model = experiment.model.build(network_input.shape, len(labelled.class_names))
    check_phases(model, experiment.schedule.phases, head=experiment.model.head)
    return model


class Job:
    """One run under way."""

    def __init__(
        self,
        experiment: Experiment,
        labelled: LabelledImages,
        network_input: "NetworkInput",
        model: "keras.Model",
        run_dir: RunDir,
        requests: StopRequests,
    ):
        from cnntrain.models.box_head import box_head

        self.experiment = experiment
        self.labelled = labelled
        self.network_input = network_input
        self.model = model
        self.run_dir = run_dir
        self.terminal = Terminal(run_dir.log, every_epoch=experiment.epoch_lines == "all")
        self.requests = requests
        self.progress = Progress()
        self.box_head = box_head(experiment)
        self.keeper = StateKeeper(
            model, run_dir, experiment.checkpoint, each_epoch=experiment.on_nan == "rollback"
        )
        self.followers = Followers(experiment.tracker, run_dir, self.terminal.warning)
        self.course = Course(self)
        self.training_batches, self.validation_batches = self.batches()
        self.steps_per_epoch = self.steps(labelled.train)
        limit = experiment.limits.epochs_per_phase
        self.epochs = experiment.schedule.lengths(self.steps_per_epoch, limit=limit)

    def batches(self) -> "tuple[Batches, Batches]":
        """The batches of training, shuffled and augmented, and of validation."""
        from cnntrain.data.pipeline import Batches

        experiment = self.experiment
        batches = functools.partial(
            Batches,
            network_input=self.network_input,
            batch_size=experiment.batch_size,
            parallel_calls=experiment.parallel_calls,
            localization=experiment.model.localization,
        )
        training = batches(
            self.training_examples(),
            seed=experiment.seed,
            shuffle=True,
            augmentation=experiment.augmentation,
            class_weights=class_weights(experiment, self.labelled),
            decoding=experiment.data.decoding,
        )
        return training, batches(self.labelled.validation)

    @property
    def resume_command(self) -> str:
        """What goes on with this run."""
        return f"cnntrain resume {shlex.quote(str(self.run_dir))}"

    def begin(self, command: str, resumed: Resumed | None, job_number: int | None) -> None:
        """Writes down what runs, says it, and puts back what was saved of a run that goes on."""
        record = {**self.record(command), **({} if job_number is None else {"job": job_number})}
        self.run_dir.write_config(to_mapping(self.experiment))
        self.run_dir.write_json(self.run_dir.record, resumed.record(record) if resumed else record)
        self.terminal.header(self.facts())
        self.report_ignored()
        if resumed:
            self.course.go_on(resumed)

    @contextlib.contextmanager
    def stop_said(self) -> Iterator[None]:
        """Where a signal stops the run inside the block, says what goes on with it."""
        try:
            yield
        except Stopped:
            self.terminal.line(f"stopped after {self.progress.place()}; to go on: {self.resume_command}")
            raise

    def training_examples(self) -> Examples:
        """The training split, from the cache of decoded images where that is asked for."""
        if not self.experiment.data.cache_decoded:
            return self.labelled.train
        from cnntrain.data.decoded_cache import decoded_once

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
        phases = " + ".join(f"{name} {count}" for name, count in self.epochs.items())
        epochs = f"{phases} {'epoch' if list(self.epochs.values()) == [1] else 'epochs'}"
        return {
            "model": f"{experiment.model.description}, {self.model.count_params():,} parameters, {size} input",
            "data": f"{experiment.data.title()}{fold}: " + ", ".join(f"{count:,} {name}" for count, name in splits),
            "classes": f"{len(labelled.class_names)}: {names}",
            "training": f"{epochs} of {counted(self.steps_per_epoch, 'step')}, batch {experiment.batch_size},"
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
        for note in self.labelled.train.table.notes:
            self.terminal.warning(note)
        files = self.labelled.quarantined
        if files:
            self.run_dir.write_quarantine(files)
            path, reason = files[0]
            more = f"; {len(files) - 1:,} more in {self.run_dir.quarantine}" if len(files) > 1 else ""
            self.terminal.warning(f"{counted(len(files), 'file')} left out: {printable(path)}: {reason}{more}")

    def test(self) -> None:
        """Measures the best epoch's weights on the validation and test images, once, and keeps every answer."""
        self.model.load_weights(self.run_dir.model)
        answers = {name: self.answer(name) for name in MEASURED if len(self.labelled.split(name))}
        if answers:
            Predictions.of_splits(answers).write(self.run_dir.predictions)
        if "test" not in answers:
            self.terminal.line("no test images (data.test=0): nothing to measure")
            self.run_dir.write_json(self.run_dir.metrics, {"best_epoch": self.progress.best_epoch})
            return
        results = answers["test"].measures()
        plots.draw_confusion(results["confusion"], self.labelled.class_names, self.run_dir.confusion)
        measured, there = results["examples"], len(self.labelled.test)
        cut = {"cut_short": {"examples": measured, "of": there}} if measured < there else {}
        content = {"best_epoch": self.progress.best_epoch, **cut, "test": results}
        self.run_dir.write_json(self.run_dir.metrics, content)
        self.followers.result(results, epoch=self.progress.best_epoch)
        self.terminal.result(results, f"test (weights of epoch {self.progress.best_epoch})")
        if cut:
            limit = f"limits.steps={self.experiment.limits.steps}"
            self.terminal.line(f"{limit} cut the test short: {measured:,} of {there:,} images", style="yellow")

    def answer(self, split: str) -> SplitAnswers:
        """The network's answers on a split."""
        return answer_split(
            self.model,
            self.labelled.split(split),
            self.network_input,
            batch_size=self.experiment.batch_size,
            limit=self.experiment.limits.steps,
            box_head=self.box_head,
        )

    def report(self) -> None:
        """Writes the run's page."""
        from cnntrain.report.run_page import write_report
        from cnntrain.report.saved_run import SavedRun

        write_report(SavedRun.read(self.run_dir.path), labelled=self.labelled, model=self.model)
