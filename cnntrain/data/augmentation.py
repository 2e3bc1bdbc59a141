"""Which random changes training images go through."""

from dataclasses import dataclass

from cnntrain.settings import Fraction, WholeNumber


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images; at its default each of them is off.

    All are drawn from (seed, epoch, example id) alone, so that neither order nor parallelism changes them.
    Images are changed in the order of the fields.

    `random_crop`: where model.resize=crop cuts a square, it lies anywhere, not in the centre.
    `horizontal_flip`: the probability that left and right are exchanged. Not for digits and text.
    `pad_pixels`: the image is shifted by up to so many pixels each way; what moves in is zero (black).
    """

    random_crop: bool = False
    horizontal_flip: Fraction = 0.0
    pad_pixels: WholeNumber = 0
