"""The jobs of a multirun, recorded when the first one begins, so that the remaining ones can be run later."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnntrain.errors import DataError
from cnntrain.experiment import Experiment
from cnntrain.runtime.files import write_whole
from cnntrain.runtime.run_dir import RunDir
from cnntrain.settings import to_mapping

NAME = "multirun.json"


def is_one(folder: Path) -> bool:
    """Whether a folder is a multirun folder."""
    return (folder / NAME).is_file() or not RunDir(folder).config.exists() and any(folder.glob("*/config.yaml"))


def record_once(folder: Path, experiments: Sequence[Experiment], *, command: str) -> None:
    """Records all jobs of a multirun, unless that has already been done."""
    if not (folder / NAME).exists():
        jobs = [to_mapping(experiment) for experiment in experiments]
        write_whole(folder / NAME, (json.dumps({"command": command, "jobs": jobs}, indent=2) + "\n").encode())


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """The configuration of each job; none if a sweeper generated them; raises DataError if the record isn't ours."""
    if not (folder / NAME).exists():
        return []
    try:
        jobs = json.loads((folder / NAME).read_text())["jobs"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{folder / NAME}: can't be read: {error!r}") from error
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise DataError(f"{folder / NAME}: expected a list of jobs, each a mapping of settings")
    return jobs


def command_of(folder: Path) -> str | None:
    """The command that began a multirun; None if it isn't recorded."""
    try:
        return str(json.loads((folder / NAME).read_text())["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def folders_of_jobs(folder: Path) -> dict[int, Path]:
    """The run folder of each job that has started, wherever it is below the multirun folder."""
    found = {}
    for path in folder.rglob("run.json"):
        with contextlib.suppress(DataError):  # reported when it's the job's turn
            record = RunDir(path.parent).read_record()
            if isinstance(record.get("job"), int):
                found[record["job"]] = path.parent
    return found
