"""ResNet-9, the small residual network that won a speed contest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.base import Architecture
from cnntrain.settings import Count, Fraction, Positive

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class ResNet9(Architecture):
    """Four convolutions, the last three of which halve the resolution, and two residual units of two convolutions.

    For 32×32×3 images: 32×32×64, 16×16×128, 8×8×256 and 4×4×512 maps, with global max pooling at the end.
    6,573,130 trainable parameters at ten classes; `width` is the number of maps in the first convolution,
    and scales all others.

    Deviation: the classifier has a bias, and its logits are not multiplied by 0.125.

    Source: Page, "How to Train Your ResNet", 2018, part 4.
    """

    name: str = "resnet9"
    width: Count = 64
    batchnorm_momentum: Fraction = 0.9
    batchnorm_epsilon: Positive = 1e-5

    title = "ResNet-9"
    year = 2018
    paper = "https://web.archive.org/web/2020/https://myrtle.ai/learn/how-to-train-your-resnet/"
    story = (
        "Stanford's DAWNBench asked in 2017 how soon a network could reach 94 % on CIFAR-10; the first answers"
        " were hours, with ResNets of many layers. David Page kept nine, looked at where each second went,"
        " and needed 79 seconds on one GPU. Few wide layers with residual units keep a processor busier than"
        " many thin ones, and a rate of learning that rises and falls within a few epochs does the rest."
    )
    published_class_count = 10
    default_image_size = (32, 32)
    minimum_image_size = (8, 8)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 32, 32, channels) in, features (batch, 8 · width) out."""
        from keras import layers

        from cnntrain.models.blocks import NormalizedConvolution

        convolve = NormalizedConvolution(momentum=self.batchnorm_momentum, epsilon=self.batchnorm_epsilon)
        x = convolve(images, self.width, 3, name="prepare")  # 32×32×64
        for number in (1, 2, 3):  # 16×16×128, 8×8×256, 4×4×512
            x = convolve(x, self.width * 2**number, 3, name=f"layer{number}")
            x = layers.MaxPooling2D(2, name=f"layer{number}_pool")(x)
            if number != 2:
                maps = x.shape[-1]
                y = convolve(x, maps, 3, name=f"layer{number}_residual1")
                y = convolve(y, maps, 3, name=f"layer{number}_residual2")
                x = layers.Add(name=f"layer{number}_add")([x, y])
        return layers.GlobalMaxPooling2D(name="maximum")(x)
