"""Xception, through Keras."""

from dataclasses import dataclass

from cnntrain.models.applications import Application, Backbone


@dataclass(frozen=True, kw_only=True)
class Xception(Application):
    """Two plain convolutions, then 34 depthwise separable ones in residual units.

    Images 299×299×3 in, maps of 10×10×2048 at the end, 1,000 probabilities out. 22,910,480 parameters,
    including moving statistics.

    Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2016, figure 5.
    """

    name: str = "xception"
    backbone: Backbone = "Xception"

    title = "Xception"
    year = 2016
    paper = "https://arxiv.org/abs/1610.02357"
    story = (
        "Extreme Inception, by the author of Keras: if an inception module half separates patterns in space"
        " from patterns across maps, why not fully? A depthwise separable convolution filters each map by"
        " itself, then mixes the maps by 1×1. With as many parameters as Inception-v3 it is more accurate,"
        " and the chapter's choice for learning flowers from few pictures."
    )
    minimum_image_size = (71, 71)  # Keras's, known without loading it
