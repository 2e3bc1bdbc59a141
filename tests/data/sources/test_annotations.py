"""Boxes as people have them: every tool's files give the same arrays, and mistakes in them are named."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnntrain.data.examples import Table
from cnntrain.data.sources.annotations import Annotations
from cnntrain.data.sources.csv_file import CsvFile
from cnntrain.errors import DataError
from tests.data.sources import annotation_writers as writers
from tests.data.sources.annotation_writers import CLASSES, Picture, boxes_of, pictures

WRITERS = {
    "labelimg": writers.write_labelimg,
    "coco": writers.write_coco,
    "via_json": writers.write_via_json,
    "via_project": lambda folder, all_pictures: writers.write_via_json(folder, all_pictures, project=True),
    "via_csv": writers.write_via_csv,
    "yolo_labelimg": writers.write_yolo_labelimg,
    "yolo_ultralytics": writers.write_yolo_ultralytics,
}
TWO = (("daisy", 2, 2, 12, 12), ("rose", 5, 5, 35, 30))  # the second is the larger


def read(path: Path, **settings: object) -> Table:
    return Annotations(path=path, **settings).table()


def read_csv(folder: Path, **settings: object) -> Table:
    columns = {"image_column": "filename", "label_column": "species", "box_columns": ("xmin", "ymin", "xmax", "ymax")}
    return CsvFile(path=folder / "flowers.csv", **{**columns, **settings}).table()


def labels(table: Table) -> list[str]:
    return [table.class_names[label] for label in table.labels]


def base_names(table: Table) -> list[str]:
    return [Path(path).name for path in table.names.paths or ()]


@pytest.mark.parametrize("tool", WRITERS)
def test_the_same_pictures_of_every_tool_give_the_same_arrays(tmp_path, tool):
    table = read(WRITERS[tool](tmp_path / "data", pictures()))
    assert base_names(table) == [f"{number}.png" for number in range(10)]
    assert table.class_names == CLASSES
    assert labels(table) == [CLASSES[number % 3] for number in range(10)]
    np.testing.assert_allclose(table.boxes, boxes_of(pictures()), atol=2e-6)
    assert table.boxes.dtype == np.float32


def test_a_plain_csv_with_box_columns_gives_the_same_arrays(tmp_path):
    table = read_csv(writers.write_csv(tmp_path, pictures()))
    assert labels(table) == [CLASSES[number % 3] for number in range(10)]
    np.testing.assert_allclose(table.boxes, boxes_of(pictures()), atol=1e-6)


@pytest.mark.parametrize(
    ("form", "of"),
    [
        ("xywh", lambda left, top, right, bottom, *_: (left, top, right - left, bottom - top)),
        ("rel_yxyx", lambda left, top, right, bottom, w, h: (top / h, left / w, bottom / h, right / w)),
        ("center_yxhw", lambda left, top, right, bottom, *_: (
            (top + bottom) / 2, (left + right) / 2, bottom - top, right - left)),
    ],
)  # fmt: skip
def test_a_csv_may_hold_boxes_in_any_form(tmp_path, form, of):
    writers.draw(tmp_path, pictures())
    lines = ["filename;a;b;c;d;species"]
    for picture in pictures():
        name, *corners = picture.objects[0]
        numbers = of(*corners, picture.width, picture.height)
        lines.append(";".join(map(str, (picture.name, *numbers, name))))
    (tmp_path / "flowers.csv").write_text("\n".join(lines))
    table = read_csv(tmp_path, box_columns=("a", "b", "c", "d"), box_form=form)
    np.testing.assert_allclose(table.boxes, boxes_of(pictures()), atol=1e-6)


def crowded() -> list[Picture]:
    """Ten pictures, of which the first has two objects and the second has none."""
    first, second, *others = pictures()
    return [dataclasses.replace(first, objects=TWO), dataclasses.replace(second, objects=()), *others]


@pytest.mark.parametrize("tool", WRITERS)
def test_of_several_objects_the_largest_or_the_first_counts_or_they_are_refused(tmp_path, tool):
    folder = WRITERS[tool](tmp_path / "data", crowded())
    largest, first = read(folder), read(folder, objects="first")
    assert (labels(largest)[0], labels(first)[0]) == ("rose", "daisy")
    assert len(largest.labels) == 9
    assert [(Path(path).name, reason) for path, reason in largest.quarantined] == [
        ("1.png", "no object in its annotation")
    ]
    np.testing.assert_allclose(first.boxes[0], boxes_of(crowded()[:1])[0], atol=2e-6)
    with pytest.raises(DataError, match="2 objects; data.objects=largest or first takes one"):
        read(folder, objects="refuse")


def test_a_csv_may_have_a_line_for_each_object_and_lines_without_a_box(tmp_path):
    folder = writers.write_csv(tmp_path, crowded())
    largest, first = read_csv(folder), read_csv(folder, objects="first")
    assert (labels(largest)[0], labels(first)[0]) == ("rose", "daisy")
    assert len(largest.labels) == 10 and not largest.boxes[1].any()
    with pytest.raises(DataError, match="line 3: 0.png stands in line 2 already"):
        read_csv(folder, objects="refuse")


def test_folders_of_images_and_annotations_may_be_parted(tmp_path):
    for part, numbers in (("train", range(6)), ("valid", range(6, 8)), ("test", range(8, 10))):
        chosen = [pictures()[number] for number in numbers]
        writers.draw(tmp_path / part / "images", chosen)
        (tmp_path / part / "labels").mkdir()
        for picture in chosen:
            text = writers.yolo_lines(picture)
            (tmp_path / part / "labels" / f"{Path(picture.name).stem}.txt").write_text(text)
    (tmp_path / "data.yaml").write_text(f"train: ../train/images\nnames: {list(CLASSES)}\n")
    (tmp_path / "README.txt").write_text("Exported by a tool.\n")
    labeled = Annotations(path=tmp_path).load()
    assert [len(labeled.split(name)) for name in ("train", "validation", "test")] == [6, 2, 2]
    np.testing.assert_allclose(labeled.train.table.boxes[:6], boxes_of(pictures()[:6]), atol=2e-6)


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for part in ("train", "val"):
        writers.draw(tmp_path / "images" / part, pictures(3))
        (tmp_path / "labels" / part).mkdir(parents=True)
        for picture in pictures(3):
            path = tmp_path / "labels" / part / f"{Path(picture.name).stem}.txt"
            path.write_text(writers.yolo_lines(picture))
    assert Annotations(path=tmp_path).table().parts == {"train": (0, 3), "validation": (3, 6)}


def test_images_may_lie_elsewhere_and_be_renamed_in_voc(tmp_path):
    writers.write_labelimg(tmp_path / "xml", pictures())
    (tmp_path / "photos").mkdir()
    for picture in pictures():
        (tmp_path / "xml" / picture.name).rename(tmp_path / "photos" / picture.name)
    text = (tmp_path / "xml" / "3.xml").read_text()
    (tmp_path / "xml" / "3.xml").write_text(text.replace("3.png", "IMG_0003.PNG"))
    table = read(tmp_path / "xml", images=tmp_path / "photos")
    np.testing.assert_allclose(table.boxes, boxes_of(pictures()), atol=1e-6)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_boxes_are_those_of_the_upright_image(tmp_path, orientation):
    """LabelImg and VIA draw on the upright image; a tool that ignores EXIF tells by the size that it writes."""
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[10:20, 30:55] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(stored).save(tmp_path / "b.png")
    writers.draw(tmp_path, [])
    told = [Picture("a.png", 60, 40, (("rose", 30, 10, 55, 20),)), Picture("b.png", 60, 40, (("daisy", 1, 1, 9, 9),))]
    draw, writers.draw = writers.draw, lambda *_: None
    try:
        writers.write_labelimg(tmp_path, told)
    finally:
        writers.draw = draw
    table = read(tmp_path)
    upright = table.images.read(0).numpy()[..., 0] > 127
    rows, columns = np.flatnonzero(upright.any(1)), np.flatnonzero(upright.any(0))
    height, width = upright.shape
    seen = [(rows[0] + rows[-1] + 1) / 2 / height, (columns[0] + columns[-1] + 1) / 2 / width,
            len(rows) / height, len(columns) / width]  # fmt: skip
    if orientation == 3:  # turned by half: the size can't tell, and tools draw on what they show
        seen[:2] = [15 / 40, 42.5 / 60]
    np.testing.assert_allclose(table.boxes[0], seen, atol=1e-6)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def box_of(picture: Picture) -> tuple[int, int, int, int]:
    return picture.objects[0][1:]


def test_boxes_that_cannot_be_right_are_all_named_at_once(tmp_path):
    first, second, third, *others = pictures()
    name, left, top, right, bottom = first.objects[0]
    folder = writers.write_via_json(tmp_path, [
        dataclasses.replace(first, objects=((name, left, top, 300, bottom),)),
        dataclasses.replace(second, objects=(("rose", 5, 5, 5, 9),)),
        third,
        *others,
    ])  # fmt: skip
    with pytest.raises(DataError) as error:
        read(folder)
    said = str(error.value)
    assert said.startswith("2 of 10 boxes can't be used; mend or remove them:")
    assert f"0.png: the box leaves its image of {first.width}×{first.height} pixels: left {left}" in said
    assert "1.png: the box has no area: 0 wide, 4 high" in said


def test_a_box_a_pixel_outside_is_cut_off(tmp_path):
    first, *others = pictures(2)
    outside = dataclasses.replace(first, objects=(("daisy", 5, 5, first.width + 1, first.height + 1),))
    table = read(writers.write_via_csv(tmp_path, [outside, *others]))
    assert table.boxes[0, :2] + table.boxes[0, 2:] / 2 == pytest.approx([1, 1])


def test_a_box_that_was_drawn_on_another_image_is_named_and_on_a_scaled_copy_is_right(tmp_path):
    folder = writers.write_labelimg(tmp_path, pictures())
    Image.new("RGB", (pictures()[2].width * 3, pictures()[2].height * 3)).save(folder / "2.png")
    np.testing.assert_allclose(read(folder).boxes, boxes_of(pictures()), atol=1e-6)
    Image.new("RGB", (100, 20)).save(folder / "2.png")
    size = f"{pictures()[2].width}×{pictures()[2].height}"
    with pytest.raises(DataError, match=f"2.xml: was drawn on an image of {size} pixels; the image has 100×20"):
        read(folder)


def test_missing_images_are_all_named_at_once(tmp_path):
    folder = writers.write_yolo_ultralytics(tmp_path, pictures())
    for name in ("2.png", "7.png"):
        (folder / "images" / "train" / name).unlink()
    with pytest.raises(DataError, match="2 of the annotations of .* can't be used") as error:
        Annotations(path=folder).check()
    assert "labels/train/2.txt: there is no image 2 below" in str(error.value)
    assert "labels/train/7.txt: there is no image 7 below" in str(error.value)


@pytest.mark.parametrize(
    ("tool", "file", "old", "new", "message"),
    [
        ("labelimg", "4.xml", "<annotation>", '<!DOCTYPE a [<!ENTITY x "y">]><annotation>',
         "4.xml: declares a document type, which is refused"),
        ("labelimg", "4.xml", "</annotation>", "", "4.xml: expected XML: "),
        ("labelimg", "4.xml", "<name>rose</name>", "", "4.xml: expected <name> and <bndbox>"),
        ("labelimg", "4.xml", "<xmin>", "<xmin>x", r"4.xml: expected four numbers as a box; found \['x"),
        ("coco", "annotations/instances_train2017.json", '"image_id": 104', '"image_id": 999',
         "annotation 4: there is no image of the id 999"),
        ("coco", "annotations/instances_train2017.json", '"category_id": 8', '"category_id": 9',
         "annotation 1: there is no category of the id 9"),
        ("coco", "annotations/instances_train2017.json", '"bbox": [', '"bbox": [1, ', "annotation 0: expected four"),
        ("via_json", "via_region_data.json", '"rect"', '"circle"',
         "0.png, region 0: expected a rectangle; found 'circle'"),
        ("via_json", "via_region_data.json", '{"flower": "daisy"}', "{}",
         r"which attribute is the class\? data.label_attribute names it; found \[\]"),
        ("via_json", "via_region_data.json", '{"flower": "daisy"}', '{"a": 1, "b": 2}', r"found \['a', 'b'\]"),
        ("yolo_labelimg", "4.txt", "1 ", "7 ", "4.txt, line 1: expected a class below 3, of which there are names"),
        ("yolo_labelimg", "4.txt", "1 0", "1 x", r"4.txt, line 1: expected four numbers as a box; found \['x"),
        ("yolo_ultralytics", "labels/train/4.txt", "1 ", "1 0.1 0.2 ", "line 1: expected a class's number and four"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(tmp_path, tool, file, old, new, message):
    folder = WRITERS[tool](tmp_path, pictures())
    replace(folder / file, old, new)
    with pytest.raises(DataError, match=message):
        Annotations(path=folder).listing()


def test_an_entity_attack_costs_nothing(tmp_path):
    folder = writers.write_labelimg(tmp_path, pictures(2))
    bomb = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    replace(folder / "0.xml", "<annotation>", f'<!DOCTYPE b [<!ENTITY a0 "ha">{bomb}]><annotation>&a11;')
    (tmp_path / "secret").write_text("secret")
    replace(folder / "1.xml", "<annotation>", f'<!DOCTYPE b SYSTEM "file://{tmp_path}/secret"><annotation>')
    with pytest.raises(DataError, match="0.xml: declares a document type(.|\n)*1.xml: declares a document type"):
        read(folder)


def test_the_attribute_that_holds_the_class_can_be_named(tmp_path):
    folder = writers.write_via_json(tmp_path, pictures())
    path = folder / "via_region_data.json"
    path.write_text(path.read_text().replace('{"flower":', '{"note": "x", "flower":'))
    assert read(folder, label_attribute="flower").class_names == CLASSES
    checkbox = path.read_text().replace('"flower": "daisy"', '"flower": {"daisy": true, "rose": false}')
    path.write_text(checkbox)
    assert read(folder, label_attribute="flower").class_names == CLASSES


@pytest.mark.parametrize(
    ("write", "settings", "message"),
    [
        (lambda root: None, {}, "expected annotations of Pascal VOC, COCO, VGG Image Annotator, YOLO; there are none"),
        (lambda root: writers.write_labelimg(root, pictures()), {"format": "coco"}, "expected annotations of COCO"),
        (lambda root: (writers.write_labelimg(root, pictures()), writers.write_via_csv(root, pictures())), {},
         "holds annotations as via and voc; choose one, such as data.format=via"),
        (lambda root: writers.write_coco(root, [dataclasses.replace(p, objects=()) for p in pictures()]), {},
         "no annotated image has an object"),
    ],
)  # fmt: skip
def test_a_folder_without_the_one_kind_of_annotations_is_refused(tmp_path, write, settings, message):
    write(tmp_path)
    with pytest.raises(DataError, match=message):
        Annotations(path=tmp_path, **settings).listing()


def test_an_explicit_format_wins(tmp_path):
    writers.write_labelimg(tmp_path, pictures())
    writers.write_yolo_labelimg(tmp_path, pictures())
    assert len(read(tmp_path, format="yolo").labels) == len(read(tmp_path, format="voc").labels) == 10


def test_one_file_alone_can_be_the_path(tmp_path):
    folder = writers.write_coco(tmp_path, pictures())
    table = read(folder / "annotations" / "instances_train2017.json", images=folder / "train2017")
    np.testing.assert_allclose(table.boxes, boxes_of(pictures()), atol=1e-6)
    with pytest.raises(DataError, match="data.path=.*nowhere: does not exist"):
        Annotations(path=tmp_path / "nowhere").check()
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match="data.path=.*x.json: expected annotations of"):
        Annotations(path=tmp_path / "x.json").check()


def test_files_that_are_none_of_the_tools_do_not_disturb(tmp_path):
    folder = writers.write_labelimg(tmp_path, pictures())
    (folder / "notes.txt").write_bytes("Blüten".encode("latin-1"))
    (folder / "package.json").write_text("{")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    assert len(read(folder).labels) == 10


def test_a_broken_file_among_good_ones_is_named(tmp_path):
    folder = writers.write_coco(tmp_path, pictures())
    (folder / "annotations" / "instances_val2017.json").write_text('{"images": [')
    with pytest.raises(DataError, match="instances_val2017.json: expected JSON: "):
        read(folder)
