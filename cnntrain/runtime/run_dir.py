"""A run folder: every file name in it, and its lock."""

import contextlib
import csv
import fcntl
import io
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnntrain.errors import ConfigError, DataError
from cnntrain.runtime import ranks, supervised
from cnntrain.runtime.files import remove_unfinished, write_whole
from cnntrain.runtime.yaml_file import read_yaml

NEEDED_OF_RECORD = {"input": dict, "class_names": list, "data_fingerprint": str, "class_counts": dict}


def occupied(path: Path) -> ConfigError:
    """The error for starting a run in another run's folder."""
    return ConfigError(
        f"hydra.run.dir={path}: holds a run already, and a run never overwrites another;"
        " name a new folder, or remove this one"
    )


class RunDir:
    """The folder of one run.

    `create` makes a new one, `open` opens an existing one, and `reopen` opens one to train in; a folder that a
    process trains in is locked until that process ends.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.record = path / "run.json"
        self.history = path / "history.csv"
        self.quarantine = path / "quarantine.csv"
        self.metrics = path / "metrics.json"
        self.predictions = path / "predictions.csv"
        self.report = path / "report.html"
        self.model = path / "model.keras"
        self.checkpoints = path / "checkpoints"
        self.tracker_runs = path / "trackers.json"
        self.curves = path / "curves.png"
        self.confusion = path / "confusion.png"
        self.log = path / "log.txt"
        self.lock = path / "run.lock"
        self.mark = path / "ranks.mark"
        self._lock: int | None = None

    def __str__(self) -> str:
        return str(self.path)

    def exported(self, name: str) -> Path:
        """The default path for an export of the run's network."""
        return self.path / "export" / name

    @classmethod
    def create(cls, path: Path, *, exact: bool) -> "RunDir":
        """A new, locked folder for a run.

        If `path` already holds a run, an `exact` path is refused with ConfigError; otherwise the next
        free one of path-2, path-3, … is used, so that two runs started in the same second don't collide.
        """
        for number in range(1, 10_000):
            run_dir = cls(path if number == 1 else path.with_name(f"{path.name}-{number}"))
            if run_dir._claim():
                return run_dir
            if exact:
                break
        raise occupied(path)

    @classmethod
    def refuse_occupied(cls, path: Path) -> None:
        """Raises ConfigError if a folder already holds a run; touches nothing."""
        if cls(path).config.exists():
            raise occupied(path)

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """The folder of an existing run; raises DataError if it isn't a run folder."""
        run_dir = cls(path)
        if not run_dir.config.is_file():
            kind = "has no config.yaml in it" if path.is_dir() else "is not a folder"
            raise DataError(f"{path}: expected a run's folder, as cnntrain writes one; it {kind}")
        return run_dir

    @classmethod
    def reopen(cls, path: Path) -> "RunDir":
        """The locked folder of an existing run, without unfinished files from a killed process.

        Raises DataError if it is not a run, or ConfigError while another process is training in it.
        """
        run_dir = cls.open(path)
        if not run_dir._locked():
            raise ConfigError(f"{path}: another process trains in this folder; stop it first, or let it finish")
        remove_unfinished(path)
        remove_unfinished(run_dir.checkpoints)
        return run_dir

    @classmethod
    def joined(cls, claim: "Callable[[], RunDir]") -> "RunDir":
        """The folder that `claim` gives rank 0, on every rank; all but the first only read it.

        Raises what `claim` raises, and DataError if a rank doesn't see rank 0's folder.
        """
        if ranks.world() == 1:
            return claim()
        run_dir, mark = None, secrets.token_hex(8)
        if ranks.is_first():
            try:
                run_dir = claim()
                write_whole(run_dir.mark, mark.encode())
            except BaseException:
                ranks.agreed_text("")
                raise
        path = ranks.agreed_text(str(run_dir.path.absolute()) if run_dir else "")
        if not path:
            raise ConfigError("the run's folder: rank 0 can't have it, and says why")
        found = run_dir or ReadRunDir(Path(path))
        mark = ranks.agreed_text(mark)
        seen = found.mark.read_text() if found.mark.exists() else ""
        unseen = ranks.largest(int(seen != mark) * ranks.rank())
        if run_dir:
            run_dir.mark.unlink()
        supervised.runs_in(found.path)
        if unseen:
            raise DataError(f"{path}: rank {unseen} doesn't see this folder as rank 0 does; take one that all share")
        return found

    @property
    def finished(self) -> bool:
        """Whether the run is finished: metrics.json is written last, and removed when a run is extended."""
        return self.metrics.exists()

    def _claim(self) -> bool:
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._locked():
            return False
        if self.config.exists():
            self.close()
            return False
        return True

    def _locked(self) -> bool:
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Releases the lock, and removes a folder in which nothing has begun; exiting also releases the lock."""
        if self._lock is None:
            return
        if not self.config.exists():
            self.lock.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()
        os.close(self._lock)
        self._lock = None

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Writes config.yaml: the whole experiment, in the form that `parse` reads."""
        import yaml

        write_whole(self.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())

    def read_config(self) -> dict[str, Any]:
        """The values in config.yaml; raises DataError if it can't be read."""
        try:
            values = read_yaml(self.config)
        except ValueError as error:
            raise DataError(str(error)) from error
        if not isinstance(values, dict):
            raise DataError(f"{self.config}: expected a mapping of settings; found a {type(values).__name__}")
        return values

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Writes a JSON file in the folder."""
        write_whole(path, (json.dumps(content, indent=2) + "\n").encode())

    def read_record(self) -> dict[str, Any]:
        """What ran: command, versions, input contract, class names, …; raises DataError if it is missing."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self.record}: can't be read: {error}") from error
        for key, kind in NEEDED_OF_RECORD.items():
            if not isinstance(record, dict) or not isinstance(record.get(key), kind):
                raise DataError(f"{self.record}: is not what cnntrain writes: {key} is missing, or of another kind")
        return record

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrites history.csv, one row per epoch; rows from an older version may lack some columns."""
        text = io.StringIO()
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.history, text.getvalue().encode())

    def write_quarantine(self, files: Sequence[tuple[str, str]]) -> None:
        """Writes quarantine.csv: the files that were left out, and why; the bytes of names are preserved."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("path", "reason"), *files])
        write_whole(self.quarantine, text.getvalue().encode(errors="surrogateescape"))


class ReadRunDir(RunDir):
    """The folder of a run as the ranks after the first have it: nothing is written."""

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Nothing."""

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Nothing."""

    def write_quarantine(self, files: Sequence[tuple[str, str]]) -> None:
        """Nothing."""
