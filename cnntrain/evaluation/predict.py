"""Classifying image files: `cnntrain predict RUN|NAME IMAGE…`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.data.examples import Examples, Names, Table
from cnntrain.data.image_files.check import check_files
from cnntrain.data.input_spec import NetworkInput
from cnntrain.data.sources.file_source import PILLOWS_LIMIT, FileSource, as_images
from cnntrain.data.sources.folder import files_below
from cnntrain.errors import ConfigError, DataError
from cnntrain.evaluation.drawing import PREDICTED, PictureFolder, draw_boxes
from cnntrain.evaluation.evaluate import TrainedRun, boxes_in, predictor, read_run
from cnntrain.evaluation.prediction_output import Prediction, PredictionOutput
from cnntrain.evaluation.tta import check_tta, with_views
from cnntrain.models.applications import Application, find_backbone
from cnntrain.models.imagenet import imagenet_classes
from cnntrain.models.keras_weights import fetch_weights
from cnntrain.runtime import backend
from cnntrain.runtime.wording import printable
from cnntrain.settings import read

if TYPE_CHECKING:
    import keras

    from cnntrain.data.image_files.check import Checked

BATCH_SIZE = 32


@dataclass(frozen=True)
class ImageNetwork:
    """A network in keras.applications, trained on ImageNet by Keras."""

    application: Application
    network_input: NetworkInput
    class_names: tuple[str, ...]
    box_head: None = None

    def load_model(self) -> "keras.Model":
        """The whole network with Keras's weights; raises DataError if they aren't available."""
        return self.application.build(self.network_input.shape, len(self.class_names))


def predict(
    network: str,
    paths: Sequence[Path],
    *,
    resize: str | None,
    crop_box: list[float] | None,
    output: PredictionOutput,
    draw: Path | None = None,
    tta: str | None = None,
) -> None:
    """Passes the prediction for each image in turn to `output`; a folder stands for the images below it.

    Pictures with boxes are written to `draw`. Files that can't be used are listed in a DataError after all predictions.
    `tta`: see with_views.
    """
    names, problems = list_files(paths)
    if not names:
        raise DataError("\n".join(problems))
    found = find_network(network, resize=resize, crop_box=crop_box)
    if draw and not (isinstance(found, TrainedRun) and found.experiment.model.localization):
        raise ConfigError(f"--draw: {network} learned no boxes; leave it out, or train with model.localization=true")
    check_tta(tta, boxes=isinstance(found, TrainedRun) and found.experiment.model.localization)
    checked = examine(names, found, given=set(map(str, paths)))
    good = [file for file in checked if not file.finding.reason]
    problems += [f"{printable(file.name)}: {file.finding.reason}" for file in checked if file.finding.reason]
    if good:
        predictions = classify(found, good, pictures=PictureFolder(draw) if draw else None, tta=tta)
        output.show(predictions, len(good), found.class_names)
    if problems:
        raise DataError("\n".join(problems))
    if not good:
        raise DataError(f"{', '.join(map(str, paths))}: expected images in this folder; there are none")


def list_files(paths: Sequence[Path]) -> tuple[list[str], list[str]]:
    """The files that paths stand for, and what is wrong with the other paths."""
    names: list[str] = []
    problems = []
    for path in paths:
        below = files_below(path) if path.is_dir() else [str(path)]
        if not os.path.lexists(path):
            problems.append(f"{printable(str(path))}: no such file")
        elif not below:
            problems.append(f"{printable(str(path))}: expected images in this folder; there are none")
        else:
            names += below
    return names, problems


def find_network(name: str, *, resize: str | None, crop_box: list[float] | None) -> TrainedRun | ImageNetwork:
    """The run in that folder, or Keras's network of that name; raises DataError if it is neither."""
    is_path = os.path.lexists(name) or os.sep in name
    backbone = None if is_path else find_backbone(name)
    if backbone is not None:
        return image_network(backbone, resize=resize or "stretch", crop_box=crop_box)
    if resize or crop_box:
        flag = "--resize" if resize else "--crop-box"
        raise ConfigError(f"{flag}: a run's images are resized as in its training; leave it out")
    try:
        return read_run(Path(name))
    except DataError as error:
        if is_path:
            raise
        raise DataError(f"{error}, nor is {name} a network of keras.applications, such as ResNet50") from error


