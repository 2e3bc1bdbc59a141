"""What an annotation file says about one image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Numbers = tuple[float, float, float, float]


@dataclass(frozen=True)
class Told:
    """An image and its objects, as annotated in a file.

    `place` says where, for messages; `near` is the file's folder. `images` are the image's paths, names or names
    without a suffix, most likely first. `size` is the (height, width) of the image that the boxes were drawn on, if the
    file says so. `objects` are class names and boxes, in the format's box form, such as xyxy.
    """

    place: str
    near: str
    images: tuple[str, ...]
    size: tuple[int, int] | None
    objects: tuple[tuple[str, Numbers], ...]


def four_numbers(values: Sequence[Any]) -> Numbers:
    """Finite numbers from values or text; raises ValueError."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"expected four numbers as a box; found {list(values)}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def told_size(height: Any, width: Any) -> tuple[int, int] | None:
    """An image's size in whole pixels; None if it is unknown, for which some tools write 0."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError):
        return None
    return size if min(size) > 0 else None
