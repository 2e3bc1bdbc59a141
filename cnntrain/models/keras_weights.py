"""The ImageNet weights that Keras publishes: which file a network uses, where it is stored, how it is downloaded."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnntrain.errors import DataError
from cnntrain.runtime import backend

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class WeightsFile:
    """A weights file: where Keras looks for it, its URL, and its checksum if known."""

    path: Path
    address: str
    checksum: str | None


class Asked(Exception):
    """Raised when Keras requests a file: the WeightsFile is its argument."""


def factory(backbone: str) -> Callable[..., "keras.Model"]:
    """Keras's function for a network."""
    backend.load()
    import keras

    return getattr(keras.applications, backbone)


def fetch_weights(backbone: str, input_shape: tuple[int, int, int], *, include_top: bool) -> Path:
    """The ImageNet weights file that Keras loads for a network, downloaded if it is not there.

    If there is no network connection, raises a DataError, within seconds, that says which file to put where.
    """
    from cnntrain.runtime.download import FAILURES, download, has_checksum

    file = weights_file(backbone, input_shape, include_top=include_top)
    there = file.path.is_file()
    if there and has_checksum(file.path, file.checksum):
        return file.path
    try:
        download(file.address, file.path, checksum=file.checksum)
    except FAILURES as error:
        state = "are damaged, or of another version," if there else "are not on this machine,"
        raise DataError(
            f"{backbone}: its ImageNet weights {state} and can't be downloaded"
            f" ({getattr(error, 'reason', error)}).\n"
            f"Get {file.address}\nand put it at {file.path}"
        ) from error
    return file.path


def is_reachable(file: WeightsFile) -> bool:
    """Whether a file is on this machine, or its host answers."""
    from urllib.parse import urlsplit

    host = urlsplit(file.address)
    return file.path.is_file() or answers(f"{host.scheme}://{host.netloc}")


@functools.cache
def answers(host: str) -> bool:
    """Whether a host answers within seconds, whatever it says."""
    from urllib.error import HTTPError

    from cnntrain.runtime.download import FAILURES, open_address

    try:
        open_address(host, method="HEAD").close()
    except HTTPError:
        return True
    except FAILURES:
        return False
    return True


@functools.cache
def weights_file(backbone: str, input_shape: tuple[int, int, int], *, include_top: bool) -> WeightsFile:
    """The file that Keras would load, determined from what it requests from its own downloader."""
    build = factory(backbone)
    import keras

    home = Path(downloader().config.keras_home())

    def tell(
        fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None, md5_hash: str | None = None
    ) -> str:
        raise Asked(WeightsFile(home / cache_subdir / fname, origin, file_hash or md5_hash))

    def ask() -> None:
        with keras.StatelessScope(initialize_variables=False):  # shapes only, no memory for weights
            build(input_shape=input_shape, weights="imagenet", include_top=include_top)

    try:
        with instead_of_download(tell), ThreadPoolExecutor(1) as apart:  # where Keras counts layers' names anew
            apart.submit(ask).result()
    except Asked as asked:
        return asked.args[0]
    raise RuntimeError(f"Keras no longer asks for a file of weights for {backbone}")


@contextlib.contextmanager
def instead_of_download(answer: Callable[..., str]) -> Iterator[None]:
    """Inside the block, Keras calls `answer` for the path of a file, instead of its own downloader."""
    module = downloader()
    theirs = module.get_file
    module.get_file = answer
    try:
        yield
    finally:
        module.get_file = theirs


def downloader() -> Any:
    """Keras's module that downloads files."""
    import keras

    return sys.modules[keras.utils.get_file.__module__]
