"""Image files, with a class and a box from the files of an annotation tool."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cnntrain.data.sources.csv_file import PART_OF_WORD, in_order, spans
from cnntrain.data.sources.drawn_boxes import DrawnBoxes, Objects, area
from cnntrain.data.sources.file_source import FileSource, Listing
from cnntrain.data.sources.folder import PARTS, files_below
from cnntrain.data.sources.formats import FORMS, SUFFIXES, read_annotations
from cnntrain.data.sources.formats.annotation import Numbers, Told
from cnntrain.errors import DataError
from cnntrain.runtime.wording import printable
from cnntrain.settings import FilePath, Text

NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Annotations(FileSource):
    """Images with one object each, annotated in Pascal VOC XML, COCO JSON, VGG Image Annotator JSON or CSV, or YOLO
    text files.

    `path` is one such file, or a folder that is searched for them; `images` is the folder that is searched for the
    images (null: the same). An image whose path contains a folder train, validation or test (or val2017, …) is in
    that part. If an image has several objects, the `largest` or the `first` is used, or they are refused; images
    without any are left out. `label_attribute` is the VIA attribute that holds the class (null: the only one, or one
    called class, label, name, type or category).
    """

    source: str = "annotations"
    path: FilePath
    images: FilePath | None = None
    format: Literal["auto", "voc", "coco", "via", "yolo"] = "auto"
    objects: Objects = "largest"
    label_attribute: Text | None = None

    def title(self) -> str:
        """A short description of the data."""
        return f"annotations {self.path}"

    def listing(self) -> Listing:
        """All annotated images, part by part and sorted by path within each part."""
        path = Path(os.path.abspath(self.path.expanduser()))
        beside = path if path.is_dir() else path.parent
        root = Path(os.path.abspath(self.images.expanduser())) if self.images else beside
        for key, place in (("path", path), ("images", root)):
            if not place.exists():
                raise DataError(f"data.{key}={place}: does not exist")
        files = files_below(path) if path.is_dir() else [str(path)]
        problems: list[str] = []
        format_, told = read_annotations(
            [file for file in files if file.lower().endswith(SUFFIXES)],
            self.format,
            label_attribute=self.label_attribute,
            problems=problems,
        )
        found = ImageIndex(root, files_below(root)).find_all(told, problems)
        objects = {name: self.choose(one, FORMS[format_], problems) for name, one in found.items() if one.objects}
        if problems:
            raise DataError(named(problems, f"{len(problems):,} of the annotations of {path} can't be used:"))
        return listing_of(root, found, objects, FORMS[format_])

    def choose(self, told: Told, form: str, problems: list[str]) -> tuple[str, Numbers]:
        """The object to use from those in an image."""
        if self.objects == "refuse" and len(told.objects) > 1:
            problems.append(f"{told.place}: {len(told.objects)} objects; data.objects=largest or first takes one")
        if self.objects == "largest":
            return max(told.objects, key=lambda object_: area(object_[1], form))
        return told.objects[0]


def named(problems: Sequence[str], heading: str) -> str:
    """A line for each of the first few problems."""
    more = ["  …"] if len(problems) > NAMED else []
    return "\n".join([heading, *(f"  {printable(text)}" for text in problems[:NAMED]), *more])


def listing_of(root: Path, found: dict[str, Told], objects: dict[str, tuple[str, Numbers]], form: str) -> Listing:
    """The listing of images by name, with the one object in each; images without any are left out."""
    parts = {name: part_of(name) for name in objects}
    if "train" not in parts.values():
        parts = dict.fromkeys(objects, "train")
    names = sorted(objects, key=lambda name: (list(PARTS).index(parts[name]), name))
    labels = [objects[name][0] for name in names]
    class_names = in_order(labels)
    if not names:
        raise DataError(f"{root}: no annotated image has an object")
    return Listing(
        root=root,
        names=names,
        labels=np.array([class_names.index(label) for label in labels], np.int64),
        class_names=class_names,
        parts=spans([parts[name] for name in names]),
        boxes=DrawnBoxes(
            form=form,
            numbers=np.array([objects[name][1] for name in names], float),
            sizes=np.array([found[name].size or (0, 0) for name in names], float),
            places=[found[name].place for name in names],
        ),
        left_out=tuple((name, "no object in its annotation") for name in found if name not in objects),
    )


def part_of(name: str) -> str:
    """The part that an image's folders indicate."""
    words = (word.lower().rstrip("0123456789") for word in Path(name).parts[:-1])
    return next((PART_OF_WORD[word] for word in words if word in PART_OF_WORD), "train")


class ImageIndex:
    """The files below `root` that annotations may refer to."""

    def __init__(self, root: Path, paths: Iterable[str]):
        self.root = root
        self.by_name: dict[str, list[str]] = defaultdict(list)  # maps names with and without suffix to paths below root
        for path in paths:
            if not path.lower().endswith(SUFFIXES):
                name = os.path.basename(path)
                for key in {name, os.path.splitext(name)[0]}:
                    self.by_name[key].append(os.path.relpath(path, root))

    def find_all(self, told: Iterable[Told], problems: list[str]) -> dict[str, Told]:
        """The annotations of each image that exists, by its path below the root; others are added to `problems`."""
        found: dict[str, Told] = {}
        for one in told:
            names = self.find(one)
            if len(names) == 1:
                before = found.get(names[0])
                found[names[0]] = dataclasses.replace(one, objects=before.objects + one.objects) if before else one
            elif names:
                problems.append(f"{one.place}: may mean {' or '.join(names[:3])}; set data.images to a folder with one")
            else:
                problems.append(f"{one.place}: there is no image {one.images[0]} below {self.root}")
        return found

    def find(self, told: Told) -> list[str]:
        """The images that may be meant: by path, else by name; of several, those in the most similar folders."""
        for image in (name.replace("\\", "/") for name in told.images):
            named = self.by_name.get(os.path.basename(image), [])
            for folder in (told.near, str(self.root)):
                path = os.path.relpath(os.path.join(folder, image), self.root)
                if path in named:
                    return [path]
            if named:
                around = set(Path(told.near).parts) | set(Path(image).parts)
                shared = [len(around & set(Path(name).parts[:-1])) for name in named]
                return [name for name, count in zip(named, shared, strict=True) if count == max(shared)]
        return []
