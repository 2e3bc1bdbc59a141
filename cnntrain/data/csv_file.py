"""A table of image files and their labels."""

import contextlib
import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.drawn_boxes import DrawnBoxes, Form, Objects, area
from cnntrain.data.file_source import NAMED, FileSource, Listing, printable
from cnntrain.data.folder import PARTS
from cnntrain.data.formats.told import Numbers, four_numbers
from cnntrain.errors import DataError
from cnntrain.settings import unknown
from cnntrain.wording import counted

DELIMITERS = ",;\t|"
PART_OF_WORD = {word: part for part, words in PARTS.items() for word in words}


@dataclass(frozen=True, kw_only=True)
class CsvFile(FileSource):
    """A CSV file with a header, and a line for each image.

    `image_column` holds paths relative to `root` (null: the file's folder) and `label_column` class names.
    `split_column`, if named, holds train, validation or test. Lines with the same text in `group_column`,
    such as all images of one patient, are never divided between splits. Columns are separated by comma,
    semicolon, tab or |, whichever the header has most of.

    `box_columns` are four that hold a box, in the form of `box_form`, which is Keras's name for it: by default left,
    top, right and bottom in pixels; rel_… are fractions. All four may be empty. Then an image may have several
    lines, one an object, of which the one with the `largest` box counts, or the `first`, or they are refused.
    """

    source: str = "csv"
    path: Path
    root: Path | None = None
    image_column: str = "image"
    label_column: str = "label"
    split_column: str | None = None
    group_column: str | None = None
    box_columns: tuple[str, str, str, str] | None = None
    box_form: Form = "xyxy"
    objects: Objects = "largest"

    def title(self) -> str:
        """What the data are, in words."""
        return f"CSV file {self.path}"

    def listing(self) -> Listing:
        """All lines, part by part and in the file's order within one."""
        path = self.path.expanduser()
        root = Path(os.path.abspath((self.root or path.parent).expanduser()))
        lines = read_lines(path, self.columns())
        names = [inside(root, line.values["image"]) for line in lines]
        refuse_bad_lines(path, root, lines, names, several=self.box_columns is not None and self.objects != "refuse")
        if self.box_columns:
            kept = self.lines_that_count(lines, names)
            lines, names = [lines[number] for number in kept], [names[number] for number in kept]
        words = [line.values.get("split", "train").strip().lower() for line in lines]
        order = sorted(range(len(lines)), key=lambda number: list(PARTS).index(PART_OF_WORD[words[number]]))
        labels = [lines[number].values["label"] for number in order]
        class_names = sorted_names(labels)
        numbers = {name: number for number, name in enumerate(class_names)}
        groups = [lines[number].values.get("group", "") for number in order]
        return Listing(
            root=root,
            names=[names[number] or "" for number in order],
            labels=np.array([numbers[label] for label in labels], np.int64),
            class_names=class_names,
            parts=spans([PART_OF_WORD[words[number]] for number in order]),
            groups=np.unique(groups, return_inverse=True)[1] if self.group_column else None,
            boxes=self.boxes(path, [lines[number] for number in order]) if self.box_columns else None,
        )

    def lines_that_count(self, lines: Sequence["Line"], names: Sequence[str | None]) -> list[int]:
        """The number of one line for each image, in the order of their first ones."""
        numbers: dict[str | None, list[int]] = defaultdict(list)
        for number, name in enumerate(names):
            numbers[name].append(number)
        if self.objects == "first":
            return [of_image[0] for of_image in numbers.values()]
        areas = [area(line.box or (0, 0, 0, 0), self.box_form) for line in lines]
        return [max(of_image, key=lambda number: areas[number]) for of_image in numbers.values()]

    def boxes(self, path: Path, lines: Sequence["Line"]) -> DrawnBoxes:
        """The lines' boxes."""
        return DrawnBoxes(
            form=self.box_form,
            numbers=np.array([line.box or (np.nan,) * 4 for line in lines], float),
            sizes=np.zeros((len(lines), 2)),
            places=[f"{path}, line {line.number}" for line in lines],
        )

    def columns(self) -> dict[str, tuple[str, str]]:
        """What is read: the key that names its column, and the column's name."""
        keys = ("image_column", "label_column", "split_column", "group_column")
        columns = {key.removesuffix("_column"): (key, getattr(self, key)) for key in keys if getattr(self, key)}
        return columns | {f"box {n}": ("box_columns", name) for n, name in enumerate(self.box_columns or ())}


