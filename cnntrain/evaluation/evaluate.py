"""Evaluating a trained network on unaugmented examples: after training, and with `cnntrain evaluate`."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.data.examples import Examples, LabeledImages, Table
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.sources.file_source import FileSource
from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.drawing import PREDICTED, TRUE, PictureFolder, draw_boxes
from cnntrain.evaluation.predictions import SplitPredictions
from cnntrain.evaluation.tta import check_tta, with_views
from cnntrain.experiment import Experiment, parse_recorded
from cnntrain.models.keras_file import UNLOADABLE, load_network
from cnntrain.runtime import backend, ranks
from cnntrain.runtime.run_dir import RunDir
from cnntrain.runtime.terminal import Terminal

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from cnntrain.models.box_head import BoxHead

DRAWN = 100  # pictures per split


@dataclass(frozen=True)
class TrainedRun:
    """The records of a run folder: the experiment, and what its network expects and predicts."""

    run_dir: RunDir
    experiment: Experiment
    network_input: NetworkInput
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def box_head(self) -> "BoxHead | None":
        """The meaning of the network's box output, None if it has none. Loads TensorFlow."""
        backend.load()
        from cnntrain.models.box_head import box_head

        return box_head(self.experiment.model, loss=self.experiment.box_loss)

    def load_model(self) -> "keras.Model":
        """The network of the best epoch; raises DataError if it is damaged."""
        backend.load()
        try:
            return load_network(self.run_dir.model)
        except UNLOADABLE as error:
            raise DataError(f"{self.run_dir.model}: can't be loaded: {error}") from error


def read_run(path: Path) -> TrainedRun:
    """Reads a run folder; raises DataError if something is missing or damaged. Doesn't load TensorFlow."""
    run_dir = RunDir.open(path)
    record = run_dir.read_record()
    experiment = parse_recorded(run_dir.read_config(), where=run_dir.config)
    if not run_dir.model.is_file():
        raise DataError(f"{run_dir.model}: is missing; the run ended before its first epoch did")
    network_input = NetworkInput.from_record(record["input"], str(run_dir.record))
    return TrainedRun(run_dir, experiment, network_input, tuple(record["class_names"]), record["data_fingerprint"])


def predictor(model: "keras.Model", box_head: "BoxHead | None") -> "Callable[[tf.Tensor], dict[str, tf.Tensor]]":
    """A function that returns a batch's class probabilities (batch, classes) and, with a box head, boxes (batch, 4) as
    fractions of the images as the network sees them."""
    import tensorflow as tf

    from cnntrain.evaluation.loop import named

    @tf.function(reduce_retracing=True)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = named(model(images, training=False))
        boxes = {"box": box_head.predict(outputs["box"])} if box_head else {}
        return {"class": outputs["class"], **boxes}

    return predict


def predict_split(
    model: "keras.Model",
    examples: Examples,
    network_input: NetworkInput,
    *,
    batch_size: int,
    limit: int | None = None,
    box_head: "BoxHead | None" = None,
) -> SplitPredictions:
    """The predictions for a split, or for its first `limit` batches; each rank makes its share."""
    from cnntrain.data.pipeline import Batches
    from cnntrain.data.reading_errors import unreadable_file_named
    from cnntrain.models.box_head import intersection_over_union

    batches = Batches(
        examples, network_input, batch_size=batch_size, localization=box_head is not None, share=ranks.share()
    ).epoch()
    predict = predictor(model, box_head)
    with unreadable_file_named(examples.table):
        predictions = [
            of_all_ranks((predict(images), targets, weights), share)
            for images, targets, weights, *share in batches.take(limit or -1)
        ]
    probabilities = np.concatenate([found["class"] for found, *_ in predictions])
    examples = Examples(examples.table, examples.rows[: len(probabilities)])
    if box_head is None:
        return SplitPredictions(examples, probabilities)
    return SplitPredictions(
        examples,
        probabilities,
        boxes=np.concatenate([found["box"] for found, *_ in predictions]),
        true_boxes=np.concatenate([true["box"] for _, true, _ in predictions]),
        ious=np.concatenate([intersection_over_union(found["box"], true["box"]) for found, true, _ in predictions]),
        has_box=np.concatenate([weights["box"] for *_, weights in predictions]) > 0,
    )


def of_all_ranks(predicted: tuple, share: "Sequence[tf.Tensor]") -> tuple:
    """Predictions and truth of a batch's rows, from all ranks."""
    import tensorflow as tf

    if not share:
        return predicted
    return tf.nest.map_structure(lambda values: ranks.gathered(values[: int(share[0])]), predicted)


