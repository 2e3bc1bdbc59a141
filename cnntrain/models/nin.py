"""Network in Network, in its ImageNet form."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.base import Architecture
from cnntrain.settings import Fraction

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class NetworkInNetwork(Architecture):
    """Four convolutions, each followed by two 1×1 convolutions, and the average of one map per class.

    Images 224×224×3 in, 1,000 probabilities out. 7,595,176 parameters, block by block (a convolution, then
    its two 1×1 convolutions):

    | block | convolution | 1×1 | 1×1 | output |
    |---|---|---|---|---|
    | 1 | 11·11·3·96 + 96 = 34,944 | 96·96 + 96 = 9,312 | 9,312 | 54×54×96 |
    | 2 | 5·5·96·256 + 256 = 614,656 | 256·256 + 256 = 65,792 | 65,792 | 27×27×256 |
    | 3 | 3·3·256·384 + 384 = 885,120 | 384·384 + 384 = 147,840 | 147,840 | 13×13×384 |
    | 4 | 3·3·384·1024 + 1024 = 3,539,968 | 1024·1024 + 1024 = 1,049,600 | 1,025,000 | 6×6×1000 |

    No dense layer at all: with AlexNet's three, the same features would take 58 million more.

    The paper gives sizes for CIFAR only; these are the authors' sizes for ImageNet. Deviations: weights are initialized
    as in He et al. 2015, and the class maps have no ReLU. With one, all of them dropped to zero within ten
    steps on random images, where there is no gradient, at every learning rate tried.

    Source: Lin et al., "Network In Network", 2013, sections 3 and 4.
    """

    name: str = "nin"
    dropout: Fraction = 0.5

    title = "Network in Network"
    year = 2013
    paper = "https://arxiv.org/abs/1312.4400"
    story = (
        "A convolution is a linear look at a patch. Lin, Chen and Yan put a small network in its place, and"
        " noticed that a network which slides over an image is a chain of 1×1 convolutions. They also let"
        " the last layer hold one map a class and took the maps' averages for scores, where others had"
        " huge dense layers. Both ideas went straight into GoogLeNet, and into most networks since."
    )
    default_image_size = (224, 224)
    minimum_image_size = (59, 59)

    def outputs(self, images: "keras.KerasTensor", class_count: int) -> dict[str, "keras.KerasTensor"]:
        """Class probabilities, the softmax of each class map's average; a box from averages of the preceding maps."""
        from keras import layers

        from cnntrain.models.blocks import convolution

        x = convolution(images, 96, 11, strides=4, padding="valid", name="conv1")  # 54×54×96
        x = mlp(x, 96, 96, name="conv1")
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)  # 27×27×96
        x = mlp(convolution(x, 256, 5, name="conv2"), 256, 256, name="conv2")
        x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)  # 13×13×256
        x = mlp(convolution(x, 384, 3, name="conv3"), 384, 384, name="conv3")
        x = layers.MaxPooling2D(3, strides=2, name="pool3")(x)  # 6×6×384
        x = layers.Dropout(self.dropout, name="dropout")(x)
        x = convolution(x, 1024, 3, name="conv4")
        boxes = self.box_head(layers.GlobalAveragePooling2D(name="box_average")(x))
        x = mlp(x, 1024, class_count, activation="linear", name="conv4")  # 6×6×classes
        x = layers.GlobalAveragePooling2D(dtype="float32", name="average")(x)  # one score per class
        return {"class": layers.Softmax(dtype="float32", name="class")(x), **boxes}


def mlp(
    x: "keras.KerasTensor", first_maps: int, second_maps: int, *, name: str, activation: str = "relu"
) -> "keras.KerasTensor":
    """The small network that slides over the maps: two 1×1 convolutions, the second with `activation`."""
    from cnntrain.models.blocks import convolution

    x = convolution(x, first_maps, 1, name=f"{name}_mlp1")
    return convolution(x, second_maps, 1, activation=activation, name=f"{name}_mlp2")
