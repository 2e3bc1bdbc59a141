"""Writes that are whole or not there (written beside, flushed to disk, renamed), and where caches lie."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, a used-up quota, a limit to a file's size
UNFINISHED = re.compile(r"\..+\.\d+\.unfinished(\.\w+)?")


@contextlib.contextmanager
def whole_file(path: Path, *, size_bytes: int | None = None) -> Iterator[Path]:
    """Gives a temporary path to write to, of the same suffix, which becomes `path` when the block ends well.

    When it does not (an exception, a full disk, a killed process), `path` holds what it held before. The OSError
    of a disk without room names `path`, and how large the file is to become where `size_bytes` says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in NO_SPACE:
            raise no_room(error, path, size_bytes=size_bytes) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Gives a temporary folder to write files to, which becomes `path` when the block ends well.

    A folder that is there stays, for another process may have made it meanwhile, unless it is to be replaced: then
    it is put aside first, and a process that is killed just then leaves it there, under a hidden name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = (path.with_name(f".{path.name}.{os.getpid()}{suffix}") for suffix in ("", ".old"))
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process that had our number
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
    except OSError as error:
        if error.errno in NO_SPACE:
            raise no_room(error, path) from error
        raise
    finally:
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file such that `path` holds either what it held before or all of `content`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def no_room(error: OSError, path: Path, *, size_bytes: int | None = None) -> OSError:
    """The error of a disk without room, with the path, and what it needs and has."""
    needed = "" if size_bytes is None else f"{megabytes(size_bytes)} needed, "
    free = megabytes(shutil.disk_usage(path.parent).free)
    return OSError(error.errno, f"{error.strerror or error} ({needed}{free} free)", str(path))


def take_room(path: Path) -> None:
    """Takes the disk's room for all of a file that has only a length yet.

    Else the process would end without a word when the disk is full and the file is written to through memory.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))


def megabytes(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e6:,.1f} MB"


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process had begun to write here; only for a folder in which nobody else writes."""
    if folder.is_dir():
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name) and path.is_file():
                path.unlink()


def replace_by_link(path: Path, target: Path) -> None:
    """Makes `path` the same file as `target`, or a copy of it where the disk knows no hard links."""
    with whole_file(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(target, temporary)
        except OSError:
            shutil.copyfile(target, temporary)


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
