"""The jobs of a multirun, recorded when the first begins, so that those that are left can be run later."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cnntrain.checkpoints.resume import GoingOn
from cnntrain.errors import CnntrainError, DataError
from cnntrain.experiment import Experiment
from cnntrain.runtime.files import write_whole
from cnntrain.runtime.run_dir import RunDir
from cnntrain.settings import to_mapping
from cnntrain.training.preparation import wherever_started

NAME = "multirun.json"


def is_one(folder: Path) -> bool:
    """Whether a folder is a multirun's."""
    return (folder / NAME).is_file() or not RunDir(folder).config.exists() and any(folder.glob("*/config.yaml"))


def record_once(folder: Path, experiments: Sequence[Experiment], *, command: str) -> None:
    """Writes down all jobs of a multirun, unless that is done already."""
    if not (folder / NAME).exists():
        jobs = [to_mapping(wherever_started(experiment)) for experiment in experiments]
        write_whole(folder / NAME, (json.dumps({"command": command, "jobs": jobs}, indent=2) + "\n").encode())


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """The configuration of each job; none where a sweeper made them up; raises DataError for a record not ours."""
    if not (folder / NAME).exists():
        return []
    try:
        jobs = json.loads((folder / NAME).read_text())["jobs"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder / NAME}: can't be read: {error!r}") from error
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise DataError(f"{folder / NAME}: expected a list of jobs, each a mapping of settings")
    return jobs


def resume(folder: Path, going_on: GoingOn, report: Callable[[CnntrainError], int]) -> int:
    """Goes on with jobs that were stopped, and starts those that never began; the first exit code that is not 0.

    A job that fails is reported, and the next one runs.
    """
    exit_codes = []
    for path, begin in jobs_in(folder, going_on):
        print(f"{path}:")
        try:
            begin()
        except CnntrainError as error:
            exit_codes.append(report(error))
    return next((code for code in exit_codes if code), 0)


def jobs_in(folder: Path, going_on: GoingOn) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The run folder of each job, and what goes on with it or begins it."""
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


def start(path: Path, values: dict[str, Any], going_on: GoingOn, number: int) -> None:
    """Runs a job that never began."""
    experiment = going_on.changed(values)
    from cnntrain.training.run import run

    run(
        experiment,
        lambda: RunDir.create(path, exact=True),
        command=going_on.command,
        requests=going_on.requests,
        job_number=number,
    )


def folders_of_jobs(folder: Path) -> dict[int, Path]:
    """The run folder of each job that began, wherever below the multirun's folder it is."""
    found = {}
    for path in folder.rglob("run.json"):
        with contextlib.suppress(DataError):  # it is said when its job's turn comes
            record = RunDir(path.parent).read_record()
            if isinstance(record.get("job"), int):
                found[record["job"]] = path.parent
    return found
