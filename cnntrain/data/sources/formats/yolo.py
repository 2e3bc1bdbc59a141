"""YOLO's text files, one per image: a line for each object, with its class number and its box in fractions.

Class names are in data.yaml, as written by Ultralytics and Roboflow, or in classes.txt, as written by LabelImg.
Source: https://docs.ultralytics.com/datasets/detect/.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cnntrain.data.sources.formats.annotation import Numbers, Told, four_numbers
from cnntrain.errors import DataError

FORM = "rel_center_xywh"
NAME_FILES = ("classes.txt", "obj.names")
FOLDER = "labels"


def is_yolo(path: str, text: str | None) -> bool:
    """Whether a text file holds boxes, judging by its folder or its first line."""
    if not is_label_file(path) or text is None:
        return False
    words = text.partition("\n")[0].split()
    return FOLDER in Path(path).parts or (len(words) == 5 and all(word.lstrip("-")[:1].isdecimal() for word in words))


def with_neighbors(paths: Sequence[str], formats: Sequence[str | None]) -> list[str | None]:
    """The formats of files; all text files next to YOLO files count as YOLO, too, including empty and invalid ones."""
    folders = {os.path.dirname(path) for path, name in zip(paths, formats, strict=True) if name == "yolo"}
    return [
        "yolo" if os.path.dirname(path) in folders and is_label_file(path) else name
        for path, name in zip(paths, formats, strict=True)
    ]


def is_label_file(path: str) -> bool:
    """Whether a file may hold boxes, judging by its name."""
    return path.lower().endswith(".txt") and os.path.basename(path).lower() not in NAME_FILES


def read(path: str, text: str, names: Sequence[str] | None, problems: list[str]) -> Iterator[Told]:
    """The one image in a file, which has the file's name except for the suffix."""
    objects = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                objects.append(labeled_box(line, names))
            except ValueError as error:
                problems.append(f"{path}, line {number}: {error}")
    stem = os.path.splitext(os.path.basename(path))[0]
    yield Told(path, os.path.dirname(path), (stem,), None, tuple(objects))


def labeled_box(line: str, names: Sequence[str] | None) -> tuple[str, Numbers]:
    """The class and box in a line; raises ValueError."""
    words = line.split()
    if len(words) != 5 or not words[0].isdecimal():
        raise ValueError(f"expected a class's number and four numbers of its box; found {line.strip()[:60]!r}")
    number = int(words[0])
    if names is not None and number >= len(names):
        raise ValueError(f"expected a class below {len(names)}, of which there are names; found {number}")
    return names[number] if names is not None else words[0], four_numbers(words[1:])


def class_names(paths: Sequence[str]) -> list[str] | None:
    """The class names by number, from one of the files; None if none of them has any."""
    for path in sorted(paths, key=len):  # the outermost first
        if path.lower().endswith((".yaml", ".yml")):
            names = names_of(read_yaml(path))
            if names:
                return names
    for path in sorted(paths, key=len):
        if os.path.basename(path).lower() in NAME_FILES:
            return [line.strip() for line in Path(path).read_text("utf-8-sig").splitlines() if line.strip()]
    return None


def read_yaml(path: str) -> Any:
    """The values in a YAML file; raises DataError."""
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: expected a YAML file with the names of the classes: {error}") from error


def names_of(values: Any) -> list[str] | None:
    """The class names in data.yaml, as a list or by number; None if there are none."""
    names = values.get("names") if isinstance(values, dict) else None
    if isinstance(names, list):
        return [str(name) for name in names]
    if isinstance(names, dict) and all(isinstance(number, int) and number >= 0 for number in names):
        return [str(names.get(number, number)) for number in range(max(names, default=-1) + 1)]
    return None
