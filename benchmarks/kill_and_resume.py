"""Kills runs at random moments, resumes them until they are done, and compares their results to the bit.

    python benchmarks/kill_and_resume.py [--runs 10] [--kills 5] [--seed 0] [--folder FOLDER]

A small network with dropout, batch normalization, augmentation and averaged weights is trained on digits in two
phases: with frozen layers whose output is kept on disk, then whole. Each run is killed (SIGKILL) so many times, one
kill an epoch from the first on: somewhere, or when a certain file shows that a checkpoint or the best network is
being written, that an epoch ends or is half over, that validation has begun, or that the cache of features is being
made. Once, SIGTERM stops it instead. After some of the kills the newest checkpoint is cut, emptied, or changed by a
bit. Weights, slots, seeds' states, history.csv (but times) and metrics.json of each have to be those of a run that
was left alone.
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

from cnntrain.checkpoints.checkpoint import newest

TIMES = ("seconds", "per_second")  # how the names of such columns end
LOOK_SECONDS = 0.0005
PATIENCE_SECONDS = 4.0  # a moment that has not come by then is not waited for
EPOCHS = 3
STEPS = 146
BACKBONE = ["model=resnet18_small", "model.width=4", "experiment=smoke"]
SETTINGS = [
    "model=transfer", "model.dropout=0.3", "model.hidden_units=16", "batch_size=8",
    "augmentation=random_resized_crop", "optimizer=adamw", "optimizer.learning_rate=0.003",
    "optimizer.ema_momentum=0.95",
    "schedule=freeze_unfreeze", f"schedule.phases.head.epochs={EPOCHS}", "schedule.phases.head.cache_views=2",
    f"schedule.phases.all.epochs={EPOCHS}", "feature_cache.where=disk", "checkpoint.every_minutes=0.001",
    "checkpoint.min_seconds=0",
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


def last_step(run: Path) -> int:
    """How many steps of an epoch the newest checkpoint has; 0 where there is none."""
    found = sorted(name for name in names(run / "checkpoints") if name.endswith(".safetensors") and name[0] != ".")
    return int(found[-1][7:15]) if found else 0


MOMENTS = [
    Moment("cache", lambda run, cache: any(name[0] == "." for name in names(cache / "features"))),
    Moment("checkpoint", lambda run, cache: unfinished(run / "checkpoints", ".safetensors")),
    Moment("best network", lambda run, cache: unfinished(run, ".keras")),
    Moment("mid-epoch", lambda run, cache: 0 < last_step(run) < STEPS),
    Moment("validation", lambda run, cache: last_step(run) == STEPS),
    Moment("epoch's end", lambda run, cache: unfinished(run, ".csv")),
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


def stopped(
    words: list[str], run: Path, cache: Path, *, after_epochs: int, moment: Moment | None, delay: float, by: int
) -> str | None:
    """Starts a process and stops it at a moment after so many epochs; which it was, None where it was done before."""
    with open(run.with_suffix(".said"), "ab") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, env=environment(cache))
    armed_at: float | None = None
    stopped_at = None
    while process.poll() is None:
        time.sleep(LOOK_SECONDS)
        if armed_at is None:
            ready = epochs_done(run) >= after_epochs and (moment is not None or (run / "checkpoints").exists())
            armed_at = time.monotonic() if ready else None
            continue
        waited = time.monotonic() - armed_at
        come = moment is not None and moment.has_come(run, cache)
        if not stopped_at and (come or waited > (PATIENCE_SECONDS if moment else delay)):
            process.send_signal(by)
            stopped_at = moment.name if moment and come else ANYWHERE
    return stopped_at if process.wait() == (-by if by == signal.SIGKILL else 128 + by) else None


def damage(run: Path, draw: random.Random) -> str | None:
    """Cuts, empties or changes the newest of two checkpoints, for some draws; what was done."""
    found = sorted((run / "checkpoints").glob("*.safetensors"))
    done = draw.choice(["cut", "emptied", "changed by a bit", *[None] * 5])
    if len(found) < 2 or done is None:
        return None
    content = bytearray(found[-1].read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1
    found[-1].write_bytes({"cut": content[:place], "emptied": b"", "changed by a bit": content}[done])
    return f"checkpoint {done}"


def disturbed(folder: Path, number: int, kills: int, settings: list[str], seed: int) -> tuple[Path, Counter]:
    """One run, stopped so many times and resumed until done; its folder, and what was done to it."""
    draw = random.Random(seed * 1000 + number)  # noqa: S311 - moments, no secrets
    run, cache = folder / f"run-{number}", folder / f"cache-{number}"
    counts: Counter = Counter()
    terminated = draw.randrange(1, kills + 1)
    for stop in range(kills + 1):
        moment = draw.choice([*MOMENTS[1:], None])
        if stop == 0 and number % 2 == 0:
            moment = MOMENTS[0]  # which comes early only
        by = signal.SIGTERM if stop == terminated else signal.SIGKILL
        after, delay = min(stop, 2 * EPOCHS - 1), draw.uniform(0, 3)
        words = next_command(run, settings)
        if found := stopped(words, run, cache, after_epochs=after, moment=moment, delay=delay, by=by):
            phase = "head" if epochs_done(run) < EPOCHS else "all"
            counts[f"{by.name} {found}, {phase}"] += 1
            if harm := damage(run, draw):
                counts[harm] += 1
    complete(next_command(run, settings), cache)
    return run, counts


def next_command(run: Path, settings: list[str]) -> list[str]:
    """What begins a run or goes on with it."""
    begun = (run / "config.yaml").exists()
    return command("resume", run) if begun else command(*settings, f"hydra.run.dir={run}")


def complete(words: list[str], cache: Path) -> None:
    """Runs a command to its end."""
    done = subprocess.run(words, capture_output=True, text=True, env=environment(cache))
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def killed(counts: Counter) -> int:
    """How many of the stops were kills."""
    return sum(count for what, count in counts.items() if what.startswith(signal.SIGKILL.name))


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
        return [{key: value for key, value in row.items() if not key.endswith(TIMES)} for row in csv.DictReader(file)]


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
            print(f"{run.name}: {killed(counts)} kills; {', '.join(found[:5]) or 'equal to the bit'}", flush=True)
    for what, count in sorted(total.items()):
        print(f"{count:4} {what}")
    print(f"{killed(total)} kills in {runs} runs, {different} of which differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
