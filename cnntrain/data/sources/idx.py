"""MNIST's own file format, gzipped or not."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnntrain.data.examples import Names, Table
from cnntrain.data.sources.base import Source
from cnntrain.errors import DataError
from cnntrain.settings import FilePath, Text

PARTS = {"train": "train", "test": "t10k"}
LARGEST_GROWTH = 100  # images of digits compress to a tenth
ALWAYS_ALLOWED_BYTES = 2**26


@dataclass(frozen=True, kw_only=True)
class Idx(Source):
    """A folder of idx files: train-images-idx3-ubyte, train-labels-idx1-ubyte, and t10k-… for the test.

    `class_names` are in the order of the labels; null: the classes are named by their numbers.
    Source of the format: http://yann.lecun.com/exdb/mnist/.
    """

    source: str = "idx"
    path: FilePath
    class_names: tuple[Text, ...] | None = None

    def title(self) -> str:
        """A short description of the data."""
        return f"idx files in {self.path}"

    def table(self) -> Table:
        """Both parts: `train` and, if its files exist, `test`."""
        from cnntrain.data.images import ArrayImages

        folder = self.path.expanduser()
        pixels, labels, parts, start = [], [], {}, 0
        for part, prefix in PARTS.items():
            if part == "train" or find(folder, f"{prefix}-images-idx3-ubyte", needed=False):
                images = read_idx(find(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
                numbers = read_idx(find(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
                if len(images) != len(numbers):
                    raise DataError(f"{folder}: {part} has {len(images)} images and {len(numbers)} labels")
                pixels.append(images)
                labels.append(numbers.astype(np.int64))
                parts[part] = (start, start + len(images))
                start += len(images)
        return Table(
            images=ArrayImages(np.concatenate(pixels)[..., np.newaxis]),
            labels=np.concatenate(labels),
            ids=np.arange(start),
            names=Names("idx/"),
            class_names=self._names(int(max(part.max() for part in labels)) + 1),
            parts=parts,
        )

    def _names(self, count: int) -> tuple[str, ...]:
        names = self.class_names or tuple(str(number) for number in range(count))
        if len(names) < count:
            raise DataError(f"data.class_names: the labels need {count} names; received {len(names)}: {names}")
        return names


def find(folder: Path, name: str, *, needed: bool = True) -> Path | None:
    """The file with that name, gzipped or not; some copies have a dot before idx."""
    for candidate in (name, name.replace("-idx", ".idx")):
        for path in (folder / candidate, folder / f"{candidate}.gz"):
            if path.is_file():
                return path
    if needed:
        raise DataError(f"data.path={folder}: expected a file {name} or {name}.gz; there is none")
    return None


def read_idx(path: Path | None, *, dimensions: int) -> np.ndarray:
    """The uint8 array in an idx file with `dimensions`; raises DataError if the file is damaged."""
    if path is None:
        raise DataError("an idx file is missing")
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(max(ALWAYS_ALLOWED_BYTES, LARGEST_GROWTH * path.stat().st_size))
            rest = file.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    if rest:
        raise DataError(f"{path}: unpacks to more than {LARGEST_GROWTH} times its size: it is taken for a bomb")
    header = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path}: expected an idx file of {dimensions} dimensions; it starts with {data[:4].hex()}")
    if len(data) < header:
        raise DataError(f"{path}: ends within its header")
    shape = np.frombuffer(data[4:header], ">i4")
    if len(data) - header != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: expected {shape.tolist()} values after the header; received {len(data) - header}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
