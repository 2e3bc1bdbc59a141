"""What every architecture is: settings, facts for the gallery, and a method that builds its layers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from cnntrain.settings import Between, Fraction

if TYPE_CHECKING:
    import keras

Preprocess = Literal["unit", "tf", "caffe", "torch"]
Resize = Literal["stretch", "crop_or_pad", "crop", "crop_and_resize"]
Side = Annotated[int, Between(1)]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network's settings, and how its layers are built.

    A subclass gives the class variables, its own settings as fields, and `features`; one whose output
    is not a softmax on those features, or that has several outputs, overrides `outputs`.

    `image_size` null is the data's own size where all its images share one that the network can take,
    else `default_image_size`. `resize` is how images come to that size; `crop_and_resize` takes what lies in
    `crop_box`, [top, left, bottom, right] in fractions of the image, by tf.image.crop_and_resize.
    """

    name: str
    image_size: tuple[Side, Side] | None = None
    resize: Resize = "stretch"
    crop_box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    antialias: bool = False
    preprocess: Preprocess = "unit"

    title: ClassVar[str]
    year: ClassVar[int]
    paper: ClassVar[str]
    default_image_size: ClassVar[tuple[int, int]] = (224, 224)
    minimum_image_size: ClassVar[tuple[int, int]] = (32, 32)
    loss_weights: ClassVar[dict[str, float]] = {"class": 1.0}

    def __post_init__(self) -> None:
        if self.image_size is not None:
            self.check_image_size(self.image_size)
        self.check_crop_box()

    def check_crop_box(self) -> None:
        """Raises ValueError where `resize` and `crop_box` do not belong together."""
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
        """Raises ValueError where the network's strides would leave nothing of such an image."""
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
        """Every output by name; `class` holds probabilities (batch, class_count) in float32."""
        from cnntrain.models.layers import classifier

        return {"class": classifier(self.features(images), class_count)}

    def build(self, input_shape: tuple[int, int, int], class_count: int) -> "keras.Model":
        """The network for preprocessed float images of `input_shape` (height, width, channels).

        One output is the model's only tensor; several come as a dict by name.
        """
        import keras

        self.check_image_size(input_shape[:2])
        images = keras.Input(input_shape, name="image")
        outputs = self.outputs(images, class_count)
        return keras.Model(images, outputs if len(outputs) > 1 else outputs["class"], name=self.name)
