"""The same annotated pictures as each tool writes them."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

CLASSES = ("daisy", "rose", "tulip")


@dataclass(frozen=True)
class Picture:
    """An image file's name and size, and its objects: class, left, top, right, bottom in pixels."""

    name: str
    width: int
    height: int
    objects: tuple[tuple[str, int, int, int, int], ...]


def pictures(count: int = 10) -> list[Picture]:
    """So many, of unequal sizes, with one object each."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        width, height = random.integers(40, 90, 2).tolist()
        left, top = random.integers(1, 15, 2).tolist()
        right, bottom = left + int(random.integers(8, 24)), top + int(random.integers(8, 24))
        found.append(Picture(f"{number}.png", width, height, ((CLASSES[number % 3], left, top, right, bottom),)))
    return found


def boxes_of(all_pictures: Sequence[Picture]) -> np.ndarray:
    """What every format must give of the first objects: center y, center x, height, width in fractions."""
    rows = []
    for picture in all_pictures:
        _, left, top, right, bottom = picture.objects[0]
        width, height = picture.width, picture.height
        rows.append([(top + bottom) / 2 / height, (left + right) / 2 / width, (bottom - top) / height,
                     (right - left) / width])  # fmt: skip
    return np.array(rows, np.float32)


def draw(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """Writes the image files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(all_pictures):
        Image.new("RGB", (picture.width, picture.height), (number * 20, 90, 160)).save(folder / picture.name)
    return folder


def write_labelimg(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """LabelImg's Pascal VOC: an XML file beside each image."""
    draw(folder, all_pictures)
    for picture in all_pictures:
        root = ElementTree.Element("annotation")
        for tag, text in (("folder", folder.name), ("filename", picture.name), ("path", f"C:\\p\\{picture.name}")):
            ElementTree.SubElement(root, tag).text = text
        source = ElementTree.SubElement(root, "source")
        ElementTree.SubElement(source, "database").text = "Unknown"
        size = ElementTree.SubElement(root, "size")
        for tag, number in (("width", picture.width), ("height", picture.height), ("depth", 3)):
            ElementTree.SubElement(size, tag).text = str(number)
        ElementTree.SubElement(root, "segmented").text = "0"
        for name, *corners in picture.objects:
            element = ElementTree.SubElement(root, "object")
            for tag, text in (("name", name), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
                ElementTree.SubElement(element, tag).text = text
            box = ElementTree.SubElement(element, "bndbox")
            for tag, number in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                ElementTree.SubElement(box, tag).text = str(number)
        ElementTree.ElementTree(root).write(folder / f"{Path(picture.name).stem}.xml")
    return folder


def write_coco(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """COCO's layout: annotations/instances_train2017.json, and the images in train2017/."""
    draw(folder / "train2017", all_pictures)
    content: dict[str, list] = {
        "info": {"year": 2017}, "licenses": [],
        "images": [{"id": 100 + n, "file_name": p.name, "width": p.width, "height": p.height, "license": 1}
                   for n, p in enumerate(all_pictures)],
        "categories": [{"id": 7 * n + 1, "name": name, "supercategory": "plant"} for n, name in enumerate(CLASSES)],
        "annotations": [],
    }  # fmt: skip
    for number, picture in enumerate(all_pictures):
        for name, left, top, right, bottom in picture.objects:
            content["annotations"].append({
                "id": len(content["annotations"]), "image_id": 100 + number, "iscrowd": 0, "segmentation": [],
                "category_id": 7 * CLASSES.index(name) + 1, "area": (right - left) * (bottom - top),
                "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
            })  # fmt: skip
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return folder


def via_regions(picture: Picture) -> list[dict]:
    """The regions of an image, as VIA's JSON has them."""
    return [
        {"shape_attributes": {"name": "rect", "x": left, "y": top, "width": right - left, "height": bottom - top},
         "region_attributes": {"flower": name}}
        for name, left, top, right, bottom in picture.objects
    ]  # fmt: skip


def write_via_json(folder: Path, all_pictures: Sequence[Picture], *, project: bool = False) -> Path:
    """VIA 2's annotations as JSON beside the images, or its saved project."""
    draw(folder, all_pictures)
    entries: dict = {
        f"{picture.name}{123}": {"filename": picture.name, "size": 123, "regions": via_regions(picture),
                                 "file_attributes": {}}
        for picture in all_pictures
    }  # fmt: skip
    if project:
        entries = {"_via_settings": {"ui": {}}, "_via_img_metadata": entries, "_via_attributes": {},
                   "_via_data_format_version": "2.0.10"}  # fmt: skip
    (folder / "via_region_data.json").write_text(json.dumps(entries))
    return folder


def write_via_csv(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """VIA 2's annotations as CSV beside the images."""
    draw(folder, all_pictures)
    with open(folder / "via_region_data.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "file_size", "file_attributes", "region_count", "region_id",
                         "region_shape_attributes", "region_attributes"])  # fmt: skip
        for picture in all_pictures:
            regions = via_regions(picture) or [{"shape_attributes": {}, "region_attributes": {}}]
            for number, region in enumerate(regions):
                shape, attributes = json.dumps(region["shape_attributes"]), json.dumps(region["region_attributes"])
                writer.writerow([picture.name, 123, "{}", len(regions), number, shape, attributes])
    return folder


def yolo_lines(picture: Picture) -> str:
    """LabelImg's lines, with six digits."""
    lines = []
    for name, left, top, right, bottom in picture.objects:
        numbers = ((left + right) / 2 / picture.width, (top + bottom) / 2 / picture.height,
                   (right - left) / picture.width, (bottom - top) / picture.height)  # fmt: skip
        lines.append(f"{CLASSES.index(name)} " + " ".join(f"{number:.6f}" for number in numbers) + "\n")
    return "".join(lines)


def write_yolo_labelimg(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """LabelImg's YOLO: a text file beside each image, and classes.txt."""
    draw(folder, all_pictures)
    for picture in all_pictures:
        (folder / f"{Path(picture.name).stem}.txt").write_text(yolo_lines(picture))
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def write_yolo_ultralytics(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """Ultralytics' layout: images/train, labels/train and data.yaml."""
    draw(folder / "images" / "train", all_pictures)
    (folder / "labels" / "train").mkdir(parents=True)
    for picture in all_pictures:
        (folder / "labels" / "train" / f"{Path(picture.name).stem}.txt").write_text(yolo_lines(picture))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/train\nnames:\n{names}")
    return folder


def write_csv(folder: Path, all_pictures: Sequence[Picture]) -> Path:
    """A plain CSV file, a line for each object."""
    draw(folder, all_pictures)
    lines = ["filename,xmin,ymin,xmax,ymax,species"]
    lines += [
        ",".join(map(str, (picture.name, *corners, name)))
        for picture in all_pictures
        for name, *corners in picture.objects or (("daisy", "", "", "", ""),)
    ]
    (folder / "flowers.csv").write_text("\n".join(lines) + "\n")
    return folder
