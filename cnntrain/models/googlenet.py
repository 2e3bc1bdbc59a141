"""GoogLeNet, the first of the Inception networks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnntrain.models.base import Architecture
from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras

# Table 1 of the paper: maps for 1×1; for 1×1 then 3×3; for 1×1 then 5×5; for 1×1 after pooling.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED = ("3b", "4e")  # modules followed by max pooling
AUXILIARY = {"4a": "auxiliary_1", "4d": "auxiliary_2"}  # modules with an auxiliary classifier on top


@dataclass(frozen=True, kw_only=True)
class GoogLeNet(Architecture):
    """Nine inception modules, each applying 1×1, 3×3 and 5×5 kernels to its input in parallel.

    Images 224×224×3 in; 112×112×64, 56×56×192, 28×28×480, 14×14×832 and 7×7×1024 maps, each the last
    before a stride; 1,000 probabilities out. 6,998,552 parameters; 13,378,280 with the two auxiliary
    classifiers, which help train the lower modules and have a weight of 0.3 each; `aux: false` drops them.

    Deviation: weights are initialized as in He et al. 2015.

    Source: Szegedy et al., "Going Deeper with Convolutions", 2014, table 1 and section 5.
    """

    name: str = "googlenet"
    aux: bool = True
    dropout: Fraction = 0.4

    reduction: ClassVar[int | None] = None

    title = "GoogLeNet"
    year = 2014
    paper = "https://arxiv.org/abs/1409.4842"
    story = (
        "GoogLeNet won the 2014 challenge with below 7 % of top-five errors, and a tenth of AlexNet's"
        " parameters. An inception module asks no one to choose a kernel size: it applies 1×1, 3×3 and 5×5"
        " side by side and stacks the results, and cheap 1×1 convolutions thin the maps out before the"
        " expensive kernels. Averages instead of dense layers at the top saved the rest. Two small"
        " classifiers half-way up fed gradients to the lower layers; they were later found to matter little."
    )

    @property
    def minimum_image_size(self) -> tuple[int, int]:
        """The auxiliary classifiers need 5×5 maps after four strides of two."""
        return (65, 65) if self.aux else (17, 17)

    @property
    def loss_weights(self) -> dict[str, float]:
        """Auxiliary losses have a weight of 0.3 (section 5 of the paper)."""
        auxiliary = {name: 0.3 for name in AUXILIARY.values()} if self.aux else {}
        return super().loss_weights | auxiliary

    def outputs(self, images: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """The heads at the top and, with `aux`, class probabilities from modules 4a and 4d."""
        from keras import layers

        outputs = {}
        x = self.stem(images)  # 28×28×192
        for module, widths in MODULES.items():
            x = self.inception(x, widths, name=f"inception_{module}")
            if self.aux and module in AUXILIARY:
                name = AUXILIARY[module]
                outputs[name] = auxiliary_classifier(x, class_count, name=name)
            if module in POOLED:
                x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"pool_{module}")(x)
        x = layers.GlobalAveragePooling2D(name="average")(x)  # 1024
        x = layers.Dropout(self.dropout, name="dropout")(x)
        return self.heads(x, class_count) | outputs

    def stem(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 224, 224, channels) in, (batch, 28, 28, 192) out."""
        from keras import layers

        from cnntrain.models.blocks import convolution
        from cnntrain.models.layers import LocalResponseNormalization

        x = convolution(images, 64, 7, strides=2, name="conv1")  # 112×112×64
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)  # 56×56×64
        x = LocalResponseNormalization(name="pool1_lrn")(x)
        x = convolution(x, 64, 1, name="conv2_reduce")
        x = convolution(x, 192, 3, name="conv2")  # 56×56×192
        x = LocalResponseNormalization(name="conv2_lrn")(x)
        return layers.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)  # 28×28×192

    def inception(
        self, x: "keras.KerasTensor", widths: tuple[int, int, int, int, int, int], *, name: str
    ) -> "keras.KerasTensor":
        """Four parallel branches, with their maps concatenated; height and width are unchanged."""
        from keras import layers

        from cnntrain.models.blocks import convolution, squeeze_and_excite

        direct, reduce3, maps3, reduce5, maps5, pooled = widths
        branches = [
            convolution(x, direct, 1, name=f"{name}_1x1"),
            convolution(convolution(x, reduce3, 1, name=f"{name}_3x3_reduce"), maps3, 3, name=f"{name}_3x3"),
            convolution(convolution(x, reduce5, 1, name=f"{name}_5x5_reduce"), maps5, 5, name=f"{name}_5x5"),
        ]
        x = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
        branches.append(convolution(x, pooled, 1, name=f"{name}_pool_1x1"))
        x = layers.Concatenate(name=name)(branches)
        if self.reduction is None:
            return x
        return squeeze_and_excite(x, self.reduction, first_bias=2.0, name=f"{name}_se")


def auxiliary_classifier(x: "keras.KerasTensor", class_count: int, *, name: str) -> "keras.KerasTensor":
    """Probabilities from halfway up: (batch, 14, 14, maps) in, (batch, class_count) out."""
    from keras import layers

    from cnntrain.models.blocks import convolution
    from cnntrain.models.layers import classifier

    x = layers.AveragePooling2D(5, strides=3, name=f"{name}_pool")(x)  # 4×4×maps
    x = convolution(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)  # 2048
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_dense")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return classifier(x, class_count, name=name)
