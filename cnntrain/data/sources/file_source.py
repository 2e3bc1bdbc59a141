"""What sources of image files share: they read any kind of image, and leave out files that can't be used."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Interval

from cnntrain.data.examples import Names, Table
from cnntrain.data.sources.base import Source
from cnntrain.data.sources.drawn_boxes import DrawnBoxes
from cnntrain.errors import DataError
from cnntrain.runtime.wording import counted, printable
from cnntrain.settings import Count, Fraction

if TYPE_CHECKING:
    from cnntrain.data.image_files.check import Checked
    from cnntrain.data.images import FileImages

PILLOWS_LIMIT = 178_956_970  # pixels, from which on Pillow considers an image a decompression bomb
NAMED = 5
Intensity = Annotated[int, Interval(ge=0, le=255)]


@dataclass(frozen=True)
class Listing:
    """The image files in a source, part by part: names relative to `root`, labels (n,), and class names.

    `parts` names ranges of them as (start, stop). `groups` (n,) are numbers; equal ones must stay in one split. `boxes`
    are the annotated boxes. `left_out` are files that can't be used for training, as (name, reason).
    """

    root: Path
    names: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    parts: Mapping[str, tuple[int, int]]
    groups: np.ndarray | None = None
    boxes: DrawnBoxes | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    bad_rows: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def only(self, kept: np.ndarray) -> "Listing":
        """The files for which `kept` (n,) is true."""
        before = np.concatenate([[0], np.cumsum(kept)])
        return dataclasses.replace(
            self,
            names=[name for name, keep in zip(self.names, kept, strict=True) if keep],
            labels=self.labels[kept],
            parts={
                part: (int(before[start]), int(before[stop])) for part, (start, stop) in self.parts.items()
            },
            groups=None if self.groups is None else self.groups[kept],
            boxes=None if self.boxes is None else self.boxes.only(kept),
        )


@dataclass(frozen=True, kw_only=True)
class FileSource(Source):
    """Image files of any kind that TensorFlow or Pillow can read, recognized by content.

    All files are checked before use. A file that can't be decoded, or has more than `max_pixels` pixels
    (by default, where Pillow suspects a decompression bomb), is left out and listed; more than
    `max_bad_fraction` of such files is an error. `background` is what transparent pixels are blended with: a
    color name, #rrggbb, or [red, green, blue] from 0 to 255.
    """

    background: str | tuple[Intensity, Intensity, Intensity] = "white"
    max_pixels: Count = PILLOWS_LIMIT
    max_bad_fraction: Fraction = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        red_green_blue(self.background)

    def listing(self) -> Listing:
        """The source's files; raises DataError."""
        raise TypeError(f"{type(self).__name__} lists nothing")

    def check(self) -> None:
        """Raises DataError if the files can't even be listed; table() checks their content."""
        self.listing()

    def examine(self, root: Path, names: Sequence[str], *, remember: bool = True) -> "list[Checked]":
        """Examines the files, or recalls earlier findings."""
        from cnntrain.data.image_files.check import check_files

        return check_files(
            str(root),
            names,
            max_pixels=self.max_pixels,
            background=red_green_blue(self.background),
            remember=remember,
        )

    def refuse_empty_classes(self, table: Table) -> None:
        """Raises DataError if a class has no usable image."""
        counts = np.bincount(table.labels, minlength=len(table.class_names))
        empty = [name for name, count in zip(table.class_names, counts, strict=True) if not count]
        if empty:
            bad = table.quarantined
            why = f"; these can't be used:\n{reasons(bad)}" if bad else "; remove the class or fill it"
            raise DataError(f"{self.title()}: no image in {', '.join(map(printable, empty))}{why}")

    def table(self) -> Table:
        """All usable files; gray if all of them are, else color."""
        listing = self.listing()
        checked = self.examine(listing.root, listing.names)
        kept = np.array([not file.companion for file in checked], bool)
        listing, checked = listing.only(kept), [file for file in checked if not file.companion]
        bad = [file for file in checked if file.finding.reason]
        wrong, looked_at = len(bad) + len(listing.bad_rows), len(checked) + len(listing.bad_rows)
        left_out = (*((file.name, file.finding.reason) for file in bad), *listing.bad_rows)
        if bad and wrong > self.max_bad_fraction * looked_at:
            raise DataError(
                f"{listing.root}: {wrong:,} of {counted(looked_at, 'file')} can't be used, more than"
                f" data.max_bad_fraction={self.max_bad_fraction:g}; mend or remove them,"
                f" or raise the limit:\n{reasons(left_out)}"
            )
        good = [file for file in checked if not file.finding.reason]
        listing = listing.only(np.array([not file.finding.reason for file in checked], bool))
        return Table(
            images=as_images(good),
            labels=listing.labels,
            ids=np.array([stable_id(name) for name in listing.names], np.int64),
            names=Names(paths=tuple(listing.names)),
            class_names=listing.class_names,
            parts=listing.parts,
            groups=listing.groups,
            quarantined=(*left_out, *listing.left_out),
            notes=listing.notes,
            findings=tuple(file.finding for file in good),
            boxes=None if listing.boxes is None else listing.boxes.in_images([file.finding for file in good]),
        )


def as_images(checked: "Sequence[Checked]", *, upright: bool = True) -> "FileImages":
    """FileImages of usable files: gray if all of them are, else color; with or without EXIF orientation applied."""
    from cnntrain.data.images import FileImages

    turned = np.array([1 if file.finding.convert else file.finding.orientation for file in checked])
    return FileImages(
        [file.path for file in checked],
        sizes=np.array([file.size_bytes for file in checked]),
        channels=1 if all(file.finding.gray for file in checked) else 3,
        orientations=turned if upright else None,
    )


def reasons(bad: Sequence[tuple[str, str]]) -> str:
    """A line for each of the first few files that can't be used, from (name, reason)."""
    lines = [f"  {printable(name)}: {reason}" for name, reason in bad[:NAMED]]
    return "\n".join([*lines, *(["  …"] if len(bad) > NAMED else [])])


def red_green_blue(background: str | tuple[int, int, int]) -> tuple[int, int, int]:
    """A color as three numbers from 0 to 255; raises ValueError for an unknown name."""
    if not isinstance(background, str):
        return background
    if background == "white":  # avoids importing Pillow at every start
        return 255, 255, 255
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ValueError(
            "background: expected a color's name such as white, #rrggbb, or [red, green, blue]"
            f" from 0 to 255; received {background!r}"
        ) from None


def stable_id(name: str) -> int:
    """A 56-bit number that depends on the name alone."""
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=7).digest()
    return int.from_bytes(digest, "big")
