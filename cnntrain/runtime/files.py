"""Atomic writes (to a temporary file, flushed to disk, renamed), and the location of caches."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, an exhausted quota, a file size limit
UNFINISHED = re.compile(r"\..+\.\d+\.unfinished(\.\w+)?")


@contextlib.contextmanager
def whole_file(path: Path, *, size_bytes: int | None = None) -> Iterator[Path]:
    """Yields a temporary path with the same suffix to write to, which becomes `path` if the block succeeds.

    If it fails (an exception, a full disk, a killed process), `path` is unchanged. The OSError for a full disk names
    `path` and, if `size_bytes` is given, how large the file would be.
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
    """Yields a temporary folder to write files to, which becomes `path` if the block succeeds.

    An existing folder is kept, since another process may have created it in the meantime, unless it is to be replaced:
    then it is moved aside first, and if the process is killed just then, it stays there, under a hidden name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = (path.with_name(f".{path.name}.{os.getpid()}{suffix}") for suffix in ("", ".old"))
    shutil.rmtree(temporary, ignore_errors=True)  # left over from a killed process with our process ID
    temporary.mkdir()
    try:
        yield temporary
        for entry in temporary.rglob("*"):
            flush(entry)
        if replace and path.is_dir():
            os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
        flush(path.parent)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise no_room(error, path) from error
        raise
    finally:
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that `path` holds either its previous content or all of `content`."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def no_room(error: OSError, path: Path, *, size_bytes: int | None = None) -> OSError:
    """The error for a full disk, with the path, the space needed and the space available."""
    needed = "" if size_bytes is None else f"{megabytes(size_bytes)} needed, "
    free = megabytes(shutil.disk_usage(path.parent).free)
    return OSError(error.errno, f"{error.strerror or error} ({needed}{free} free)", str(path))


def take_room(path: Path) -> None:
    """Allocates disk space for all of a file that so far has only a length.

    Otherwise the process would be killed without a message if the disk fills up while writing through a memory map.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))


def megabytes(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e6:,.1f} MB"


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process had started writing here; only for a folder that nobody else writes to."""
    if folder.is_dir():
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name) and path.is_file():
                path.unlink()


def replace_by_link(path: Path, target: Path) -> None:
    """Makes `path` the same file as `target`, or a copy of it if the disk does not support hard links."""
    with whole_file(path) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(target, temporary)
        except OSError:
            shutil.copyfile(target, temporary)


def flush(path: Path) -> None:
    """Waits until the file's content, or the folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder() -> Path:
    """Where cached data is stored: $CNNTRAIN_CACHE, or else cnntrain below the user's cache folder."""
    given = os.environ.get("CNNTRAIN_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cnntrain"
