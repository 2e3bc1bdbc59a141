"""The networks that ship with Keras, with or without weights trained on ImageNet."""

import functools
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from cnntrain.errors import DataError
from cnntrain.models.base import Architecture, Preprocess
from cnntrain.models.keras_file import UNLOADABLE, check_network, check_weights
from cnntrain.models.keras_weights import factory, fetch_weights, instead_of_download
from cnntrain.runtime import backend
from cnntrain.settings import FilePath

if TYPE_CHECKING:
    import keras

Backbone = Literal[
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge",
    "DenseNet121", "DenseNet169", "DenseNet201",
    "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3",
    "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3",
    "EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S",
    "InceptionResNetV2", "InceptionV3",
    "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small",
    "NASNetLarge", "NASNetMobile",
    "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2",
    "VGG16", "VGG19", "Xception",
]  # fmt: skip



@dataclass(frozen=True, kw_only=True)
class Application(Architecture):
    """A network in keras.applications, under Keras's name for it.

    `weights: null` starts from random weights, with Keras's own layers above the features, including
    dropout. `weights: imagenet` loads the weights that Keras publishes: for the whole network with 1,000 classes at
    Keras's image size, otherwise for everything below the top, with average pooling and a new classifier. A path is
    a file with the weights below the top, such as Keras's `…_notop.h5`. Image sizes and the preprocessing mode
    (`preprocess: null`) come from Keras.

    Source: Keras's documentation, https://keras.io/api/applications/, which names each network's paper.
    """

    name: str = "application"
    backbone: Backbone = "EfficientNetB0"
    weights: Literal["imagenet"] | FilePath | None = None
    preprocess: Preprocess | None = None

    title = "a network of keras.applications"
    year = 2015
    paper = "https://keras.io/api/applications/"
    story = (
        "Keras ships some forty published networks, most with weights trained on the 1.3 million images of"
        " ImageNet's thousand classes. What such a network has learned about edges, textures and parts"
        " serves other pictures too: with a new classifier on top, a few hundred images often suffice."
    )
    pretrained = True

    @property
    def description(self) -> str:
        """Keras's name for the network, and the weights."""
        return described(self.backbone, self.weights)

    @property
    def default_image_size(self) -> tuple[int, int]:
        """The size that Keras's weights were trained at."""
        return default_size(self.backbone) or super().default_image_size

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """The smallest size that Keras allows."""
        return minimum_size(self.backbone)

    @property
    def preprocess_mode(self) -> Preprocess:
        """`preprocess`, or Keras's mode for these weights if it is null."""
        return self.preprocess or preprocess_mode(self.backbone)

    def channels(self, of_data: int) -> int:
        """Three if the weights were trained on color images."""
        return 3 if self.weights is not None else super().channels(of_data)

    def fitting_size(self, of_data: tuple[int, int]) -> tuple[int, int]:
        """Trained weights need the size that they were trained at."""
        return self.default_image_size if self.weights is not None else super().fitting_size(of_data)

    def outputs(self, images: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """Class probabilities, always float32, and a box if requested."""
        from keras import layers

        self.check_channels(images.shape[-1])
        if not self.has_whole_weights(images.shape[1:3], class_count):
            features = layers.GlobalAveragePooling2D(name="average")(self.network(images, None).output)
            return self.heads(features, class_count)
        network = self.network(images, class_count)
        top = network.layers[-1]
        if not isinstance(top, layers.Dense):  # networks that end in a 1×1 convolution
            probabilities = layers.Softmax(dtype="float32", name="class")(network.output)
            return {"class": probabilities, **self.box_head(pooled(network))}
        ours = layers.Dense(class_count, activation="softmax", dtype="float32", name="class")
        probabilities = ours(top.input)
        if self.weights is not None:
            ours.set_weights(top.get_weights())
        return {"class": probabilities, **self.box_head(top.input)}

    def has_whole_weights(self, image_size: tuple[int, int], class_count: int) -> bool:
        """Whether Keras's own top can stay: with random weights, or with exactly the shapes that Keras trained."""
        trained_alike = class_count == 1000 and image_size == self.default_image_size
        return self.weights is None or (self.weights == "imagenet" and trained_alike)

    def network(self, images: "keras.KerasTensor", class_count: int | None) -> "keras.Model":
        """Keras's network on `images`: with a top that outputs logits, or no top if there are no classes."""
        if class_count is None:
            return application(self.backbone, images, weights=self.weights, include_top=False)
        return application(
            self.backbone, images, weights=self.weights, classes=class_count, classifier_activation=None
        )

    def check_files(self) -> None:
        """Raises DataError if the weights file is missing."""
        if isinstance(self.weights, Path):
            existing(self.weights)

    def check_channels(self, channels: int) -> None:
        """Raises ValueError if trained weights can't take such images."""
        if self.weights is not None and channels != 3:
            raise ValueError(
                f"weights: those of {self.backbone} need images of 3 channels; received {channels};"
                " set model.weights=null, or give color images"
            )


def described(backbone: str, weights: str | Path | None) -> str:
    """A network and where its weights come from, in words."""
    return f"{backbone} from random weights" if weights is None else f"{backbone} with weights of {weights}"


def existing(path: Any) -> Path:
    """The path, made absolute; raises DataError if nothing is there."""
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise DataError(f"model.weights: expected imagenet, a file or a run's folder; there is nothing at {path}")
    return found


def application(
    backbone: str, images: "keras.KerasTensor", *, weights: str | Path | None, **top: Any
) -> "keras.Model":
    """Keras's network on `images` (batch, height, width, channels), with Keras's weights or those in a file.

    `top` are Keras's arguments for the layers above the features. Raises DataError if weights aren't available.
    """
    build = functools.partial(factory(backbone), input_tensor=images, input_shape=tuple(images.shape[1:]), **top)
    if weights == "imagenet":  # Keras must be told, since some networks differ with these weights
        path = fetch_weights(backbone, tuple(images.shape[1:]), include_top=top.get("include_top", True))
        with instead_of_download(lambda *_, **__: str(path)):
            try:
                return build(weights=weights)
            except UNLOADABLE as error:
                raise DataError(f"{path}: holds no weights that fit {backbone}: {error}") from error
    network = build(weights=None)
    if isinstance(weights, Path):
        load_weights(network, weights, of=backbone)
    return network


def load_weights(base: "keras.Model", path: Path, *, of: str) -> None:
    """Loads a file into a network of keras.applications; raises DataError if it belongs to another."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns if a file has nothing for a layer
            check = check_network if path.suffix == ".keras" else check_weights
            check(existing(path))
            base.load_weights(existing(path))
    except (*UNLOADABLE, UserWarning) as error:
        raise DataError(
            f"model.weights: {path} does not fit {of} without its top: {error}\n"
            "Where the file holds another network, set model.backbone=null"
        ) from error


def pooled(network: "keras.Model") -> "keras.KerasTensor":
    """The pooled averages (batch, maps) below the top of a network that ends in a 1×1 convolution."""
    from keras import layers

    averages = [layer.output for layer in network.layers if isinstance(layer, layers.GlobalAveragePooling2D)]
    return layers.Flatten(name="box_features")(averages[-1])


def find_backbone(name: str) -> str | None:
    """Keras's name for a network under another spelling, such as mobilenet_v2; None if there is no such network."""
    plain = name.replace("_", "").replace("-", "").lower()
    return next((backbone for backbone in get_args(Backbone) if backbone.lower() == plain), None)


def complaint(backbone: str, *, weights: str | None, include_top: bool) -> str:
    """Keras's error for a one-pixel image, before it builds or downloads anything."""
    try:
        factory(backbone)(input_shape=(1, 1, 3), weights=weights, include_top=include_top)
    except ValueError as error:
        return str(error)
    raise RuntimeError(f"Keras's {backbone} takes images of one pixel")


@functools.cache
def minimum_size(backbone: str) -> tuple[int, int]:
    """The smallest image that Keras allows, (height, width), read from its error for a smaller one."""
    found = re.search(r"at least (\d+)x(\d+)", complaint(backbone, weights=None, include_top=False))
    if found is None:
        raise RuntimeError(f"Keras no longer says how large images must be for {backbone}")
    return int(found[1]), int(found[2])


@functools.cache
def default_size(backbone: str) -> tuple[int, int] | None:
    """The image size that Keras's weights were trained at, or None if Keras accepts any."""
    text = complaint(backbone, weights="imagenet", include_top=True)
    found = re.search(r"should be \((\d+), (\d+), 3\)", text)
    return (int(found[1]), int(found[2])) if found else None


@functools.cache
def preprocess_mode(backbone: str) -> Preprocess:
    """The mode that gives the same result on three pixel values as the network's own preprocessing."""
    backend.load()
    import keras
    import numpy as np

    pixel = np.array([[[0.0, 100.0, 255.0]]])
    module = sys.modules[factory(backbone).__module__]
    wanted = module.preprocess_input(pixel.copy())
    for mode in ("tf", "caffe", "torch"):
        if np.allclose(wanted, keras.applications.imagenet_utils.preprocess_input(pixel.copy(), mode=mode)):
            return cast(Preprocess, mode)
    if np.allclose(wanted, pixel):
        return "raw"
    raise RuntimeError(f"Keras preprocesses images for {backbone} in a way unknown here")
