"""The settings of training image augmentation."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from cnntrain.settings import Fraction, NonNegative, Positive, WholeNumber


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random augmentation of training images; all of it is off by default.

    Everything is drawn from (seed, epoch, example id) alone, so it does not depend on order or parallelism;
    what an image is mixed with also depends on the other images in its batch. Images are changed in the order of the
    fields. A number that stands for a range is its limit: 0.2 is anything from -0.2 to 0.2, uniformly.

    At the image's own size:

    `random_crop`: the largest square is cropped at a random position, before model.resize.
    `random_resized_crop`: a crop of `crop_area` of the image, with its aspect ratio in `crop_aspect_ratio`,
    is stretched to model.image_size, whatever model.resize says.

    At the network's size:

    `horizontal_flip`: the probability that left and right are swapped. Not for digits and text.
    `vertical_flip`: the probability that an image is flipped upside down.
    `pad_pixels`: the image is shifted by up to this many pixels each way; the gap is filled with zeros (black).
    `translate_fraction`: it is shifted by up to this fraction of its sides, in whole pixels.
    `rotate_degrees`: it is rotated about its center. `zoom_fraction`: it is scaled by 1 plus this.
    `shear_degrees`: its vertical lines are slanted. `fill`: what fills the gaps with these four and the policies.
    `brightness`, `contrast`, `saturation`: each is multiplied by 1 plus this. `hue_degrees`: hues are rotated.
    `lighting`: the standard deviation of AlexNet's color shift along ImageNet's principal components (there, 0.1).
    `rand_augment`: the number of random operations, at `rand_augment_magnitude` of 30.
    `trivial_augment`: one random operation at a random strength.
    `aug_mix_severity`: a mixture of chains of random operations, with this strength out of 10.
    `erasing`: the probability that a rectangle of `erased_area` of the image, with its aspect ratio in
    `erased_aspect_ratio`, is filled with the image's mean color.
    `mixup_alpha`: images and targets are averaged in pairs, with shares from Beta(alpha, alpha).
    `cutmix_alpha`: a rectangle is pasted in from another image, its area such a share. With both, each is used for
    half of the images.
    """

    random_crop: bool = False
    random_resized_crop: bool = False
    crop_area: tuple[Fraction, Fraction] = (0.08, 1.0)
    crop_aspect_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    horizontal_flip: Fraction = 0.0
    vertical_flip: Fraction = 0.0
    pad_pixels: WholeNumber = 0
    translate_fraction: Fraction = 0.0
    rotate_degrees: Annotated[float, Interval(ge=0, le=180)] = 0.0
    zoom_fraction: Annotated[float, Interval(ge=0, le=0.9)] = 0.0
    shear_degrees: Annotated[float, Interval(ge=0, le=80)] = 0.0
    fill: Literal["black", "white", "edge", "reflect"] = "black"
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue_degrees: Annotated[float, Interval(ge=0, le=180)] = 0.0
    lighting: NonNegative = 0.0
    rand_augment: WholeNumber = 0
    rand_augment_magnitude: Annotated[float, Interval(ge=0, le=30)] = 9.0
    trivial_augment: bool = False
    aug_mix_severity: Annotated[int, Interval(ge=0, le=10)] = 0
    erasing: Fraction = 0.0
    erased_area: tuple[Fraction, Fraction] = (0.02, 0.33)
    erased_aspect_ratio: tuple[Positive, Positive] = (0.3, 3.3)
    mixup_alpha: NonNegative = 0.0
    cutmix_alpha: NonNegative = 0.0

    def __post_init__(self) -> None:
        if self.random_crop and self.random_resized_crop:
            raise ValueError("random_crop: excludes random_resized_crop; received both; set one to false")
        for name in ("crop_area", "crop_aspect_ratio", "erased_area", "erased_aspect_ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected [lowest, highest]; received {[low, high]}")

    @property
    def cuts(self) -> bool:
        """Whether images are changed at their own size, and so one by one."""
        return self.random_crop or self.random_resized_crop

    @property
    def moves(self) -> bool:
        """Whether any affine setting is on."""
        return any((self.translate_fraction, self.rotate_degrees, self.zoom_fraction, self.shear_degrees))

    @property
    def mixes(self) -> bool:
        """Whether pixels from several images, or from several places in one image, end up in the same place."""
        return any((self.aug_mix_severity, self.mixup_alpha, self.cutmix_alpha))

    @property
    def recolors(self) -> bool:
        """Whether any color setting is on."""
        return any((self.brightness, self.contrast, self.saturation, self.hue_degrees, self.lighting))
