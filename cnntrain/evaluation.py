"""Measuring a trained network on examples as they are: after training, and by `cnntrain evaluate`."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnntrain import backend
from cnntrain.config import Experiment, parse
from cnntrain.data import Examples
from cnntrain.data.base import Table
from cnntrain.data.file_source import FileSource
from cnntrain.data.network_input import NetworkInput
from cnntrain.errors import ConfigError, DataError
from cnntrain.keras_file import UNLOADABLE, load_network
from cnntrain.measures import measure
from cnntrain.run_dir import RunDir
from cnntrain.terminal import Terminal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf



@dataclass(frozen=True)
class TrainedRun:
    """What a run folder records: the experiment, and what its network expects and answers."""

    run_dir: RunDir
    experiment: Experiment
    network_input: NetworkInput
    class_names: tuple[str, ...]
    fingerprint: str

    def load_model(self) -> "keras.Model":
        """The network of the best epoch; raises DataError where it is damaged."""
        backend.load()
        try:
            return load_network(self.run_dir.model)
        except UNLOADABLE as error:
            raise DataError(f"{self.run_dir.model}: can't be loaded: {error}") from error


def read_run(path: Path) -> TrainedRun:
    """What a run folder records; raises DataError where something is missing or damaged. Loads no TensorFlow."""
    run_dir = RunDir.open(path)
    record = run_dir.read_record()
    try:
        experiment = parse(run_dir.read_config())
    except ConfigError as error:
        raise DataError(f"{run_dir.config}: was written by another version of cnntrain:\n{error}") from error
    if not run_dir.model.is_file():
        raise DataError(f"{run_dir.model}: is missing; the run ended before its first epoch did")
    network_input = NetworkInput.from_record(record["input"], str(run_dir.record))
    return TrainedRun(run_dir, experiment, network_input, tuple(record["class_names"]), record["data_fingerprint"])


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
    model: "keras.Model", examples: Examples, network_input: NetworkInput, *, batch_size: int, limit: int | None
) -> dict[str, Any]:
    """All measures of a split, or of its first `limit` batches."""
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.data.pipeline import Batches

    batches = Batches(examples, network_input, batch_size=batch_size).epoch()
    with unreadable_file_named(examples.table):
        probabilities = np.concatenate(list(predict_batches(model, batches.take(limit or -1))))
    labels = examples.labels[: len(probabilities)]
    return measure(probabilities, labels, examples.table.class_names)


def evaluate(trained: TrainedRun, *, own_data: bool, split: str, as_json: bool) -> None:
    """Measures a run's best network on a split of the experiment's data, or on `all` of them; prints the result.

    Images go through the run's own preprocessing, and classes are matched by name. `own_data`: these are meant
    to be the data that the run was trained on, divided as they were then.
    """
    data = trained.experiment.data
    if isinstance(data, FileSource):
        data = dataclasses.replace(data, background=trained.network_input.background)
    data.check()
    backend.load()
    labelled = data.load()
    terminal = Terminal()
    table = with_classes(labelled.train.table, trained.class_names, title=data.title())
    same = labelled.train.table.fingerprint() == trained.fingerprint
    if same != own_data and not as_json:
        what = "the data have changed since training" if own_data else "these data were trained on, divided otherwise"
        terminal.warning(f"{what}, so that training images may be among these")
    rows = np.arange(len(table.labels)) if split == "all" else labelled.split(split).rows
    if not len(rows):
        asked = getattr(data, split)
        raise DataError(f"{data.title()}: these data have no {split} images (data.{split}={asked})")
    results = evaluate_split(
        trained.load_model(),
        Examples(table, rows),
        trained.network_input,
        batch_size=trained.experiment.batch_size,
        limit=None,
    )
    if as_json:
        print(json.dumps({split: results}))
    else:
        terminal.result(results, split)


def with_classes(table: Table, class_names: Sequence[str], *, title: str) -> Table:
    """The same examples with classes numbered as in `class_names`; raises DataError where there are others."""
    numbers = {name: number for number, name in enumerate(class_names)}
    strange = [name for name in table.class_names if name not in numbers]
    if strange:
        raise DataError(
            f"{title}: the network does not know the class{'es' * (len(strange) > 1)} {', '.join(strange)};"
            f" it was trained on {', '.join(class_names)}"
        )
    by_old_number = np.array([numbers[name] for name in table.class_names], np.int64)
    return dataclasses.replace(table, labels=by_old_number[table.labels], class_names=tuple(class_names))
