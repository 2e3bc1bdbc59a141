"""MobileNet and MobileNetV2, through Keras."""

from dataclasses import dataclass

from cnntrain.models.applications import Application, Backbone


@dataclass(frozen=True, kw_only=True)
class MobileNet(Application):
    """A plain chain of thirteen depthwise separable convolutions.

    Images 224×224×3 in, maps of 7×7×1024 at the end, 1,000 probabilities out. 4,253,864 parameters, including
    moving statistics.

    Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications", 2017, table 1.
    """

    name: str = "mobilenet"
    backbone: Backbone = "MobileNet"

    title = "MobileNet"
    year = 2017
    paper = "https://arxiv.org/abs/1704.04861"
    story = (
        "A network for telephones: depthwise separable convolutions throughout cut both parameters and"
        " multiplications to about a ninth of those of plain 3×3 kernels, and it still classifies nearly as"
        " well as VGG-16, which is thirty times its size."
    )
    minimum_image_size = (32, 32)  # Keras's, known without loading it


@dataclass(frozen=True, kw_only=True)
class MobileNetV2(Application):
    """Seventeen inverted residual units: wide inside, and narrow where they are added.

    Images 224×224×3 in, maps of 7×7×1280 at the end, 1,000 probabilities out. 3,538,984 parameters, including
    moving statistics.

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
    """

    name: str = "mobilenet_v2"
    backbone: Backbone = "MobileNetV2"

    title = "MobileNetV2"
    year = 2018
    paper = "https://arxiv.org/abs/1801.04381"
    story = (
        "ResNet's bottleneck turned inside out: shortcuts join the narrow maps, and the units widen sixfold"
        " inside, where cheap depthwise kernels work. The narrow ends are left linear, since ReLU on few"
        " maps destroys what they carry. Better than MobileNet with fewer parameters."
    )
    minimum_image_size = (32, 32)  # Keras's, known without loading it
