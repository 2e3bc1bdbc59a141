#!/usr/bin/env python3
"""Training speed of two processes with a core each, against one process with both cores, in alternation.

Random images of 28×28 in MNIST's file format, batch 128; images per second are those of an epoch after the first:

    python benchmarks/ranks.py
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

EPOCHS = 3
STEPS = {"lenet5": 150, "resnet9": 12}
CONTESTANTS = {"one process": ["devices=1"], "two processes": ["devices=2"]}


def write_images(folder: Path, count: int) -> Path:
    """Random images and labels in MNIST's file format."""
    random = np.random.default_rng(0)
    for part, number in (("train", count), ("t10k", 128)):
        arrays = {
            "images-idx3": random.integers(0, 256, (number, 28, 28), np.uint8),
            "labels-idx1": (np.arange(number) % 10).astype(np.uint8),
        }
        for name, array in arrays.items():
            header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    return folder


def speed(network: str, words: list[str], images: Path, folder: Path) -> float:
    """Images per second of the last epochs of a run."""
    run = [
        f"model={network}", "data=idx", f"data.path={images}", "data.validation=0", "batch_size=128", "report=false",
        "schedule=from_scratch", f"schedule.phases.all.epochs={EPOCHS}", f"limits.steps={STEPS[network]}",
        f"hydra.run.dir={folder}", *words,
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "cnntrain", *run], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))[1:]
    return statistics.median(float(row["images_per_second"]) for row in rows)


def main() -> None:
    """All networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=tuple(STEPS), default=tuple(STEPS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = write_images(folder, 128 * max(STEPS.values()))
        for network in options.networks:
            speeds: dict[str, list[float]] = defaultdict(list)
            for number in range(options.rounds):
                for name, words in CONTESTANTS.items():
                    run = folder / f"{network}-{name}-{number}".replace(" ", "-")
                    speeds[name].append(speed(network, words, images, run))
            one, two = (statistics.median(speeds[name]) for name in CONTESTANTS)
            print(f"{network}: one process {one:,.0f}, two processes {two:,.0f} images/s: {two / one:.2f}", flush=True)


if __name__ == "__main__":
    main()
