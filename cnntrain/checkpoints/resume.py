"""Where a stopped run, or a finished run that is extended, resumes; and what would make it a different run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnntrain.checkpoints.checkpoint import newest
from cnntrain.checkpoints.progress import Progress
from cnntrain.checkpoints.resumed import FORCE, Resumed
from cnntrain.checkpoints.run_state import progress_of
from cnntrain.errors import ConfigError
from cnntrain.experiment import Experiment
from cnntrain.optimization.schedule import Phase
from cnntrain.runtime import ranks
from cnntrain.runtime.provenance import decisive_differences, other_machine, provenance
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.wording import counted
from cnntrain.settings import flat, to_mapping

# settings that don't change results, or only change where the data are: the data are compared separately
HARMLESS = ("parallel_calls", "devices", "checkpoint", "on_nan", "rollback", "report", "tracker", "epoch_lines")
PLACES = ("data.path", "data.root", "data.memory_limit_mb")
LENGTHS = ("epochs", "minimum_epochs", "minimum_steps")
DEPENDS_ON_LENGTH = ("cosine", "one_cycle")


def prepared(
    run_dir: RunDir, before: Experiment, now: Experiment, changed: Sequence[str], *, force: bool
) -> Resumed:
    """Where a run resumes; raises ConfigError if it would become a different run, unless `force`."""
    found, complaints = newest(run_dir.checkpoints)
    warnings = [f"{text}; the one before is taken" for text in complaints]
    if found is None and run_dir.finished:
        raise ConfigError(f"{run_dir.checkpoints}: no checkpoint is left, so that the finished run can't be extended")
    if found is None:
        return Resumed({}, None, changed, warnings, force)
    recorded, progress, current = run_dir.read_record(), progress_of(found), provenance()
    if now.limits.minutes != before.limits.minutes:
        progress.out_of_time = False
    if progress.phase and progress.phase not in now.schedule.phases:
        raise ConfigError(f"schedule.phases: the run stands in phase {progress.phase}, which is missing")
    steps = steps_per_epoch(recorded, now)
    serious = [*decisive_differences(recorded, current), *decisive_changes(before, now, progress, steps)]
    if serious and not force:
        lines = [f"{run_dir}: stands after {progress.place()}; going on would give another result:"]
        raise ConfigError(*lines, *(f"  {text}" for text in serious), FORCE)
    refuse_nothing_left(run_dir, now, progress, steps)
    warnings += [f"forced: {text}" for text in serious]
    if machine := other_machine(recorded, current):
        warnings.append(f"on another machine the last bits of results may differ: {machine}")
    processes = recorded.get("ranks", {}).get("processes", 1)
    if processes != ranks.world():
        text = f"the run had {processes} processes, and has {ranks.world()} now: results are equal within rounding"
        warnings.append(text)
    return Resumed(recorded, found, changed, warnings, force)


def refuse_nothing_left(run_dir: RunDir, now: Experiment, progress: Progress, steps: int) -> None:
    """Raises ConfigError if a finished run is resumed without extending its last phase or its time."""
    if not run_dir.finished:
        return
    finished, minutes = f"{run_dir}: finished; nothing is left to train", now.limits.minutes
    if progress.out_of_time:
        raise ConfigError(f"{finished} within limits.minutes={minutes:g}; raise it, or set limits.minutes=null")
    limit = now.limits.epochs_per_phase
    name, phase = list(now.schedule.phases.items())[-1]
    length = now.schedule.lengths(steps, limit=limit)[name]
    if progress.phase == name and progress.at_end_of(phase, length):
        capped = f", since limits.epochs_per_phase={limit}" if limit == length else ""
        raise ConfigError(f"{finished}: {name} has {counted(length, 'epoch')}{capped}")


def steps_per_epoch(recorded: Mapping[str, Any], experiment: Experiment) -> int:
    """The number of batches per epoch for the recorded training images."""
    steps = math.ceil(sum(recorded["class_counts"]["train"]) / experiment.batch_size)
    return min(steps, experiment.limits.steps or steps)


def changes(before: Experiment, now: Experiment) -> dict[str, str]:
    """Each setting that differs, by its full key, in words."""
    was, is_now = (dict(flat(to_mapping(experiment))) for experiment in (before, now))
    keys = [key for key in {**was, **is_now} if was.get(key) != is_now.get(key)]
    return {key: f"{key}: {is_now.get(key)}, was {was.get(key)}" for key in keys}


def is_harmless(key: str) -> bool:
    """Whether a setting doesn't change results, or only changes where the data are."""
    return key.startswith((*HARMLESS, *PLACES))


def decisive_changes(before: Experiment, now: Experiment, progress: Progress, steps: int) -> list[str]:
    """The changed settings that make the run differ from one that had them from the start.

    Settings of phases that have not begun may change, and so may the length of the current phase, unless its learning
    rate depends on it.
    """
    names = list(before.schedule.phases)
    began = names[: names.index(progress.phase) + 1] if progress.phase else []
    found = []
    for key, text in changes(before, now).items():
        group, _, rest = key.partition("schedule.phases.")
        name, _, setting = rest.rpartition(".")
        of_phase = not group and rest
        if is_harmless(key) or key in ("limits.epochs_per_phase", "limits.minutes"):
            continue
        if of_phase and (name not in began or setting in LENGTHS or longer_patience(before, now, name, setting)):
            continue
        found.append(text)
    if list(now.schedule.phases)[: len(began)] != began:
        found.append(f"schedule.phases: {', '.join(now.schedule.phases)} does not begin with {', '.join(began)}")
        return found
    was, lengths = (each.schedule.lengths(steps, limit=each.limits.epochs_per_phase) for each in (before, now))
    for name in began:
        if lengths[name] != was[name]:
            done = progress.epochs if name == progress.phase else None
            wrong = why_decisive(now.schedule.phases[name], lengths[name], was=was[name], done=done)
            epochs = counted(lengths[name], "epoch")
            found += [f"schedule.phases.{name}: {epochs}, was {was[name]}: {wrong}"] if wrong else []
    return found


def longer_patience(before: Experiment, now: Experiment, name: str, setting: str) -> bool:
    """Whether a change only makes a phase more patient: everything so far would have happened just the same."""
    if setting != "early_stopping_patience":
        return False
    was = before.schedule.phases[name].early_stopping_patience
    patience = now.schedule.phases[name].early_stopping_patience
    return patience is None or (was is not None and patience > was)


def why_decisive(phase: Phase, length: int, *, was: int, done: int | None) -> str | None:
    """What a different number of epochs changes in a phase of which `done` epochs (None: all) have been run."""
    if done is None:
        return "the phase is over"
    if phase.learning_rate_schedule in DEPENDS_ON_LENGTH:
        return f"with learning_rate_schedule {phase.learning_rate_schedule} the rate depends on it"
    if phase.trainable != "all" and min(was, length) <= (phase.cache_views or 1):
        return "so short a phase does not keep what frozen layers give, and a longer one does"
    return f"it has had {done} already" if length < done else None
