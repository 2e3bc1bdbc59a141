"""VGG-16 and VGG-19, through Keras."""

from dataclasses import dataclass

from cnntrain.models.applications import Application, Backbone


@dataclass(frozen=True, kw_only=True)
class VGG16(Application):
    """Thirteen 3×3 convolutions in five blocks with max pooling, and three dense layers.

    Images 224×224×3 in; blocks of 64, 128, 256, 512 and 512 maps, 7×7 at the end; 1,000 probabilities out.
    138,357,544 parameters, 103 million of them in the first dense layer. Keras's version has no dropout.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    2014, table 1, column D.
    """

    name: str = "vgg16"
    backbone: Backbone = "VGG16"

    title = "VGG-16"
    year = 2014
    paper = "https://arxiv.org/abs/1409.1556"
    story = (
        "Runner-up of 2014 and the plainest of deep networks: 3×3 convolutions, two or three in a row, then"
        " pooling, again and again. Two 3×3 kernels see as much as one of 5×5, with fewer weights and one"
        " nonlinearity more. The three dense layers at the top hold nine tenths of the parameters. Slow and"
        " large, it is still liked for its features, in style transfer above all."
    )
    minimum_image_size = (32, 32)  # Keras's, known without loading it


@dataclass(frozen=True, kw_only=True)
class VGG19(VGG16):
    """VGG-16 with a fourth convolution in each of the last three blocks: 143,667,240 parameters.

    Source: Simonyan and Zisserman 2014, table 1, column E.
    """

    name: str = "vgg19"
    backbone: Backbone = "VGG19"

    title = "VGG-19"
