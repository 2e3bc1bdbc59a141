"""A table of image files and their labels."""

import contextlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.sources.csv_reading import Line, read_lines
from cnntrain.data.sources.drawn_boxes import DrawnBoxes, Form, Objects, area
from cnntrain.data.sources.file_names import FileNames
from cnntrain.data.sources.file_source import NAMED, FileSource, Listing
from cnntrain.data.sources.folder import PARTS
from cnntrain.errors import DataError
from cnntrain.runtime.wording import counted, printable
from cnntrain.settings import FilePath, Text

PART_OF_WORD = {word: part for part, words in PARTS.items() for word in words}
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")
SEPARATORS = "|;,"


@dataclass(frozen=True, kw_only=True)
class CsvFile(FileSource):
    """A CSV file with a header and one line per image.

    `image_column` holds paths relative to `root` (null: the file's folder), to which `suffix`, such as .jpg, is added
    (null: none, or that of the only file that matches). `label_column` holds class names; or `label_columns` has one
    column per class, with 1 in the column of the image's class and 0 in the others.
    `split_column`, if set, holds train, validation or test. Lines with the same text in `group_column`,
    such as all images of one patient, always stay in the same split. Columns are separated by comma,
    semicolon, tab or |, whichever is most frequent in the header. Text is UTF-8, UTF-16 or Latin-1.

    A line without a label, one that repeats a file, and all lines that give a file different labels are left out
    and listed; they count as bad files (`max_bad_fraction`).

    `box_columns` are four columns that hold a box, in the format `box_form`, under Keras's name: by default left,
    top, right and bottom in pixels; rel_… are fractions. All four may be empty. With boxes, an image may have several
    lines, one per object: the one with the `largest` box or the `first` is used, or they are refused.
    """

    source: str = "csv"
    path: FilePath
    root: FilePath | None = None
    image_column: Text = "image"
    label_column: Text = "label"
    label_columns: tuple[Text, ...] | None = None
    suffix: Text | None = None
    split_column: Text | None = None
    group_column: Text | None = None
    box_columns: tuple[Text, Text, Text, Text] | None = None
    box_form: Form = "xyxy"
    objects: Objects = "largest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_columns is not None and len(set(self.label_columns)) < 2:
            raise ValueError("label_columns: expected the names of at least two columns, one a class")

    def title(self) -> str:
        """A short description of the data."""
        return f"CSV file {self.path}"

    def listing(self) -> Listing:
        """All lines, part by part and in the file's order within each part."""
        path = self.path.expanduser()
        root = Path(os.path.abspath((self.root or path.parent).expanduser()))
        lines, encoding = read_lines(path, self.columns())
        names = FileNames(root, self.suffix).find_all(line.values["image"] for line in lines)
        self.refuse_wrong_lines(path, root, lines, names)
        labels = without_decimals([label_of(line) for line in lines])
        bad = bad_lines(lines, names, labels, one_line=not self.box_columns)
        self.refuse_too_many(path, lines, bad)
        kept = [number for number in range(len(lines)) if number not in bad]
        if self.box_columns:
            kept = self.lines_that_count(kept, lines, names)
        words = [line.values.get("split", "train").strip().lower() for line in lines]
        order = sorted(kept, key=lambda number: list(PARTS).index(PART_OF_WORD[words[number]]))
        class_names = sorted_names([labels[number] for number in order])
        numbers = {name: number for number, name in enumerate(class_names)}
        groups = [lines[number].values.get("group", "") for number in order]
        return Listing(
            root=root,
            names=[names[number] or "" for number in order],
            labels=np.array([numbers[labels[number]] for number in order], np.int64),
            class_names=class_names,
            parts=spans([PART_OF_WORD[words[number]] for number in order]),
            groups=np.unique(groups, return_inverse=True)[1] if self.group_column else None,
            boxes=self.boxes(path, [lines[number] for number in order]) if self.box_columns else None,
            bad_rows=tuple((f"line {lines[number].number}", reason) for number, reason in bad.items()),
            notes=(*encoding_note(path, encoding), *several_labels_note(class_names)),
        )

    def lines_that_count(
        self, kept: Sequence[int], lines: Sequence[Line], names: Sequence[str | None]
    ) -> list[int]:
        """The line numbers to use, one for each image, in the order of each image's first line."""
        numbers: dict[str | None, list[int]] = defaultdict(list)
        for number in kept:
            numbers[names[number]].append(number)
        if self.objects == "first":
            return [of_image[0] for of_image in numbers.values()]
        areas = {number: area(lines[number].box or (0, 0, 0, 0), self.box_form) for number in kept}
        return [max(of_image, key=lambda number: areas[number]) for of_image in numbers.values()]

    def boxes(self, path: Path, lines: Sequence[Line]) -> DrawnBoxes:
        """The boxes in the lines."""
        return DrawnBoxes(
            form=self.box_form,
            numbers=np.array([line.box or (np.nan,) * 4 for line in lines], float),
            sizes=np.zeros((len(lines), 2)),
            places=[f"{path}, line {line.number}" for line in lines],
        )

    def columns(self) -> dict[str, tuple[str, str]]:
        """The columns to read: for each meaning, the key that names its column, and the column's name."""
        keys = ["image_column", "split_column", "group_column", *([] if self.label_columns else ["label_column"])]
        columns = {key.removesuffix("_column"): (key, getattr(self, key)) for key in keys if getattr(self, key)}
        columns |= {f"class {name}": ("label_columns", name) for name in self.label_columns or ()}
        return columns | {f"box {n}": ("box_columns", name) for n, name in enumerate(self.box_columns or ())}

    def refuse_wrong_lines(
        self, path: Path, root: Path, lines: Sequence[Line], names: Sequence[str | None]
    ) -> None:
        """Raises DataError with the number of invalid lines and the first few of them."""
        problems = {}
        first_line: dict[str | None, int] = {}
        for number, (line, name) in enumerate(zip(lines, names, strict=True)):
            text, split = line.values["image"], line.values.get("split", "train")
            if name is None:
                problems[number] = f"expected the path of a file in data.root={root}; found {printable(text)!r}"
            elif split.strip().lower() not in PART_OF_WORD:
                problems[number] = f"expected train, validation or test as split; found {split!r}"
            elif self.box_columns and self.objects == "refuse" and name in first_line:
                stands = f"stands in line {first_line[name]} already"
                problems[number] = f"{printable(name)} {stands}; name each file once"
            elif not os.path.lexists(root / name):
                problems[number] = f"there is no file {printable(str(root / name))}"
            elif not has_numbers(line):
                problems[number] = "expected four numbers as a box, or nothing"
            else:
                first_line[name] = line.number
        if problems:
            raise DataError(unusable(path, {lines[n].number: text for n, text in problems.items()}, len(lines)))

    def refuse_too_many(self, path: Path, lines: Sequence[Line], bad: Mapping[int, str]) -> None:
        """Raises DataError if there are more bad lines than allowed."""
        if len(bad) > self.max_bad_fraction * len(lines):
            limit = f", more than data.max_bad_fraction={self.max_bad_fraction:g}"
            problems = {lines[number].number: text for number, text in bad.items()}
            raise DataError(unusable(path, problems, len(lines), limit=limit))


