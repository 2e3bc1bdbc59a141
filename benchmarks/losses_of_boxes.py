"""What helps boxes on the README's example: square roots of the sides or not, squared error or GIoU.

    python benchmarks/losses_of_boxes.py [--epochs 10] [--seeds 3]

trains `experiment=digits_on_canvas` in each way with several seeds, shorter than the example itself, and prints the
README's table: means over the seeds, with the lowest and highest. The chapter's weights of losses are there too.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {
    "GIoU, 1 : 0.5": ["box_loss=giou", "loss_weights={class: 1, box: 0.5}"],
    "MSE, 1 : 50": ["box_loss=mse", "loss_weights={class: 1, box: 50}"],
    "MSE, 0.8 : 0.2": ["box_loss=mse", "loss_weights={class: 0.8, box: 0.2}"],
}
MEASURES = {"accuracy": "accuracy", "mean_iou": "mean IoU", "accuracy_iou_75": "right and IoU ≥ 0.75"}


def measured(words: list[str], *, seed: int, epochs: int) -> dict[str, float]:
    """The test's measures of one training, and the processor's seconds that it took, over two."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "cnntrain", "experiment=digits_on_canvas", *words, f"seed={seed}",
                   f"schedule.phases.all.epochs={epochs}", f"hydra.run.dir={run}"]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        test = json.loads((run / "metrics.json").read_text())["test"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 2
    return {name: test[name] for name in MEASURES} | {"seconds": seconds}


def cell(values: list[float]) -> str:
    """A mean with the lowest and highest value."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Trains in every way, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"| box loss, weights of class and box | square roots | {' | '.join(MEASURES.values())} |", flush=True)
    print("|---|---|" + "---|" * len(MEASURES), flush=True)
    seconds = []
    for title, words in WAYS.items():
        for roots in ("true", "false"):
            ways = [*words, f"model.square_root_sides={roots}"]
            found = [measured(ways, seed=seed, epochs=options.epochs) for seed in range(1, options.seeds + 1)]
            cells = [cell([one[name] for one in found]) for name in MEASURES]
            print(f"| {title} | {'yes' if roots == 'true' else 'no'} | {' | '.join(cells)} |", flush=True)
            seconds += [one["seconds"] for one in found]
    print(f"\nA training took {statistics.mean(seconds):.0f} seconds of two cores.")


if __name__ == "__main__":
    main()
