"""Transfer learning: a new head on a trained network."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnntrain.errors import ConfigError, DataError
from cnntrain.models.applications import (
    Backbone,
    application,
    default_size,
    described,
    existing,
    minimum_size,
    preprocess_mode,
)
from cnntrain.models.base import Architecture, Preprocess
from cnntrain.models.keras_file import UNLOADABLE, check_network, load_network
from cnntrain.runtime import backend
from cnntrain.settings import Count, FilePath, Fraction

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Transfer(Architecture):
    """A backbone's features, averaged over the image, with a new classifier on top.

    `backbone` is a network in keras.applications, and `weights` are Keras's own (`imagenet`), random (null) or a
    file: `.keras`, `.weights.h5`, or Keras's `…_notop.h5`. `backbone: null` takes the network itself from
    `weights`: a `.keras` file, or a run folder, whose classifier is left out. `backbone: auto` looks at the data and
    the time there is, and chooses (see model=auto). Image size, channels and preprocessing come with the network; only
    a `.keras` file doesn't include the preprocessing, and needs `preprocess`.

    `feature_stages`: the number of the backbone's last stages whose averaged maps the head sees, concatenated; 1: only
    the last. Lower stages help if images are unlike ImageNet's.

    The head: `dropout` on the averaged features, then a layer of `hidden_units` (null: none) with ReLU and
    `dropout` after it, then the softmax.

    Source: Yosinski et al., "How transferable are features in deep neural networks?", 2014.
    """

    name: str = "transfer"
    backbone: Backbone | Literal["auto"] | None = "Xception"
    weights: Literal["imagenet"] | FilePath | None = None
    preprocess: Preprocess | None = None
    dropout: Fraction = 0.0
    hidden_units: Count | None = None
    feature_stages: Literal[1, 2, 3] = 1

    title = "transfer from a trained network"
    year = 2014
    paper = "https://arxiv.org/abs/1411.1792"
    story = (
        "The first layers of a network that was trained on a million photos have learned what serves any photo:"
        " edges, textures, parts of things. Take them as they are, put a new classifier on top and train it alone,"
        " while everything below is frozen: random gradients would only wreck what was learned. When the head has"
        " settled, unfreeze the rest and train all of it at a much lower rate. A few hundred pictures often suffice."
    )
    pretrained = True

    def __post_init__(self) -> None:
        if self.backbone == "auto" and self.weights != "imagenet":
            raise ValueError(
                f"backbone: auto chooses among Keras's ImageNet weights; received weights={self.weights}: name their"
                " network in backbone, or set it to null if they are a .keras file or a run's folder"
            )
        brings_network = isinstance(self.weights, Path) and (self.is_run or self.weights.suffix == ".keras")
        if self.backbone is None and isinstance(self.weights, Path) and not brings_network:
            raise ValueError(
                f"weights: only a .keras file or a run's folder brings its own network; received {self.weights};"
                " name the network that it belongs to in model.backbone"
            )
        one_file = isinstance(self.weights, Path) and self.weights.is_file()  # a missing file is reported later
        if self.backbone is None and one_file and self.preprocess is None:
            raise ValueError(
                f"preprocess: {self.weights} does not tell how its network wants pixels; expected unit, tf, caffe,"
                " torch or raw"
            )
        super().__post_init__()

    def check_files(self) -> None:
        """Raises an error if no network is named, or weights are missing or don't say what input they expect."""
        if self.backbone == "auto" or (self.backbone is None and not isinstance(self.weights, Path)):
            raise ConfigError(
                "model.backbone: expected a network of keras.applications, such as model.backbone=Xception, or in"
                " model.weights a .keras file or the folder of a run, which bring their own network"
            )
        if isinstance(self.weights, Path):
            existing(self.weights)
        if self.backbone is None:
            _ = self.file_shape, self.preprocess_mode

    @property
    def is_run(self) -> bool:
        """Whether the weights come from a run's best network."""
        return isinstance(self.weights, Path) and self.weights.is_dir()

    @property
    def description(self) -> str:
        """The backbone, and where its weights come from."""
        return f"a new head on {described(self.backbone or 'the network', self.weights)}"

    @property
    def head(self) -> tuple[str, ...]:
        """The classifier, and the hidden layer below it."""
        return ("hidden", *super().head)

    @property
    def default_image_size(self) -> tuple[int, int]:
        """The size that the weights were trained at."""
        if self.backbone is not None:
            return default_size(self.backbone) or super().default_image_size
        height, width, _ = self.file_shape
        return (height or 224, width or 224)

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """The smallest size that Keras allows; for a network from a file, Keras checks it when building."""
        return minimum_size(self.backbone) if self.backbone not in (None, "auto") else (1, 1)

    @property
    def preprocess_mode(self) -> Preprocess:
        """`preprocess`, or the weights' own mode if it is null."""
        if self.preprocess is not None:
            return self.preprocess
        if self.backbone is not None:
            return preprocess_mode(self.backbone)
        return run_contract(self.weights)["preprocess"]

    @property
    def file_shape(self) -> tuple[int | None, int | None, int]:
        """The (height, width, channels) that a file's network expects."""
        if self.is_run:
            contract = run_contract(self.weights)
            return (*contract["image_size"], contract["channels"])
        return keras_file_shape(self.weights)

    def channels(self, of_data: int) -> int:
        """The number of channels that the weights were trained on."""
        if self.backbone is None:
            return self.file_shape[2]
        return 3 if self.weights is not None else super().channels(of_data)

    def fitting_size(self, of_data: tuple[int, int]) -> tuple[int, int]:
        """Trained weights need the size that they were trained at."""
        return self.default_image_size if self.weights is not None else super().fitting_size(of_data)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """The backbone's maps averaged, with the head's dropout and hidden layer: (batch, units)."""
        from keras import layers

        features = self.averaged(images)
        if self.dropout:
            features = layers.Dropout(self.dropout, name="dropout")(features)
        if self.hidden_units:
            features = layers.Dense(self.hidden_units, activation="relu", name="hidden")(features)
            if self.dropout:
                features = layers.Dropout(self.dropout, name="hidden_dropout")(features)
        return features

    def averaged(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """The averaged maps of the last stages (batch, units)."""
        import keras
        from keras import layers

        from cnntrain.models.stages import stage_outputs

        maps = self.network(images)
        if self.feature_stages == 1:
            return layers.GlobalAveragePooling2D(name="average")(maps) if len(maps.shape) == 4 else maps
        try:
            found = stage_outputs(keras.Model(images, maps), self.feature_stages)
        except ValueError as error:
            raise ConfigError(f"model.feature_stages: {error}") from error
        pooled = [layers.GlobalAveragePooling2D(name=f"average_{number}")(one) for number, one in enumerate(found, 1)]
        return layers.Concatenate(name="average")(pooled)

    def network(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """The backbone's last tensor: maps (batch, height, width, channels), or features (batch, units)."""
        if self.backbone is None:
            return backbone_of_file(self.weights, images)
        return application(self.backbone, images, weights=self.weights, include_top=False).output


def run_contract(path: Any) -> dict[str, Any]:
    """The input that a run's network expects, according to run.json."""
    record = existing(path) / "run.json"
    try:
        return json.loads(record.read_text())["input"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"model.weights: expected a run's folder; {record} can't be read: {error}") from error


def keras_file_shape(path: Any) -> tuple[int | None, int | None, int]:
    """The input's (height, width, channels) in a .keras file, read without loading it."""
    try:
        check_network(existing(path))
        with zipfile.ZipFile(existing(path)) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        shapes = [layer["config"]["batch_shape"] for layer in layers if layer["class_name"] == "InputLayer"]
        (_, height, width, channels), *others = shapes
    except UNLOADABLE as error:
        raise DataError(f"model.weights: {path}: expected a network of one image in a .keras file: {error}") from error
    if others:
        raise DataError(f"model.weights: {path}: expected a network of one input; it has {len(shapes)}")
    return height, width, channels


def backbone_of_file(path: Any, images: "keras.KerasTensor") -> "keras.KerasTensor":
    """The network in a .keras file or a run folder, without the run's classifier, on `images`."""
    backend.load()
    import keras

    found = existing(path)
    is_run = found.is_dir()
    file = found / "model.keras" if is_run else found
    try:
        loaded = load_network(file)
        loaded = keras.Model(loaded.inputs[0], loaded.get_layer("class").input if is_run else loaded.outputs[0])
        network = in_precision(loaded, keras.config.dtype_policy().name, images=images)
    except UNLOADABLE as error:
        raise DataError(
            f"model.weights: {file}: its network can't be loaded for images of {tuple(images.shape[1:])}: {error}"
        ) from error
    return network.output


def in_precision(
    network: "keras.Model", precision: str, *, images: "keras.KerasTensor | None" = None
) -> "keras.Model":
    """A copy of a network whose layers compute in `precision`, on `images` if given.

    Keras loads a network in the precision that it was saved in, whatever the current policy is.
    """
    import keras

    def copied(layer: "keras.Operation") -> "keras.Operation":
        given = {"dtype": precision} if isinstance(layer, keras.Layer) else {}  # others use their input's dtype
        return layer.__class__.from_config({**layer.get_config(), **given})

    copy = keras.models.clone_model(network, input_tensors=images, clone_function=copied)
    copy.set_weights(network.get_weights())
    return copy
