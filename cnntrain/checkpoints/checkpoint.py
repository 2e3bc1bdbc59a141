"""Checkpoints: all that a run needs to go on, in files that notice their own damage.

A file is a line of magic, the header's length (8 bytes, little-endian), the header (JSON: the facts, and each
array's name, dtype and shape), the arrays' bytes one after another, and the SHA-256 of all of it.
"""

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnntrain.errors import DataError, NotFinite
from cnntrain.runtime.files import replace_by_link, whole_file

MAGIC = b"cnntrain checkpoint 1\n"
LENGTH_BYTES = 8
DIGEST_BYTES = hashlib.sha256().digest_size
DTYPES = frozenset({"bool", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"})
BEST = ".keras"
NAME = re.compile(r"(\d+)-(\d+)\.state")


@dataclass(frozen=True)
class State:
    """Where a run stands: arrays by name, and facts that JSON can hold."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]

    def not_finite(self) -> str | None:
        """The name of the first array that holds NaN or infinity."""
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return name
        return None


def write_state(path: Path, state: State) -> None:
    """Writes a checkpoint."""
    digest = hashlib.sha256()
    size = sum(array.nbytes for array in state.arrays.values())
    with whole_file(path, size_bytes=size) as temporary, open(temporary, "wb") as file:
        for piece in pieces(state):
            digest.update(piece)
            file.write(piece)
        file.write(digest.digest())


def pieces(state: State) -> Iterator[bytes | memoryview]:
    """A checkpoint's bytes, without the hash at its end."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
    described = [[name, array.dtype.name, state.arrays[name].shape] for name, array in arrays.items()]
    header = json.dumps({"facts": state.facts, "arrays": described}, allow_nan=False).encode()
    yield MAGIC + len(header).to_bytes(LENGTH_BYTES, "little") + header
    for array in arrays.values():
        yield array.reshape(-1).view(np.uint8).data


def read_state(path: Path) -> State:
    """Reads a checkpoint; raises DataError where it was cut, changed, or never was one."""
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not len(content):
        raise DataError(f"{path}: is no checkpoint of this version of cnntrain")
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise DataError(f"{path}: is damaged: its content does not have the hash that was written with it")
    try:
        return parse_body(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is damaged: {error}") from error


def parse_body(body: memoryview) -> State:
    """The state in a file's bytes without the hash, which the arrays share; raises ValueError and the like."""
    start = len(MAGIC) + LENGTH_BYTES
    stop = start + int.from_bytes(body[len(MAGIC) : start], "little")
    header = json.loads(bytes(body[start:stop]))
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        if dtype not in DTYPES:
            raise ValueError(f"array {name} is of type {dtype}, which no checkpoint holds")
        start, stop = stop, stop + math.prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(body[start:stop], dtype).reshape(shape)
    return State(arrays, header["facts"])


class Checkpoints:
    """The last few checkpoints of a run, in a folder of their own, each with the best network of its time.

    They are written in a thread, one at a time, from arrays that nothing changes any more; none is written that
    holds NaN or infinity, which is NotFinite instead.
    """

    def __init__(self, folder: Path, *, keep: int):
        self.folder = folder
        self.keep = keep
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: State, *, epoch: int, step: int, best_model: Path) -> None:
        """Begins to write the state after so many whole epochs of the run and steps of the next.

        First waits for the checkpoint before; raises what went wrong with that. `best_model` may not be there yet.
        """
        self.wait()
        path = self.folder / f"{epoch:06}-{step:08}.state"
        if best_model.exists():
            replace_by_link(path.with_suffix(BEST), best_model)
        self._writing = self._thread.submit(self._write, state, path)

    def wait(self) -> None:
        """Returns when nothing is being written; raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def settle(self) -> None:
        """Returns when nothing is being written; a checkpoint that would not be finite is forgotten."""
        with contextlib.suppress(NotFinite):
            self.wait()

    def raise_failure(self) -> None:
        """Raises what went wrong with a checkpoint, without waiting for one that is being written."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def close(self) -> None:
        """Waits; what goes wrong from here on is not said."""
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
    """A checkpoint that was read, and the best network of its time (None: there was none)."""

    state: State
    path: Path
    best_model: Path | None


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    if not folder.is_dir():
        return []
    found = {path: NAME.fullmatch(path.name) for path in folder.iterdir()}
    places = {path: (int(match[1]), int(match[2])) for path, match in found.items() if match}
    return sorted(places, key=lambda path: places[path], reverse=True)


def newest(folder: Path) -> tuple[Found | None, Sequence[str]]:
    """The newest checkpoint that can be read, and why newer ones can't; those are renamed to `….damaged`."""
    complaints: list[str] = []
    for path in checkpoints_in(folder):
        try:
            state = read_state(path)
        except DataError as error:
            complaints.append(str(error))
            os.replace(path, path.with_suffix(".damaged"))
        else:
            model = path.with_suffix(BEST)
            return Found(state, path, model if model.exists() else None), complaints
    return None, complaints