def image_network(backbone: str, *, resize: str, crop_box: list[float] | None) -> ImageNetwork:
    """Keras's network and its weights; raises DataError if they can't be downloaded."""
    settings = {"backbone": backbone, "weights": "imagenet", "resize": resize, "crop_box": crop_box}
    application, problems = read(Application, settings, "")
    if application is None:
        text = "\n".join(problems)
        raise ConfigError(text.replace("crop_box:", "--crop-box:").replace("model.resize", "--resize"))
    backend.load()
    size = application.default_image_size
    fetch_weights(backbone, (*size, 3), include_top=True)
    network_input = NetworkInput(
        image_size=size,
        channels=3,
        resize=resize,
        antialias=application.antialias,
        preprocess=application.preprocess_mode,
        crop_box=application.crop_box,
    )
    return ImageNetwork(application, network_input, tuple(imagenet_classes().values()))


def examine(names: Sequence[str], network: TrainedRun | ImageNetwork, *, given: set[str]) -> "list[Checked]":
    """Checks the files; notes and similar files next to images are left out, unless they are `given`."""
    data = network.experiment.data if isinstance(network, TrainedRun) else None
    checked = check_files(
        os.getcwd(),
        names,
        max_pixels=data.max_pixels if isinstance(data, FileSource) else PILLOWS_LIMIT,
        background=network.network_input.background,
        remember=False,
    )
    return [file for file in checked if not file.companion or file.name in given]


def classify(
    network: TrainedRun | ImageNetwork,
    files: "Sequence[Checked]",
    *,
    pictures: PictureFolder | None = None,
    tta: str | None = None,
) -> Iterator[Prediction]:
    """The prediction for each usable file; also writes pictures with boxes."""
    backend.load()
    from cnntrain.data.pipeline import Batches
    from cnntrain.data.reading_errors import unreadable_file_named

    expected, upright = network.network_input, network.network_input.orientation == "exif"
    examples = as_examples(files, network.class_names, upright=upright)
    predict_batch = predictor(with_views(network.load_model(), tta), network.box_head)
    done = 0
    with unreadable_file_named(examples.table):
        for images, *_ in Batches(examples, expected, batch_size=BATCH_SIZE).epoch():
            outputs = predict_batch(images)
            of_batch = files[done : done + len(images)]
            boxes: Sequence[np.ndarray | None] = [None] * len(images)
            if "box" in outputs:
                boxes = list(boxes_in(outputs["box"].numpy(), sizes_of(of_batch, upright=upright), expected))
            for file, probabilities, box in zip(of_batch, outputs["class"].numpy(), boxes, strict=True):
                if pictures is not None and box is not None:
                    text = f"{network.class_names[probabilities.argmax()]} {probabilities.max():.0%}"
                    pixels = examples.table.images.read(done).numpy()
                    pictures.add(file.name, draw_boxes(pixels, [(box, PREDICTED)], text))
                yield Prediction(file.name, probabilities, box)
                done += 1


def sizes_of(files: "Sequence[Checked]", *, upright: bool) -> np.ndarray:
    """Heights and widths (n, 2) of the files as they are read."""
    sizes = [(file.finding.height, file.finding.width) for file in files]
    stored = [not upright and file.finding.orientation >= 5 and not file.finding.convert for file in files]
    return np.array([size[::-1] if turned else size for size, turned in zip(sizes, stored, strict=True)])


def as_examples(files: "Sequence[Checked]", class_names: Sequence[str], *, upright: bool) -> Examples:
    """The files as examples without a class, with or without EXIF orientation applied."""
    count = len(files)
    table = Table(
        images=as_images(files, upright=upright),
        labels=np.zeros(count, np.int64),
        ids=np.arange(count),
        names=Names(paths=tuple(file.name for file in files)),
        class_names=tuple(class_names),
        parts={},
    )
    return Examples(table, np.arange(count))
