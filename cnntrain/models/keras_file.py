"""Networks and weights in files that may come from anywhere: inspected before Keras loads them.

Keras's safe mode refuses code, such as Lambda layers. What remains are small files that expand into huge ones.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cnntrain.runtime import backend

if TYPE_CHECKING:
    import h5py
    import keras

# what Keras raises for files that are truncated, modified, for a different network, or that name code
UNLOADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
LARGEST_GROWTH = 4  # weights hardly compress: a file that unpacks to more than this many times its size is a bomb
ALWAYS_ALLOWED_BYTES = 2**26
WEIGHTS = "model.weights.h5"


def load_network(path: Path) -> "keras.Model":
    """The network in a .keras file, without its training configuration; raises one of UNLOADABLE."""
    backend.load()
    import keras

    import cnntrain.models.layers  # noqa: F401 - registers the layers that saved networks name

    check_network(path)
    with as_unloadable():
        return keras.models.load_model(path, compile=False, safe_mode=True)


@contextlib.contextmanager
def as_unloadable() -> Iterator[None]:
    """Converts TensorFlow's own errors, such as running out of memory, to one of UNLOADABLE."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raise MemoryError(error.message) from error


def check_network(path: Path) -> None:
    """Raises ValueError if a .keras file would unpack to far more than its size, or outside its folder."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            if Path(member.filename).is_absolute() or ".." in Path(member.filename).parts:
                raise ValueError(f"it has a member that would lie outside: {member.filename!r}")
        refuse_growth(sum(member.file_size for member in members), of=path)
        if WEIGHTS in archive.namelist():
            with archive.open(WEIGHTS) as file:
                check_arrays(file, of=path)


def check_weights(path: Path) -> None:
    """Raises ValueError if a weights file would expand to far more than its size, or refers to other files."""
    with open(path, "rb") as file:
        check_arrays(file, of=path)


def check_arrays(file: IO[bytes], *, of: Path) -> None:
    """Raises ValueError if the arrays in an open HDF5 file are far larger than the file, or are in other files."""
    import h5py

    sizes: list[int] = []

    def look(name: str, item: "h5py.Dataset | h5py.Group") -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"its array {name} lies in another file")
            sizes.append(item.nbytes)

    with h5py.File(file, "r") as content:
        content.visititems(look)
    refuse_growth(sum(sizes), of=of)


def refuse_growth(size_bytes: int, *, of: Path) -> None:
    """Raises ValueError for a size that no legitimate file of this size would unpack to."""
    if size_bytes > max(ALWAYS_ALLOWED_BYTES, LARGEST_GROWTH * of.stat().st_size):
        raise ValueError(f"its {of.stat().st_size:,} bytes would unpack to {size_bytes:,}; it is taken for a bomb")
