"""Measuring a trained network on examples as they are: after training, and by `cnntrain evaluate`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnntrain import backend
from cnntrain.config import Experiment, parse
from cnntrain.data import Examples
from cnntrain.errors import ConfigError, DataError
from cnntrain.keras_file import UNLOADABLE, load_network
from cnntrain.measures import measure
from cnntrain.run_dir import RunDir
from cnntrain.terminal import Terminal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from cnntrain.data.pipeline import NetworkInput


@dataclass(frozen=True)
class TrainedRun:
    """What a run folder holds: the experiment, its best network, and what that expects and answers."""

    experiment: Experiment
    model: "keras.Model"
    network_input: "NetworkInput"
    class_names: tuple[str, ...]
    fingerprint: str


def load_run(path: Path) -> TrainedRun:
    """The trained network of a run folder; raises DataError where something is missing or damaged."""
    run_dir = RunDir.open(path)
    record = run_dir.read_record()
    try:
        experiment = parse(run_dir.read_config())
    except ConfigError as error:
        raise DataError(f"{run_dir.config}: was written by another version of cnntrain:\n{error}") from error
    if not run_dir.model.is_file():
        raise DataError(f"{run_dir.model}: is missing; the run ended before its first epoch did")
    backend.load()
    from cnntrain.data.pipeline import NetworkInput

    try:
        network_input = NetworkInput(**{**record["input"], "image_size": tuple(record["input"]["image_size"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{run_dir.record}: input: is not what cnntrain writes: {error}") from error
    try:
        model = load_network(run_dir.model)
    except UNLOADABLE as error:
        raise DataError(f"{run_dir.model}: can't be loaded: {error}") from error
    return TrainedRun(
        experiment, model, network_input, tuple(record["class_names"]), record["data_fingerprint"]
    )


def predict_batches(model: "keras.Model", batches: "tf.data.Dataset") -> Iterator[np.ndarray]:
    """Probabilities (batch, classes) of one batch after another."""
    import tensorflow as tf

    from cnntrain.loop import named

    @tf.function(reduce_retracing=True)
    def probabilities(images: tf.Tensor) -> tf.Tensor:
        return named(model(images, training=False))["class"]

    for images, *_ in batches:
        yield probabilities(images).numpy()


def evaluate_split(
    model: "keras.Model", examples: Examples, network_input: "NetworkInput", *, batch_size: int, limit: int | None
) -> dict[str, Any]:
    """All measures of a split, or of its first `limit` batches."""
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.data.pipeline import Batches

    batches = Batches(examples, network_input, batch_size=batch_size).epoch()
    with unreadable_file_named(examples.table):
        probabilities = np.concatenate(list(predict_batches(model, batches.take(limit or -1))))
    labels = examples.labels[: len(probabilities)]
    return measure(probabilities, labels, examples.table.class_names)


def evaluate(path: Path, *, split: str, as_json: bool) -> None:
    """Measures a run's best network on a split of its data, and prints the result."""
    trained = load_run(path)
    labelled = trained.experiment.data.load()
    terminal = Terminal()
    if labelled.class_names != trained.class_names:
        raise DataError(
            f"{path}: the data's classes have changed since training:"
            f" trained on {list(trained.class_names)}, found {list(labelled.class_names)}"
        )
    if not as_json and labelled.train.table.fingerprint() != trained.fingerprint:
        terminal.warning("the data have changed since training, so that training images may be among these")
    examples = labelled.split(split)
    if not len(examples):
        asked = getattr(trained.experiment.data, split)
        raise DataError(f"{path}: its data have no {split} images (data.{split}={asked})")
    results = evaluate_split(
        trained.model, examples, trained.network_input, batch_size=trained.experiment.batch_size, limit=None
    )
    if as_json:
        print(json.dumps({split: results}))
    else:
        terminal.result(results, split)
