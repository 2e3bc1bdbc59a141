"""Measuring a trained network on examples as they are: after training, and by `cnntrain evaluate`."""

import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnntrain import backend
from cnntrain.config import Experiment, parse
from cnntrain.data import Examples
from cnntrain.errors import ConfigError, DataError
from cnntrain.measures import measure, measure_boxes
from cnntrain.run_dir import RunDir
from cnntrain.terminal import Terminal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from cnntrain.data.pipeline import NetworkInput
    from cnntrain.localization import BoxHead


# what Keras raises for files that are cut, changed, or name code that safe mode refuses
UNLOADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)


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
    import keras

    import cnntrain.models.layers  # noqa: F401 - registers the layers that saved networks name
    from cnntrain.data.pipeline import NetworkInput

    try:
        model = keras.models.load_model(run_dir.model, compile=False, safe_mode=True)
    except UNLOADABLE as error:
        raise DataError(f"{run_dir.model}: can't be loaded: {error}") from error
    expected = {**record["input"], "image_size": tuple(record["input"]["image_size"])}
    return TrainedRun(
        experiment, model, NetworkInput(**expected), tuple(record["class_names"]), record["data_fingerprint"]
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


def evaluate_split(
    model: "keras.Model",
    examples: Examples,
    network_input: "NetworkInput",
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


def evaluate(path: Path, *, split: str, as_json: bool) -> None:
    """Measures a run's best network on a split of its data, and prints the result."""
    trained = load_run(path)
    from cnntrain.localization import box_head

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
        trained.model,
        examples,
        trained.network_input,
        batch_size=trained.experiment.batch_size,
        limit=None,
        box_head=box_head(trained.experiment),
    )
    if as_json:
        print(json.dumps({split: results}))
    else:
        terminal.result(results, split)
