"""Digits placed on a larger canvas: images for learning boxes, with nothing to download."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from cnntrain.data.examples import Names, Table
from cnntrain.data.sources.base import Source
from cnntrain.data.sources.digits import Digits
from cnntrain.settings import Count, WholeNumber

INK = 64  # the lowest value, of 255, at which a pixel belongs to a digit
SHARES = (0.25, 0.6)  # a digit's side as a fraction of the canvas's side
PIECE = 5  # the side of a clutter piece, out of a digit's 8 pixels
PALENESS = (0.2, 0.6)  # the brightness of clutter as a fraction of a digit's


@dataclass(frozen=True, kw_only=True)
class DigitsOnCanvas(Source):
    """Gray images, each with one digit from data=digits at a random size and position, among paler pieces of
    other digits.

    `canvas_size` is the side in pixels, `clutter` the number of pieces. Each digit is on `copies` canvases, which
    stay in one split. Everything is drawn from `canvas_seed`. The box is the bounding box of the digit's ink.

    Source of the idea: Mnih et al., "Recurrent Models of Visual Attention", 2014, section 4.1.
    """

    source: str = "digits_on_canvas"
    canvas_size: Annotated[int, Ge(24)] = 48
    copies: Count = 8
    clutter: WholeNumber = 6
    canvas_seed: WholeNumber = 0

    def title(self) -> str:
        """A short description of the data."""
        return f"digits on canvases of {self.canvas_size}×{self.canvas_size} pixels"

    def table(self) -> Table:
        """All canvases, in one part, `train`."""
        from cnntrain.data.images import ArrayImages

        digits = Digits().table()
        pixels = digits.images.pixels[..., 0]  # type: ignore[attr-defined]
        random = np.random.default_rng(self.canvas_seed)
        origins = np.repeat(np.arange(len(pixels)), self.copies)
        canvases, boxes = zip(*(self.canvas(pixels, origin, random) for origin in origins.tolist()), strict=True)
        return Table(
            images=ArrayImages(np.stack(canvases)[..., np.newaxis]),
            labels=digits.labels[origins],
            ids=np.arange(len(origins)),
            names=Names("digits_on_canvas/"),
            class_names=digits.class_names,
            parts={"train": (0, len(origins))},
            groups=origins,
            boxes=np.array(boxes, np.float32),
        )

    def canvas(self, digits: np.ndarray, origin: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A canvas with one of the digits (n, 8, 8), and its box; see boxes.py."""
        canvas = np.zeros((self.canvas_size, self.canvas_size), np.uint8)
        for other in random.integers(0, len(digits), self.clutter):
            top, left = random.integers(0, 8 - PIECE + 1, 2)
            piece = digits[other, top : top + PIECE, left : left + PIECE] * random.uniform(*PALENESS)
            place(canvas, piece.astype(np.uint8), random, scale=PIECE / 8)
        top, left, ink = place(canvas, digits[origin], random, scale=1.0)
        rows, columns = (np.flatnonzero(ink.max(axis=axis) >= INK)[[0, -1]] for axis in (1, 0))
        start, stop = np.array([top + rows[0], left + columns[0]]), np.array([top + rows[1], left + columns[1]]) + 1
        return canvas, np.concatenate([(start + stop) / 2, stop - start]) / self.canvas_size


def place(
    canvas: np.ndarray, digit: np.ndarray, random: np.random.Generator, *, scale: float
) -> tuple[int, int, np.ndarray]:
    """Draws a digit, or a piece of one, at a random position on the canvas; returns its top, left and pixels there."""
    from PIL import Image

    side = round(random.uniform(*SHARES) * len(canvas) * scale)
    top, left = random.integers(0, len(canvas) - side + 1, 2)
    ink = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))
    part = canvas[top : top + side, left : left + side]
    np.maximum(part, ink, out=part)
    return int(top), int(left), ink
