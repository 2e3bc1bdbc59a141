#!/usr/bin/env python3
"""Ten labeled digits a class: a network that was trained on Fashion-MNIST as backbone, against one from scratch.

First train the backbone; then the comparison takes a few minutes:

    cnntrain experiment=fashion_mnist_resnet9 hydra.run.dir=fashion
    python benchmarks/transfer_few_labels.py --run fashion

Both are ResNet-9 of the same width, see the same digits (scikit-learn's, drawn anew for each seed, all others are the
test images), without augmentation, for 20 epochs, and are measured after the last one.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

COMMON = ["data=folder", "data.validation=0", "batch_size=16", "augmentation=none"]
SCRATCH = ["model=resnet9", "model.width=16", "model.image_size=[28,28]", "schedule.phases.all.epochs=20"]
TRANSFER = [
    "model=transfer", "model.resize=stretch", "label_smoothing=0.1", "optimizer=sgd_small_images",
    "optimizer.learning_rate=null", "optimizer.phases={head: {learning_rate: 0.1}, all: {learning_rate: 0.05}}",
    "schedule.phases.head.epochs=5", "schedule.phases.all.epochs=15",
    "schedule.phases.all.learning_rate_schedule=one_cycle",
]  # fmt: skip


def write_digits(folder: Path, seed: int, *, labeled: int) -> None:
    """Digits as PNGs: so many a class in train/, all others in test/."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    seen = dict.fromkeys(range(10), 0)
    for row in order:
        label = int(digits.target[row])
        part = "train" if seen[label] < labeled else "test"
        seen[label] += 1
        target = folder / part / str(label)
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[row]).save(target / f"{row}.png")


def accuracy(folder: Path, run: Path, words: list[str], seed: int) -> float:
    """The test accuracy of one run."""
    from cnntrain.cli.main import main

    if main([*words, *COMMON, f"data.path={folder}", f"seed={seed}", f"hydra.run.dir={run}"]):
        sys.exit(f"{run.name} failed")
    return json.loads((run / "metrics.json").read_text())["test"]["accuracy"]


def main() -> None:
    """Both over the seeds, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="the folder of a run on Fashion-MNIST")
    parser.add_argument("--labeled", type=int, default=10, help="images a class")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    contestants = {"from scratch": SCRATCH, "transfer": [*TRANSFER, f"model.weights={options.run}"]}
    scores: dict[str, list[float]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(options.seeds):
            folder = Path(temporary) / f"digits-{seed}"
            write_digits(folder, seed, labeled=options.labeled)
            for name, words in contestants.items():
                scores[name].append(accuracy(folder, Path(temporary) / f"{name}-{seed}", words, seed))
    for name, values in scores.items():
        print(f"{name:<14}{statistics.mean(values):.4f}  ({', '.join(f'{value:.4f}' for value in values)})")


if __name__ == "__main__":
    main()
