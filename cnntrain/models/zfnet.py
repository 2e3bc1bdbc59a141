"""ZF Net, the 2013 refinement of AlexNet."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnntrain.models.alexnet import AlexNet

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class ZFNet(AlexNet):
    """AlexNet with a 7×7 first convolution at stride 2, and stride 2 in the second.

    Images 224×224×3 in, 1,000 probabilities out; 62,357,608 parameters: AlexNet's minus 20,736, the difference between
    11·11·3·96 and 7·7·3·96 weights.

    The sizes in figure 3 (110, 55, 26, 13) come from one pixel of padding before C1, and pooling that
    pads at the far edge if the size is even, as the authors' software did. Deviations as in AlexNet.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, figure 3.
    """

    name: str = "zfnet"

    title = "ZF Net"
    year = 2013
    paper = "https://arxiv.org/abs/1311.2901"
    story = (
        "Zeiler and Fergus built a way to project a feature map's activity back to the pixels, and looked."
        " AlexNet's first layer turned out to hold dead filters, and its second the aliasing of a stride"
        " too long. Smaller kernels and strides there mended both, and won the challenge of 2013: the"
        " first network improved by seeing what it had learned."
    )
    default_image_size = (224, 224)
    minimum_image_size = (53, 53)

    def features(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Images (batch, 224, 224, channels) in, features (batch, 4096) out."""
        from keras import layers

        from cnntrain.models.blocks import convolution
        from cnntrain.models.layers import LocalResponseNormalization

        x = layers.ZeroPadding2D(1, name="pad")(images)  # 226×226
        x = convolution(x, 96, 7, strides=2, padding="valid", name="c1")  # 110×110×96
        x = LocalResponseNormalization(name="c1_lrn")(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="s2")(x)  # 55×55×96
        x = convolution(x, 256, 5, strides=2, padding="valid", groups=self.groups, name="c3")  # 26×26×256
        x = LocalResponseNormalization(name="c3_lrn")(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same", name="s4")(x)  # 13×13×256
        return self.upper_layers(x)
