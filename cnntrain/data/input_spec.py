"""What a network expects of an image: saved beside its weights, and used by all that feeds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnntrain.errors import DataError
from cnntrain.settings import Count, Fraction, read

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """How a file's pixels become what the network takes.

    `orientation` is what turns them upright: `exif`, or nothing where they are taken as `stored`. Transparent
    ones are mixed with `background`, red, green and blue from 0 to 255. The other fields are the settings of
    Architecture, and what the data made of them.
    """

    image_size: tuple[Count, Count]
    channels: Count
    resize: str
    antialias: bool
    preprocess: str
    crop_box: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    background: Color = WHITE
    orientation: Literal["exif", "stored"] = "exif"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (*self.image_size, self.channels)

    @classmethod
    def from_record(cls, values: Mapping[str, Any], where: str) -> "NetworkInput":
        """The one that a run recorded; raises DataError where `where` holds no such thing."""
        found, problems = read(cls, values, "input")
        if found is None:
            lines = "\n".join(problems)
            raise DataError(f"{where}: was changed, or written by another version of cnntrain:\n{lines}")
        return found
