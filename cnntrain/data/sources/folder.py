"""A folder of image files, one folder per class."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cnntrain.data.sources.file_source import FileSource, Listing
from cnntrain.errors import DataError
from cnntrain.runtime.wording import counted, printable
from cnntrain.settings import FilePath

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"})


@dataclass(frozen=True, kw_only=True)
class Folder(FileSource):
    """Image files in `path`/CLASS/, or in `path`/train/CLASS/, `path`/validation/CLASS/, `path`/test/CLASS/.

    Folders inside a class folder belong to the class. Hidden files and folders, and those that operating systems leave
    behind, are skipped. A part may also be one folder of images with a file `…_annotations.txt` next to or above them,
    as in Tiny ImageNet: one line per image, with its name and class separated by a tab.

    `label_from`: `folder`, or `file_name` if each file name begins with the class, followed by a number: cat.0.jpg.
    Files without a class are left out.
    """

    source: str = "folder"
    path: FilePath
    label_from: Literal["folder", "file_name"] = "folder"

    def title(self) -> str:
        """A short description of the data."""
        return f"folder {self.path}"

    def listing(self) -> Listing:
        """All files, sorted by class and path within each part; raises DataError if there are no classes."""
        root = Path(os.path.abspath(self.path.expanduser()))
        if not root.is_dir():
            kind = "is a file" if root.exists() else "does not exist"
            raise DataError(f"data.path={root}: {kind}; expected a folder with one folder per class")
        passed_over: list[str] = []
        left_out: list[tuple[str, str]] = []
        folders = part_folders(root, passed_over)
        if self.label_from == "file_name":
            found = {part: by_name(root, folder, passed_over, left_out) for part, folder in folders.items()}
            found = {part: classes for part, classes in found.items() if classes}
        else:
            found = {part: by_folder(folder, passed_over) for part, folder in folders.items()}
        class_names = sorted({name for classes in found.values() for name in classes})
        if len(class_names) < 2:
            raise DataError(self.too_few_classes(root, folders["train"], class_names))
        if self.label_from == "folder":
            refuse_flat_parts(folders, found)
        parts: dict[str, tuple[int, int]] = {}
        names: list[str] = []
        labels: list[int] = []
        for part, classes in found.items():
            start = len(names)
            for number, class_name in enumerate(class_names):
                names += [path[len(os.path.join(root, "")) :] for path in classes.get(class_name, [])]
                labels += [number] * len(classes.get(class_name, []))
            parts[part] = (start, len(names))
        return Listing(
            root=root,
            names=names,
            labels=np.array(labels, np.int64),
            class_names=tuple(class_names),
            parts=parts,
            left_out=tuple(left_out),
            notes=tuple(passed_over_note(passed_over)),
        )

    def too_few_classes(self, root: Path, train: Path, class_names: Sequence[str]) -> str:
        """The error text if there is no class, or only one."""
        if self.label_from == "file_name":
            return (
                f"data.path={root}: expected files of at least two classes, such as cat.0.jpg and dog.0.jpg;"
                f" found {class_names or 'none'}"
            )
        hint = "; where the class begins each file's name, as in cat.0.jpg, data.label_from=file_name reads it"
        flat = any(class_in_name(entry.name) for entry in visible(train) if entry.is_file())
        return (
            f"data.path={root}: expected at least two folders, one a class; found {class_names or 'none'}"
            f"{hint if flat else ''}"
        )


def by_folder(folder: Path, passed_over: list[str]) -> dict[str, list[str]]:
    """The files in a part, by class: by folder, or according to an annotation table next to them."""
    annotations = sorted(folder.glob("*_annotations.txt"))
    if annotations:
        return annotated(annotations[0], passed_over)
    entries = visible(folder, passed_over)
    return {entry.name: files_below(entry, passed_over) for entry in entries if entry.is_dir()}


def by_name(
    root: Path, folder: Path, passed_over: list[str], left_out: list[tuple[str, str]]
) -> dict[str, list[str]]:
    """The files in a part, by the class that their names begin with; those without one are left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in files_below(folder, passed_over):
        name = class_in_name(os.path.basename(path))
        if name:
            found[name].append(path)
        else:
            left_out.append((os.path.relpath(path, root), "no class begins its name"))
    return found


