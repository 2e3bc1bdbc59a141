"""The ResNets with 10, 18, 34, 50, 101 and 152 layers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from cnntrain.models.base import Architecture
from cnntrain.settings import Count, Fraction, Positive

if TYPE_CHECKING:
    import keras

    from cnntrain.models.blocks import NormalizedConvolution


@dataclass(frozen=True, kw_only=True)
class ResNet(Architecture):
    """Four stages of residual units, each of which adds the output of two or three convolutions to its input.

    For 224×224×3 images, stem and stages output 112×112×64, then after pooling 56×56, 28×28, 14×14 and 7×7
    with 64, 128, 256 and 512 maps (four times as many from 50 layers on), whose averages are classified.
    Convolutions have no bias, since batch normalization follows.

    `width` is the number of maps in the first stage, and scales all other stages. `stem: small` begins with
    3×3 at stride 1 and no pooling, for images of about 32×32. `padding: same` is the chapter's (and Keras's),
    `symmetric` PyTorch's. Batch normalization's momentum and epsilon default to the paper's; the chapter's
    code leaves them at Keras's 0.99 and 0.001.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2015, table 1 and section 3.
    """

    padding: Literal["same", "symmetric"] = "same"
    stem: Literal["imagenet", "small"] = "imagenet"
    width: Count = 64
    batchnorm_momentum: Fraction = 0.9
    batchnorm_epsilon: Positive = 1e-5

    units: ClassVar[tuple[int, int, int, int]]
    bottleneck: ClassVar[bool] = True
    reduction: ClassVar[int | None] = None

    year = 2015
    paper = "https://arxiv.org/abs/1512.03385"
    story = (
        "Beyond some twenty layers, plain networks got worse on their own training images: not overfitting,"
        " but a signal that no longer came through. A residual unit adds its input to its output, so that"
        " it starts near the identity, and learns only what to change. With this, a network of 152"
        " layers became trainable, and won the 2015 challenge with 3.6 % of top-five errors. The shortcut"
        " has been part of nearly every architecture since, transformers included."
    )

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """Five strides of two with the ImageNet stem, three with the small one."""
        return (17, 17) if self.stem == "imagenet" else (5, 5)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 224, 224, channels) in, features (batch, 512 or 2048) out."""
        from keras import layers

        from cnntrain.models.blocks import NormalizedConvolution

        convolve = NormalizedConvolution(
            padding=self.padding, momentum=self.batchnorm_momentum, epsilon=self.batchnorm_epsilon
        )
        x = self.stem_layers(images, convolve)  # 56×56×64
        for stage, count in enumerate(self.units, start=2):  # conv2_x to conv5_x, as in the paper's table
            for number in range(1, count + 1):
                strides = 2 if number == 1 and stage > 2 else 1
                x = self.unit(
                    x, self.width * 2 ** (stage - 2), strides=strides, convolve=convolve, name=f"conv{stage}_{number}"
                )
        return layers.GlobalAveragePooling2D(name="average")(x)

    def stem_layers(
        self, images: "keras.KerasTensor", convolve: "NormalizedConvolution"
    ) -> "keras.KerasTensor":
        """Images (batch, height, width, channels) in, `width` maps out, at a quarter of the height and width or at the
        full size."""
        if self.stem == "small":
            return convolve(images, self.width, 3, name="conv1")
        x = convolve(images, self.width, 7, strides=2, name="conv1")  # 112×112×64
        return convolve.max_pool(x, name="pool1")  # 56×56×64

    def unit(
        self,
        x: "keras.KerasTensor",
        filters: int,
        *,
        strides: int,
        convolve: "NormalizedConvolution",
        name: str,
    ) -> "keras.KerasTensor":
        """One residual or bottleneck unit with `filters` maps inside."""
        from cnntrain.models.blocks import bottleneck_unit, residual_unit

        kind = bottleneck_unit if self.bottleneck else residual_unit
        return kind(x, filters, strides=strides, convolve=convolve, reduction=self.reduction, name=name)


@dataclass(frozen=True, kw_only=True)
class ResNet10(ResNet):
    """10 layers, one unit per stage: 5,418,792 trainable parameters at 1,000 classes.

    Source: Simon et al., "ImageNet Pre-trained Models with Batch Normalization", 2016, section 3.
    """

    name: str = "resnet10"
    title = "ResNet-10"
    year = 2016
    paper = "https://arxiv.org/abs/1612.01452"
    units = (1, 1, 1, 1)
    bottleneck = False


@dataclass(frozen=True, kw_only=True)
class ResNet18(ResNet):
    """18 layers: 11,689,512 trainable parameters at 1,000 classes.

    Source: He et al. 2015, table 1.
    """

    name: str = "resnet18"
    title = "ResNet-18"
    units = (2, 2, 2, 2)
    bottleneck = False


@dataclass(frozen=True, kw_only=True)
class ResNet34(ResNet):
    """34 layers, the network that the chapter builds by hand: 21,797,672 trainable parameters.

    Source: He et al. 2015, table 1.
    """

    name: str = "resnet34"
    title = "ResNet-34"
    units = (3, 4, 6, 3)
    bottleneck = False


@dataclass(frozen=True, kw_only=True)
class ResNet50(ResNet):
    """50 layers, with bottleneck units: 25,557,032 trainable parameters.

    Source: He et al. 2015, table 1.
    """

    name: str = "resnet50"
    title = "ResNet-50"
    units = (3, 4, 6, 3)


@dataclass(frozen=True, kw_only=True)
class ResNet101(ResNet):
    """101 layers, with bottleneck units: 44,549,160 trainable parameters.

    Source: He et al. 2015, table 1.
    """

    name: str = "resnet101"
    title = "ResNet-101"
    units = (3, 4, 23, 3)


@dataclass(frozen=True, kw_only=True)
class ResNet152(ResNet):
    """152 layers, with bottleneck units, the challenge's winner: 60,192,808 trainable parameters.

    Source: He et al. 2015, table 1.
    """

    name: str = "resnet152"
    title = "ResNet-152"
    units = (3, 8, 36, 3)
