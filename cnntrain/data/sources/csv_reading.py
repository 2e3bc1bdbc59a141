"""The text of a table: its encoding, its columns, its lines."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnntrain.data.sources.formats.annotation import Numbers, four_numbers
from cnntrain.did_you_mean import unknown
from cnntrain.errors import DataError

DELIMITERS = ",;\t|"
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


@dataclass(frozen=True)
class Line:
    """The values in a line, by meaning: `image`, `label`, and if requested `split`, `group`, `box 0` to `box 3`, and
    `class NAME`."""

    number: int
    values: Mapping[str, str]

    @property
    def box(self) -> Numbers | None:
        """The box, or None; raises ValueError if a value is not a number."""
        texts = [text.strip() for name, text in self.values.items() if name.startswith("box ")]
        return four_numbers(texts) if any(texts) else None

    def of(self, prefix: str) -> dict[str, str]:
        """The values whose meaning begins with a word, by the rest of the meaning."""
        return {name.removeprefix(prefix): text for name, text in self.values.items() if name.startswith(prefix)}


def read_lines(path: Path, columns: Mapping[str, tuple[str, str]]) -> tuple[list[Line], str]:
    """All non-empty lines, and the encoding; raises DataError if the file or a column can't be read.

    `columns`: for each meaning, the key that names its column, and the column's name.
    """
    text, encoding = decoded(path)
    lines = []
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        places = {what: place(path, header, *column) for what, column in columns.items()}
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                columns_found = f"expected {len(header)} columns; found {len(row)}"
                raise DataError(f"{path}, line {reader.line_num}: {columns_found}")
            lines.append(Line(reader.line_num, {what: row[column] for what, column in places.items()}))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not lines:
        raise DataError(f"data.path={path}: expected a line for each image below the header; there is none")
    return lines, encoding


def decoded(path: Path) -> tuple[str, str]:
    """A file's text and its encoding: UTF-8, or the encodings of old and Windows programs."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"data.path={path}: can't be read: {error.strerror}; expected a CSV file") from error
    for encoding in candidates(content):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1"), "latin-1"  # accepts any byte


def candidates(content: bytes) -> list[str]:
    """The encodings that a file's bytes may be in, most likely first."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return [encoding]
    if b"\0" in content[1:2]:
        return ["utf-16-le"]
    if b"\0" in content[:1]:
        return ["utf-16-be"]
    return ["utf-8", "cp1252"]


def place(path: Path, header: Sequence[str], key: str, name: str) -> int:
    """A column's index."""
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise DataError(f"data.{key}={name}: {path} has {header.count(name)} columns of this name")
    raise DataError(unknown(f"data.{key}={name}: {path} has no such column", name, header))
