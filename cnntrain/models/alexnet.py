"""AlexNet, the network that made deep learning the standard in computer vision."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cnntrain.models.base import Architecture
from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class AlexNet(Architecture):
    """Five convolutions, three of them with max pooling, and two dense layers with dropout.

    Images 227×227×3 in, 1,000 probabilities out; 62,378,344 parameters. `groups: 2` gives C3, C6 and C7
    the paper's two towers, each of which sees only its own half of the maps below: 60,965,224.

    Deviations: all values follow the chapter's table and text, so local response normalization has
    k = 1 and comes before pooling; weights are initialized as in He et al. 2015, not from a normal distribution
    with standard deviation 0.01 and with biases of 1.

    Source: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    section 3.
    """

    name: str = "alexnet"
    groups: Literal[1, 2] = 1
    dropout: Fraction = 0.5

    title = "AlexNet"
    year = 2012
    paper = "https://dl.acm.org/doi/10.1145/3065386"
    story = (
        "AlexNet took ImageNet's 2012 challenge with 17 % of top-five errors, where the runner-up had 26 %,"
        " and ended the era of hand-made features. It stacks convolutions directly on one another, trains"
        " with ReLU because tanh was too slow, and fights its sixty million parameters' overfitting with"
        " dropout, shifts, flips and changes of light. Its two towers are no idea about vision: the network"
        " did not fit into the memory of one graphics card, so it was cut in two."
    )
    default_image_size = (227, 227)
    minimum_image_size = (67, 67)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 227, 227, channels) in, features (batch, 4096) out."""
        from keras import layers

        from cnntrain.models.blocks import convolution
        from cnntrain.models.layers import LocalResponseNormalization

        x = convolution(images, 96, 11, strides=4, padding="valid", name="c1")  # 55×55×96
        x = LocalResponseNormalization(name="c1_lrn")(x)
        x = layers.MaxPooling2D(3, strides=2, name="s2")(x)  # 27×27×96
        x = convolution(x, 256, 5, groups=self.groups, name="c3")
        x = LocalResponseNormalization(name="c3_lrn")(x)
        x = layers.MaxPooling2D(3, strides=2, name="s4")(x)  # 13×13×256
        return self.upper_layers(x)

    def upper_layers(self, x: "keras.KerasTensor") -> "keras.KerasTensor":
        """From the second pooling on: (batch, 13, 13, 256) in, features (batch, 4096) out."""
        from keras import layers

        from cnntrain.models.blocks import convolution

        x = convolution(x, 384, 3, name="c5")  # 13×13×384; both towers meet here
        x = convolution(x, 384, 3, groups=self.groups, name="c6")
        x = convolution(x, 256, 3, groups=self.groups, name="c7")  # 13×13×256
        x = layers.MaxPooling2D(3, strides=2, name="s8")(x)  # 6×6×256
        x = layers.Flatten(name="flatten")(x)  # 9216
        for name in ("f9", "f10"):
            x = layers.Dense(4096, activation="relu", kernel_initializer="he_normal", name=name)(x)
            x = layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        return x
