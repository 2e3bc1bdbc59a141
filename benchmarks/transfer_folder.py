#!/usr/bin/env python3
"""A folder of photos: transfer in phases against linear probes on the same backbone's pooled features.

All see the same images of five folds; no image is spared for validation, so that the last epoch counts. The probes
choose their penalty by cross-validation of the training images. Words after the options are overrides for cnntrain,
which trains by model=transfer, or by --recipe:

    python benchmarks/transfer_folder.py --data stamps --backbone efficientnet_lite0.keras --preprocess tf
    python benchmarks/transfer_folder.py … --recipe experiment=few_photos

With --per-class N, three draws of N training images per class take the place of the folds; up to 100 others per class
are the test. Without --backbone, the recipe trains alone: --recipe model=resnet9.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

FOLDS, DRAWS = 5, 3


def words(options: argparse.Namespace, fold: int, folder: Path) -> list[str]:
    """The command line of one fold's or draw's run."""
    data = [f"data.path={options.data}", f"data.folds={FOLDS}", f"data.fold={fold}"]
    if options.per_class:
        data = [f"data.path={drawn(Path(options.data), options.per_class, seed=fold, into=folder / f'draw{fold}')}"]
    given = {"model.weights": options.backbone, "model.preprocess": options.preprocess} if options.backbone else {}
    backbone = [f"{key}={value}" for key, value in given.items()]
    common = ["data=folder", "data.validation=0", "report=false"]
    return [options.recipe, *common, *data, *backbone, *options.overrides]


def drawn(photos: Path, per_class: int, *, seed: int, into: Path) -> Path:
    """A folder of links to a random part of the photos, with the folders train and test."""
    if into.exists():
        return into
    random = np.random.default_rng(seed)
    for kind in sorted(path for path in photos.iterdir() if path.is_dir()):
        files = random.permutation(sorted(path for path in kind.iterdir() if path.is_file()))
        for split, chosen in (("train", files[:per_class]), ("test", files[per_class : per_class + 100])):
            (into / split / kind.name).mkdir(parents=True)
            for file in chosen:
                (into / split / kind.name / file.name).symlink_to(file.resolve())
    return into


def probes(options: argparse.Namespace, fold: int, folder: Path) -> dict[str, float]:
    """The test accuracy of linear classifiers on the pooled features of one fold, by name."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from cnntrain.cli.main import checked
    from cnntrain.data.pipeline import Batches
    from cnntrain.training.preparation import prepare

    experiment, labeled, network_input = prepare(checked(words(options, fold, folder))[2][0])
    model = experiment.model.build(network_input.shape, len(labeled.class_names))
    import keras

    pooled = keras.Model(model.inputs[0], model.get_layer("average").output)
    features, labels = {}, {}
    for split in ("train", "test"):
        examples = labeled.split(split)
        batches = Batches(examples, network_input, batch_size=32).epoch()
        features[split] = np.concatenate([pooled(images, training=False).numpy() for images, *_ in batches])
        labels[split] = examples.labels
    regression = LogisticRegressionCV(Cs=np.logspace(-4, 1, 11), max_iter=500, cv=5)
    ridge = RidgeClassifierCV(np.logspace(-2, 5, 15))
    kinds = {
        "logistic regression": make_pipeline(StandardScaler(), regression),
        "whitened ridge": make_pipeline(PCA(0.99, whiten=True, svd_solver="full"), ridge),
    }
    return {
        name: kind.fit(features["train"], labels["train"]).score(features["test"], labels["test"])
        for name, kind in kinds.items()
    }


def transfer(options: argparse.Namespace, fold: int, folder: Path) -> float:
    """The test accuracy of one fold's run."""
    from cnntrain.cli.main import main

    run = folder / str(fold)
    if main([*words(options, fold, folder), f"hydra.run.dir={run}"]):
        sys.exit(f"fold {fold} failed")
    return json.loads((run / "metrics.json").read_text())["test"]["accuracy"]


def main() -> None:
    """All on all folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder of photos, one folder per class")
    parser.add_argument("--backbone", help="a .keras file, or the .h5 file of the network that --recipe names")
    parser.add_argument("--preprocess", default="tf", help="how its network wants pixels: unit, tf, caffe, torch, raw")
    parser.add_argument("--recipe", default="model=transfer", help="the option that gives it (default: model=transfer)")
    parser.add_argument("--probes-only", action="store_true", help="don't train")
    parser.add_argument("--per-class", type=int, metavar="N", help="draws of N training images per class, no folds")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    scores: dict[str, list[float]] = defaultdict(list)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(DRAWS if options.per_class else FOLDS):
            for name, score in probes(options, fold, Path(folder)).items() if options.backbone else ():
                scores[name].append(score)
            if options.probes_only:
                continue
            start = time.perf_counter()
            scores["cnntrain"].append(transfer(options, fold, Path(folder)))
            seconds.append(time.perf_counter() - start)
    for name, values in scores.items():
        print(f"{name:<22}{statistics.mean(values):.4f}  ({', '.join(f'{value:.3f}' for value in values)})")
    print(f"{sum(seconds):.0f} s for all runs of cnntrain")


if __name__ == "__main__":
    main()
