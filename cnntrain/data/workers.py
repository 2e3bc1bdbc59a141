"""Processes that examine image files: one that a file kills, or holds up, is replaced."""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from cnntrain.data.examine import Finding
from cnntrain.errors import DataError

SECONDS_PER_FILE = 60.0
SECONDS_TO_START = 60.0
FILES_PER_WORKER = 32  # fewer are not worth a process
DIED = "the decoder died"
LATE = "decoding took more than"


@dataclass(frozen=True)
class Job:
    """A file to look at, and where its conversion goes if it needs one."""

    path: str
    target: str
    background: tuple[int, int, int]


class Worker:
    """One process of cnntrain.data.examine, started when it is first asked."""

    def __init__(self, *, max_pixels: int, seconds_per_file: float):
        self.max_pixels = max_pixels
        self.seconds_per_file = seconds_per_file
        self.process: subprocess.Popen | None = None
        self.connection: Connection | None = None

    def examine(self, job: Job) -> Finding:
        """The finding about a file; a file that kills two workers is blamed for it."""
        for _ in range(2):  # the first may have been killed for another reason, such as a lack of memory
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
        ours, theirs = Pipe()
        package_parent = str(Path(__file__).parents[2])
        paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "cnntrain.data.examine", str(theirs.fileno()), str(self.max_pixels)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for us: a worker that it killed would blame its file
        )
        theirs.close()
        self.connection = ours
        with contextlib.suppress(EOFError, OSError):
            if ours.poll(SECONDS_TO_START) and ours.recv_bytes() == b"ready":
                return ours
        raise DataError(f"images can't be checked: `{sys.executable} -m cnntrain.data.examine` {self.stop()}")

    def stop(self) -> str:
        """Ends the process; how it ended, in words."""
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


def examine_all(
    jobs: Sequence[Job],
    done: Callable[[int, Finding], None],
    *,
    max_pixels: int,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> None:
    """Examines all files in a process a core; `done` gets each one's number and finding."""
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

    count = min(os.cpu_count() or 1, -(-len(jobs) // FILES_PER_WORKER))
    with ThreadPoolExecutor(max(count, 1)) as threads:
        try:
            for finished in [threads.submit(work) for _ in range(count)]:
                finished.result()
        finally:
            waiting.clear()
