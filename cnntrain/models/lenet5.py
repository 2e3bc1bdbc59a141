"""LeNet-5 as the chapter's code builds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.base import Architecture

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class LeNet5(Architecture):
    """Two convolutions, each with average pooling, and two dense layers.

    The chapter widens the 1998 network (32 and 48 maps instead of 6 and 16), and replaces tanh with ReLU and the
    Euclidean output with softmax. 369,174 parameters for 28×28×1 images in ten classes.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section II.
    """

    name: str = "lenet5"

    title = "LeNet-5"
    year = 1998
    paper = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"
    story = (
        "LeNet-5 read the amounts on American bank cheques in the late 1990s, and is the pattern that most"
        " image classifiers still follow: convolutions find local strokes, pooling forgets exactly where"
        " they were, and dense layers at the end weigh the evidence. The chapter keeps that plan, but gives"
        " it more feature maps, ReLU for tanh, and a softmax for the distances to drawn digits."
    )
    published_channels = 1
    published_class_count = 10
    default_image_size = (28, 28)
    minimum_image_size = (12, 12)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 28, 28, 1) in, features (batch, 84) out."""
        from keras import layers

        x = layers.Conv2D(32, 5, padding="same", activation="relu", name="c1")(images)  # 28×28×32
        x = layers.AveragePooling2D(2, name="s2")(x)  # 14×14×32
        x = layers.Conv2D(48, 5, activation="relu", name="c3")(x)  # 10×10×48
        x = layers.AveragePooling2D(2, name="s4")(x)  # 5×5×48
        x = layers.Flatten(name="flatten")(x)  # 1200
        x = layers.Dense(256, activation="relu", name="c5")(x)
        return layers.Dense(84, activation="relu", name="f6")(x)
