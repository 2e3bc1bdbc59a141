"""Image files of every difficult kind, made anew: those to be read, and those to be left out."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

HEIGHT, WIDTH = 48, 64


def picture(seed: int = 0) -> Image.Image:
    """An RGB picture with soft edges, so that JPEG keeps it nearly."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(noise.repeat(8, 0).repeat(8, 1)).filter(ImageFilter.GaussianBlur(2))


def translucent() -> Image.Image:
    """The picture, from transparent at the left to opaque at the right."""
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))))
    return image


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def sixteen_bits() -> Image.Image:
    """A gray picture of 16 bits whose lower 8 are not 0."""
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 256 + 77)


def with_orientation(orientation: int, file_format: str = "JPEG") -> bytes:
    """The picture as a camera that was held sideways stores it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), file_format, exif=exif)


def flipped_bit(data: bytes, position: int) -> bytes:
    """The bytes with one bit changed."""
    return data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]


def huge_png() -> bytes:
    """A PNG of 20,000×20,000 pixels in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    compressor = zlib.compressobj(9)
    row = bytes(20_001)
    rows = b"".join(compressor.compress(row) for _ in range(20_000)) + compressor.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def frames(file_format: str, **options: object) -> bytes:
    """An animation of two frames."""
    return encoded(picture(), file_format, save_all=True, append_images=[picture(1)], **options)


