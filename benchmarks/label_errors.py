#!/usr/bin/env python3
"""Planted label errors: how many are among the first that `cnntrain inspect RUNS --labels` names.

A share of a folder's labels is changed at random, five folds are trained on what then stands in a table, and as many
labels as were changed are looked at. Words after the options are overrides for cnntrain:

    python benchmarks/label_errors.py --data flower_photos model=mobilenet_v2_transfer model.weights=FILE schedule=probe
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

FOLDS = 5


def planted(data: Path, table: Path, *, share: float, seed: int) -> set[str]:
    """Writes a table of the folder's images, some with another class; the names of those."""
    names = sorted(str(path.relative_to(data)) for path in data.glob("*/*") if path.is_file())
    classes = sorted({Path(name).parts[0] for name in names})
    random = np.random.default_rng(seed)
    wrong = {names[place] for place in random.choice(len(names), round(share * len(names)), replace=False)}
    with open(table, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "label"))
        for name in names:
            true = Path(name).parts[0]
            others = [other for other in classes if other != true]
            writer.writerow((name, others[random.integers(len(others))] if name in wrong else true))
    return wrong


def main() -> None:
    """Plants, trains and counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of images, one folder per class")
    parser.add_argument("--share", type=float, default=0.05, help="of labels that are changed (default: 0.05)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    from cnntrain.cli.main import main as cnntrain
    from cnntrain.inspection.labels import held_out, ranked
    from cnntrain.report.saved_run import SavedRun, runs_at

    with tempfile.TemporaryDirectory() as folder:
        table, sweep = Path(folder) / "planted.csv", Path(folder) / "sweep"
        wrong = planted(options.data, table, share=options.share, seed=options.seed)
        code = cnntrain([
            "-m", *options.overrides, "data=csv", f"data.path={table}", f"data.root={options.data.absolute()}",
            f"data.folds={FOLDS}", f"data.fold={','.join(map(str, range(FOLDS)))}", "report=false",
            f"hydra.sweep.dir={sweep}",
        ])  # fmt: skip
        if code:
            sys.exit(code)
        predictions = held_out([SavedRun.read(run) for run in runs_at([sweep])])
        named = [str(name) for name in predictions.names[ranked(predictions)]]
        found = len(wrong.intersection(named[: len(wrong)]))
        print(f"{len(wrong):,} of {len(predictions):,} labels changed; {len(named):,} named as suspect")
        print(f"among the first {len(wrong):,} named: {found:,} of the changed ones, {found / len(wrong):.3f}")
        print(f"among all named: {len(wrong.intersection(named)) / len(wrong):.3f} of the changed ones")


if __name__ == "__main__":
    main()
