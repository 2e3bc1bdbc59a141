"""Finding the files that a table refers to."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


class FileNames:
    """Finds the files that a table refers to, by their paths below a root."""

    def __init__(self, root: Path, suffix: str | None):
        self.root = root
        self.suffix = suffix or ""
        self.by_stem: dict[str, dict[str, list[str]]] = {}  # for each folder: its files, by their names without suffix

    def find_all(self, texts: Iterable[str]) -> list[str | None]:
        """The path of each file relative to the root; None if it leads out of the root or matches no file."""
        return [self.find(text.strip()) for text in texts]

    def find(self, text: str) -> str | None:
        """One file: as written, or with slashes from another system, or with its missing suffix."""
        written = inside(self.root, text + self.suffix if text else text)
        if written is None or os.path.lexists(self.root / written):
            return written
        name = inside(self.root, (text + self.suffix).replace("\\", "/"))
        if name is None or self.suffix or os.path.lexists(self.root / name):
            return name
        folder, stem = os.path.split(name)
        fitting = self.files_of(folder).get(stem, [])
        return os.path.join(folder, fitting[0]) if len(fitting) == 1 else name

    def files_of(self, folder: str) -> dict[str, list[str]]:
        """The files in a folder below the root, by their names without suffix."""
        if folder not in self.by_stem:
            found: dict[str, list[str]] = defaultdict(list)
            with contextlib.suppress(OSError):
                for name in os.listdir(self.root / folder):
                    found[os.path.splitext(name)[0]].append(name)
            self.by_stem[folder] = found
        return self.by_stem[folder]


def inside(root: Path, text: str) -> str | None:
    """A path relative to the root; None if it leads out of the root or matches no file."""
    relative = os.path.relpath(os.path.join(root, text), root) if text else "."
    return None if relative == "." or relative.split(os.sep)[0] == ".." else relative
