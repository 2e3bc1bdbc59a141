#!/usr/bin/env python3
"""Kills ranks of runs of several processes, and their launcher, at random moments; results must be equal to the bit.

The runs are those of kill_and_resume.py, in two processes under `cnntrain launch --max-restarts`. At each stop, a
random rank or the launcher gets SIGKILL or SIGTERM. After SIGKILL of a rank the launcher itself goes on; after all else
the run is resumed. Weights, slots, history.csv (but times) and metrics.json of each have to be those of a run in two
processes that was left alone:

    python benchmarks/kill_ranks.py [--runs 4] [--kills 6] [--seed 0] [--folder FOLDER]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_and_resume import (
    BACKBONE,
    EPOCHS,
    SETTINGS,
    command,
    complete,
    differences,
    environment,
    epochs_done,
    next_command,
)

PROCESSES, RESTARTS = 2, 100
LONGEST_SECONDS = 600.0  # of a run between two stops


def launched(words: list[str]) -> list[str]:
    """The command that runs another in several processes."""
    flags = ["--nproc-per-node", PROCESSES, "--max-restarts", RESTARTS, "--"]
    return command("launch", *flags, *words[3:])


def ranks_of(launcher: subprocess.Popen) -> list[int]:
    """The process numbers of a launcher's ranks that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(parent) == launcher.pid and state != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def disturbed(folder: Path, number: int, kills: int, settings: list[str], seed: int) -> tuple[Path, Counter]:
    """One run, disturbed so many times; its folder, and what was done to it."""
    draw = random.Random(seed * 1000 + number)  # noqa: S311 - moments, no secrets
    run, cache = folder / f"run-{number}", folder / f"cache-{number}"
    counts: Counter = Counter()
    launcher = None
    for stop in range(kills):
        if launcher is None:
            launcher = started(run, cache, settings)
        if not ready(launcher, run, epochs=min(stop, 2 * EPOCHS - 1), delay=draw.uniform(0, 4)):
            launcher = launcher if launcher.poll() is None else None
            continue
        by = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        ranks = ranks_of(launcher)
        victim = draw.choice([*ranks, launcher.pid])
        os.kill(victim, by)
        who = "the launcher" if victim == launcher.pid else f"rank {ranks.index(victim)}"
        counts[f"{by.name} to {who}, {'head' if epochs_done(run) < EPOCHS else 'all'}"] += 1
        if victim == launcher.pid or by == signal.SIGTERM:
            launcher.wait(timeout=LONGEST_SECONDS)
            launcher = None
            wait_for_orphans(run)
    if launcher is not None:
        launcher.wait(timeout=LONGEST_SECONDS)
    if not (run / "metrics.json").exists():
        complete(launched(next_command(run, settings)), cache)
    return run, counts


def started(run: Path, cache: Path, settings: list[str]) -> subprocess.Popen:
    """A launcher that begins a run, or goes on with it."""
    with open(run.with_suffix(".said"), "ab") as said:
        return subprocess.Popen(
            launched(next_command(run, settings)), stdout=said, stderr=said, env=environment(cache)
        )


def ready(launcher: subprocess.Popen, run: Path, *, epochs: int, delay: float) -> bool:
    """Waits until a run has so many epochs, its ranks are there, and some more; False if it has ended before."""
    until = time.monotonic() + LONGEST_SECONDS
    while epochs_done(run) < epochs or not (run / "config.yaml").exists() or len(ranks_of(launcher)) < PROCESSES:
        if launcher.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.05)
    time.sleep(delay)
    while launcher.poll() is None:
        if len(ranks_of(launcher)) == PROCESSES:
            return True
        time.sleep(0.05)
    return False


def wait_for_orphans(run: Path) -> None:
    """Ranks whose launcher was killed end by themselves, within about a second: no other could have their folder."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()  # noqa: S607
        if not any("cnntrain" in line and str(run) in line for line in lines):
            return
        time.sleep(0.2)
    sys.exit(f"{run}: ranks are still there, 30 seconds after their launcher was killed")


def main() -> int:
    """Runs all; 0 if nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4, help="default: 4")
    parser.add_argument("--kills", type=int, default=8, help="of each run (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--folder", type=Path, help="where runs go (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        complete(command(*BACKBONE, f"hydra.run.dir={folder / 'backbone'}"), folder / "cache")
        settings = [*SETTINGS, f"model.weights={folder / 'backbone'}"]
        complete(launched(command(*settings, f"hydra.run.dir={folder / 'expected'}")), folder / "cache")
        total, different = Counter[str](), 0
        for number in range(options.runs):
            run, counts = disturbed(folder, number, options.kills, settings, options.seed)
            total += counts
            found = list(differences(run, folder / "expected"))
            different += bool(found)
            said = ", ".join(found[:5]) or "equal to the bit"
            print(f"{run.name}: {counts.total()} stops; {said}", flush=True)
    for what, count in sorted(total.items()):
        print(f"{count:4} {what}")
    print(f"{total.total()} stops in {options.runs} runs, {different} of which differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