GOOD: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: encoded(picture(), "JPEG"),
    "progressive.jpg": lambda: encoded(picture(), "JPEG", progressive=True),
    "gray.jpg": lambda: encoded(picture().convert("L"), "JPEG"),
    "cmyk.jpg": lambda: encoded(picture().convert("CMYK"), "JPEG"),
    "without_subsampling.jpg": lambda: encoded(picture(), "JPEG", subsampling=0, quality=95),
    "lacks_its_end.jpg": lambda: encoded(picture(), "JPEG")[:-2],
    "lacks_a_few_bytes.jpg": lambda: encoded(picture(), "JPEG")[:-12],
    "progressive_lacks_its_end.jpg": lambda: encoded(picture(), "JPEG", progressive=True)[:-2],
    "bytes_behind_its_end.jpg": lambda: encoded(picture(), "JPEG") + b"trailer" * 9,
    "two_pictures.mpo": lambda: frames("MPO"),
    **{f"orientation_{number}.jpg": lambda number=number: with_orientation(number) for number in range(1, 9)},
    "orientation_0.jpg": lambda: with_orientation(0),
    "orientation.png": lambda: with_orientation(6, "PNG"),
    "orientation.webp": lambda: with_orientation(8, "WEBP"),
    "orientation.tiff": lambda: with_orientation(5, "TIFF"),
    "damaged_exif.jpg": lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff"),
    "color.png": lambda: encoded(picture(), "PNG"),
    "gray.png": lambda: encoded(picture().convert("L"), "PNG"),
    "one_bit.png": lambda: encoded(picture().convert("1"), "PNG"),
    "palette.png": lambda: encoded(picture().quantize(200), "PNG"),
    "palette_of_4_bits.png": lambda: encoded(picture().quantize(9), "PNG", bits=4),
    "palette_with_transparency.png": lambda: encoded(picture().quantize(64), "PNG", transparency=3),
    "sixteen_bits.png": lambda: encoded(sixteen_bits(), "PNG"),
    "alpha.png": lambda: encoded(translucent(), "PNG"),
    "opaque_alpha.png": lambda: encoded(picture().convert("RGBA"), "PNG"),
    "gray_and_alpha.png": lambda: encoded(translucent().convert("LA"), "PNG"),
    "transparent_color.png": lambda: encoded(
        picture().quantize(9).convert("RGB"), "PNG", transparency=(0, 0, 0)
    ),
    "animated.png": lambda: frames("PNG"),
    "still.gif": lambda: encoded(picture(), "GIF"),
    "animated.gif": lambda: frames("GIF"),
    "color.bmp": lambda: encoded(picture(), "BMP"),
    "palette.bmp": lambda: encoded(picture().quantize(64), "BMP"),
    "one_bit.bmp": lambda: encoded(picture().convert("1"), "BMP"),
    "lossy.webp": lambda: encoded(picture(), "WEBP"),
    "lossless.webp": lambda: encoded(picture(), "WEBP", lossless=True),
    "alpha.webp": lambda: encoded(translucent(), "WEBP", lossless=True),
    "animated.webp": lambda: frames("WEBP"),
    "color.tiff": lambda: encoded(picture(), "TIFF"),
    "deflated.tif": lambda: encoded(picture(), "TIFF", compression="tiff_adobe_deflate"),
    "sixteen_bits.tiff": lambda: encoded(sixteen_bits(), "TIFF"),
    "pages.tiff": lambda: frames("TIFF"),
    "cmyk.tiff": lambda: encoded(picture().convert("CMYK"), "TIFF"),
    "color.avif": lambda: encoded(picture(), "AVIF"),
    "alpha.avif": lambda: encoded(translucent(), "AVIF"),
    "color.jp2": lambda: encoded(picture(), "JPEG2000"),
    "color.ppm": lambda: encoded(picture(), "PPM"),
    "png_inside.jpg": lambda: encoded(picture(), "PNG"),
    "jpeg_inside.png": lambda: encoded(picture(), "JPEG"),
    "jpeg_inside.txt": lambda: encoded(picture(), "JPEG"),
    "no_suffix": lambda: encoded(picture(), "JPEG"),
    "größe 図 (1) 100%.JPG": lambda: encoded(picture(), "JPEG"),
    'line\nbreak, "quotes".png': lambda: encoded(picture(), "PNG"),
    "nested/deeper/picture.png": lambda: encoded(picture(), "PNG"),
    "one_pixel.png": lambda: encoded(picture().resize((1, 1)), "PNG"),
}
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "the file is empty"),
    "text.jpg": (lambda: b"no picture at all\n", "not an image of a known format"),
    "half.jpg": (lambda: encoded(picture(), "JPEG")[:700], "can't be decoded: image file is truncated"),
    "header_only.jpg": (lambda: encoded(picture(), "JPEG")[:20], "can't be decoded|not an image"),
    "half.png": (lambda: encoded(picture(), "PNG")[:3000], "can't be decoded"),
    "changed_bit.png": (lambda: flipped_bit(encoded(picture(), "PNG"), 3000), "can't be decoded"),
    "changed_check_sum.png": (lambda: flipped_bit(encoded(picture(), "PNG"), -14), "can't be decoded"),
    "half.gif": (lambda: encoded(picture(), "GIF")[:900], "can't be decoded"),
    "half.webp": (lambda: encoded(picture(), "WEBP")[:200], "can't be decoded|not an image"),
    "half.tiff": (lambda: encoded(picture(), "TIFF")[:4000], "can't be decoded|not an image"),
    "half.avif": (lambda: encoded(picture(), "AVIF")[:400], "can't be decoded|not an image"),
    "float.tiff": (lambda: encoded(picture().convert("F"), "TIFF"), "32-bit values have no fixed range"),
    "photo.heic": (
        lambda: b"\0\0\0\x18ftypheic" + bytes(60),
        "HEIC images can't be read; convert it to JPEG",
    ),
    "postscript.png": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "not an image of a known",
    ),
    "huge.png": (huge_png, "20000×20000 pixels, more than data.max_pixels=178956970"),
}


def write_classes(root: Path, count: int) -> list[Path]:
    """So many JPEGs in each of two classes."""
    paths = [root / name / f"{number:04}.jpg" for name in ("cat", "dog") for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number), "JPEG"))
    return paths


def write_messy_folder(root: Path) -> None:
    """Two classes: `other` is clean, `messy` has every difficult file, links and hidden files."""
    contents = {f"messy/{name}": make() for name, make in GOOD.items()}
    contents |= {f"messy/{name}": make() for name, (make, _) in BAD.items()}
    contents |= {f"other/{number:02}.png": encoded(picture(number), "PNG") for number in range(20)}
    contents |= {
        "messy/.hidden.jpg": b"x",
        "messy/.cache/a.jpg": b"x",
        "messy/Thumbs.db": b"x",
        ".git/a.jpg": b"x",
    }
    contents |= {"messy/notes.txt": b"two cats", "messy/boxes.json": b"{}"}
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "elsewhere.png").write_bytes(encoded(picture(5), "PNG"))
    (root / "messy/link.png").symlink_to(root / "elsewhere.png")
    (root / "messy/link_to_nothing.png").symlink_to(root / "nowhere.png")
    (root / "messy/circle").symlink_to(root / "messy")
    (root / "messy/up").symlink_to(root)
    os.mkfifo(root / "messy/pipe.png")
