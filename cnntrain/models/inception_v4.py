"""Inception-v4."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.base import Architecture
from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras

    from cnntrain.models.blocks import NormalizedConvolution

Kernel = int | tuple[int, int]
Chain = Sequence[tuple[int, Kernel]]  # (maps, kernel) of convolutions one after another

WIDE, HIGH = (1, 7), (7, 1)
MODULE_A: tuple[Chain, ...] = ([(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)])
MODULE_B: tuple[Chain, ...] = (
    [(384, 1)],
    [(192, 1), (224, WIDE), (256, HIGH)],
    [(192, 1), (192, HIGH), (224, WIDE), (224, HIGH), (256, WIDE)],
)
# Branches of a reduction block: the last convolution has stride 2; max pooling is a separate branch.
REDUCTION_A: tuple[Chain, ...] = ([(384, 3)], [(192, 1), (224, 3), (256, 3)])
REDUCTION_B: tuple[Chain, ...] = ([(192, 1), (192, 3)], [(256, 1), (256, WIDE), (320, HIGH), (320, 3)])


@dataclass(frozen=True, kw_only=True)
class InceptionV4(Architecture):
    """A stem, then 4, 7 and 3 inception modules of three kinds, with reduction blocks between them.

    Images 299×299×3 in; the stem outputs 35×35×384, the modules 35×35×384, 17×17×1024 and 8×8×1536;
    1,000 probabilities out. 42,679,816 trainable parameters.

    Deviation: batch normalization's momentum is 0.9, which suits short runs.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning", 2016, figures 3 to 9.
    """

    name: str = "inception_v4"
    dropout: Fraction = 0.2

    title = "Inception-v4"
    year = 2016
    paper = "https://arxiv.org/abs/1602.07261"
    story = (
        "By 2016 Inception networks had grown by tinkering, held back by what older software could split"
        " over machines. Inception-v4 is the clean design without that burden: one kind of module for each"
        " size of maps, 7×7 kernels taken apart into 1×7 and 7×1, and reductions that pool and convolve side"
        " by side. In the same paper its sister with residual connections, Inception-ResNet, learned"
        " faster and ended at about the same accuracy: close to 3 % of top-five errors together."
    )
    default_image_size = (299, 299)
    minimum_image_size = (75, 75)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 299, 299, channels) in, features (batch, 1536) out."""
        from keras import layers

        from cnntrain.models.blocks import NormalizedConvolution

        convolve = NormalizedConvolution(epsilon=1e-3)
        x = stem(images, convolve)  # 35×35×384
        for number in range(1, 5):
            x = module(x, MODULE_A, 96, convolve=convolve, name=f"a{number}")
        x = reduce(x, REDUCTION_A, convolve=convolve, name="reduction_a")  # 17×17×1024
        for number in range(1, 8):
            x = module(x, MODULE_B, 128, convolve=convolve, name=f"b{number}")
        x = reduce(x, REDUCTION_B, convolve=convolve, name="reduction_b")  # 8×8×1536
        for number in range(1, 4):
            x = module_c(x, convolve, name=f"c{number}")
        x = layers.GlobalAveragePooling2D(name="average")(x)  # 1536
        return layers.Dropout(self.dropout, name="dropout")(x)


def chain(
    x: "keras.KerasTensor",
    steps: Chain,
    *,
    convolve: "NormalizedConvolution",
    name: str,
    shrink: bool = False,
) -> "keras.KerasTensor":
    """Convolutions one after another; with `shrink` the last has stride 2 and no padding."""
    for number, (maps, kernel) in enumerate(steps, start=1):
        last = shrink and number == len(steps)
        x = convolve(
            x,
            maps,
            kernel,
            strides=2 if last else 1,
            padding="valid" if last else "same",
            name=f"{name}_{number}",
        )
    return x


def stem(images: "keras.KerasTensor", convolve: "NormalizedConvolution") -> "keras.KerasTensor":
    """Images (batch, 299, 299, channels) in, (batch, 35, 35, 384) out (figure 3)."""
    from keras import layers

    x = convolve(images, 32, 3, strides=2, padding="valid", name="stem_1")  # 149×149×32
    x = convolve(x, 32, 3, padding="valid", name="stem_2")  # 147×147×32
    x = convolve(x, 64, 3, name="stem_3")
    x = reduce(x, ([(96, 3)],), convolve=convolve, name="stem_4")  # 73×73×160
    short = convolve(x, 64, 1, name="stem_5_branch1_1")
    long = chain(x, [(64, 1), (64, HIGH), (64, WIDE)], convolve=convolve, name="stem_5_branch2")
    branches = [
        convolve(short, 96, 3, padding="valid", name="stem_5_branch1_2"),
        convolve(long, 96, 3, padding="valid", name="stem_5_branch2_4"),
    ]
    x = layers.Concatenate(name="stem_5")(branches)  # 71×71×192
    return reduce(x, ([(192, 3)],), convolve=convolve, name="stem_6")  # 35×35×384


def module(
    x: "keras.KerasTensor",
    chains: tuple[Chain, ...],
    pooled_maps: int,
    *,
    convolve: "NormalizedConvolution",
    name: str,
) -> "keras.KerasTensor":
    """Inception-A or -B (figures 4 and 5): average pooling with 1×1, and the chains; the size is unchanged."""
    from keras import layers

    branches = [
        chain(x, steps, convolve=convolve, name=f"{name}_branch{number}")
        for number, steps in enumerate(chains, start=1)
    ]
    branches.append(pooled(x, pooled_maps, convolve, name=name))
    return layers.Concatenate(name=name)(branches)


def module_c(x: "keras.KerasTensor", convolve: "NormalizedConvolution", *, name: str) -> "keras.KerasTensor":
    """Inception-C (figure 6), whose branches fork: (batch, 8, 8, 1536) in and out."""
    from keras import layers

    fork = chain(x, [(384, 1)], convolve=convolve, name=f"{name}_branch2")
    long_fork = chain(x, [(384, 1), (448, (1, 3)), (512, (3, 1))], convolve=convolve, name=f"{name}_branch3")
    branches = [convolve(x, 256, 1, name=f"{name}_branch1_1")]
    for number, stem_of_fork in ((2, fork), (3, long_fork)):
        branches.append(convolve(stem_of_fork, 256, (1, 3), name=f"{name}_branch{number}_wide"))
        branches.append(convolve(stem_of_fork, 256, (3, 1), name=f"{name}_branch{number}_high"))
    branches.append(pooled(x, 256, convolve, name=name))
    return layers.Concatenate(name=name)(branches)


def pooled(
    x: "keras.KerasTensor", maps: int, convolve: "NormalizedConvolution", *, name: str
) -> "keras.KerasTensor":
    """Average pooling at stride 1, then 1×1."""
    from keras import layers

    x = layers.AveragePooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    return convolve(x, maps, 1, name=f"{name}_pool_1")


def reduce(
    x: "keras.KerasTensor", chains: tuple[Chain, ...], *, convolve: "NormalizedConvolution", name: str
) -> "keras.KerasTensor":
    """Max pooling in parallel with chains that end in stride 2 (figures 7 and 8): half the height and width."""
    from keras import layers

    branches = [layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)]
    for number, steps in enumerate(chains, start=1):
        branches.append(chain(x, steps, convolve=convolve, shrink=True, name=f"{name}_branch{number}"))
    return layers.Concatenate(name=name)(branches)
