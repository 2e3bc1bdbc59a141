"""Small pictures of examples, as data URIs: which ones a page shows, and how they are created."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cnntrain.data.examples import Table
from cnntrain.errors import DataError
from cnntrain.evaluation.predictions import Predictions
from cnntrain.runtime.wording import printable

SIDE = 72  # pixels of the longer side
IN_GALLERY = 24
IN_CELL = 12
IN_CELLS = 600


@dataclass(frozen=True)
class Rectangle:
    """A part of a picture, in percent of its width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """One predicted example: its image as a data URI, and the contents of its caption; `heat` is a second image.

    The boxes and their `iou` are present if they are to be drawn.
    """

    uri: str
    name: str
    true: str
    predicted: str
    confidence: float
    heat: str = ""
    true_box: Rectangle | None = None
    predicted_box: Rectangle | None = None
    iou: float | None = None

    @property
    def right(self) -> bool:
        """Whether the prediction is right."""
        return self.true == self.predicted

    @property
    def alt(self) -> str:
        """The picture in words."""
        said = "rightly named" if self.right else f"is {self.true}, taken for {self.predicted}"
        fit = "" if self.iou is None else f"; predicted and true box have an IoU of {self.iou:.2f}"
        return f"{self.name}: {f'{said} {self.true}' if self.right else said}, {self.confidence:.0%} sure{fit}"


class Drawer:
    """Draws predicted examples, each once, from the data that the run was trained on.

    Raises DataError if the table does not have them, with the same labels.
    """

    def __init__(self, predictions: Predictions, table: Table):
        if predictions.class_names != table.class_names:
            raise DataError("the data have other classes now")
        self.predictions = predictions
        self.table = table
        order = np.argsort(table.ids, kind="stable")
        found = np.searchsorted(table.ids, predictions.ids, sorter=order)
        self.rows = order[np.minimum(found, len(order) - 1)]
        same = np.array_equal(table.ids[self.rows], predictions.ids)
        if not same or not np.array_equal(table.labels[self.rows], predictions.labels):
            raise DataError("the data have changed since")
        self.drawn: dict[int, str] = {}

    def pixels(self, place: int) -> np.ndarray:
        """uint8 pixels (height, width, channels) of one example's image."""
        return self.table.images.read(int(self.rows[place])).numpy()

    def draw(self, place: int, *, heat: str = "") -> Picture:
        """The picture of one prediction."""
        if place not in self.drawn:
            self.drawn[place] = thumbnail(self.pixels(place))
        return self.captioned(place, self.drawn[place], heat=heat)

    def captioned(self, place: int, uri: str, *, heat: str = "") -> Picture:
        """An image of one prediction with its caption."""
        found = self.predictions
        return Picture(
            uri=uri,
            name=printable(str(found.names[place])),
            true=printable(found.class_names[found.labels[place]]),
            predicted=printable(found.class_names[found.predicted[place]]),
            confidence=float(found.confidence[place]),
            heat=heat,
        )


def thumbnail(pixels: np.ndarray, *, side: int = SIDE) -> str:
    """uint8 pixels (height, width, channels) as the data URI of a JPEG, or of a PNG if the image is small."""
    from PIL import Image

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    small = max(image.size) <= side // 2
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    if small:  # sharp edges, which JPEG would blur
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=80)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def confident_mistakes(predictions: Predictions, *, count: int = IN_GALLERY) -> np.ndarray:
    """The positions of wrong predictions, most confident first."""
    return ordered(np.flatnonzero(~predictions.hits), -predictions.confidence)[:count]


def uncertain_hits(predictions: Predictions, *, count: int = IN_GALLERY) -> np.ndarray:
    """The positions of right predictions, least confident first."""
    return ordered(np.flatnonzero(predictions.hits), predictions.confidence)[:count]


def ordered(places: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Positions sorted by key, in stable order."""
    return places[np.argsort(keys[places], kind="stable")]


def of_cells(predictions: Predictions, cells: Iterable[tuple[int, int]]) -> dict[tuple[int, int], np.ndarray]:
    """The positions to draw for each cell (true, predicted), most confident first, and limited in total."""
    members = {
        (true, predicted): np.flatnonzero((predictions.labels == true) & (predictions.predicted == predicted))
        for true, predicted in cells
    }
    members = {cell: ordered(places, -predictions.confidence) for cell, places in members.items() if len(places)}
    each = largest_share([len(places) for places in members.values()])
    return {cell: places[:each] for cell, places in members.items()}


def largest_share(sizes: Sequence[int]) -> int:
    """The maximum number of pictures per cell that keeps the total within the limit."""
    fitting = [each for each in range(1, IN_CELL + 1) if sum(min(size, each) for size in sizes) <= IN_CELLS]
    return max(fitting, default=1)
