"""Inception-v3, through Keras."""

from dataclasses import dataclass

from cnntrain.models.applications import Application, Backbone


@dataclass(frozen=True, kw_only=True)
class InceptionV3(Application):
    """Eleven inception modules with batch normalization and factorized larger kernels.

    Images 299×299×3 in, maps of 8×8×2048 at the end, 1,000 probabilities out. 23,851,784 parameters, including
    moving statistics. Keras's version has no auxiliary classifier.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015, table 1.
    """

    name: str = "inception_v3"
    backbone: Backbone = "InceptionV3"

    title = "Inception-v3"
    year = 2015
    paper = "https://arxiv.org/abs/1512.00567"
    story = (
        "GoogLeNet thought over, with rules for spending multiplications well: a 5×5 kernel becomes two of"
        " 3×3, an n×n kernel becomes 1×n and n×1, and maps are never squeezed abruptly. The paper also"
        " introduced label smoothing, which has long outlived the architecture."
    )
    minimum_image_size = (75, 75)  # Keras's, known without loading it
