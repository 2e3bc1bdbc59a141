"""Pascal VOC's XML, one file per image, as written by LabelImg and many others.

Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/. Corners are taken as points between pixels, as in
TensorFlow Datasets; VOC's own data counts pixels from 1, and so is half a pixel off.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cnntrain.data.sources.formats.annotation import Numbers, Told, four_numbers, told_size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FORM = "xyxy"
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(path: str, content: bytes, problems: list[str]) -> Iterator[Told]:
    """The one image in a file. Document types, which can make XML read files or fill memory, are refused."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(content, forbid_dtd=True)
        objects = tuple(map(labeled_box, root.iter("object")))
    except ParseError as error:
        problems.append(f"{path}: expected XML: {error}")
    except DefusedXmlException:
        problems.append(f"{path}: declares a document type, which is refused; remove its <!DOCTYPE …>")
    except ValueError as error:
        problems.append(f"{path}: {error}")
    else:
        stem = os.path.splitext(os.path.basename(path))[0]  # LabelImg matches by it: files may be renamed later
        name = (root.findtext("filename") or "").strip() or stem
        size = told_size(root.findtext("size/height"), root.findtext("size/width"))
        yield Told(path, os.path.dirname(path), (name, stem), size, objects)


def labeled_box(element: "Element") -> tuple[str, Numbers]:
    """The class and box of an object; raises ValueError."""
    name = (element.findtext("name") or "").strip()
    values = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
    if not name or None in values:
        raise ValueError("expected <name> and <bndbox> with xmin, ymin, xmax and ymax in each <object>")
    return name, four_numbers(values)
