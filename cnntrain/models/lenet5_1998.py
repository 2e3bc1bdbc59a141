"""LeNet-5 as its paper describes it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cnntrain.models.base import Architecture

if TYPE_CHECKING:
    import keras

# Table I of the paper: for each of C3's 16 maps, the maps of S2 that it sees.
C3_TABLE = [
    *([i, (i + 1) % 6, (i + 2) % 6] for i in range(6)),  # three neighbors
    *([i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)),  # four neighbors
    *([i, i + 1, (i + 3) % 6, (i + 4) % 6] for i in range(3)),  # two pairs
    [0, 1, 2, 3, 4, 5],
]

# Rows and columns (first, last) of a seven-segment display on the paper's bitmap, 12 high and 7 wide.
SEGMENTS = {
    "top": ((0, 1), (1, 5)),
    "upper left": ((1, 5), (0, 1)),
    "upper right": ((1, 5), (5, 6)),
    "middle": ((5, 6), (1, 5)),
    "lower left": ((6, 10), (0, 1)),
    "lower right": ((6, 10), (5, 6)),
    "bottom": ((10, 11), (1, 5)),
}

# The segments that are off for each digit.
DARK = [
    {"middle"},
    {"top", "upper left", "middle", "lower left", "bottom"},
    {"upper left", "lower right"},
    {"upper left", "lower left"},
    {"top", "lower left", "bottom"},
    {"upper right", "lower left"},
    {"upper right"},
    {"upper left", "middle", "lower left", "bottom"},
    set(),
    {"lower left"},
]


@dataclass(frozen=True, kw_only=True)
class LeNet51998(Architecture):
    """Two convolutions, each with trainable subsampling, two dense layers, and distances to fixed codes.

    | layer | output (height × width × maps) | trainable parameters |
    |---|---|---|
    | zero padding | 32×32×1 | |
    | C1 5×5 | 28×28×6 | 156 |
    | S2 2×2 | 14×14×6 | 12 |
    | C3 5×5, connected by table I | 10×10×16 | 1,516 |
    | S4 2×2 | 5×5×16 | 32 |
    | C5 5×5 | 1×1×120 | 48,120 |
    | F6 | 84 | 10,164 |
    | output | 10 | (840 fixed) |

    60,000 in all. `output: rbf` computes class probabilities as the softmax of the negative distances, so that
    cross-entropy is the paper's discriminative criterion (equation 9) without its constant for the "rubbish" class;
    `output: softmax` is a dense layer with 850 parameters. With ten classes, the codes are the digits, drawn on a 7×12
    bitmap; with any other number, they are ±1 at random from a fixed seed, which the paper mentions
    as the alternative. Images larger than 28×28 make C5 and F6's input larger.

    Deviations: the digits are drawn as a seven-segment display; codes are never adapted; subsampling
    starts as a mean; pixels range from 0 to 1, not from -0.1 to 1.175.

    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, section II.B
    and appendix A.
    """

    name: str = "lenet5_1998"
    output: Literal["rbf", "softmax"] = "rbf"

    title = "LeNet-5 (1998)"
    year = 1998
    paper = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"
    story = (
        "This is the network of the 1998 paper, with what later versions dropped. Memory was dear, so C3's"
        " maps see only some of S2's, by a table that also forces them to learn different things; pooling"
        " has a trainable gain and offset; and the last layer holds no weights to learn, but a drawing of"
        " each digit: the winner is the drawing that the 84 units of F6 come closest to. Sixty thousand"
        " parameters, and still above 99 % on MNIST."
    )
    published_channels = 1
    published_class_count = 10
    default_image_size = (28, 28)
    minimum_image_size = (28, 28)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 28, 28, channels) in, features (batch, 84) out."""
        from keras import layers

        from cnntrain.models.layers import Subsampling, TableConvolution, scaled_tanh, uniform_by_fan_in

        channels = images.shape[-1]
        x = layers.ZeroPadding2D(2, name="pad")(images)  # 32×32
        x = layers.Conv2D(
            6, 5, activation=scaled_tanh, kernel_initializer=uniform_by_fan_in(25 * channels), name="c1"
        )(x)
        x = Subsampling(name="s2")(x)
        x = layers.Activation(scaled_tanh, name="s2_tanh")(x)  # 14×14×6
        x = TableConvolution(C3_TABLE, name="c3")(x)
        x = layers.Activation(scaled_tanh, name="c3_tanh")(x)  # 10×10×16
        x = Subsampling(name="s4")(x)
        x = layers.Activation(scaled_tanh, name="s4_tanh")(x)  # 5×5×16
        x = layers.Conv2D(
            120, 5, activation=scaled_tanh, kernel_initializer=uniform_by_fan_in(400), name="c5"
        )(x)
        x = layers.Flatten(name="flatten")(x)  # 120
        start = uniform_by_fan_in(x.shape[-1])
        return layers.Dense(84, activation=scaled_tanh, kernel_initializer=start, name="f6")(x)

    def outputs(self, images: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """Class probabilities, from distances or from a dense layer, and a box if requested."""
        import keras

        from cnntrain.models.layers import CodeDistances

        if self.output == "softmax":
            return super().outputs(images, class_count)
        features = self.features(images)
        distances = CodeDistances(codes(class_count), dtype="float32", name="output")(features)
        scores = keras.ops.negative(distances)
        return {"class": keras.layers.Softmax(dtype="float32", name="class")(scores), **self.box_head(features)}


def codes(class_count: int) -> list[list[int]]:
    """A code of 84 values of ±1 for each class."""
    import numpy as np

    if class_count != len(DARK):
        signs = np.random.default_rng(1998).integers(0, 2, size=(class_count, 84)) * 2 - 1
        return signs.tolist()
    bitmaps = np.full((len(DARK), 12, 7), -1)
    for bitmap, dark in zip(bitmaps, DARK, strict=True):
        for segment in SEGMENTS.keys() - dark:
            (top, bottom), (left, right) = SEGMENTS[segment]
            bitmap[top : bottom + 1, left : right + 1] = 1
    return bitmaps.reshape(len(DARK), 84).tolist()
