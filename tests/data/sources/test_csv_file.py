"""Images that a CSV file lists."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnntrain.data.sources.csv_file import CsvFile
from cnntrain.errors import DataError
from cnntrain.experiment import read_choice


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of twelve images."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (4, 3), (20 * number, 0, 0)).save(folder / f"sub/{number}.png")
    return folder


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """A CSV file of these lines."""
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def twelve(template: str) -> list[str]:
    """A line for each image: `template` with its number, a class and a group."""
    return [template.format(n=n, label="cat" if n % 2 else "dog", group=f"g{n // 4}") for n in range(12)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_found_by_name_whatever_separates_them(
    photos: Path, delimiter: str, encoding: str
) -> None:
    lines = [
        line.replace(",", delimiter)
        for line in ("species,note,file", *twelve('{label},"a, b; c",sub/{n}.png'))
    ]
    path = write(photos, *lines, "", encoding=encoding)
    table = CsvFile(path=path, image_column="file", label_column="species").table()
    assert table.class_names == ("cat", "dog")
    assert list(table.names.paths or ()) == [f"sub/{n}.png" for n in range(12)]
    assert table.labels.tolist() == [1, 0] * 6
    assert int(table.images.read(np.int64(3))[0, 0, 0]) == 60


def test_a_split_column_makes_the_parts(photos: Path) -> None:
    words = ["Test", "train", "val", "train"]
    lines = [f"{line},{words[number % 4]}" for number, line in enumerate(twelve("sub/{n}.png,{label}"))]
    labeled = CsvFile(path=write(photos, "image,label,split", *lines), split_column="split").load()
    table = labeled.train.table
    assert [table.names[row] for row in labeled.test.rows] == ["sub/0.png", "sub/4.png", "sub/8.png"]
    assert [table.names[row] for row in labeled.validation.rows] == ["sub/2.png", "sub/6.png", "sub/10.png"]
    assert len(labeled.train) == 6


def test_members_of_a_group_stay_in_one_split(photos: Path) -> None:
    path = write(photos, "image,label,patient", *twelve("sub/{n}.png,{label},{group}"))
    labeled = CsvFile(path=path, group_column="patient", test=0.3, validation=0.3).load()
    groups = [
        set(labeled.train.table.groups[labeled.split(name).rows])
        for name in ("train", "validation", "test")
    ]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_labels_that_are_numbers_keep_their_order(photos: Path) -> None:
    lines = [f"sub/{n}.png,{(2, 10, 1)[n % 3]}" for n in range(12)]
    assert CsvFile(path=write(photos, "image,label", *lines)).table().class_names == ("1", "2", "10")


def test_paths_may_be_absolute_or_relative_to_a_root_of_their_own(photos: Path, tmp_path: Path) -> None:
    lines = twelve("{n}.png,{label}")
    lines[0] = f"{photos}/sub/0.png,dog"
    table = CsvFile(path=write(tmp_path, "image,label", *lines), root=photos / "sub").table()
    assert list(table.names.paths or ())[:2] == ["0.png", "1.png"]


def test_a_bad_image_is_quarantined_as_in_a_folder(photos: Path) -> None:
    (photos / "sub/5.png").write_bytes(b"")
    table = CsvFile(path=write(photos, "image,label", *twelve("sub/{n}.png,{label}"))).table()
    assert table.quarantined == (("sub/5.png", "the file is empty"),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sub/99.png,cat", r"1 of 13 lines can't be used:\n  line 14: there is no file .*/photos/sub/99.png"),
        (
            "../secret.png,cat",
            r"line 14: expected the path of a file in data.root=.*/photos; found '../secret.png'",
        ),
        ("sub/../../photos2/a.png,cat", "line 14: expected the path of a file in data.root="),
        ("/etc/passwd,cat", "line 14: expected the path of a file in data.root=.*; found '/etc/passwd'"),
        (",cat", "line 14: expected the path of a file"),
        ("sub/3.png", "line 14: expected 2 columns; found 1"),
        ('sub/3.png,"cat', "line 14: unexpected end of data"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(photos: Path, line: str, message: str) -> None:
    path = write(photos, "image,label", *twelve("sub/{n}.png,{label}"), line)
    with pytest.raises(DataError, match=message):
        CsvFile(path=path).table()


def test_many_wrong_lines_are_counted_and_the_first_shown(photos: Path) -> None:
    path = write(photos, "image,label", *twelve("{n}.png,{label}"))
    with pytest.raises(
        DataError, match=r"12 of 12 lines can't be used:\n(  line \d+: there is no file .*\n){5}  …$"
    ):
        CsvFile(path=path).table()


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("imege,label\na,b\n", {}, "data.image_column=image: .* has no such column: did you mean imege?"),
        ("image,label,label\na,b,c\n", {}, "data.label_column=label: .* has 2 columns of this name"),
        ("image,label\n", {}, "expected a line for each image below the header; there is none"),
        ("", {}, "data.image_column=image: .* has no such column: valid: none"),
        ("image,label\nsub/0.png,\n", {}, "line 2: the label is empty"),
        ("image,label\nsub/0.png,a\n", {}, r"expected at least two classes; found \['a'\]"),
        (
            "image,label,s\nsub/0.png,a,dev\n",
            {"split_column": "s"},
            "line 2: expected train, validation or test as split",
        ),
    ],
)
def test_what_is_wrong_with_the_file_is_said(
    photos: Path, content: str, settings: dict, message: str
) -> None:
    path = photos / "labels.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        CsvFile(path=path, **settings).table()


def test_a_file_that_is_missing_is_named(photos: Path) -> None:
    with pytest.raises(DataError, match="data.path=.*nowhere.csv: can't be read: No such file or directory"):
        CsvFile(path=photos / "nowhere.csv").table()


TABLES = [  # what tables are like, the settings that read them, the lines left out, what is said
    ("backslashes", [r"sub\{n}.png,{label}"], {}, [], ""),
    ("no suffix", ["sub/{n},{label}"], {"suffix": ".png"}, [], ""),
    ("no suffix, and only one file fits", ["sub/{n},{label}"], {}, [], ""),
    ("spaces around labels", ["sub/{n}.png, {label} "], {}, [], ""),
    ("a repeated line", ["sub/{n}.png,{label}", "sub/3.png,cat"], {}, ["line 14: repeats sub/3.png of line 5"], ""),
    (
        "a conflict",
        ["sub/{n}.png,{label}", "sub/3.png,dog"],
        {},
        [f"line {line}: sub/3.png is cat in line 5 and dog in line 14" for line in (5, 14)],
        "",
    ),
    ("an empty label", ["sub/{n}.png,{label}", "sub/3.png, "], {}, ["line 14: the label is empty"], ""),
    (
        "several labels in one cell",
        ["sub/{n}.png,{label}", "sub/3.png,cat|dog"],
        {"max_bad_fraction": 0.5},
        [f"line {line}: sub/3.png is cat in line 5 and cat|dog in line 14" for line in (5, 14)],
        "",
    ),
]


@pytest.mark.parametrize(("what", "templates", "settings", "left_out", "note"), TABLES)
def test_tables_as_people_have_them(photos, what, templates, settings, left_out, note) -> None:
    lines = [*twelve(templates[0]), *templates[1:]]
    table = CsvFile(path=write(photos, "image,label", *lines), **{"max_bad_fraction": 0.2, **settings}).table()
    assert table.class_names == ("cat", "dog")
    assert [f"{name}: {reason}" for name, reason in table.quarantined] == left_out
    assert len(table.labels) == 12 - (len(left_out) == 2)
    assert set(table.names.paths or ()) <= {f"sub/{n}.png" for n in range(12)}
    assert table.notes == ()


def test_more_bad_lines_than_may_be_end_a_run_with_their_numbers(photos) -> None:
    path = write(photos, "image,label", *twelve("sub/{n}.png,{label}"), "sub/3.png,cat", "", "sub/4.png,cat")
    message = (
        r"3 of 14 lines can't be used, more than data.max_bad_fraction=0.1:\n"
        r"  line 6: sub/4.png is dog in line 6 and cat in line 16\n"
        r"  line 14: repeats sub/3.png of line 5\n  line 16: "
    )
    with pytest.raises(DataError, match=message):
        CsvFile(path=path).table()


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE"), ("latin-1", "Latin-1")],
)
def test_other_encodings_are_read_and_said(cnntrain, photos, tmp_path, encoding, name) -> None:
    path = write(photos, "image,label", *twelve("sub/{n}.png,{label}ö"), encoding=encoding)
    table = CsvFile(path=path).table()
    assert table.class_names == ("catö", "dogö")
    assert len(table.notes) == 1 and f"is no UTF-8 text: it was read as {name}" in table.notes[0]


def test_whole_numbers_with_decimals_are_the_same_labels(photos) -> None:
    lines = [f"sub/{n}.png,{('0', '1.0', '0.0', '1')[n % 4]}" for n in range(12)]
    table = CsvFile(path=write(photos, "image,label", *lines)).table()
    assert (table.class_names, table.labels.tolist()) == (("0", "1"), [0, 1] * 6)


def test_several_labels_in_one_cell_are_said(cnntrain, photos, tmp_path) -> None:
    lines = [f"sub/{n}.png,{('cat', 'dog', 'cat|dog')[n % 3]}" for n in range(12)]
    path = write(photos, "image,label", *lines)
    code, output = cnntrain(
        "experiment=smoke", "data=csv", f"data.path={path}", "report=false", f"hydra.run.dir={tmp_path / 'run'}"
    )
    assert code == 0
    assert "warning: classes such as 'cat|dog' look like several labels in one cell" in output


def test_columns_of_classes_hold_one_1_in_each_line(photos) -> None:
    lines = [f"sub/{n}.png,{','.join(str(int(n % 3 == place)) for place in range(3))}" for n in range(12)]
    path = write(photos, "image,cat,dog,bird", *lines, "sub/0.png,1,1,0", "sub/1.png,0,0,0", "sub/2.png,0,0,2")
    table = CsvFile(path=path, label_columns=("cat", "dog", "bird"), max_bad_fraction=0.2).table()
    assert [table.class_names[label] for label in table.labels] == ["cat", "dog", "bird"] * 4
    reason = "expected 1 in one of the columns of classes, and 0 in the others"
    assert table.quarantined == tuple((f"line {line}", reason) for line in (14, 15, 16))


def test_the_configuration_knows_csv_and_its_keys() -> None:
    built, problems = read_choice("data", {"source": "csv", "path": "a.csv", "background": [1, 2, 3]})
    assert not problems and built.background == (1, 2, 3)
    _, problems = read_choice("data", {"source": "csv", "path": "a.csv", "background": [1, 2, 300]})
    assert problems == [
        "data.background: expected text or a list of a whole number from 0 to 255; received [1, 2, 300]"
    ]
