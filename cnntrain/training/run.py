"""A run from start to finish: prepare, build, open the folder, train, test, report."""

import contextlib
import functools
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnntrain.checkpoints.resumed import Resumed
from cnntrain.checkpoints.run_state import ReadingKeeper, StateKeeper
from cnntrain.data.examples import Examples, LabeledImages
from cnntrain.errors import ConfigError, Stopped
from cnntrain.evaluation.evaluate import predict_split
from cnntrain.evaluation.predictions import Predictions, SplitPredictions
from cnntrain.experiment import Experiment
from cnntrain.report import plots
from cnntrain.runtime import backend, cluster, ranks
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import StopRequests
from cnntrain.runtime.terminal import Terminal, duration
from cnntrain.settings import to_mapping
from cnntrain.trackers import Tracking
from cnntrain.trackers.listener import Followers
from cnntrain.training.deadline import Deadline
from cnntrain.training.preparation import class_weights, prepare
from cnntrain.training.record import header, report_ignored, run_record

if TYPE_CHECKING:
    import keras

    from cnntrain.data.pipeline import Batches, NetworkInput
    from cnntrain.training.phase_trainer import Split
    from cnntrain.training.trainer import Trainer

MEASURED = ("validation", "test")


def run(
    experiment: Experiment,
    claim: Callable[[], RunDir],
    *,
    command: str,
    requests: StopRequests,
    resumed: Resumed | None = None,
    job_number: int | None = None,
    reasons: Sequence[str] = (),
) -> float:
    """Trains what the experiment describes, in the run folder that `claim` returns; returns what its best epoch
    reached (see Progress).

    `job_number`: the job's number in a multirun. `reasons`: why model=auto chose the network. Raises CnntrainError, or
    Stopped, with the state saved, if a signal asks for it.
    """
    started = time.perf_counter()
    experiment, labeled, network_input = prepare(experiment)
    labeled.refuse_untrained_classes()
    from cnntrain.training import resource_errors

    if resumed:
        resumed.check_data(labeled)
    if experiment.batch_size < ranks.world():
        raise ConfigError(
            f"batch_size: expected at least one image for each of {ranks.world()} processes; received"
            f" {experiment.batch_size}"
        )
    ranks.same_everywhere("the data", labeled.train.table.fingerprint())
    with resource_errors.named(experiment, going_on="the same command"):
        model = build_model(experiment, labeled, network_input)
    with contextlib.closing(RunDir.joined(claim)) as run_dir:
        resume_command = f"cnntrain resume {shlex.quote(str(run_dir))}"
        with resource_errors.named(experiment, going_on=resume_command, folder=run_dir.path):
            log = run_dir.log if ranks.is_first() else None
            terminal = Terminal(log, every_epoch=experiment.epoch_lines == "all", quiet=not ranks.is_first())
            tracking = experiment.tracker if ranks.is_first() else Tracking()
            followers = Followers(tracking, run_dir, terminal.warning)
            trainer = build_trainer(
                experiment, model, *splits(experiment, labeled, network_input), run_dir=run_dir, followers=followers,
                terminal=terminal, requests=requests, resume_command=resume_command,
                deadline=Deadline(experiment.limits.minutes, started, images_left=images_to_test(labeled)),
            )  # fmt: skip
            record = run_record(experiment, labeled, network_input, model, command=command, job_number=job_number)
            run_dir.write_config(to_mapping(experiment))
            run_dir.write_json(run_dir.record, resumed.record(record) if resumed else record)
            for line in reasons:
                terminal.line(line)
            terminal.header(header(experiment, labeled, network_input, model, trainer, run_dir))
            for text in cluster.warnings(os.environ):
                terminal.warning(text)
            report_ignored(experiment, labeled, run_dir=run_dir, terminal=terminal)
            if resumed:
                if ranks.is_first():
                    run_dir.metrics.unlink(missing_ok=True)  # left over if the run is being extended
                trainer.go_on(resumed)
            with followers.following(trainer.progress.history):
                with stop_said(trainer, terminal), unreadable_file_named(labeled):
                    train(trainer, run_dir, requests)
                    test(
                        experiment, labeled, network_input, model,
                        best_epoch=trainer.progress.best_epoch, run_dir=run_dir, terminal=terminal, followers=followers,
                    )  # fmt: skip
                if experiment.report and ranks.is_first():
                    write_page(run_dir, labeled, model)
            took, saving = duration(time.perf_counter() - started), duration(trainer.keeper.seconds)
            terminal.line(f"done in {took}, of which saving took {saving}; everything is in {run_dir}")
            terminal.next_commands(run_dir.path, followers.next_commands())
    return trainer.progress.best[0] if trainer.progress.best else float("nan")


