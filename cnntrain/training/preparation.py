"""What the data determine in an experiment: image size and channels, and class weights."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cnntrain.data.examples import LabeledImages
from cnntrain.data.input_spec import WHITE, NetworkInput
from cnntrain.data.sources.base import Source
from cnntrain.data.sources.file_source import FileSource, red_green_blue
from cnntrain.did_you_mean import unknown
from cnntrain.errors import ConfigError, DataError
from cnntrain.experiment import Experiment
from cnntrain.models import Architecture
from cnntrain.runtime import backend

Group = TypeVar("Group", Architecture, Source)


def prepare(
    experiment: Experiment, *, empty_classes: bool = False
) -> tuple[Experiment, LabeledImages, NetworkInput]:
    """Checks what can be checked without TensorFlow, loads TensorFlow and the data, and fits the experiment to them.

    `empty_classes`: classes may have no images.
    """
    experiment.data.check()
    experiment.model.check_files()
    backend.load()
    if experiment.precision == "auto":
        experiment = dataclasses.replace(experiment, precision=backend.fastest_precision())
    labeled = experiment.data.load(empty_classes=empty_classes)
    backend.start_run(seed=experiment.seed, precision=experiment.precision)
    experiment, network_input = fit_to_data(experiment, labeled)
    return experiment, labeled, network_input


def fit_to_data(experiment: Experiment, labeled: LabeledImages) -> tuple[Experiment, NetworkInput]:
    """The experiment with the image size that its data call for, and the input that the network expects."""
    height, width, channels = labeled.image_shape
    architecture, data = experiment.model, experiment.data
    if architecture.localization and not labeled.has_boxes:
        raise DataError(
            f"model.localization: no box comes with {data.title()}; give data with boxes, such as"
            " data=annotations, data=csv with data.box_columns, or data=digits_on_canvas"
        )
    image_size = architecture.image_size
    if image_size is None:
        image_size = architecture.fitting_size((height, width)) if height and width else architecture.default_image_size
    architecture = dataclasses.replace(architecture, image_size=image_size)
    network_input = NetworkInput(
        image_size=image_size,
        channels=architecture.channels(channels),
        resize=architecture.resize,
        antialias=architecture.antialias,
        preprocess=architecture.preprocess_mode,
        crop_box=architecture.crop_box,
        background=red_green_blue(data.background) if isinstance(data, FileSource) else WHITE,
    )
    return wherever_started(dataclasses.replace(experiment, model=architecture)), network_input


def wherever_started(experiment: Experiment) -> Experiment:
    """The experiment with absolute paths: a run may be evaluated from another working folder."""
    model, data = with_absolute_paths(experiment.model), with_absolute_paths(experiment.data)
    return dataclasses.replace(experiment, model=model, data=data, tracker=experiment.tracker.wherever_started())


def with_absolute_paths(settings: Group) -> Group:
    """The group with absolute paths."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    given = {name: value for name, value in values.items() if isinstance(value, Path)}
    paths: dict[str, Any] = {name: path.expanduser().absolute() for name, path in given.items()}
    return dataclasses.replace(settings, **paths)


def class_weights(experiment: Experiment, labeled: LabeledImages) -> np.ndarray | None:
    """The weight of each class (classes,), None if all have the same weight.

    `balanced` is scikit-learn's: examples / (classes · examples of the class).
    """
    asked = experiment.class_weights
    if asked is None:
        return None
    names = labeled.class_names
    if asked == "balanced":
        counts = labeled.train.class_counts()
        return np.divide(counts.sum(), len(names) * counts, out=np.zeros(len(names)), where=counts > 0)
    wrong = [unknown(f"class_weights.{name}: no such class", name, names) for name in asked if name not in names]
    if wrong:
        raise ConfigError(*wrong)
    return np.array([asked.get(name, 1.0) for name in names])