def class_in_name(name: str) -> str | None:
    """The class of a file with a name such as cat.0.jpg, cat_12.png or cat (3).jpg."""
    match = re.fullmatch(r"(.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?", os.path.splitext(name)[0])
    return match[1] if match else None


def annotated(table: Path, passed_over: list[str]) -> dict[str, list[str]]:
    """The files in a folder, by the class in a table; raises DataError for files that are not in the table."""
    images = {os.path.basename(path): path for path in files_below(table.parent, passed_over) if path != str(table)}
    found: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(table.read_text(encoding="utf-8-sig").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) < 2 or cells[0] not in images:
            raise DataError(
                f"{table}, line {number}: expected the name of an image in {table.parent}, a tab and its class;"
                f" found {printable(line[:80])!r}"
            )
        found[cells[1]].append(images.pop(cells[0]))
    if images:
        raise DataError(f"{table}: names no class of {printable(sorted(images)[0])}; add a line for each image")
    return {name: sorted(paths) for name, paths in found.items()}


def refuse_flat_parts(folders: Mapping[str, Path], found: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Raises DataError if a part has files but no folder named after a training class: their classes are unknown."""
    for part, classes in found.items():
        strange = not set(classes) & set(found["train"])
        if part != "train" and strange and files_below(folders[part]):
            raise DataError(
                f"{folders[part]}: has images and no folder of a class that train has; expected {part}/CLASS/…, or a"
                " file val_annotations.txt beside the images (name, tab, class); otherwise list all images and their"
                " classes in a table and read it by data=csv data.split_column=…"
            )


def passed_over_note(names: Sequence[str]) -> list[str]:
    """A note about files and folders that were skipped."""
    if not names:
        return []
    listed = ", ".join(map(printable, list(dict.fromkeys(names))[:3])) + (", …" if len(set(names)) > 3 else "")
    return [f"{counted(len(names), 'hidden or system file or folder was', 'hidden or system files or folders were')}"
            f" passed over: {listed}"]  # fmt: skip


def part_folders(root: Path, passed_over: list[str]) -> Mapping[str, Path]:
    """The folder of each part: the root itself, unless it has a train folder."""
    found = {}
    hidden: list[str] = []
    entries = visible(root, hidden)
    for part, names in PARTS.items():
        for entry in entries:
            if entry.is_dir() and entry.name.lower() in names:
                found[part] = entry
    if "train" not in found:
        return {"train": root}
    passed_over += hidden  # of the root itself, which is not a part
    return found


def files_below(folder: Path, passed_over: list[str] | None = None) -> list[str]:
    """The sorted paths of all files below a folder, except hidden and system files, which are added to `passed_over`.

    Links are followed, but no folder is entered twice, nor one that contains this folder: links may form cycles.
    """
    found: list[str] = []
    entered = {identity(parent) for parent in (*folder.absolute().parents, *folder.resolve().parents)}
    for where, folders, names in os.walk(folder, followlinks=True):
        if identity(where) in entered:
            folders.clear()
            continue
        entered.add(identity(where))
        if passed_over is not None:
            passed_over += [name for name in (*folders, *names) if not is_visible(name)]
        folders[:] = sorted(name for name in folders if is_visible(name))
        found += [os.path.join(where, name) for name in names if is_visible(name)]
    return sorted(found)


def identity(folder: str | Path) -> tuple[int, int]:
    """An identity that a folder shares with all links to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def visible(folder: Path, passed_over: list[str] | None = None) -> list[Path]:
    """A folder's entries except those that are skipped, sorted by name."""
    entries = sorted(folder.iterdir())
    if passed_over is not None:
        passed_over += [entry.name for entry in entries if not is_visible(entry.name)]
    return [entry for entry in entries if is_visible(entry.name)]


def is_visible(name: str) -> bool:
    """Whether a file or folder is the user's own, neither hidden nor left behind by a system or tool."""
    return not name.startswith(".") and name.lower() not in SYSTEM_NAMES
