"""Annotation files of the usual tools: which format a file is in, and what it tells of images."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cnntrain.data.formats import coco, via, voc, yolo
from cnntrain.data.formats.told import Told
from cnntrain.errors import DataError

FORMS = {"voc": voc.FORM, "coco": coco.FORM, "via": via.FORM, "yolo": yolo.FORM}
TITLES = {"voc": "Pascal VOC", "coco": "COCO", "via": "VGG Image Annotator", "yolo": "YOLO"}
SUFFIXES = (".xml", ".json", ".csv", ".txt", ".yaml", ".yml", ".names")


def read_annotations(
    paths: Sequence[str], asked: str, *, label_attribute: str | None, problems: list[str]
) -> tuple[str, list[Told]]:
    """The format of annotation files (`asked`, or what they are with `auto`), and what they tell.

    What can't be understood is added to `problems`. Raises DataError where no file is in the format, or files are
    in several.
    """
    contents = [(path, open_file(path, problems)) for path in paths]
    formats = [recognize(path, content) for path, content in contents]
    found = sorted({name for name in formats if name} if asked == "auto" else {asked} & set(formats))
    if len(found) != 1:
        raise DataError(wrong_formats(paths, asked, found, problems))
    names = None
    if found == ["yolo"]:
        names, formats = yolo.class_names(paths), yolo.with_neighbours(paths, formats)
    told: list[Told] = []
    for (path, content), name in zip(contents, formats, strict=True):
        if [name] == found:
            told += read_content(path, content, found[0], names, label_attribute, problems)
    return found[0], told


def read_content(
    path: str, content: Any, name: str, names: Sequence[str] | None, label_attribute: str | None, problems: list[str]
) -> Iterator[Told]:
    """What a file of one format tells; see the format's own `read`."""
    if name == "yolo":
        return yolo.read(path, content, names, problems)
    if name == "via":
        return via.read(path, content, label_attribute, problems)
    return (voc.read if name == "voc" else coco.read)(path, content, problems)


def wrong_formats(paths: Sequence[str], asked: str, found: Sequence[str], problems: Sequence[str]) -> str:
    """The text where the files are in no format, or in several."""
    where = f"data.path={os.path.commonpath(paths) if len(paths) > 1 else paths[0] if paths else ''}"
    if len(found) > 1:
        return f"{where}: holds annotations as {' and '.join(found)}; choose one, such as data.format={found[0]}"
    expected = ", ".join(TITLES.values()) if asked == "auto" else TITLES[asked]
    return "\n".join([f"{where}: expected annotations of {expected}; there are none", *problems[:5]])


def open_file(path: str, problems: list[str]) -> Any:
    """What lies in a file: bytes of XML, values of JSON, else text; None where it can't be read."""
    try:
        content = Path(path).read_bytes()
        if path.lower().endswith(".xml"):
            return content
        text = content.decode("utf-8-sig")
        return json.loads(text) if path.lower().endswith(".json") else text
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
    except RecursionError:
        problems.append(f"{path}: expected JSON; it is nested too deeply")
    except ValueError as error:
        expected = "JSON" if path.lower().endswith(".json") else "UTF-8 text"
        problems.append(f"{path}: expected {expected}: {error}")
    return None


def recognize(path: str, content: Any) -> str | None:
    """The format of an annotation file, None where it is in none of them."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".xml" and content is not None:
        return "voc"
    if suffix == ".json" and coco.is_coco(content):
        return "coco"
    if (suffix == ".json" and via.is_via(content)) or (suffix == ".csv" and via.is_via_csv(content or "")):
        return "via"
    return "yolo" if yolo.is_yolo(path, content) else None
