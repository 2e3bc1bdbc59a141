"""Pictures with boxes on them: the predicted box and, if known, the true one."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.errors import ConfigError
from cnntrain.runtime.files import whole_file
from cnntrain.runtime.fonts import font_file
from cnntrain.runtime.wording import printable

if TYPE_CHECKING:
    from PIL.Image import Image

PREDICTED, TRUE = "red", "lime"
SMALLEST = 240  # pixels, for a picture's longer side
LINE_SHARE = 1 / 200  # line width as a fraction of a picture's longer side
TEXT_SHARE = 1 / 25


def draw_boxes(pixels: np.ndarray, boxes: Iterable[tuple[np.ndarray, str]], text: str) -> "Image":
    """A picture of uint8 pixels (height, width, 1 or 3), enlarged if it is small, with boxes (4,), left, top, right
    and bottom in pixels, each with its color. The text is in the upper left corner."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("RGB")
    times = -(-SMALLEST // max(image.size))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    longer = max(image.size)
    pen = ImageDraw.Draw(image)
    for box, color in boxes:
        left, top, right, bottom = (box * times).tolist()
        corners = round(left), round(top), max(round(left), round(right) - 1), max(round(top), round(bottom) - 1)
        pen.rectangle(corners, outline=color, width=max(1, round(longer * LINE_SHARE)))
    size = max(8, round(longer * TEXT_SHARE))
    shown, file = drawn_text(text)
    font = ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    pen.text((2, 1), shown, fill=PREDICTED, font=font, stroke_width=1, stroke_fill="black")
    return image


def drawn_text(text: str) -> tuple[str, str | None]:
    """A text as shown in a picture, and its font file (None: Pillow's own): characters that no font has are escaped."""
    shown = printable(text)
    if shown.isascii():
        return shown, None
    file = font_file(shown)
    return (shown, file) if file else (shown.encode("ascii", "backslashreplace").decode(), None)


class PictureFolder:
    """A folder that pictures are written to, each with a different name."""

    def __init__(self, path: Path):
        self.path = path
        self.names: set[str] = set()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--draw={path}: can't be made: {error.strerror}; name another folder") from error

    def add(self, name: str, picture: "Image") -> None:
        """Writes a PNG named after the image, without its folder and suffix."""
        stem = Path(name).stem
        number = 1
        while stem in self.names:
            number += 1
            stem = f"{Path(name).stem}-{number}"
        self.names.add(stem)
        with whole_file(self.path / f"{stem}.png") as temporary:
            picture.save(temporary, "PNG")
