"""Kills runs with SIGKILL at random moments, resumes them until they are done, and compares the results to the bit.

    python benchmarks/kill_and_resume.py [--runs 10] [--kills 5] [--seed 0] [--folder FOLDER]

A small network with dropout, batch normalization, augmentation and averaged weights is trained on digits in two
phases: with frozen layers whose output is kept on disk, then whole. Each run is killed `kills` times, one kill an
epoch from the first on: somewhere, or when a certain file shows that a checkpoint or the best network is being
written, that an epoch ends, that validation has begun, or that the cache of features is being made. Weights, slots,
seeds' states, history.csv (but times) and metrics.json of each have to be those of a run that was left alone.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cnntrain.checkpoint import newest

TIMES = ("seconds", "images_per_second")
LOOK_SECONDS = 0.0005
PATIENCE_SECONDS = 20.0  # a moment that has not come by then will not come: the kill then comes anyway
EPOCHS = 3
STEPS = 146
BACKBONE = ["model=resnet18_small", "model.width=4", "experiment=smoke"]
SETTINGS = [
    "model=transfer", "model.dropout=0.3", "model.hidden_units=16", "batch_size=8",
    "augmentation=random_resized_crop", "optimizer=adamw", "optimizer.learning_rate=0.003",
    "optimizer.ema_momentum=0.95",
    "schedule=freeze_unfreeze", f"schedule.phases.head.epochs={EPOCHS}", "schedule.phases.head.cache_views=2",
    f"schedule.phases.all.epochs={EPOCHS}", "feature_cache.where=disk", "checkpoint.every_minutes=0.001",
]  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A kind of moment, and whether it has come, told by what lies in the run's and in the cache's folder."""

    name: str
    has_come: Callable[[Path, Path], bool]


def names(folder: Path) -> list[str]:
    """What a folder holds, if it is there."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def unfinished(folder: Path, suffix: str) -> bool:
    """Whether a file is being written."""
    return any(".unfinished" in name and name.endswith(suffix) for name in names(folder))


def validating(run: Path) -> bool:
    """Whether the newest checkpoint is one from after an epoch's last step."""
    found = sorted(name for name in names(run / "checkpoints") if name.endswith(".state") and name[0] != ".")
    return bool(found) and found[-1].endswith(f"-{STEPS:08}.state")


MOMENTS = [
    Moment("checkpoint", lambda run, cache: unfinished(run / "checkpoints", ".state")),
    Moment("best network", lambda run, cache: unfinished(run, ".keras")),
    Moment("validation", lambda run, cache: validating(run)),
    Moment("epoch's end", lambda run, cache: unfinished(run, ".csv")),
    Moment("cache", lambda run, cache: any(name[0] == "." for name in names(cache / "features"))),
]
ANYWHERE = "somewhere"


def command(*words: object) -> list[str]:
    """A command line of cnntrain."""
    return [sys.executable, "-m", "cnntrain", *map(str, words)]


def environment(cache: Path) -> dict[str, str]:
    """That of a run with a cache of its own."""
    return {**os.environ, "CNNTRAIN_CACHE": str(cache)}


def epochs_done(run: Path) -> int:
    """How many epochs history.csv has."""
    try:
        return len((run / "history.csv").read_text().splitlines()) - 1
    except OSError:
        return 0


def killed(run: Path, words: list[str], cache: Path, *, after_epochs: int, moment: Moment | None, delay: float) -> bool:
    """Starts a process and kills it at a moment after so many epochs; false where it was done before."""
    with open(run.with_suffix(".said"), "ab") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, env=environment(cache))
    armed_at: float | None = None
    while process.poll() is None:
        time.sleep(LOOK_SECONDS)
        if armed_at is None:
            ready = epochs_done(run) >= after_epochs and (moment is not None or (run / "checkpoints").exists())
            armed_at = time.monotonic() if ready else None
            continue
        waited = time.monotonic() - armed_at
        if waited > PATIENCE_SECONDS or (moment.has_come(run, cache) if moment else waited > delay):
            process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def disturbed(folder: Path, number: int, kills: int, settings: list[str], seed: int) -> tuple[Path, Counter]:
    """One run, killed so many times and resumed until done; its folder, and the kills by moment and phase."""
    draw = random.Random(seed * 1000 + number)  # noqa: S311 - moments, no secrets
    run, cache = folder / f"run-{number}", folder / f"cache-{number}"
    counts: Counter = Counter()
    for kill in range(kills):
        words = command("resume", run) if (run / "config.yaml").exists() else command(*settings, f"hydra.run.dir={run}")
        choices = [moment for moment in MOMENTS if moment.name != "cache" or kill < 2]
        moment = draw.choice([*choices, None])
        epoch = min(kill, 2 * EPOCHS - 1)
        if killed(run, words, cache, after_epochs=epoch, moment=moment, delay=draw.uniform(0, 3)):
            phase = "head" if epochs_done(run) < EPOCHS else "all"
            counts[f"{moment.name if moment else ANYWHERE}, {phase}"] += 1
    words = command("resume", run) if (run / "config.yaml").exists() else command(*settings, f"hydra.run.dir={run}")
    complete(words, cache)
    return run, counts


def complete(words: list[str], cache: Path) -> None:
    """Runs a command to its end."""
    done = subprocess.run(words, capture_output=True, text=True, env=environment(cache))
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def differences(run: Path, expected: Path) -> Iterator[str]:
    """What of a run is not as in another."""
    (found, _), (wanted, _) = newest(run / "checkpoints"), newest(expected / "checkpoints")
    if found is None or wanted is None:
        yield "no checkpoint"
        return
    arrays = wanted.state.arrays
    if list(found.state.arrays) != list(arrays):
        yield "other arrays"
    yield from (name for name in arrays if found.state.arrays[name].tobytes() != arrays[name].tobytes())
    if without_times(run) != without_times(expected):
        yield "history.csv"
    if json.loads((run / "metrics.json").read_text()) != json.loads((expected / "metrics.json").read_text()):
        yield "metrics.json"


def without_times(run: Path) -> list[dict[str, str]]:
    """The rows of history.csv but for how long they took."""
    with open(run / "history.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def main() -> int:
    """Runs all; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="default: 10")
    parser.add_argument("--kills", type=int, default=6, help="of each run (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--folder", type=Path, help="where runs go; default: a temporary folder, removed afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return compare(folder, runs=options.runs, kills=options.kills, seed=options.seed)


def compare(folder: Path, *, runs: int, kills: int, seed: int) -> int:
    """Disturbs so many runs, two at a time, and prints what differs from the undisturbed one."""
    complete(command(*BACKBONE, f"hydra.run.dir={folder / 'backbone'}"), folder / "cache")
    settings = [*SETTINGS, f"model.weights={folder / 'backbone'}"]
    complete(command(*settings, f"hydra.run.dir={folder / 'expected'}"), folder / "cache")
    total: Counter = Counter()
    different = 0
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(disturbed, folder, number, kills, settings, seed) for number in range(runs)]
        for job in jobs:
            run, counts = job.result()
            total += counts
            found = list(differences(run, folder / "expected"))
            different += bool(found)
            print(f"{run.name}: {counts.total()} kills; {', '.join(found[:5]) or 'equal to the bit'}", flush=True)
    for moment, count in sorted(total.items()):
        print(f"{count:4} {moment}")
    print(f"{total.total()} kills in {runs} runs, {different} of which differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
