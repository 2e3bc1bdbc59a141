"""The base of every architecture: settings, facts for the gallery, and a method that builds its layers."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge

from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras

Preprocess = Literal["unit", "tf", "caffe", "torch", "raw"]
Resize = Literal["stretch", "crop_or_pad", "crop", "crop_and_resize"]
Side = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network's settings, and how its layers are built.

    A subclass defines the class variables, its own settings as fields, and `features`; a subclass whose class output
    is not a softmax on those features, or that has auxiliary outputs, overrides `outputs`. The three
    properties are facts that may depend on the settings; if they don't, a subclass simply assigns them.

    `image_size` null is the data's own size if all images share one that the network can handle,
    else `default_image_size`. `resize` is how images are brought to that size; `crop_and_resize` uses the part inside
    `crop_box`, [top, left, bottom, right] as fractions of the image, with tf.image.crop_and_resize.
    `preprocess` null is the mode that the network's own weights were trained with; `raw` leaves pixels from
    0 to 255, for networks that scale them internally.

    `localization` adds an output `box` of four numbers: where the object is. They are center y, center x,
    height and width, the last two as square roots with `square_root_sides`; see BoxHead.
    """

    name: str
    image_size: tuple[Side, Side] | None = None
    resize: Resize = "stretch"
    crop_box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    antialias: bool = False
    preprocess: Preprocess | None = "unit"
    localization: bool = False
    square_root_sides: bool = True

    title: ClassVar[str]
    year: ClassVar[int]
    paper: ClassVar[str]
    story: ClassVar[str]
    pretrained: ClassVar[bool] = False
    published_channels: ClassVar[int] = 3
    published_class_count: ClassVar[int] = 1000

    @property
    def description(self) -> str:
        """A description of the network, including where its weights come from."""
        return self.title

    @property
    def default_image_size(self) -> tuple[int, int]:
        """The published network's image size (height, width)."""
        return (224, 224)

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """The smallest size (height, width) at which every stride still has two pixels to work on."""
        return (17, 17)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each output's loss, unless the experiment sets it; with a box, as in the chapter."""
        return {"class": 0.8, "box": 0.2} if self.localization else {"class": 1.0}

    @property
    def head(self) -> tuple[str, ...]:
        """The names of the layers above the features: the ones that a `head` phase trains."""
        return tuple(self.loss_weights)

    @property
    def preprocess_mode(self) -> Preprocess:
        """`preprocess`, or the network's own mode if it is null."""
        return self.preprocess or "unit"

    def channels(self, of_data: int) -> int:
        """The network's number of channels, given that of the images: ImageNet's means are for three."""
        return 3 if self.preprocess_mode in ("caffe", "torch") else of_data

    def fitting_size(self, of_data: tuple[int, int]) -> tuple[int, int]:
        """The size to use for images that all have this size: the same, if the network can handle it."""
        with contextlib.suppress(ValueError):
            self.check_image_size(of_data)
            return of_data
        return self.default_image_size

    def __post_init__(self) -> None:
        if self.image_size is not None:
            self.check_image_size(self.image_size)
        self.check_crop_box()

    def check_files(self) -> None:
        """Raises DataError if a file named in the settings is missing."""

    def check_crop_box(self) -> None:
        """Raises ValueError if `resize` and `crop_box` don't go together."""
        if (self.resize == "crop_and_resize") != (self.crop_box is not None):
            raise ValueError(
                "crop_box: belongs to model.resize=crop_and_resize, which needs it;"
                f" received crop_box={self.crop_box} with resize={self.resize}"
            )
        if self.crop_box is None:
            return
        top, left, bottom, right = self.crop_box
        if not (top < bottom and left < right):
            raise ValueError(
                "crop_box: expected [top, left, bottom, right] with top < bottom and left < right;"
                f" received {list(self.crop_box)}"
            )
        if self.antialias:
            raise ValueError("antialias: crop_and_resize has none; set model.antialias=false")

    def check_image_size(self, image_size: tuple[int, int]) -> None:
        """Raises ValueError if the image is too small for the network's strides."""
        if any(side < least for side, least in zip(image_size, self.minimum_image_size, strict=True)):
            least = list(self.minimum_image_size)
            raise ValueError(
                f"image_size: {self.title} needs images of at least {least} (height, width);"
                f" received {list(image_size)}; set model.image_size={least} or larger"
            )

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """The layers below the classifier: preprocessed images (batch, height, width, channels) in,
        features (batch, units) out."""
        raise TypeError(f"{type(self).__name__} has no features of its own")

    def outputs(self, images: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """All outputs by name, float32: `class` holds probabilities (batch, class_count)."""
        return self.heads(self.features(images), class_count)

    def heads(self, features: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """The outputs on features (batch, units): a class and, with `localization`, a box."""
        from cnntrain.models.layers import classifier

        return {"class": classifier(features, class_count), **self.box_head(features)}

    def box_head(self, features: "keras.KerasTensor") -> dict[str, "keras.KerasTensor"]:
        """With `localization`, the output `box` (batch, 4) on features (batch, units); else nothing."""
        from cnntrain.models.layers import box

        return {"box": box(features)} if self.localization else {}

    def build(self, input_shape: tuple[int, int, int], class_count: int) -> "keras.Model":
        """The network for preprocessed float images of `input_shape` (height, width, channels).

        A single output is a bare tensor; several outputs are a dict by name.
        """
        import keras

        self.check_image_size(input_shape[:2])
        images = keras.Input(input_shape, name="image")
        outputs = self.outputs(images, class_count)
        return keras.Model(images, outputs if len(outputs) > 1 else outputs["class"], name=self.name)
