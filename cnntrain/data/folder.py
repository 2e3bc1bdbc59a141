"""A folder of image files, one folder a class."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.base import Names, Source, Table
from cnntrain.errors import DataError

PARTS = {"train": ("train", "training"), "validation": ("validation", "valid", "val"), "test": ("test", "testing")}
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"})


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Image files in `path`/CLASS/, or in `path`/train/CLASS/, `path`/validation/CLASS/, `path`/test/CLASS/."""

    source: str = "folder"
    path: Path

    def title(self) -> str:
        """What the data are, in words."""
        return f"folder {self.path}"

    def table(self) -> Table:
        """All files, sorted by path; colour, whatever they are stored as."""
        from cnntrain.data.images import FileImages

        root = self.path.expanduser()
        parts, files, labels, class_names = list_files(root)
        relative = tuple(path.relative_to(root).as_posix() for path in files)
        sizes = np.array([path.stat().st_size for path in files])
        return Table(
            images=FileImages(files, sizes=sizes, channels=3),
            labels=labels,
            ids=np.array([stable_id(name) for name in relative]),
            names=Names(paths=relative),
            class_names=class_names,
            parts=parts,
        )


def list_files(root: Path) -> tuple[dict[str, tuple[int, int]], list[Path], np.ndarray, tuple[str, ...]]:
    """The parts, files, labels (n,) and class names of a folder; raises DataError where it holds none."""
    if not root.is_dir():
        kind = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data.path={root}: {kind}; expected a folder with one folder a class")
    folders = part_folders(root)
    class_names = sorted({entry.name for folder in folders.values() for entry in visible(folder) if entry.is_dir()})
    if len(class_names) < 2:
        raise DataError(
            f"data.path={root}: expected at least two folders, one a class; found {class_names or 'none'}"
        )
    parts: dict[str, tuple[int, int]] = {}
    files: list[Path] = []
    labels: list[int] = []
    for part, folder in folders.items():
        start = len(files)
        for number, name in enumerate(class_names):
            found = image_files(folder / name)
            files += found
            labels += [number] * len(found)
        parts[part] = (start, len(files))
    empty = [name for number, name in enumerate(class_names) if number not in set(labels)]
    if empty:
        raise DataError(f"data.path={root}: no image in {', '.join(empty)}; remove the folder or fill it")
    return parts, files, np.array(labels, np.int64), tuple(class_names)


def part_folders(root: Path) -> Mapping[str, Path]:
    """The folder of each part: the root itself, unless it has a train folder."""
    found = {}
    for part, names in PARTS.items():
        for entry in visible(root):
            if entry.is_dir() and entry.name.lower() in names:
                found[part] = entry
    return found if "train" in found else {"train": root}


def image_files(folder: Path) -> list[Path]:
    """The image files below a class's folder, sorted by path."""
    found: list[Path] = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible_names = (name for name in names if not name.startswith("."))
        found += [Path(where, name) for name in visible_names if Path(name).suffix.lower() in SUFFIXES]
    return sorted(found)


def visible(folder: Path) -> list[Path]:
    """A folder's entries but the hidden ones, sorted by name."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def stable_id(name: str) -> int:
    """A number of 56 bits that depends on the name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=7).digest(), "big")
