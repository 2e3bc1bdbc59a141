"""A folder of image files, one folder a class."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.file_source import FileSource, Listing
from cnntrain.errors import DataError

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"})


@dataclass(frozen=True, kw_only=True)
class Folder(FileSource):
    """Image files in `path`/CLASS/, or in `path`/train/CLASS/, `path`/validation/CLASS/, `path`/test/CLASS/.

    Folders in a class's folder belong to the class. Hidden files and folders, and those that systems leave behind,
    are passed over.
    """

    source: str = "folder"
    path: Path

    def title(self) -> str:
        """What the data are, in words."""
        return f"folder {self.path}"

    def listing(self) -> Listing:
        """All files, sorted by path; raises DataError where there are no classes."""
        root = Path(os.path.abspath(self.path.expanduser()))
        if not root.is_dir():
            kind = "is a file" if root.exists() else "does not exist"
            raise DataError(f"data.path={root}: {kind}; expected a folder with one folder a class")
        folders = part_folders(root)
        entries = (entry for folder in folders.values() for entry in visible(folder))
        class_names = sorted({entry.name for entry in entries if entry.is_dir()})
        if len(class_names) < 2:
            raise DataError(
                f"data.path={root}: expected at least two folders, one a class; found {class_names or 'none'}"
            )
        parts: dict[str, tuple[int, int]] = {}
        names: list[str] = []
        labels: list[int] = []
        for part, folder in folders.items():
            start = len(names)
            for number, class_name in enumerate(class_names):
                found = files_below(folder / class_name)
                names += [path[len(os.path.join(root, "")) :] for path in found]
                labels += [number] * len(found)
            parts[part] = (start, len(names))
        return Listing(root, names, np.array(labels, np.int64), tuple(class_names), parts)


def part_folders(root: Path) -> Mapping[str, Path]:
    """The folder of each part: the root itself, unless it has a train folder."""
    found = {}
    for part, names in PARTS.items():
        for entry in visible(root):
            if entry.is_dir() and entry.name.lower() in names:
                found[part] = entry
    return found if "train" in found else {"train": root}


def files_below(folder: Path) -> list[str]:
    """The paths of all files below a folder but hidden ones and the system's own, sorted.

    Links are followed, but no folder is entered twice, nor one that this folder lies in: links may lead in
    circles.
    """
    found: list[str] = []
    entered = {identity(parent) for parent in (*folder.absolute().parents, *folder.resolve().parents)}
    for where, folders, names in os.walk(folder, followlinks=True):
        if identity(where) in entered:
            folders.clear()
            continue
        entered.add(identity(where))
        folders[:] = sorted(name for name in folders if is_visible(name))
        found += [os.path.join(where, name) for name in names if is_visible(name)]
    return sorted(found)


def identity(folder: str | Path) -> tuple[int, int]:
    """What is the same for a folder and all links to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def visible(folder: Path) -> list[Path]:
    """A folder's entries but those that are passed over, sorted by name."""
    return sorted(entry for entry in folder.iterdir() if is_visible(entry.name))


def is_visible(name: str) -> bool:
    """Whether a file or folder is the user's, neither hidden nor left behind by a system or a tool."""
    return not name.startswith(".") and name.lower() not in SYSTEM_NAMES