def unusable(path: Path, problems: Mapping[int, str], count: int, *, limit: str = "") -> str:
    """The text about lines that can't be used, by line number: the first few of them."""
    named = [f"  line {number}: {text}" for number, text in list(problems.items())[:NAMED]]
    more = ["  …"] if len(problems) > NAMED else []
    heading = f"data.path={path}: {len(problems):,} of {counted(count, 'line')} can't be used{limit}:"
    return "\n".join([heading, *named, *more])


def label_of(line: Line) -> str:
    """A line's class; empty if it has none or more than one."""
    columns = line.of("class ")
    if not columns:
        return line.values["label"].strip()
    values = {name: text.strip().lower() for name, text in columns.items()}
    chosen = [name for name, text in values.items() if text in YES]
    known = all(text in (*YES, *NO) for text in values.values())
    return chosen[0] if known and len(chosen) == 1 else ""


def without_decimals(labels: Sequence[str]) -> list[str]:
    """The labels; if all are numbers, whole numbers lose their decimals: 1.0 becomes 1."""
    if not all(re.fullmatch(r"-?\d+(\.\d+)?", label) for label in labels if label):
        return list(labels)
    return [re.sub(r"\.0+$", "", label) for label in labels]


def bad_lines(
    lines: Sequence[Line], names: Sequence[str | None], labels: Sequence[str], *, one_line: bool
) -> dict[int, str]:
    """The reasons why lines can't be used for training, by position. `one_line`: each image has one line."""
    bad: dict[int, str] = {}
    first: dict[str | None, int] = {}
    for position, (line, name, label) in enumerate(zip(lines, names, labels, strict=True)):
        before = first.get(name)
        if not label:
            expected = "expected 1 in one of the columns of classes, and 0 in the others"
            bad[position] = expected if line.of("class ") else "the label is empty"
        elif before is None or not one_line:
            first[name] = position
        elif labels[before] == label and lines[before].values.get("split") == line.values.get("split"):
            bad[position] = f"repeats {printable(name or '')} of line {lines[before].number}"
        else:
            said, other = in_words(lines[before], labels[before]), in_words(line, label)
            both = f"{said} in line {lines[before].number} and {other} in line {line.number}"
            where = f"{printable(name or '')} is {both}"
            bad |= {before: where, position: where}
    return dict(sorted(bad.items()))


def in_words(line: Line, label: str) -> str:
    """What a line says about its image."""
    split = line.values.get("split", "").strip()
    return printable(f"{label} ({split})" if split else label)


def encoding_note(path: Path, encoding: str) -> list[str]:
    """A note if a table is not in UTF-8."""
    names = {"cp1252": "Latin-1 (Windows-1252)", "latin-1": "Latin-1"}
    plain = encoding in ("utf-8", "utf-8-sig")
    return [] if plain else [f"{path} is no UTF-8 text: it was read as {names.get(encoding, encoding.upper())}"]


def several_labels_note(class_names: Sequence[str]) -> list[str]:
    """A note if classes look like several labels in one cell."""
    for separator in SEPARATORS:
        cells = [(name, [part.strip() for part in name.split(separator)]) for name in class_names]
        uses = Counter(part for _, parts in cells for part in set(parts))
        several = [name for name, parts in cells if len(parts) > 1 and all(parts) and any(uses[p] > 1 for p in parts)]
        if several:
            return [
                f"classes such as {printable(several[0])!r} look like several labels in one cell; here each such text"
                " is a class of its own. An image has one class: keep one label in a line, or leave such lines out"
            ]
    return []


def has_numbers(line: Line) -> bool:
    """Whether a line's box can be read, or is missing."""
    with contextlib.suppress(ValueError):
        _ = line.box
        return True
    return False


def sorted_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels in order; raises DataError if there is only one."""
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
    """The (start, stop) of each part, in a list where a part's entries are contiguous."""
    return {part: (parts.index(part), parts.index(part) + parts.count(part)) for part in dict.fromkeys(parts)}
