"""Examines image files in a separate process, which a hostile file may crash.

`python -m cnntrain.data.image_files.examine SOCKET MAX_PIXELS` processes jobs until its connection closes (see
workers.py). Pillow decodes each file once, and files that TensorFlow would misread, or not read at all, are converted
to PNG.
"""

import dataclasses
import io
import json
import os
import resource
import stat
import struct
import sys
import zlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnntrain.runtime.files import whole_file

JPEG = ("JPEG", "MPO")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
GRAY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")
ORIENTATION = 0x0112
END_OF_IMAGE = b"\xff\xd9"
RECOVERABLE_LOSS = 0.1
MEMORY_BYTES = 2**30
MEMORY_BYTES_PER_PIXEL = 16  # conversion keeps up to four copies of four bytes
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a file is, by its content.

    `format` is Pillow's name, empty if the content is not an image. `width` and `height` are those of the
    upright image. `alpha`: some pixel is not opaque. `orientation` is EXIF's, 1 to 8. `convert`: TensorFlow
    does not read it correctly. `decoded`: false if the header declared more pixels than allowed. `reason` says
    why it can't be used, and is empty if it can.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    gray: bool = False
    alpha: bool = False
    orientation: int = 1
    convert: bool = False
    decoded: bool = False
    reason: str = ""


def examine(path: str, *, max_pixels: int) -> Finding:
    """Reads a file's header and, if it declares at most `max_pixels`, decodes the file."""
    found = Finding()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return Finding(reason="not a regular file")
        if status.st_size == 0:
            return Finding(reason="the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            found = Finding(format=image.format or "", width=image.width, height=image.height)
            if image.width * image.height > max_pixels:
                return found
            return describe(image, found)
    except FileNotFoundError:
        return Finding(reason="a link that leads to no file, or a file that was removed")
    except UnidentifiedImageError:
        return Finding(reason=unidentified(path))
    except DAMAGE as error:
        return dataclasses.replace(found, reason=f"can't be decoded: {error or type(error).__name__}"[:300])


def describe(image: Image.Image, found: Finding) -> Finding:
    """Decodes an opened image; returns the finding about it."""
    if image.mode in ("I", "F"):
        return dataclasses.replace(
            found, reason="32-bit values have no fixed range; store it with 8 or 16 bits"
        )
    gray, path = is_gray(image), image.filename  # type: ignore[attr-defined]
    convert = found.format not in (*JPEG, "PNG", "WEBP") or is_animated_webp(path)
    if found.format in JPEG:
        image.draft("L", (image.width // 8, image.height // 8))  # all data are read, few pixels are computed
    elif found.format == "PNG":
        verify(path)
    try:
        image.load()
    except OSError:
        if found.format not in JPEG or lost_fraction(path) > RECOVERABLE_LOSS:
            raise
        convert = True
    alpha = is_transparent(image)
    orientation = orientation_of(image)
    width, height = (found.height, found.width) if orientation >= 5 else (found.width, found.height)
    return Finding(
        format=found.format,
        width=width,
        height=height,
        gray=gray,
        alpha=alpha,
        orientation=orientation,
        convert=convert or alpha,
        decoded=True,
    )


def is_animated_webp(path: str) -> bool:
    """Whether the file declares itself an animation, which may crash TensorFlow's process."""
    with open(path, "rb") as file:
        head = file.read(21)
    return head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def verify(path: str) -> None:
    """Verifies the checksums of a PNG, which TensorFlow requires and Pillow's decoder ignores."""
    with Image.open(path, formats=("PNG",)) as image:
        image.verify()


def lost_fraction(path: str) -> float:
    """The fraction of a truncated JPEG that is lost: pixels that depend on data after the cut."""
    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        filling = bytes(range(1, 255)) * (image.width * image.height // 254 + 1)
    first, second = (
        np.asarray(Image.open(io.BytesIO(data + rest + END_OF_IMAGE))) for rest in (b"", filling)
    )
    return float(np.mean(first != second))


def is_gray(image: Image.Image) -> bool:
    """Whether the file stores gray values or a palette of grays."""
    if image.mode in ("P", "PA"):
        colors = image.getpalette() or []
        return colors[0::3] == colors[1::3] == colors[2::3]
    return image.mode in GRAY_MODES


def is_transparent(image: Image.Image) -> bool:
    """Whether some pixel is not opaque."""
    if not image.has_transparency_data or image.mode.startswith("I;16"):
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest < 255  # type: ignore[operator]


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:
        return 1
    return int(value) if value in range(1, 9) else 1


def unidentified(path: str) -> str:
    """The reason why no format was recognized."""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "HEIC images can't be read; convert it to JPEG"
    return f"not an image of a known format ({', '.join(FORMATS)})"


def convert(path: str, target: Path, *, background: tuple[int, int, int]) -> None:
    """Writes the first frame, upright and blended with the background, as an 8-bit gray or RGB PNG."""
    with load(path) as image:
        flat = flatten(ImageOps.exif_transpose(image), background)
    with whole_file(target) as temporary:
        flat.save(temporary, "PNG", compress_level=1)


def load(path: str) -> Image.Image:
    """The decoded image; a truncated JPEG gets an end marker."""
    image = Image.open(path, formats=FORMATS)
    try:
        image.load()
    except OSError:
        if image.format not in JPEG:
            raise
        image = Image.open(io.BytesIO(Path(path).read_bytes() + END_OF_IMAGE))
        image.load()
    return image


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The image in mode L or RGB: blended with the background; 16-bit values are reduced to the upper 8 bits."""
    gray = is_gray(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        gray = gray and len(set(background)) == 1
        canvas = Image.new("RGBA", image.size, (*background, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        image = canvas.convert("RGB")
    return image.convert("L" if gray else "RGB")


def answer(job: dict, *, max_pixels: int) -> Finding:
    """Examines a job's file, and converts it to the job's target if needed."""
    finding = examine(job["path"], max_pixels=max_pixels)
    if not finding.convert or finding.reason:
        return finding
    try:
        convert(job["path"], Path(job["target"]), background=tuple(job["background"]))
    except DAMAGE as error:
        return dataclasses.replace(finding, reason=f"can't be converted: {error}"[:300])
    return finding


def main(socket: int, max_pixels: int) -> None:
    """Responds to each job with a finding, as JSON."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked instead, before decoding
    limit_memory(MEMORY_BYTES + MEMORY_BYTES_PER_PIXEL * max_pixels)
    connection = Connection(socket)
    connection.send_bytes(b"ready")
    while True:
        try:
            job = json.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(json.dumps(dataclasses.asdict(answer(job, max_pixels=max_pixels))).encode())


def limit_memory(size_bytes: int) -> None:
    """Makes requests for more memory than this fail from here on."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
