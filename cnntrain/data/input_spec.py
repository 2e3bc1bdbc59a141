"""The input that a network expects: saved with its weights, and used by everything that feeds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnntrain.errors import DataError
from cnntrain.settings import Count, Fraction, read

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """How a file's pixels become the network's input.

    `orientation` says how images are turned upright: by `exif`, or not at all (`stored`). Transparent pixels are
    blended with `background`, red, green and blue from 0 to 255. The other fields are the settings of Architecture,
    adapted to the data.
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
        """Reads the one that a run recorded; raises DataError, naming `where`, if it isn't valid."""
        found, problems = read(cls, values, "input")
        if found is None:
            lines = "\n".join(problems)
            raise DataError(f"{where}: was changed, or written by another version of cnntrain:\n{lines}")
        return found