@dataclass(frozen=True)
class Line:
    """What was read of a line: `image`, `label`, and if asked for `split`, `group`, and `box 0` to `box 3`."""

    number: int
    values: Mapping[str, str]

    @property
    def box(self) -> Numbers | None:
        """The box, None where there is none; raises ValueError for what is no number."""
        texts = [text.strip() for name, text in self.values.items() if name.startswith("box ")]
        return four_numbers(texts) if any(texts) else None


def read_lines(path: Path, columns: Mapping[str, tuple[str, str]]) -> list[Line]:
    """All lines but empty ones; raises DataError where the file or one of its columns can't be read."""
    lines = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=header_line.count), strict=True)
            header = [name.strip() for name in next(reader, [])]
            places = {what: place(path, header, *column) for what, column in columns.items()}
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    columns_found = f"expected {len(header)} columns; found {len(row)}"
                    raise DataError(f"{path}, line {reader.line_num}: {columns_found}")
                lines.append(Line(reader.line_num, {what: row[column] for what, column in places.items()}))
    except OSError as error:
        raise DataError(f"data.path={path}: can't be read: {error.strerror}; expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"data.path={path}: expected UTF-8 text; {error}; save the file as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not lines:
        raise DataError(f"data.path={path}: expected a line for each image below the header; there is none")
    return lines


def place(path: Path, header: Sequence[str], key: str, name: str) -> int:
    """A column's number."""
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise DataError(f"data.{key}={name}: {path} has {header.count(name)} columns of this name")
    raise DataError(unknown(f"data.{key}={name}: {path} has no such column", name, header))


def inside(root: Path, text: str) -> str | None:
    """A path relative to the root, None where it leads out of it or stands for no file."""
    relative = os.path.relpath(os.path.join(root, text.strip()), root) if text.strip() else "."
    return None if relative == "." or relative.split(os.sep)[0] == ".." else relative


def refuse_bad_lines(
    path: Path, root: Path, lines: Sequence[Line], names: Sequence[str | None], *, several: bool
) -> None:
    """Raises DataError with the number and first few of the lines that don't say what is wanted.

    `several`: an image may have several lines.
    """
    problems = []
    first_line: dict[str | None, int] = {}
    for line, name in zip(lines, names, strict=True):
        text, split = line.values["image"], line.values.get("split", "train")
        if name is None:
            problem = f"expected the path of a file in data.root={root}; found {printable(text)!r}"
        elif not line.values["label"]:
            problem = "the label is empty"
        elif split.strip().lower() not in PART_OF_WORD:
            problem = f"expected train, validation or test as split; found {split!r}"
        elif name in first_line and not several:
            problem = f"{printable(name)} stands in line {first_line[name]} already; name each file once"
        elif not os.path.lexists(root / name):
            problem = f"there is no file {printable(str(root / name))}"
        elif not has_numbers(line):
            problem = "expected four numbers as a box, or nothing"
        else:
            first_line[name] = line.number
            continue
        problems.append(f"  line {line.number}: {problem}")
    if problems:
        more = ["  …"] if len(problems) > NAMED else []
        count = f"{len(problems):,} of {counted(len(lines), 'line')} can't be used"
        raise DataError("\n".join([f"data.path={path}: {count}:", *problems[:NAMED], *more]))


def has_numbers(line: Line) -> bool:
    """Whether a line's box can be read, or it has none."""
    with contextlib.suppress(ValueError):
        _ = line.box
        return True
    return False


def sorted_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels in order; raises DataError where there is only one."""
    names = in_order(labels)
    if len(names) < 2:
        raise DataError(f"data.label_column: expected at least two classes; found {list(names)}")
    return names


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels: whole numbers by value, else by text."""
    names = sorted(set(labels))
    if all(name.removeprefix("-").isdecimal() for name in names):
        names.sort(key=int)
    return tuple(names)


def spans(parts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The (start, stop) of each part, of a list in which a part's entries stand together."""
    return {part: (parts.index(part), parts.index(part) + parts.count(part)) for part in dict.fromkeys(parts)}