def build_model(
    experiment: Experiment, labeled: LabeledImages, network_input: "NetworkInput"
) -> "keras.Model":
    """The network; raises ConfigError if a phase names layers that it doesn't have."""
    from cnntrain.training.freezing import check_phases

    model = experiment.model.build(network_input.shape, len(labeled.class_names))
    check_phases(model, experiment.schedule.phases, head=experiment.model.head)
    ranks.separate_noise(model.variables)
    return model


def splits(
    experiment: Experiment, labeled: LabeledImages, network_input: "NetworkInput"
) -> "tuple[Split, Split]":
    """The training batches, shuffled and augmented, and the validation batches."""
    from cnntrain.data.pipeline import Batches

    batches = functools.partial(
        Batches,
        network_input=network_input,
        batch_size=experiment.batch_size,
        parallel_calls=experiment.parallel_calls,
        localization=experiment.model.localization,
        share=ranks.share(),
    )
    training = batches(
        training_examples(experiment, labeled, network_input),
        seed=experiment.seed,
        shuffle=True,
        augmentation=experiment.augmentation,
        class_weights=class_weights(experiment, labeled),
        decoding=experiment.data.decoding,
    )
    limit = experiment.limits.steps
    return limited(training, limit), limited(batches(labeled.validation), limit)


def images_to_test(labeled: LabeledImages) -> int:
    """The images that the network sees after training: the last validation's, and those whose predictions are saved."""
    return 2 * len(labeled.validation) + len(labeled.test)


