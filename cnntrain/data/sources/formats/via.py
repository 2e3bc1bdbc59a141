"""VGG Image Annotator 2: its JSON, alone or as a saved project, and its CSV.

Source: https://www.robots.ox.ac.uk/~vgg/software/via/.
"""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from cnntrain.data.sources.formats.annotation import Numbers, Told, four_numbers

FORM = "xywh"
USUAL_ATTRIBUTES = ("class", "label", "name", "type", "category")
SHAPE, ATTRIBUTES = "region_shape_attributes", "region_attributes"


def is_via(content: Any) -> bool:
    """Whether the values in a JSON file are VIA's."""
    entries = entries_of(content)
    return bool(entries) and all(isinstance(entry, dict) and "regions" in entry for entry in entries.values())


def is_via_csv(text: str | None) -> bool:
    """Whether a CSV file is VIA's."""
    return text is not None and SHAPE in text.partition("\n")[0]


def entries_of(content: Any) -> Mapping[str, Any]:
    """The images in a saved project, or in the annotations alone."""
    if not isinstance(content, dict):
        return {}
    project = content.get("_via_img_metadata", content)
    return project if isinstance(project, dict) else {}


def read(path: str, content: Any, attribute: str | None, problems: list[str]) -> Iterator[Told]:
    """All images in a file, from JSON values or CSV text. `attribute` holds the class; see `label_of`."""
    try:
        images = regions_of_csv(content) if isinstance(content, str) else regions_of_json(content)
    except (csv.Error, TypeError, KeyError, ValueError) as error:
        problems.append(f"{path}: expected annotations as VIA 2 writes them: {error!r}")
        return
    for name, regions in images.items():
        objects = []
        for number, region in enumerate(regions):
            try:
                objects.append((label_of(region[ATTRIBUTES], attribute), rectangle(region[SHAPE])))
            except (AttributeError, TypeError, KeyError) as error:
                problems.append(f"{path}, {name}, region {number}: expected a shape and attributes: {error!r}")
            except ValueError as error:
                problems.append(f"{path}, {name}, region {number}: {error}")
        yield Told(f"{path}, {name}", os.path.dirname(path), (name,), None, tuple(objects))


def regions_of_json(content: Any) -> dict[str, list[dict[str, Any]]]:
    """Each image's regions, with their shape and attributes under the names used in the CSV."""
    images = {}
    for entry in entries_of(content).values():
        regions = entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"]
        images[str(entry["filename"])] = [
            {SHAPE: region["shape_attributes"], ATTRIBUTES: region["region_attributes"]} for region in regions
        ]
    return images


def regions_of_csv(text: str) -> dict[str, list[dict[str, Any]]]:
    """The same from a CSV file, with one line per region; an empty shape stands for an image without regions."""
    images: dict[str, list[dict[str, Any]]] = {}
    for line in csv.DictReader(text.removeprefix("#").splitlines(), strict=True):
        shape, attributes = json.loads(line[SHAPE]), json.loads(line[ATTRIBUTES])
        images.setdefault(line["filename"], []).extend([{SHAPE: shape, ATTRIBUTES: attributes}] if shape else [])
    return images


def rectangle(shape: Mapping[str, Any]) -> Numbers:
    """Left, top, width and height of a region; raises ValueError for other shapes."""
    if shape["name"] != "rect":
        raise ValueError(f"expected a rectangle; found {shape['name']!r}")
    return four_numbers([shape[key] for key in ("x", "y", "width", "height")])


def label_of(attributes: Mapping[str, Any], attribute: str | None) -> str:
    """A region's class: the value of that attribute, or (None) of the only one or of a commonly used one.

    For checkboxes, which VIA stores as {value: true}, it is the only value.
    """
    usual = [name for name in attributes if name.lower() in USUAL_ATTRIBUTES]
    names = [attribute] if attribute else list(attributes) if len(attributes) == 1 else usual
    if len(names) != 1 or names[0] not in attributes:
        raise ValueError(f"which attribute is the class? data.label_attribute names it; found {list(attributes)}")
    value = attributes[names[0]]
    values = [name for name, on in value.items() if on] if isinstance(value, dict) else [value]
    if len(values) != 1 or not str(values[0]).strip():
        raise ValueError(f"expected one class in the attribute {names[0]}; found {value!r}")
    return str(values[0]).strip()
