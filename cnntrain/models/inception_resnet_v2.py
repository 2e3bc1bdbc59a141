"""Inception-ResNet-v2, through Keras."""

from dataclasses import dataclass

from cnntrain.models.applications import Application, Backbone


@dataclass(frozen=True, kw_only=True)
class InceptionResNetV2(Application):
    """Inception modules whose branches' output is scaled down and added to their input.

    Images 299×299×3 in, maps of 8×8×1536 at the end, 1,000 probabilities out. 55,873,736 parameters, including
    moving statistics.

    Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning", 2016, figures 15 to 19.
    """

    name: str = "inception_resnet_v2"
    backbone: Backbone = "InceptionResNetV2"

    title = "Inception-ResNet-v2"
    year = 2016
    paper = "https://arxiv.org/abs/1602.07261"
    story = (
        "GoogLeNet's side-by-side kernels and ResNet's shortcuts in one network. It learned markedly faster"
        " than Inception-v4, its sister without shortcuts, once the sum was kept stable by scaling each"
        " module's share to a tenth or two; in the end both were about equally accurate."
    )
    minimum_image_size = (75, 75)  # Keras's, known without loading it
