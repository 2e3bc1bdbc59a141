"""`--jobs N`: several jobs of a multirun at a time, each a process of its own with its share of cores and GPUs."""

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnntrain.errors import ConfigError, Stopped
from cnntrain.runtime.machine import graphics_cards, on_cores, share_of, usable_cores
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.signals import StopRequests

POLL_SECONDS = 0.2
PROGRAM = [sys.executable, "-m", "cnntrain"]
SAID = "error.txt"  # in a job's folder: what its process said on standard error


@dataclass(frozen=True)
class Flags:
    """What a command line says about the jobs of a multirun: how many run at a time, and whether one failure ends
    all."""

    jobs: int = 1
    stop_at_first_failure: bool = False


def taken_out(words: Sequence[str]) -> tuple[list[str], Flags]:
    """A command line without the flags of a multirun, and those; raises ConfigError for values that make no sense."""
    rest, jobs, stop, remaining = [], "1", False, iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if name == "--jobs":
            jobs = value if equals else next(remaining, "")
        elif word == "--stop-at-first-failure":
            stop = True
        else:
            rest.append(word)
    if not jobs.isdigit() or jobs == "0":
        raise ConfigError(f"--jobs: expected a whole number of at least 1; received {jobs or 'nothing'}")
    flags = Flags(int(jobs), stop)
    if flags != Flags() and not {"-m", "--multirun"} & set(rest):
        raise ConfigError("--jobs and --stop-at-first-failure: belong to a multirun; add -m, and values to sweep over")
    return rest, flags


@dataclass
class Running:
    """A job that runs: its folder, the slot of cores that it has, and its process."""

    folder: Path
    slot: int
    process: subprocess.Popen


class Jobs:
    """Runs the jobs of a recorded multirun, whose folders are given, some at a time."""

    def __init__(self, folders: Sequence[Path], flags: Flags, requests: StopRequests, *, changes: Sequence[str] = ()):
        self.waiting = list(folders)
        self.flags = flags
        self.requests = requests
        self.changes = list(changes)
        self.running: list[Running] = []
        self.codes: list[int] = []
        from cnntrain.runtime.terminal import Terminal

        self.terminal = Terminal()

    def run(self) -> int:
        """Runs all; returns the first exit code that is not 0. Raises Stopped if a signal came, once all have saved."""
        try:
            with self.requests.deferred():
                while (self.waiting and not self.ending) or self.running:
                    self.begin_some()
                    with self.terminal.working(f"running: {', '.join(job.folder.name for job in self.running)}"):
                        self.wait_for_some()
                    if self.ending:
                        self.end()
        finally:
            for job in self.running:
                job.process.kill()
        if self.waiting:
            self.terminal.line(f"not run: {', '.join(folder.name for folder in self.waiting)}")
        if self.requests.asked is not None:
            raise Stopped(self.requests.asked)
        return next((code for code in self.codes if code), 0)

    @property
    def ending(self) -> bool:
        """Whether no other job begins."""
        return self.requests.asked is not None or (self.flags.stop_at_first_failure and any(self.codes))

    def begin_some(self) -> None:
        """Starts jobs in all free slots."""
        cards, cores = graphics_cards(), sorted(usable_cores())
        for slot in range(self.flags.jobs):
            taken = any(job.slot == slot for job in self.running)
            if taken or not self.waiting or self.ending:
                continue
            folder = self.waiting.pop(0)
            folder.mkdir(parents=True, exist_ok=True)
            own = {"CUDA_VISIBLE_DEVICES": cards[slot % len(cards)]} if cards else {}
            with on_cores(share_of(cores, slot, self.flags.jobs)), open(folder / SAID, "ab") as said:
                process = subprocess.Popen(  # noqa: S603 - this program
                    [*PROGRAM, "resume", str(folder), *self.changes],
                    env={**os.environ, **own},
                    stdout=subprocess.DEVNULL,  # it is in log.txt
                    stderr=said,
                    start_new_session=True,  # the terminal's Ctrl-C comes to us alone
                )
            self.running.append(Running(folder, slot, process))
            self.terminal.line(f"{folder.name}: begins in {folder}")

    def wait_for_some(self) -> None:
        """Returns when a job has ended, or none is to go on."""
        while not self.ending:
            ended = [job for job in self.running if job.process.poll() is not None]
            for job in ended:
                self.close(job)
            if ended or not self.running:
                return
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """Has all running jobs save their state."""
        for job in self.running:
            job.process.send_signal(signal.SIGTERM)
        for job in list(self.running):
            job.process.wait()
            self.close(job)

    def close(self, job: Running) -> None:
        """Says how a job ended."""
        self.running.remove(job)
        code = job.process.returncode
        self.codes.append(128 - code if code < 0 else code)
        said = (job.folder / SAID).read_text(errors="replace").strip()
        if not code:
            (job.folder / SAID).unlink()
        self.terminal.line(f"{job.folder.name}: {outcome(job.folder, code, said)}", style="yellow" if code else None)


def outcome(folder: Path, code: int, said: str) -> str:
    """How a job ended, in a line."""
    if code < 0:
        killed = signal.Signals(-code).name
        return f"killed by {killed}{'; out of memory?' if killed == 'SIGKILL' else ''}; resume goes on with it"
    if code in (130, 138, 143):
        return "stopped, its state is saved"
    if code:
        last = said.splitlines()[0] if said else f"ended with exit code {code}"
        return f"failed: {last} ({folder / SAID})"
    try:
        with open(RunDir(folder).history) as file:
            scores = [float(row["val_accuracy"]) for row in csv.DictReader(file) if row["val_accuracy"]]
    except (OSError, KeyError, ValueError):
        scores = []
    return f"done, val_accuracy {max(scores):.4f}" if scores else "done"


def run_jobs_of(
    folder: Path, numbers: Iterable[int], flags: Flags, requests: StopRequests, *, changes: Sequence[str] = ()
) -> int:
    """Runs jobs of a recorded multirun; says how to resume if some are left."""
    done = False
    try:
        code = Jobs([folder / str(number) for number in numbers], flags, requests, changes=changes).run()
        done = not code
        return code
    finally:
        if not done:
            print(f"what is left: cnntrain resume {shlex.quote(str(folder))} --jobs {flags.jobs}", file=sys.stderr)
