"""Measuring a trained network on examples as they are: after training, and by `cnntrain evaluate`."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
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
from cnntrain.measures import measure, measure_boxes
from cnntrain.models.applications import UNLOADABLE
from cnntrain.run_dir import RunDir
from cnntrain.terminal import Terminal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from cnntrain.localization import BoxHead


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
        import keras

        import cnntrain.models.layers  # noqa: F401 - registers the layers that saved networks name

        try:
            return keras.models.load_model(self.run_dir.model, compile=False, safe_mode=True)
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
    return TrainedRun(
        run_dir, experiment, network_input, tuple(record["class_names"]), record["data_fingerprint"]
    )


def answering(model: "keras.Model", box_head: "BoxHead | None") -> "Callable[[tf.Tensor], dict[str, tf.Tensor]]":
    """The function that gives a batch's class probabilities (batch, classes) and, with a head for them, boxes
    (batch, 4), in fractions of the images as the network sees them."""
    import tensorflow as tf

    from cnntrain.loop import named

    @tf.function(reduce_retracing=True)
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = named(model(images, training=False))
        boxes = {"box": box_head.answer(outputs["box"])} if box_head else {}
        return {"class": outputs["class"], **boxes}

    return answer


def predict_batches(model: "keras.Model", batches: "tf.data.Dataset") -> Iterator[np.ndarray]:
    """Probabilities (batch, classes) of one batch after another."""
    answer = answering(model, None)
    for images, *_ in batches:
        yield answer(images)["class"].numpy()


def evaluate_split(
    model: "keras.Model",
    examples: Examples,
    network_input: NetworkInput,
    *,
    batch_size: int,
    limit: int | None,
    box_head: "BoxHead | None" = None,
) -> dict[str, Any]:
    """All measures of a split, or of its first `limit` batches."""
    from cnntrain.data.images import unreadable_file_named
    from cnntrain.data.pipeline import Batches
    from cnntrain.localization import intersection_over_union

    batches = Batches(examples, network_input, batch_size=batch_size, localization=box_head is not None).epoch()
    answer = answering(model, box_head)
    with unreadable_file_named(examples.table):
        answers = [(answer(images), *truth) for images, *truth in batches.take(limit or -1)]
    probabilities = np.concatenate([answer["class"] for answer, *_ in answers])
    labels = examples.labels[: len(probabilities)]
    results = measure(probabilities, labels, examples.table.class_names)
    if box_head is not None:
        ious = np.concatenate([intersection_over_union(answer["box"], true["box"]) for answer, true, _ in answers])
        has_box = np.concatenate([weights["box"] for *_, weights in answers]) > 0
        results |= measure_boxes(ious, probabilities.argmax(axis=1) == labels, has_box)
    return results


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
    from cnntrain.localization import box_head

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
        box_head=box_head(trained.experiment),
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
