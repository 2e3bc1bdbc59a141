"""Processes that examine image files: a process that a file crashes or hangs is replaced."""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO

from cnntrain.data.image_files.examine import Finding
from cnntrain.errors import DataError
from cnntrain.runtime.machine import usable_cores

SECONDS_PER_FILE = 60.0
SECONDS_TO_START = 300.0  # a process that exits is noticed at once; on a busy machine, starting may take long
FILES_PER_WORKER = 32  # with fewer, another process isn't worth it
DIED = "the decoder died"
LATE = "decoding took more than"


@dataclass(frozen=True)
class Job:
    """A file to examine, and where its conversion goes if it needs one."""

    path: str
    target: str
    background: tuple[int, int, int]


class Worker:
    """One process of cnntrain.data.image_files.examine, started when it is first needed."""

    def __init__(self, *, max_pixels: int, seconds_per_file: float):
        self.max_pixels = max_pixels
        self.seconds_per_file = seconds_per_file
        self.process: subprocess.Popen | None = None
        self.connection: Connection | None = None

    def examine(self, job: Job) -> Finding:
        """The finding about a file; a file that crashes two workers is blamed for it."""
        for _ in range(2):  # the first may have been killed for another reason, such as lack of memory
            connection = self.connection or self._start()
            try:
                connection.send_bytes(json.dumps(asdict(job)).encode())
                if not connection.poll(self.seconds_per_file):
                    self.stop()
                    return Finding(reason=f"{LATE} {self.seconds_per_file:g} seconds")
                return Finding(**json.loads(connection.recv_bytes()))
            except (EOFError, OSError):
                ended = self.stop()
        return Finding(reason=f"{DIED} ({ended})")

    def _start(self) -> Connection:
        with tempfile.TemporaryFile() as errors:
            self.connection, self.process = start_process(self.max_pixels, errors)
            with contextlib.suppress(EOFError, OSError):
                if self.connection.poll(SECONDS_TO_START) and self.connection.recv_bytes() == b"ready":
                    return self.connection
            ended = self.stop()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
        raise DataError(
            f"images can't be checked: the process that decodes them did not start ({ended}):\n{said[-2000:]}"
        )

    def stop(self) -> str:
        """Ends the process; returns how it ended, in words."""
        if self.process is None or self.connection is None:
            return "was not started"
        self.connection.close()
        try:
            code = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = self.connection = None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def start_process(max_pixels: int, errors: IO[bytes]) -> tuple[Connection, subprocess.Popen]:
    """A process of cnntrain.data.image_files.examine, and our end of the connection to it."""
    ours, theirs = Pipe()
    paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "cnntrain.data.image_files.examine", str(theirs.fileno()), str(max_pixels)],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is meant for us: if it killed a worker, the file would be blamed
    )
    theirs.close()
    return ours, process


def examine_all(
    jobs: Sequence[Job],
    done: Callable[[int, Finding], None],
    *,
    max_pixels: int,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> None:
    """Examines all files in one process per core; `done` gets each file's number and finding."""
    waiting = collections.deque(enumerate(jobs))

    def work() -> None:
        worker = Worker(max_pixels=max_pixels, seconds_per_file=seconds_per_file)
        try:
            with contextlib.suppress(IndexError):
                while True:
                    number, job = waiting.popleft()
                    done(number, worker.examine(job))
        finally:
            worker.stop()

    count = min(len(usable_cores()), -(-len(jobs) // FILES_PER_WORKER))
    with ThreadPoolExecutor(max(count, 1)) as threads:
        try:
            for finished in [threads.submit(work) for _ in range(count)]:
                finished.result()
        finally:
            waiting.clear()
