"""Writes that are whole or not there (written beside, flushed to disk, renamed), and where caches lie."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to, of the same suffix, which becomes `path` when the block ends well.

    When it does not (an exception, a full disk, a killed process), `path` holds what it held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Gives a temporary folder to write files to, which becomes `path` when the block ends well.

    A folder that is there stays, for another process may have made it meanwhile, unless it is to be replaced: then
    it is put aside first, and a process that is killed just then leaves it there, under a hidden name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = (path.with_name(f".{path.name}.{os.getpid()}{suffix}") for suffix in ("", ".old"))
    temporary.mkdir()
    try:
        yield temporary
        for entry in temporary.rglob("*"):
            flush(entry)
        if replace and path.is_dir():
            os.rename(path, aside)
        if not path.is_dir():
            os.rename(temporary, path)
        flush(path.parent)
    finally:
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file such that `path` holds either what it held before or all of `content`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def flush(path: Path) -> None:
    """Returns when the file's content, or the folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder() -> Path:
    """Where converted data is kept: $CNNTRAIN_CACHE, else cnntrain below the user's cache folder."""
    given = os.environ.get("CNNTRAIN_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cnntrain"
