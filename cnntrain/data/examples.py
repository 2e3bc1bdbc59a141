"""Labeled images as data: the table of a source's examples, and its splits."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnntrain.errors import DataError

if TYPE_CHECKING:
    from cnntrain.data.image_files.examine import Finding
    from cnntrain.data.images import Images

NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Table:
    """All the labeled images in a source, in a fixed order.

    `parts` names ranges of them (`train`, `test`, …) as (start, stop). `labels` are class numbers (n,);
    `ids` are int64 (n,) and stay with an example when others are added or removed: random draws are keyed by them;
    `names` identify an example in words, such as a path. Rows of one group (n,) stay in one split.
    `quarantined` are files that were left out, as (path, reason); `findings` are the check's results for the others;
    `notes` say what was read differently from how it is written.
    `boxes`, if the source has any, are float32 (n, 4); see boxes.py.
    """

    images: "Images"
    labels: np.ndarray
    ids: np.ndarray
    names: "Names"
    class_names: tuple[str, ...]
    parts: Mapping[str, tuple[int, int]]
    groups: np.ndarray | None = None
    quarantined: tuple[tuple[str, str], ...] = ()
    findings: "tuple[Finding, ...]" = ()
    boxes: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def with_images(self, images: "Images") -> "Table":
        """The same examples, read from elsewhere."""
        return dataclasses.replace(self, images=images)

    def fingerprint(self) -> str:
        """A hash of all labels, ids and contents that are cheap to read: equal data have equal fingerprints."""
        digest = hashlib.blake2b(digest_size=16)
        boxes = [] if self.boxes is None else [self.boxes]
        for piece in (self.labels, self.ids, *boxes, *self.images.fingerprint_pieces()):
            digest.update(np.ascontiguousarray(piece).data)
        digest.update(repr((self.class_names, dict(self.parts))).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Names:
    """The name of each example: its path if `paths` are given, else its number."""

    prefix: str = ""
    paths: tuple[str, ...] | None = None

    def __getitem__(self, index: int) -> str:
        return self.paths[index] if self.paths is not None else f"{self.prefix}{index}"


@dataclass(frozen=True)
class Examples:
    """Some rows of a table, such as those of one split."""

    table: Table
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        """Class numbers (n,)."""
        return self.table.labels[self.rows]

    def class_counts(self) -> np.ndarray:
        """The number of examples in each class."""
        return np.bincount(self.labels, minlength=len(self.table.class_names))


@dataclass(frozen=True, kw_only=True)
class LabeledImages:
    """A source's examples, split; an empty split has no examples."""

    train: Examples
    validation: Examples
    test: Examples

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, by class number."""
        return self.train.table.class_names

    @property
    def image_shape(self) -> tuple[int | None, int | None, int]:
        """(height, width, channels); height and width are None if images differ in size."""
        return self.train.table.images.image_shape

    @property
    def has_boxes(self) -> bool:
        """Whether some training image has a box."""
        boxes = self.train.table.boxes
        return boxes is not None and bool(boxes[self.train.rows].any())

    @property
    def quarantined(self) -> tuple[tuple[str, str], ...]:
        """Files that were left out, as (path, reason)."""
        return self.train.table.quarantined

    def refuse_untrained_classes(self) -> None:
        """Raises DataError if validation or test images have a class that no training image has."""
        seen = self.train.class_counts() > 0
        problems = []
        for split in ("validation", "test"):
            counts = np.where(seen, 0, self.split(split).class_counts())
            names = [self.class_names[number] for number in np.flatnonzero(counts)]
            if names:
                more = ", …" if len(names) > NAMED else ""
                problems.append(f"{split} has images of {', '.join(names[:NAMED])}{more}, and train has none")
        if problems:
            raise DataError(
                "\n".join([*(f"data: {text}" for text in problems), "A network can't learn what it never sees:"])
                + " add training images of these classes, or take their images out of the other splits; where a"
                " folder is no class, move its images into folders of their classes, or list them in a table (data=csv)"
            )

    def split(self, name: str) -> Examples:
        """One split by its name."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return found[name]
