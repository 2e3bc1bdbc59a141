"""`cnntrain resume`: going on with a run that was stopped, a finished one for longer, or what is left of a multirun."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnntrain.checkpoints.multirun import command_of, folders_of_jobs, read_jobs
from cnntrain.checkpoints.resume import changes, is_harmless, prepared
from cnntrain.cli import launch, parallel_jobs
from cnntrain.cli.composition import changed
from cnntrain.errors import CnntrainError, ConfigError, DataError
from cnntrain.experiment import Experiment, parse, parse_recorded
from cnntrain.runtime import ranks
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import StopRequests
from cnntrain.training.run import run


@dataclass(frozen=True)
class GoingOn:
    """What `cnntrain resume` was asked for: KEY=VALUE words, and whether another result is accepted."""

    changes: Sequence[str]
    force: bool
    command: str
    requests: StopRequests

    def changed(self, values: Mapping[str, Any]) -> Experiment:
        """The experiment of plain values with the changes; raises ConfigError, also where its trackers can't work."""
        experiment = parse(changed(values, list(self.changes)) if self.changes else values)
        experiment.tracker.check()
        return experiment

    def resume(self, path: Path) -> int:
        """Goes on with a run, or says that it is finished; returns the exit code.

        Raises ConfigError with a list of all that would change its result, unless `force`.
        """
        begun = RunDir(path).config.exists()
        if not begun and path.name.isdigit() and int(path.name) < len(read_jobs(path.absolute().parent)):
            jobs = path.absolute().parent
            return start(path, read_jobs(jobs)[int(path.name)], self, int(path.name))
        run_dir = RunDir.open(path)
        values = run_dir.read_config()
        before, experiment = parse_recorded(values, where=run_dir.config), self.changed(values)
        differences = changes(before, experiment)
        if run_dir.finished and all(map(is_harmless, differences)):
            last = list(before.schedule.phases)[-1]
            print(f"{path}: finished already; schedule.phases.{last}.epochs=… makes it longer")
            return 0
        reopen = RunDir.reopen if ranks.is_first() else RunDir.open
        words = ["resume", str(path), *self.changes, *(["--force"] if self.force else [])]
        if (code := launch.needed([experiment], words)) is not None:
            return code
        with contextlib.closing(reopen(path)) as run_dir:
            resumed = prepared(run_dir, before, experiment, list(differences.values()), force=self.force)
            run(experiment, lambda: run_dir, command=self.command, requests=self.requests, resumed=resumed)
        return 0


def resume_multirun(folder: Path, going_on: GoingOn, report: Callable[[CnntrainError], int]) -> int:
    """Goes on with jobs that were stopped, and starts those that never began; the first exit code that is not 0.

    A job that fails is reported, and the next one runs.
    """
    exit_codes = []
    for path, begin in jobs_in(folder, going_on):
        print(f"{path}:")
        try:
            exit_codes.append(begin())
        except CnntrainError as error:
            exit_codes.append(report(error))
    return next((code for code in exit_codes if code), 0)


def resume_at_once(folder: Path, going_on: GoingOn, jobs: int) -> int:
    """The same with several jobs at a time; the first exit code that is not 0."""
    began = folders_of_jobs(folder)
    recorded = read_jobs(folder)
    strange = [path for number, path in began.items() if path != folder / str(number)]
    if not recorded or strange:
        raise ConfigError(f"--jobs: {folder} is not laid out as cnntrain does it; resume it without --jobs")
    left = [number for number in range(len(recorded)) if not RunDir(folder / str(number)).finished]
    changes = [*going_on.changes, *(["--force"] if going_on.force else [])]
    return parallel_jobs.run_jobs_of(
        folder, left, parallel_jobs.Flags(jobs), going_on.requests, changes=changes
    )


def jobs_in(folder: Path, going_on: GoingOn) -> Iterator[tuple[Path, Callable[[], int]]]:
    """The run folder of each job, and the command that resumes or starts it."""
    began = folders_of_jobs(folder)
    jobs = read_jobs(folder)
    for number, values in enumerate(jobs):
        path = began.pop(number, folder / str(number))
        if RunDir(path).config.exists():
            yield path, functools.partial(going_on.resume, path)
        else:
            yield path, functools.partial(start, path, values, going_on, number)
    if not jobs and not began:
        raise DataError(f"{folder}: expected the folder of a run or of a multirun; it only holds runs")
    for path in began.values():
        yield path, functools.partial(going_on.resume, path)


def start(path: Path, values: dict[str, Any], going_on: GoingOn, number: int) -> int:
    """Runs a job that never began; returns the exit code."""
    experiment = going_on.changed(values)
    if (code := launch.needed([experiment], ["resume", str(path), *going_on.changes])) is not None:
        return code
    run(
        experiment,
        lambda: RunDir.create(path, exact=True),
        command=command_of(path.absolute().parent) or going_on.command,
        requests=going_on.requests,
        job_number=number,
    )
    return 0


