"""Annotation files of the usual tools: a file's format, and what it says about images."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnntrain.data.sources.formats import coco, via, voc, yolo
from cnntrain.data.sources.formats.annotation import Told
from cnntrain.errors import DataError

FORMS = {"voc": voc.FORM, "coco": coco.FORM, "via": via.FORM, "yolo": yolo.FORM}
TITLES = {"voc": "Pascal VOC", "coco": "COCO", "via": "VGG Image Annotator", "yolo": "YOLO"}
SUFFIXES = (".xml", ".json", ".csv", ".txt", ".yaml", ".yml", ".names")


@dataclass(frozen=True)
class AnnotationFile:
    """A file that may hold annotations: XML as bytes, JSON as values, others as text; or why it can't be read."""

    path: str
    content: Any = None
    problem: str | None = None

    @property
    def format(self) -> str | None:
        """The format's name; None if it is not a known format."""
        suffix = os.path.splitext(self.path)[1].lower()
        if suffix == ".xml":
            return "voc"
        if suffix == ".json" and coco.is_coco(self.content):
            return "coco"
        if (suffix == ".json" and via.is_via(self.content)) or (suffix == ".csv" and via.is_via_csv(self.content)):
            return "via"
        return "yolo" if yolo.is_yolo(self.path, self.content) else None


def read_annotations(
    paths: Sequence[str], asked: str, *, label_attribute: str | None, problems: list[str]
) -> tuple[str, list[Told]]:
    """The format of annotation files (`asked`, or detected with `auto`), and their annotations.

    Anything that can't be parsed is added to `problems`. Raises DataError if no file is in the format, or files are
    in several formats.
    """
    files = [open_file(path) for path in paths]
    formats = [file.format for file in files]
    found = sorted({name for name in formats if name} if asked == "auto" else {asked} & set(formats))
    if len(found) != 1:
        raise DataError(wrong_formats(files, asked, found))
    names = None
    if found == ["yolo"]:
        names, formats = yolo.class_names(paths), yolo.with_neighbors(paths, formats)
    told: list[Told] = []
    for file, name in zip(files, formats, strict=True):
        broken_json = file.problem and file.path.lower().endswith(".json") and found[0] in ("coco", "via")
        if file.problem and (name == found[0] or broken_json):
            problems.append(file.problem)
        elif name == found[0]:
            told += read_file(file, found[0], names, label_attribute, problems)
    return found[0], told


def read_file(
    file: AnnotationFile, name: str, names: Sequence[str] | None, label_attribute: str | None, problems: list[str]
) -> Iterator[Told]:
    """The annotations in a file of one format; see the format's own `read`."""
    if name == "yolo":
        return yolo.read(file.path, file.content, names, problems)
    if name == "via":
        return via.read(file.path, file.content, label_attribute, problems)
    return (voc.read if name == "voc" else coco.read)(file.path, file.content, problems)


def wrong_formats(files: Sequence[AnnotationFile], asked: str, found: Sequence[str]) -> str:
    """The error text if the files are in no known format, or in several."""
    paths = [file.path for file in files]
    where = f"data.path={os.path.commonpath(paths)}" if paths else "data.path"
    if len(found) > 1:
        return f"{where}: holds annotations as {' and '.join(found)}; choose one, such as data.format={found[0]}"
    expected = ", ".join(TITLES.values()) if asked == "auto" else TITLES[asked]
    unread = [file.problem for file in files if file.problem]
    return "\n".join([f"{where}: expected annotations of {expected}; there are none", *unread[:5]])


def open_file(path: str) -> AnnotationFile:
    """Reads a file according to its suffix."""
    expected = "JSON" if path.lower().endswith(".json") else "UTF-8 text"
    try:
        content = Path(path).read_bytes()
        if path.lower().endswith(".xml"):
            return AnnotationFile(path, content)
        text = content.decode("utf-8-sig")
        return AnnotationFile(path, json.loads(text) if expected == "JSON" else text)
    except OSError as error:
        return AnnotationFile(path, problem=f"{path}: can't be read: {error.strerror}")
    except RecursionError:
        return AnnotationFile(path, problem=f"{path}: expected JSON; it is nested too deeply")
    except ValueError as error:
        return AnnotationFile(path, problem=f"{path}: expected {expected}: {error}")
