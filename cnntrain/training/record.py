"""What a run reports when it begins: its header, run.json, and what it ignores."""

import dataclasses
from typing import TYPE_CHECKING, Any

from cnntrain.data.examples import LabeledImages
from cnntrain.experiment import Experiment
from cnntrain.runtime import backend, ranks
from cnntrain.runtime.provenance import provenance
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.terminal import Terminal
from cnntrain.runtime.wording import counted, printable

if TYPE_CHECKING:
    import keras

    from cnntrain.data.input_spec import NetworkInput
    from cnntrain.training.trainer import Trainer

SPLITS = ("train", "validation", "test")


def header(
    experiment: Experiment,
    labeled: LabeledImages,
    network_input: "NetworkInput",
    model: "keras.Model",
    trainer: "Trainer",
    run_dir: RunDir,
) -> dict[str, str]:
    """The lines of the header."""
    size = "×".join(map(str, network_input.shape))
    names = ", ".join(labeled.class_names[:8]) + (", …" if len(labeled.class_names) > 8 else "")
    counts = ", ".join(f"{len(labeled.split(name)):,} {name}" for name in SPLITS)
    fold = f", fold {experiment.data.fold} of {experiment.data.folds}" if experiment.data.folds else ""
    phases = " + ".join(f"{name} {count}" for name, count in trainer.epochs.items())
    words = "epoch" if list(trainer.epochs.values()) == [1] else "epochs"
    return {
        "model": f"{experiment.model.description}, {model.count_params():,} parameters, {size} input",
        "data": f"{experiment.data.title()}{fold}: {counts}",
        "classes": f"{len(labeled.class_names)}: {names}",
        "training": f"{phases} {words} of {counted(trainer.training.steps, 'step')}, batch {experiment.batch_size},"
        f" {experiment.optimizer.name}, {experiment.precision}, seed {experiment.seed}",
        "device": backend.device_name(),
        **ranks_line(experiment.batch_size),
        "run": str(run_dir),
    }


def ranks_line(batch_size: int) -> dict[str, str]:
    """The header's line about the processes that train together, if there are several."""
    if ranks.world() == 1:
        return {}
    first, past = ranks.Share(0, ranks.world()).rows(batch_size)
    hosts = ranks.hosts()
    where = f" on {len(hosts)} machines: {', '.join(hosts)}" if len(hosts) > 1 else ""
    return {"processes": f"{ranks.world()}{where}; {past - first} images of each batch in each"}


def run_record(
    experiment: Experiment,
    labeled: LabeledImages,
    network_input: "NetworkInput",
    model: "keras.Model",
    *,
    command: str,
    job_number: int | None,
) -> dict[str, Any]:
    """The contents of run.json. `job_number`: the job's number in a multirun."""
    return {
        "command": command,
        **provenance(),
        "ranks": {"processes": ranks.world(), "hosts": ranks.hosts()},
        "seed": experiment.seed,
        "input": dataclasses.asdict(network_input),
        "class_names": list(labeled.class_names),
        "data_fingerprint": labeled.train.table.fingerprint(),
        "class_counts": {name: labeled.split(name).class_counts().tolist() for name in SPLITS},
        "parameters": model.count_params(),
        **({} if job_number is None else {"job": job_number}),
    }


def report_ignored(
    experiment: Experiment, labeled: LabeledImages, *, run_dir: RunDir, terminal: Terminal
) -> None:
    """Reports files that were left out, and settings that are ignored."""
    for name in experiment.optimizer.phases:
        if name not in experiment.schedule.phases:
            terminal.warning(f"optimizer.phases.{name} is ignored: the schedule has no such phase")
    for note in labeled.train.table.notes:
        terminal.warning(note)
    files = labeled.quarantined
    if files:
        run_dir.write_quarantine(files)
        path, reason = files[0]
        more = f"; {len(files) - 1:,} more in {run_dir.quarantine}" if len(files) > 1 else ""
        terminal.warning(f"{counted(len(files), 'file')} left out: {printable(path)}: {reason}{more}")
