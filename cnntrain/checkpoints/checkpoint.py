"""Checkpoints: everything needed to resume a run, in safetensors files with a checksum.

The file's metadata holds the facts (JSON), the arrays' names in order (JSON), and a SHA-256 of both and of each
array's dtype, shape and bytes.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cnntrain.errors import DataError, NotFinite
from cnntrain.runtime.files import replace_by_link, whole_file

DTYPES = frozenset({"bool", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"})
BEST = ".keras"
NAME = re.compile(r"(\d+)-(\d+)\.safetensors")
FORMER = "*.state"  # files in our own format, used before safetensors
NUMBER_OF_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class State:
    """The state of a run: arrays by name, and facts that fit into JSON."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]

    def not_finite(self) -> str | None:
        """The name of the first array that contains NaN or infinity."""
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return name
        return None


def write_state(path: Path, state: State) -> None:
    """Writes a checkpoint."""
    # keeps a scalar's shape (): np.ascontiguousarray alone would make it (1,)
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in state.arrays.items()}
    metadata = {"facts": json.dumps(state.facts, allow_nan=False), "arrays": json.dumps(list(arrays))}
    metadata["sha256"] = digest_of(arrays, metadata)
    size = sum(array.nbytes for array in arrays.values())
    with whole_file(path, size_bytes=size) as temporary:
        try:
            save_file(arrays, temporary, metadata=metadata)
        except SafetensorError as error:
            number = NUMBER_OF_ERROR.search(str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(temporary)) from error


def digest_of(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of everything in a checkpoint, in hexadecimal digits."""
    digest = hashlib.sha256(f"{metadata['facts']}\n{metadata['arrays']}\n".encode())
    for array in arrays.values():
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_state(path: Path) -> State:
    """Reads a checkpoint; raises DataError if it is truncated, modified, or not a checkpoint."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in json.loads(metadata["arrays"])}
            strange = set(file.keys()) ^ set(arrays)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged, or is no checkpoint: {error}") from error
    wrong = [name for name, array in arrays.items() if array.dtype.name not in DTYPES]
    if strange or wrong or digest_of(arrays, metadata) != metadata.get("sha256"):
        raise DataError(f"{path}: is damaged: its content does not have the hash that was written with it")
    return State(arrays, json.loads(metadata["facts"]))


class Checkpoints:
    """The last few checkpoints of a run, in their own folder, each with the best network at the time.

    They are written in a thread, one at a time, from arrays that no longer change. A checkpoint that contains NaN or
    infinity is not written; NotFinite is raised instead.
    """

    def __init__(self, folder: Path, *, keep: int):
        self.folder = folder
        self.keep = keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: State, *, epoch: int, step: int, best_model: Path) -> None:
        """Starts writing the state after a number of whole epochs and a number of steps of the next one.

        Waits for the previous checkpoint first, and raises its error if it failed. `best_model` may not exist yet.
        """
        self.wait()
        path = self.folder / f"{epoch:06}-{step:08}.safetensors"
        if best_model.exists():
            replace_by_link(path.with_suffix(BEST), best_model)
        self._writing = self._thread.submit(self._write, state, path)

    def wait(self) -> None:
        """Waits until nothing is being written; raises the error if that failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def settle(self) -> None:
        """Waits until nothing is being written; ignores a checkpoint that was not finite."""
        with contextlib.suppress(NotFinite):
            self.wait()

    def raise_failure(self) -> None:
        """Raises the error of a failed checkpoint, without waiting for one that is being written."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def close(self) -> None:
        """Waits; errors from here on are not reported."""
        self._thread.shutdown()

    def _write(self, state: State, path: Path) -> None:
        if name := state.not_finite():
            raise NotFinite(f"{path.stem}: {name} holds NaN or infinity, and is not saved")
        write_state(path, state)
        paths = checkpoints_in(self.folder)
        for old in paths[self.keep :]:
            old.unlink(missing_ok=True)
        needed = {path.with_suffix(BEST) for path in paths[: self.keep]}
        for model in self.folder.glob(f"*{BEST}"):
            if model not in needed:
                model.unlink(missing_ok=True)


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read, and the best network at the time (None: there was none)."""

    state: State
    path: Path
    best_model: Path | None


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    found = {path: NAME.fullmatch(path.name) for path in folder.iterdir()}
    places = {path: (int(match[1]), int(match[2])) for path, match in found.items() if match}
    return sorted(places, key=lambda path: places[path], reverse=True)


def newest(folder: Path) -> tuple[Found | None, Sequence[str]]:
    """The newest checkpoint that can be read, and why newer ones can't be; those are renamed to `….damaged`.

    Raises DataError if all of them were written by a former version of cnntrain.
    """
    complaints: list[str] = []
    if not checkpoints_in(folder) and any(folder.glob(FORMER)):
        raise DataError(
            f"{folder}: holds checkpoints of a former version of cnntrain; go on with that version, which the commit"
            " in run.json names, or begin a new run"
        )
    for path in checkpoints_in(folder):
        try:
            state = read_state(path)
        except DataError as error:
            complaints.append(str(error))
            with contextlib.suppress(FileNotFoundError):  # another rank was first
                os.replace(path, path.with_suffix(".damaged"))
        else:
            model = path.with_suffix(BEST)
            return Found(state, path, model if model.exists() else None), complaints
    return None, complaints