def boxes_in(boxes: np.ndarray, sizes: np.ndarray, network_input: NetworkInput) -> np.ndarray:
    """Converts boxes (n, 4) in the network's input to left, top, right and bottom (n, 4) in pixels of the original
    images, of `sizes` (n, 2)."""
    from cnntrain.data.boxes import in_image_pixels

    expected = network_input
    return in_image_pixels(
        boxes, sizes, expected.image_size, policy=expected.resize, crop_box=expected.crop_box
    )


def evaluate(
    trained: TrainedRun,
    *,
    own_data: bool,
    split: str,
    as_json: bool,
    draw: Path | None = None,
    tta: str | None = None,
) -> None:
    """Evaluates a run's best network on a split of the experiment's data, or on `all` of it; prints the metrics.

    Images go through the run's own preprocessing, and classes are matched by name. `own_data`: these should be the
    data that the run was trained on, with the same splits. Pictures of boxes are written to `draw`.
    `tta`: see with_views.
    """
    data = trained.experiment.data
    if isinstance(data, FileSource):
        data = dataclasses.replace(data, background=trained.network_input.background)
    if draw and not trained.experiment.model.localization:
        raise ConfigError("--draw: this run learned no boxes; leave it out")
    check_tta(tta, boxes=trained.experiment.model.localization)
    data.check()
    backend.load()
    labeled = data.load()
    terminal = Terminal()
    same = labeled.train.table.fingerprint() == trained.fingerprint
    if same != own_data and not as_json:
        what = "the data have changed since training" if own_data else "these data were trained on, divided otherwise"
        terminal.warning(f"{what}, so that training images may be among these")
    examples = examples_to_evaluate(trained, labeled, split, title=data.title())
    pictures = PictureFolder(draw) if draw else None
    predictions = predict_split(
        with_views(trained.load_model(), tta),
        examples,
        trained.network_input,
        batch_size=trained.experiment.batch_size,
        box_head=trained.box_head,
    )
    if pictures:
        draw_worst(predictions, trained.network_input, pictures)
    if as_json:
        print(json.dumps({split: predictions.metrics()}))
    else:
        terminal.result(predictions.metrics(), split)


def examples_to_evaluate(trained: TrainedRun, labeled: LabeledImages, split: str, *, title: str) -> Examples:
    """A split, or `all`, with the run's classes; raises DataError if it can't be evaluated."""
    table = with_classes(labeled.train.table, trained.class_names, title=title)
    rows = np.arange(len(table.labels)) if split == "all" else labeled.split(split).rows
    if not len(rows):
        asked = getattr(trained.experiment.data, split)
        raise DataError(f"{title}: these data have no {split} images (data.{split}={asked})")
    if trained.experiment.model.localization and table.boxes is None:
        raise DataError(f"{title}: these data have no boxes to compare with those of the run")
    return Examples(table, rows)


def draw_worst(predictions: SplitPredictions, network_input: NetworkInput, pictures: PictureFolder) -> None:
    """Writes pictures with the true and the predicted box: a limited number, starting with the worst fit."""
    examples = predictions.examples
    table, classes = examples.table, examples.table.class_names
    if predictions.ious is None or predictions.boxes is None or predictions.has_box is None or table.boxes is None:
        return
    order = np.argsort(np.where(predictions.has_box, predictions.ious, 2), kind="stable")[:DRAWN]
    for place, number in enumerate(order.tolist(), start=1):
        row = int(examples.rows[number])
        pixels = table.images.read(row).numpy()
        size = np.array([pixels.shape[:2]])
        y, x, height, width = table.boxes[row] * np.tile(size[0], 2)
        true = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        predicted = boxes_in(predictions.boxes[number : number + 1], size, network_input)[0]
        guess, label = classes[predictions.probabilities[number].argmax()], classes[table.labels[row]]
        text = f"{guess} ({label}) {predictions.ious[number]:.2f}"
        picture = draw_boxes(pixels, [(true, TRUE), (predicted, PREDICTED)], text)
        pictures.add(f"{place:03} {Path(table.names[row]).stem}.png", picture)


def with_classes(table: Table, class_names: Sequence[str], *, title: str) -> Table:
    """The same examples with classes numbered as in `class_names`; raises DataError for other classes."""
    numbers = {name: number for number, name in enumerate(class_names)}
    strange = [name for name in table.class_names if name not in numbers]
    if strange:
        raise DataError(
            f"{title}: the network does not know the class{'es' * (len(strange) > 1)} {', '.join(strange)};"
            f" it was trained on {', '.join(class_names)}"
        )
    by_old_number = np.array([numbers[name] for name in table.class_names], np.int64)
    return dataclasses.replace(table, labels=by_old_number[table.labels], class_names=tuple(class_names))