def limited(batches: "Batches", limit: int | None) -> "Split":
    """A split's batches, with at most `limit` of them per epoch."""
    from cnntrain.training.phase_trainer import Split

    steps = -(-len(batches.examples) // batches.batch_size)
    return Split(batches, min(steps, limit) if limit else steps)


def training_examples(
    experiment: Experiment, labeled: LabeledImages, network_input: "NetworkInput"
) -> Examples:
    """The training split, from the cache of decoded images if that is turned on."""
    if not experiment.data.cache_decoded:
        return labeled.train
    from cnntrain.data.decoded_cache import decoded_once

    return decoded_once(labeled.train, network_input, experiment.augmentation)


def build_trainer(
    experiment: Experiment,
    model: "keras.Model",
    training: "Split",
    validation: "Split",
    *,
    run_dir: RunDir,
    followers: Followers,
    terminal: Terminal,
    requests: StopRequests,
    resume_command: str,
    deadline: Deadline,
) -> "Trainer":
    """The trainer for the model, with its listeners."""
    from cnntrain.models.box_head import box_head
    from cnntrain.training.listeners import CheckpointWriter, Display, HistoryFile, Signals, TrackerLog
    from cnntrain.training.loop import Objective
    from cnntrain.training.trainer import Trainer

    keeper_of = StateKeeper if ranks.is_first() else ReadingKeeper
    keeper = keeper_of(model, run_dir, experiment.checkpoint, each_epoch=experiment.on_nan == "rollback")
    objective = Objective(
        experiment.output_weights,
        experiment.label_smoothing,
        box_head=box_head(experiment.model, loss=experiment.box_loss),
    )
    listeners = [
        Display(terminal),
        HistoryFile(run_dir),
        Signals(requests),
        CheckpointWriter(keeper),
        TrackerLog(followers),
    ]
    return Trainer(
        model,
        experiment.schedule.phases,
        epochs=experiment.schedule.lengths(training.steps, limit=experiment.limits.epochs_per_phase),
        head=experiment.model.head,
        optimizer=experiment.optimizer,
        precision=experiment.precision,
        objective=objective,
        training=training,
        validation=validation,
        feature_cache=experiment.feature_cache,
        on_nan=experiment.on_nan,
        rollback=experiment.rollback,
        batchnorm_sync=experiment.batchnorm_sync,
        compiled=backend.compiles(experiment.compile),
        on_collapse=experiment.on_collapse,
        deadline=deadline,
        seed=experiment.seed,
        keeper=keeper,
        listeners=listeners,
        terminal=terminal,
        between_calls=requests.raise_if_asked,
        resume_command=resume_command,
    )


def train(trainer: "Trainer", run_dir: RunDir, requests: StopRequests) -> None:
    """Runs the remaining training; curves.png shows how far it got, however it ends."""
    try:
        with requests.deferred():
            trainer.run()
    finally:
        if trainer.progress.history and ranks.is_first():
            with contextlib.suppress(OSError):  # a full disk has already been reported
                plots.draw_curves(trainer.progress.history, run_dir.curves)


@contextlib.contextmanager
def stop_said(trainer: "Trainer", terminal: Terminal) -> Iterator[None]:
    """If a signal stops the run inside the block, says how to resume it."""
    try:
        yield
    except Stopped:
        terminal.line(f"stopped after {trainer.progress.place()}; to go on: {trainer.resume_command}")
        raise


def unreadable_file_named(labeled: LabeledImages) -> contextlib.AbstractContextManager[None]:
    """Names a file of the data that can't be read inside the block."""
    from cnntrain.data import reading_errors

    return reading_errors.unreadable_file_named(labeled.train.table)


def test(
    experiment: Experiment,
    labeled: LabeledImages,
    network_input: "NetworkInput",
    model: "keras.Model",
    *,
    best_epoch: int,
    run_dir: RunDir,
    terminal: Terminal,
    followers: Followers,
) -> None:
    """Evaluates the best epoch's weights on the validation and test images, once, and saves every prediction."""
    ranks.wait()  # rank 0 has written it then
    model.load_weights(run_dir.model)
    found = {
        name: predictions_of(experiment, labeled.split(name), network_input, model)
        for name in MEASURED
        if len(labeled.split(name))
    }
    if not ranks.is_first():
        return
    if found:
        Predictions.of_splits(found).write(run_dir.predictions)
    if "test" not in found:
        terminal.line("no test images (data.test=0): nothing to measure")
        run_dir.write_json(run_dir.metrics, {"best_epoch": best_epoch})
        return
    results = found["test"].metrics()
    plots.draw_confusion(results["confusion"], labeled.class_names, run_dir.confusion)
    cut = cut_short(results, len(labeled.test))
    run_dir.write_json(run_dir.metrics, {"best_epoch": best_epoch, **cut, "test": results})
    followers.result(results, epoch=best_epoch)
    terminal.result(results, f"test (weights of epoch {best_epoch})")
    if cut:
        images = f"{results['examples']:,} of {len(labeled.test):,} images"
        terminal.line(f"limits.steps={experiment.limits.steps} cut the test short: {images}", style="yellow")


def cut_short(results: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What metrics.json says about a test that did not see all images."""
    measured = results["examples"]
    return {"cut_short": {"examples": measured, "of": count}} if measured < count else {}


def predictions_of(
    experiment: Experiment, examples: Examples, network_input: "NetworkInput", model: "keras.Model"
) -> SplitPredictions:
    """The network's predictions for a split."""
    from cnntrain.models.box_head import box_head

    return predict_split(
        model,
        examples,
        network_input,
        batch_size=experiment.batch_size,
        limit=experiment.limits.steps,
        box_head=box_head(experiment.model, loss=experiment.box_loss),
    )


def write_page(run_dir: RunDir, labeled: LabeledImages, model: "keras.Model") -> None:
    """Writes the run's page."""
    from cnntrain.report.run_page import write_report
    from cnntrain.report.saved_run import SavedRun

    write_report(SavedRun.read(run_dir.path), labeled=labeled, model=model)
