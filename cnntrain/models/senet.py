"""Squeeze-and-excitation networks: SE blocks in ResNet-50, in GoogLeNet, and in the 2017 winner."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.googlenet import GoogLeNet
from cnntrain.models.resnet import ResNet
from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras

    from cnntrain.models.blocks import NormalizedConvolution

PAPER = "https://arxiv.org/abs/1709.01507"
STORY = (
    "An SE block looks at a unit's maps as a whole: it averages each to one number, squeezes the numbers"
    " through a layer sixteen times narrower, and gives back a factor for each map. Maps that fit what the"
    " image shows come through, the others are damped. The block costs next to nothing, fits into any"
    " architecture, and improved all that its authors tried."
)


@dataclass(frozen=True, kw_only=True)
class SEResNet50(ResNet):
    """ResNet-50 with an SE block at the end of each unit, before the addition.

    28,088,024 trainable parameters at 1,000 classes: ResNet-50's and, for each unit of C maps,
    2·C²/16 + C/16 + C. Sizes as in ResNet.

    Source: Hu et al., "Squeeze-and-Excitation Networks", 2017, figure 3 and table 1.
    """

    name: str = "se_resnet50"

    title = "SE-ResNet-50"
    year = 2017
    paper = PAPER
    story = STORY + " SE-ResNet-50 comes close to a ResNet-101 at half its cost."
    units = (3, 4, 6, 3)
    reduction = 16


@dataclass(frozen=True, kw_only=True)
class SENet154(ResNet):
    """ResNet-152's layout with grouped 3×3 convolutions, a deeper stem, and SE blocks.

    115,088,984 trainable parameters at 1,000 classes. For 224×224×3 images the stem outputs 112×112×128, and
    the stages 56×56×256, 28×28×512, 14×14×1024 and 7×7×2048. A unit of `filters` has 1×1 with 2 · filters,
    3×3 in 64 groups with 4 · filters, and 1×1 with 4 · filters; shortcuts at a stride are 3×3.

    Deviation: `padding: same` pads at the far edge only.

    Source: Hu et al., "Squeeze-and-Excitation Networks", 2017, appendix.
    """

    name: str = "senet154"
    dropout: Fraction = 0.2

    title = "SENet-154"
    year = 2017
    paper = PAPER
    story = STORY + (
        " SENet-154 puts it into a very deep network of grouped convolutions; the ensemble around it won"
        " the last ImageNet challenge with 2.25 % of top-five errors."
    )
    units = (3, 8, 36, 3)
    reduction = 16

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 224, 224, channels) in, features (batch, 2048) out."""
        from keras import layers

        return layers.Dropout(self.dropout, name="dropout")(super().features(images))

    def stem_layers(
        self, images: "keras.KerasTensor", convolve: "NormalizedConvolution"
    ) -> "keras.KerasTensor":
        """Three 3×3 convolutions: images in, 128 maps out, at a quarter of the height and width or at the full size."""
        small = self.stem == "small"
        x = convolve(images, 64, 3, strides=1 if small else 2, name="conv1_1")
        x = convolve(x, 64, 3, name="conv1_2")
        x = convolve(x, 128, 3, name="conv1_3")  # 112×112×128
        return x if small else convolve.max_pool(x, name="pool1")  # 56×56×128

    def unit(
        self,
        x: "keras.KerasTensor",
        filters: int,
        *,
        strides: int,
        convolve: "NormalizedConvolution",
        name: str,
    ) -> "keras.KerasTensor":
        """A bottleneck unit with 64 groups: (batch, height, width, maps) in,
        (batch, height / strides, width / strides, 4 · filters) out."""
        from cnntrain.models.blocks import add_shortcut

        y = convolve(x, 2 * filters, 1, name=f"{name}_1")
        y = convolve(y, 4 * filters, 3, strides=strides, groups=64, name=f"{name}_2")
        y = convolve(y, 4 * filters, 1, activation=False, name=f"{name}_3")
        return add_shortcut(
            x,
            y,
            strides=strides,
            convolve=convolve,
            reduction=self.reduction,
            kernel_size=3 if strides > 1 else 1,
            name=name,
        )


@dataclass(frozen=True, kw_only=True)
class SEGoogLeNet(GoogLeNet):
    """GoogLeNet with an SE block after each inception module.

    A block on C maps takes 2·C²/16 + C/16 + C parameters. With C = 256, 480, 512 three times, 528, 832
    twice and 1024 that is 8,464 + 29,310 + 3·33,312 + 35,409 + 2·87,412 + 132,160 = 480,103, so
    7,478,655 in all without auxiliary classifiers, whose inputs are the blocks' outputs.

    The paper's own SE-Inception is based on the later network with batch normalization. Without it, nine
    blocks that each begin by halving their maps leave too little signal (on 32 random images the loss stayed
    at chance level for 150 steps, where GoogLeNet needs 31), so here the blocks' sigmoids start with biases of 2.

    Source: Hu et al., "Squeeze-and-Excitation Networks", 2017, figure 2.
    """

    name: str = "se_googlenet"

    title = "SE-GoogLeNet"
    year = 2017
    paper = PAPER
    story = STORY + " Here it follows each of GoogLeNet's nine inception modules."
    reduction = 16
