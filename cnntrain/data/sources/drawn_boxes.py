"""Boxes as annotated, and their conversion once their images are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnntrain.errors import DataError
from cnntrain.runtime.wording import counted

if TYPE_CHECKING:
    from cnntrain.data.image_files.examine import Finding

Objects = Literal["largest", "first", "refuse"]
Form = Literal[
    "xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh"
]  # of keras.utils.bounding_boxes
NAMED = 5
PIXELS_OUTSIDE = 1.0  # how far off tools may be that round, or count pixels from 1
SHAPE_TOLERANCE = 0.02  # a resized image is still the same image: boxes are stored as fractions


@dataclass(frozen=True)
class DrawnBoxes:
    """A box for each image, before anything is known about the images.

    `numbers` (n, 4) are in `form`, NaN where there is no box. `sizes` (n, 2) are the heights and widths of the
    images that the boxes were drawn on, 0 if unknown. `places` say where each box was read.
    """

    form: str
    numbers: np.ndarray
    sizes: np.ndarray
    places: Sequence[str]

    def only(self, kept: np.ndarray) -> "DrawnBoxes":
        """The boxes for which `kept` (n,) is true."""
        places = [place for place, keep in zip(self.places, kept, strict=True) if keep]
        return DrawnBoxes(self.form, self.numbers[kept], self.sizes[kept], places)

    def in_images(self, findings: "Sequence[Finding]") -> np.ndarray:
        """float32 boxes (n, 4) in upright images (see boxes.py), given the findings about the images.

        A tool that ignored EXIF orientation is recognized by the image size that it recorded. Raises a DataError that
        lists all boxes that have no area, extend outside their images, or were drawn on different images.
        """
        upright = np.array([(finding.height, finding.width) for finding in findings], float).reshape(-1, 2)
        orientations = np.array([finding.orientation for finding in findings], np.int64)
        sizes = np.where(self.sizes > 0, self.sizes, upright)
        as_seen, as_stored = are_alike(sizes, upright), are_alike(sizes, upright[:, ::-1])
        corners = corners_in_pixels(self.numbers, self.form, sizes)
        self.refuse_unfit(corners, sizes, np.where(as_seen | ((orientations >= 5) & as_stored), 0, upright.T).T)
        corners = np.clip(corners / np.tile(sizes, 2), 0, 1)
        boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
        boxes = turned(boxes, np.where(as_seen, 1, orientations))
        return np.nan_to_num(boxes).astype(np.float32)

    def refuse_unfit(self, corners: np.ndarray, sizes: np.ndarray, others: np.ndarray) -> None:
        """Raises DataError for boxes that can't be right: corners (n, 4) in pixels of images with `sizes` (n, 2).

        `others` (n, 2) is 0, or the size that the box was drawn at, if that can't be this image.
        """
        rows = np.flatnonzero(~np.isnan(corners).any(axis=1)).tolist()
        problems = [(row, problem(corners[row], sizes[row], others[row])) for row in rows]
        lines = [f"  {self.places[row]}: {text}" for row, text in problems if text]
        if lines:
            more = ["  …"] if len(lines) > NAMED else []
            heading = f"{len(lines):,} of {counted(len(rows), 'box', 'boxes')} can't be used; mend or remove them:"
            raise DataError("\n".join([heading, *lines[:NAMED], *more]))


def problem(corners: np.ndarray, size: np.ndarray, other: np.ndarray) -> str | None:
    """What is wrong with a box; see `refuse_unfit`."""
    top, left, bottom, right = corners
    height, width = size
    drawn = f"{width:.0f}×{height:.0f}"
    if other.any():
        return f"was drawn on an image of {drawn} pixels; the image has {other[1]:.0f}×{other[0]:.0f}"
    if top >= bottom or left >= right:
        return f"the box has no area: {right - left:g} wide, {bottom - top:g} high"
    if min(top, left) < -PIXELS_OUTSIDE or bottom > height + PIXELS_OUTSIDE or right > width + PIXELS_OUTSIDE:
        sides = f"left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}"
        return f"the box leaves its image of {drawn} pixels: {sides}"
    return None


def are_alike(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether images of sizes (n, 2) have the same shapes as others, at any scale: (n,)."""
    across, along = sizes[:, 0] * others[:, 1], sizes[:, 1] * others[:, 0]
    return np.abs(across - along) <= SHAPE_TOLERANCE * along


def corners_in_pixels(numbers: np.ndarray, form: str, sizes: np.ndarray) -> np.ndarray:
    """Top, left, bottom and right (n, 4) in pixels of images with `sizes` (n, 2)."""
    from keras.utils import bounding_boxes

    height, width = sizes[:, :1], sizes[:, 1:]
    corners = bounding_boxes.convert_format(numbers, form, "xyxy", height, width, dtype="float64")
    return np.asarray(corners)[:, [1, 0, 3, 2]]


def turned(boxes: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Converts boxes (n, 4) of stored images, as center and sides in fractions, to upright ones; see decode.upright."""
    from cnntrain.data.image_files.decode import COLUMN_STEPS, ROW_STEPS

    exchanged = np.where((orientations >= 5)[:, np.newaxis], boxes[:, [1, 0, 3, 2]], boxes)
    reversed_ = np.stack([np.array(steps)[orientations] < 0 for steps in (ROW_STEPS, COLUMN_STEPS)], axis=1)
    centers = np.where(reversed_, 1 - exchanged[:, :2], exchanged[:, :2])
    return np.concatenate([centers, exchanged[:, 2:]], axis=1)


def area(numbers: Sequence[float], form: str) -> float:
    """A box's area, for comparison with others in the same image."""
    one, two, three, four = numbers
    if form.endswith(("xyxy", "yxyx")):
        return (three - one) * (four - two)
    return three * four
