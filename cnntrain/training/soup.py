"""`cnntrain soup RUN RUN…`: one network with the mean of several runs' weights.

Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", 2022 (the greedy soup).
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnntrain.data.examples import LabeledImages
from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.evaluate import TrainedRun, read_run
from cnntrain.report.saved_run import runs_at
from cnntrain.runtime import backend
from cnntrain.runtime.files import whole_file
from cnntrain.runtime.provenance import provenance
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.terminal import Terminal
from cnntrain.settings import flat, to_mapping
from cnntrain.trackers import Tracking
from cnntrain.trackers.listener import Followers

if TYPE_CHECKING:
    import keras

Weights = list[np.ndarray]
Score = tuple[float, float]  # validation accuracy and negative loss

SAME = ("model", "data", "precision")  # must be the same in the configurations of all runs


def make_soup(paths: Sequence[Path], *, out: Path, command: str) -> None:
    """Averages the weights of runs greedily, and writes a run folder with the result, tested once.

    It begins with the run with the best validation accuracy. Each other run, best first, is added unless that
    lowers validation accuracy or, at the same accuracy, raises the loss: on validation, the soup is never worse than
    its best run. Raises ConfigError for fewer than two runs or an occupied folder, DataError for runs that don't match.
    """
    folders = runs_at(paths)
    if len(folders) < 2:
        raise ConfigError(f"expected two runs or more, or a multirun's folder; received {', '.join(map(str, folders))}")
    RunDir.refuse_occupied(out)
    runs = [read_run(folder) for folder in folders]
    for run in runs[1:]:
        check_alike(run, runs[0])
    experiment = runs[0].experiment
    experiment.data.check()
    backend.load()
    labeled = experiment.data.load()
    if not len(labeled.validation):
        raise DataError("a soup is chosen by validation images, and these runs have none (data.validation=0)")
    terminal = Terminal()
    model = runs[0].load_model()
    weights = [run.load_model().get_weights() for run in runs]
    scorer = Scorer(model, runs[0], labeled, adapted=differing_statistics(model, weights))
    scores = [scorer.score(found) for found in weights]
    order = sorted(range(len(runs)), key=lambda number: scores[number], reverse=True)
    chosen, best = [order[0]], scores[order[0]]
    terminal.line(f"{folders[order[0]]}: validation accuracy {best[0]:.4f}, loss {-best[1]:.4f}")
    for number in order[1:]:
        score = scorer.score(mean_of([weights[one] for one in [*chosen, number]]))
        taken = score >= best
        if taken:
            chosen, best = [*chosen, number], score
        terminal.line(
            f"{folders[number]}: {scores[number][0]:.4f} alone, {score[0]:.4f} with those before"
            f" (loss {-score[1]:.4f}): {'added' if taken else 'left out'}"
        )
    best = scorer.score(mean_of([weights[one] for one in chosen]))
    ingredients = [{"run": str(folders[number].absolute()), "validation": scores[number][0]} for number in chosen]
    record = {"command": command, **provenance(), "soup": {"ingredients": ingredients, "validation": best[0]}}
    write_run(runs[order[0]], labeled, model, out=out, record=record, terminal=terminal)


def check_alike(run: TrainedRun, first: TrainedRun) -> None:
    """Raises DataError if a run has a different network, data or validation images than the first."""
    found, expected = (
        {key: value for key, value in flat(to_mapping(one.experiment)) if key.split(".")[0] in SAME}
        for one in (run, first)
    )
    for key in [key for key in expected if found.get(key) != expected[key]]:
        raise DataError(
            f"{run.run_dir.path}: {key} is {found.get(key)}, and {expected[key]} in {first.run_dir.path}; a soup"
            " takes runs of one network on the same data and splits, that differ in seed or training only"
        )
    if run.fingerprint != first.fingerprint:
        raise DataError(f"{run.run_dir.path}: was trained on other data than {first.run_dir.path}")


def mean_of(weights: Sequence[Weights]) -> Weights:
    """The mean of each array, summed in float64."""
    return [np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) for arrays in zip(*weights, strict=True)]


def differing_statistics(model: "keras.Model", weights: Sequence[Weights]) -> set[str]:
    """The names of BatchNormalization layers whose statistics differ between runs: their mean fits no network."""
    import keras

    places = {id(variable): number for number, variable in enumerate(model.weights)}
    return {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        and any(not np.array_equal(found[places[id(layer.moving_mean)]], weights[0][places[id(layer.moving_mean)]])
                for found in weights[1:])
    }  # fmt: skip


class Scorer:
    """Validates weights in one network; statistics of `adapted` layers are recomputed on training images."""

    def __init__(self, model: "keras.Model", run: TrainedRun, labeled: LabeledImages, *, adapted: set[str]):
        self.model = model
        self.run = run
        self.labeled = labeled
        self.adapted = adapted
        for layer in model.layers:
            layer.trainable = layer.name in adapted

    def score(self, weights: Weights) -> Score:
        """Loads the weights into the network; returns its validation accuracy and negative loss."""
        from cnntrain.data.pipeline import Batches
        from cnntrain.evaluation.evaluate import predict_split
        from cnntrain.training.batch_statistics import STEPS, recalibrate

        self.model.set_weights(weights)
        size = self.run.experiment.batch_size
        if self.adapted:
            batches = Batches(self.labeled.train, self.run.network_input, batch_size=size, shuffle=True)
            recalibrate(self.model, batches.epoch().take(STEPS))
        predictions = predict_split(
            self.model,
            self.labeled.validation,
            self.run.network_input,
            batch_size=size,
            box_head=self.run.box_head,
        )
        metrics = predictions.metrics()
        return metrics["accuracy"] + metrics.get("mean_iou", 0.0), -metrics["loss"]


def write_run(
    run: TrainedRun,
    labeled: LabeledImages,
    model: "keras.Model",
    *,
    out: Path,
    record: dict[str, Any],
    terminal: Terminal,
) -> None:
    """Writes the soup's folder: the best run's configuration and record, the network, predictions and metrics."""
    from cnntrain.training.run import test

    with contextlib.closing(RunDir.create(out, exact=True)) as run_dir:
        run_dir.write_config(run.run_dir.read_config())
        run_dir.write_json(run_dir.record, run.run_dir.read_record() | record)
        with whole_file(run_dir.model) as temporary:
            model.save(temporary)
        test(
            run.experiment, labeled, run.network_input, model,
            best_epoch=0, run_dir=run_dir, terminal=terminal,
            followers=Followers(Tracking(), run_dir, terminal.warning),
        )  # fmt: skip
        terminal.line(f"the soup is in {run_dir.path}")
        terminal.next_commands(run_dir.path, [])
