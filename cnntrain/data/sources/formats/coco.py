"""COCO's JSON, one file for many images. Source: https://cocodataset.org/#format-data."""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from cnntrain.data.sources.formats.annotation import Numbers, Told, four_numbers, told_size

FORM = "xywh"


def is_coco(content: Any) -> bool:
    """Whether the values in a JSON file are COCO object annotations: captions have no categories."""
    keys = ("images", "annotations", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


def read(path: str, content: dict[str, Any], problems: list[str]) -> Iterator[Told]:
    """All images in a file; crowds are skipped."""
    try:
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        images = {image["id"]: image for image in content["images"]}
        files = {number: str(image["file_name"]) for number, image in images.items()}
    except (TypeError, KeyError) as error:
        problems.append(f"{path}: expected id and file_name of each image, id and name of each category: {error!r}")
        return
    objects: dict[Any, list[tuple[str, Numbers]]] = defaultdict(list)
    for number, annotation in enumerate(content["annotations"]):
        try:
            if annotation.get("iscrowd"):
                continue
            if annotation["image_id"] not in images:
                raise ValueError(f"there is no image of the id {annotation['image_id']!r}")
            if annotation["category_id"] not in names:
                raise ValueError(f"there is no category of the id {annotation['category_id']!r}")
            numbers = four_numbers(annotation["bbox"])
            objects[annotation["image_id"]].append((names[annotation["category_id"]], numbers))
        except (AttributeError, TypeError, KeyError) as error:
            problems.append(f"{path}, annotation {number}: expected image_id, category_id and bbox: {error!r}")
        except ValueError as error:
            problems.append(f"{path}, annotation {number}: {error}")
    for number, name in files.items():
        size = told_size(images[number].get("height"), images[number].get("width"))
        yield Told(f"{path}, {name}", os.path.dirname(path), (name,), size, tuple(objects[number]))
